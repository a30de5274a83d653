"""Ed25519 keys of people, requesters and watchtowers: PKCS8 PEM files only for their owner.

Invariants: a key file is made once, with mode 0600, and never written over; one that others could
have read or put there is not used. No secret ever stands in a repr, an exception or a log.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policies.fields import key_text
from policies.statements import (
    Ack,
    Approval,
    Cancel,
    Change,
    Dead,
    Elapsed,
    Freeze,
    Intent,
    Lease,
    Signed,
    Theft,
    Unfreeze,
    Veto,
    encode,
)

Ours = Intent | Approval | Cancel | Change | Veto | Freeze | Unfreeze
Watchtowers = Ack | Dead | Elapsed | Lease | Theft

# PKCS8 by OpenSSL stretches a passphrase by 2,048 rounds of PBKDF2 only, so its length has to do
# it: NIST SP 800-63B-4, 3.1.1.2, asks for 15 characters where a passphrase stands alone.
PASSPHRASE_MIN = 15
FILE_BYTES_MAX = 4096
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


class KeyFileError(Exception):
    """A key file cannot be made or used; the message says why and what to do, and no secret."""


class SigningKey:
    """A private key. It signs statements that name it and nothing else."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = key_text(private.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        """Return the public half."""
        return f"SigningKey({self.public})"

    def sign(self, statement: Ours | Watchtowers) -> Signed:
        """Return the statement's exact bytes and the signature; ValueError for another's key."""
        if statement.key != self.public:
            raise ValueError(f"the statement names the key {statement.key}, not {self.public}")
        data = encode(statement)
        return Signed(data, self._private.sign(data))


def create_key(path: Path, passphrase: bytes | None) -> SigningKey:
    """Make a key and its file, encrypted unless `passphrase` is None; KeyFileError if it exists."""
    if passphrase is not None and len(passphrase) < PASSPHRASE_MIN:
        words = f"the passphrase needs at least {PASSPHRASE_MIN} characters: take a few words"
        raise KeyFileError(words)
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption(),
    )
    _write_new(path, pem)
    return SigningKey(private)


def load_key(path: Path, passphrase: Callable[[], bytes]) -> SigningKey:
    """Return the key in a file; `passphrase` is asked only when the file is encrypted.

    KeyFileError when others can read the file, when it is another user's or a symbolic link, when
    it holds no Ed25519 key, and for a wrong passphrase.
    """
    pem = _read_private(path)
    secret = passphrase() if pem.lstrip().startswith(_ENCRYPTED) else None
    try:
        private = serialization.load_pem_private_key(pem, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        reason = "the passphrase is wrong" if secret else "it holds no private key in PEM"
        raise KeyFileError(f"{path} cannot be opened: {reason}") from None
    if not isinstance(private, Ed25519PrivateKey):
        words = f"{path} holds no Ed25519 key; make one: custody key create FILE"
        raise KeyFileError(words)
    return SigningKey(private)


def _write_new(path: Path, data: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        words = f"{path} exists; a key is never written over: choose another name"
        raise KeyFileError(words) from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be made: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_private(path: Path) -> bytes:
    """Return the content of a file that is only ours; what is checked is what is read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        link = " (a symbolic link: name the file itself)" if path.is_symlink() else ""
        raise KeyFileError(f"{path} cannot be opened: {error.strerror}{link}") from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is not a regular file")
        if status.st_uid != os.geteuid():
            raise KeyFileError(f"{path} belongs to another user; its owner must be who uses it")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            words = f"{path} can be read by others; if nobody did: chmod 600 {path}"
            raise KeyFileError(words)
        return file.read(FILE_BYTES_MAX)
