"""A real SoftHSM token in a directory of the test's own.

SoftHSM reads SOFTHSM2_CONF when the library is initialised, and a process has the library once. So
the library is finalised before a token is made, and again at the end, whatever the test left open.
Two tokens at once: two labels in one directory (`signer.token_init.init_token`), or one process for
each, with its `SoftHsm.env`.
"""

import gc
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PyKCS11 as P
from nacl.signing import SigningKey

from signer import hsm
from signer.hsm import Token
from signer.token_init import init_token

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
_CONF = """\
directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
library.reset_on_fork = true
"""


@dataclass(frozen=True)
class SoftHsm:
    conf: Path
    label: str
    module: Path = MODULE
    pin: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    so_pin: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    @property
    def env(self) -> dict[str, str]:
        """For a subprocess that opens the token: {**os.environ, **softhsm.env}."""
        return {"SOFTHSM2_CONF": str(self.conf)}

    def open(self) -> Token:
        return Token.open(self.module, self.label, self.pin)


@contextmanager
def softhsm_token(directory: Path, label: str = "kura") -> Iterator[SoftHsm]:
    """A new token below `directory`; SOFTHSM2_CONF points there until the end."""
    tokens = directory / "tokens"
    tokens.mkdir(mode=0o700, parents=True)
    conf = directory / "softhsm2.conf"
    conf.write_text(_CONF.format(tokens=tokens))
    with opened(SoftHsm(conf, label)) as softhsm:
        init_token(softhsm.module, label, softhsm.so_pin, softhsm.pin)
        yield softhsm


@contextmanager
def opened(softhsm: SoftHsm) -> Iterator[SoftHsm]:
    """A token that there is; SOFTHSM2_CONF points there until the end."""
    before = os.environ.get("SOFTHSM2_CONF")
    _finalise()
    os.environ.update(softhsm.env)
    try:
        yield softhsm
    finally:
        _finalise()
        del os.environ["SOFTHSM2_CONF"]
        if before is not None:
            os.environ["SOFTHSM2_CONF"] = before


def import_key(session: Any, label: str, seed: bytes, public: bytes | None = None) -> None:
    """Put a key of known seed (32 bytes) into the token, beside its own public key or another."""
    common = [
        (P.CKA_KEY_TYPE, P.CKK_EC_EDWARDS),
        (P.CKA_EC_PARAMS, hsm._ED25519),
        (P.CKA_LABEL, label),
    ]
    private = [(P.CKA_CLASS, P.CKO_PRIVATE_KEY), (P.CKA_VALUE, seed)]
    session.createObject([*private, *common, *hsm._PRIVATE.items()])
    point = b"\x04\x20" + (public or bytes(SigningKey(seed).verify_key))
    beside = [(P.CKA_CLASS, P.CKO_PUBLIC_KEY), (P.CKA_EC_POINT, point)]
    session.createObject([*beside, *common, *hsm._PUBLIC.items()])


def _finalise() -> None:
    """Unload the library of every token in this process, those left open too."""
    for thing in gc.get_objects():
        if type(thing) is P.PyKCS11Lib:
            thing.unload()
