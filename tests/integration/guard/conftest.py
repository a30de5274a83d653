"""One signer for each test: a token, a journal and a guard of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.factories import policy_file
from tests.signing import SignerRig
from tests.softhsm import SoftHsm


@pytest.fixture
def make_rig(softhsm: SoftHsm, tmp_path: Path) -> Iterator[Callable[[bytes], SignerRig]]:
    """Makes the test's one signer, with a policy file of the test's choice."""
    with ExitStack() as stack:

        def make(file: bytes) -> SignerRig:
            rig = SignerRig(softhsm, tmp_path / "journal", file)
            stack.callback(rig.stop)
            return rig

        yield make


@pytest.fixture
def rig(make_rig: Callable[[bytes], SignerRig]) -> SignerRig:
    return make_rig(policy_file())
