"""What the rows stand on: a real guard alone, or a realm with watchtower and chain."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.attacks.realm import Realm, realm
from tests.integration.guard.conftest import make_rig, rig
from tests.softhsm import SoftHsm

__all__ = ["make_rig", "rig"]


@pytest.fixture
def make_realm(softhsm: SoftHsm, tmp_path: Path) -> Iterator[Callable[..., Realm]]:
    """Makes the test's one realm; see `realm` for what it takes."""
    with ExitStack() as stack:
        made = partial(realm, softhsm, tmp_path)
        yield lambda **choices: stack.enter_context(made(**choices))
