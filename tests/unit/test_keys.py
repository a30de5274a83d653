"""Key files: who may read them, what they give away, and what they sign."""

import os
import stat
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from custody.keys import KeyFileError, SigningKey, create_key, load_key
from policies.statements import Cancel, decode, verify
from tests.factories import public

PASSPHRASE = b"four quite long words"
# RFC 8410, 10.3 and 10.1
RFC_KEY = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
RFC_PUBLIC = "ed25519:19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"


def nobody_asks() -> NoReturn:
    raise AssertionError("the passphrase was asked for")


def cancel(key: SigningKey) -> Cancel:
    return Cancel(key=key.public, intent="ab" * 32)


def test_a_key_that_was_made_is_loaded_and_its_signature_verifies(tmp_path: Path) -> None:
    made = create_key(tmp_path / "key.pem", None)
    loaded = load_key(tmp_path / "key.pem", nobody_asks)
    signed = loaded.sign(cancel(made))
    assert loaded.public == made.public
    assert decode(Cancel, signed.statement) == cancel(made)
    assert verify(made.public, signed)


def test_a_key_of_another_tool_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "rfc.pem"
    file.touch(mode=0o600)
    file.write_text(RFC_KEY)
    assert load_key(file, nobody_asks).public == RFC_PUBLIC


def test_a_passphrase_opens_what_it_closed_and_another_does_not(tmp_path: Path) -> None:
    made = create_key(tmp_path / "key.pem", PASSPHRASE)
    assert load_key(tmp_path / "key.pem", lambda: PASSPHRASE).public == made.public
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / "key.pem").read_bytes()
    with pytest.raises(KeyFileError, match="passphrase is wrong") as caught:
        load_key(tmp_path / "key.pem", lambda: b"quite another passphrase")
    assert "quite another" not in str(caught.value)


@pytest.mark.parametrize("passphrase", [b"", b"fourteen bytes"])
def test_a_short_passphrase_makes_no_file(tmp_path: Path, passphrase: bytes) -> None:
    with pytest.raises(KeyFileError, match="15 characters"):
        create_key(tmp_path / "key.pem", passphrase)
    assert not (tmp_path / "key.pem").exists()


def test_nobody_else_can_read_a_new_file_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create_key(tmp_path / "key.pem", None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    create_key(tmp_path / "key.pem", None)
    before = (tmp_path / "key.pem").read_bytes()
    with pytest.raises(KeyFileError, match="never written over"):
        create_key(tmp_path / "key.pem", None)
    assert (tmp_path / "key.pem").read_bytes() == before


def test_a_new_key_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.pem").symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(KeyFileError):
        create_key(tmp_path / "link.pem", None)
    assert not (tmp_path / "elsewhere.pem").exists()


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o601])
def test_a_file_that_others_could_open_is_refused(tmp_path: Path, mode: int) -> None:
    create_key(tmp_path / "key.pem", None)
    (tmp_path / "key.pem").chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_key(tmp_path / "key.pem", nobody_asks)


def test_a_link_is_refused(tmp_path: Path) -> None:
    create_key(tmp_path / "key.pem", None)
    (tmp_path / "link.pem").symlink_to(tmp_path / "key.pem")
    with pytest.raises(KeyFileError, match="symbolic link"):
        load_key(tmp_path / "link.pem", nobody_asks)


def test_the_file_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key(tmp_path / "key.pem", None)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    with pytest.raises(KeyFileError, match="another user"):
        load_key(tmp_path / "key.pem", nobody_asks)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(KeyFileError, match="regular file"):
        load_key(tmp_path / "fifo", nobody_asks)
    with pytest.raises(KeyFileError, match="No such file"):
        load_key(tmp_path / "absent", nobody_asks)


def test_a_file_that_is_no_key_is_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.touch(mode=0o600)
    file.write_text(RFC_KEY.replace("MC4C", "!SECRET!"))
    with pytest.raises(KeyFileError) as caught:
        load_key(file, nobody_asks)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p256.pem"
    file.touch(mode=0o600)
    file.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(KeyFileError, match="no Ed25519 key"):
        load_key(file, nobody_asks)


def test_a_statement_that_names_another_key_is_not_signed(tmp_path: Path) -> None:
    key = create_key(tmp_path / "key.pem", None)
    with pytest.raises(ValueError, match="names the key"):
        key.sign(Cancel(key=public("alice"), intent="ab" * 32))


def test_a_key_shows_its_public_half_only(tmp_path: Path) -> None:
    key = create_key(tmp_path / "key.pem", None)
    assert repr(key) == str(key) == f"SigningKey({key.public})"
    assert not hasattr(key, "__dict__")
