"""Fixtures for every kind of test that needs a token."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from signer.hsm import Token
from tests.softhsm import SoftHsm, softhsm_token


@pytest.fixture
def softhsm(tmp_path: Path) -> Iterator[SoftHsm]:
    """An empty token of this test's own, initialised, not open."""
    with softhsm_token(tmp_path / "softhsm") as made:
        yield made


@pytest.fixture
def token(softhsm: SoftHsm) -> Token:
    """That token, open in this process."""
    return softhsm.open()
