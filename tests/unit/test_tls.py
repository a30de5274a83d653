"""TLS files: what is wrong with them is told in words before gRPC tells it in riddles."""

from pathlib import Path

import pytest

from custody.dev.pki import Authority
from custody.identity import Identity, Role
from custody.tls import TlsFiles


@pytest.fixture
def files(tmp_path: Path) -> tuple[TlsFiles, TlsFiles]:
    authority = Authority(tmp_path / "pki")
    one, other = (authority.issue(Identity(Role.SERVER, name), ("localhost",)) for name in "ab")
    return one, other


def test_its_own_key_is_taken(files: tuple[TlsFiles, TlsFiles]) -> None:
    assert files[0].server_credentials()
    assert files[0].channel_credentials()


def test_a_key_that_others_may_read_is_refused(files: tuple[TlsFiles, TlsFiles]) -> None:
    files[0].key.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        files[0].server_credentials()


def test_anothers_key_and_what_is_no_key_are_told(files: tuple[TlsFiles, TlsFiles]) -> None:
    one, other = files
    with pytest.raises(ValueError, match="is not the key of"):
        TlsFiles(one.ca, one.certificate, other.key).channel_credentials()
    one.key.write_text("nonsense")
    with pytest.raises(ValueError, match="must be PEM files"):
        one.channel_credentials()
