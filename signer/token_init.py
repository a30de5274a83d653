"""Making a token and setting its PIN anew: set-up alone needs it, `signer serve` never loads it."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import PyKCS11 as P

from signer.pkcs11 import (
    HsmError,
    PinLockedError,
    TokenMissingError,
    close_session,
    find_slot,
    in_words,
    load,
    tokens_by_slot,
)

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")  # 32 bytes in PKCS#11


def init_token(module: Path, label: str, so_pin: str, user_pin: str) -> None:
    """Make a token in the first free slot, with both PINs; initialised tokens are left alone."""
    if not _LABEL.fullmatch(label):
        raise HsmError(f"{label!r} cannot be a token's label: at most 32 letters, digits, . _ -")
    if so_pin == user_pin:
        raise HsmError("the security officer's PIN and the user PIN are the same: make two")
    with ExitStack() as undo, in_words(f"initialising token {label!r}"):
        lib = load(module)
        undo.callback(lib.unload)
        tokens = tokens_by_slot(lib)
        if label in tokens.values():
            raise HsmError(f"a token {label!r} exists already: choose another label")
        free = [slot for slot, name in tokens.items() if name is None]
        if not free:
            raise TokenMissingError("every token is in use already: provide an empty one")
        lib.initToken(free[0], so_pin, label.ljust(32))
        with in_words("the new token has no user PIN, remove it and try again"):
            session = lib.openSession(find_slot(lib, label), P.CKF_RW_SESSION)
            undo.callback(close_session, session)
            session.login(so_pin, P.CKU_SO)
            session.initPin(user_pin)


def reset_pin(module: Path, label: str, so_pin: str, user_pin: str) -> None:
    """Set a new user PIN, as the security officer: the way out where it is lost or locked."""
    if so_pin == user_pin:
        raise HsmError("the security officer's PIN and the user PIN are the same: make two")
    with ExitStack() as undo, in_words(f"setting a new user PIN of token {label!r}"):
        lib = load(module)
        undo.callback(lib.unload)
        slot = find_slot(lib, label)
        refuse_last_try(lib.getTokenInfo(slot).flags)
        session = lib.openSession(slot, P.CKF_RW_SESSION)
        undo.callback(close_session, session)
        with in_words("the SO PIN was not taken: not tried again"):
            session.login(so_pin, P.CKU_SO)
        session.initPin(user_pin)


def refuse_last_try(flags: int) -> None:
    """Raise PinLockedError where one more wrong SO PIN would be the end of every new user PIN."""
    if flags & P.CKF_SO_PIN_LOCKED:
        raise PinLockedError("the token has locked its SO PIN: there is no way out but a new token")
    if flags & P.CKF_SO_PIN_FINAL_TRY:
        words = (
            "the token allows one last try of the SO PIN, which is left to you: log in once with"
        )
        raise PinLockedError(f"{words} the module's own tool, which gives the tries back")
