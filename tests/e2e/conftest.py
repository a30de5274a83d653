"""A whole system of real processes, once for each xdist worker."""

from collections.abc import Iterator

import pytest

from custody.dev.system import System, ready_nonces


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Up, with its nonce pool open."""
    whole = System(tmp_path_factory.mktemp("k") / "up", print)
    try:
        whole.up()
        whole.until("a nonce", lambda: ready_nonces(whole.layout.postgres.dsn) or None)
        yield whole
    finally:
        whole.down()
