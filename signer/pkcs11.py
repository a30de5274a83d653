"""A PKCS#11 module: starting it, finding a token by its label, logging in once; and the errors.

A PIN is tried once; it is neither kept nor named in an error. The last try is left to people.
Nothing here knows a vendor.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import PyKCS11 as P

_LOCKED: Final = "the token has locked its user PIN: the security officer must set a new one"


class HsmError(Exception):
    """The token or its module failed; the words say what to do next."""


class ModuleMissingError(HsmError):
    """The PKCS#11 module is not there or does not start."""


class TokenMissingError(HsmError):
    """No token, or more than one, has the label; or no slot is free for a new one."""


class WrongPinError(HsmError):
    """The token refused the PIN. Trying again may lock it."""


class PinLockedError(HsmError):
    """The token takes no PIN any more, or only one more try, which people must make."""


class KeyRefusedError(HsmError):
    """A key is absent, doubled, unmatched or less protected than demanded."""


@contextmanager
def in_words(doing: str) -> Iterator[None]:
    try:
        yield
    except P.PyKCS11Error as err:
        raise HsmError(f"{doing}: the token said {err}: check token and module") from None


def load(module: Path) -> Any:
    if not module.is_file():
        raise ModuleMissingError(f"there is no file {module}: set the path of the PKCS#11 module")
    try:
        return P.PyKCS11Lib().load(str(module.absolute()))
    except P.PyKCS11Error as err:
        raise ModuleMissingError(
            f"{module} does not start as a PKCS#11 module, {err}: check the path and the module's"
            " own configuration"
        ) from None


def close_session(session: Any) -> None:
    with suppress(P.PyKCS11Error):  # the token may be what failed
        session.closeSession()


def tokens_by_slot(lib: Any) -> dict[int, str | None]:
    """Slot -> label of the token in it, None if the token is not initialised."""
    tokens: dict[int, str | None] = {}
    for slot in lib.getSlotList(tokenPresent=True):
        info = lib.getTokenInfo(slot)
        made = info.flags & P.CKF_TOKEN_INITIALIZED
        tokens[slot] = info.label.strip(" \0") if made else None
    return tokens


def find_slot(lib: Any, label: str) -> int:
    tokens = tokens_by_slot(lib)
    found = [slot for slot, name in tokens.items() if name == label]
    if len(found) != 1:
        there = ", ".join(sorted(name for name in tokens.values() if name)) or "none"
        raise TokenMissingError(
            f"{len(found)} tokens have the label {label!r} (there are: {there}): check the label"
            " and the module's own configuration"
        )
    return found[0]


def login(lib: Any, slot: int, session: Any, pin: str) -> None:
    _refuse_last_try(lib.getTokenInfo(slot).flags)
    try:
        session.login(pin)
    except P.PyKCS11Error as err:
        if err.value == P.CKR_PIN_LOCKED:
            raise PinLockedError(_LOCKED) from None
        if err.value in {P.CKR_PIN_INCORRECT, P.CKR_PIN_INVALID, P.CKR_PIN_LEN_RANGE}:
            raise WrongPinError(_tries_left(lib.getTokenInfo(slot).flags)) from None
        raise


def _refuse_last_try(flags: int) -> None:
    if flags & P.CKF_USER_PIN_LOCKED:
        raise PinLockedError(_LOCKED)
    if flags & P.CKF_USER_PIN_FINAL_TRY:
        raise PinLockedError(
            "the token allows one last try of the user PIN, which the signer leaves to you: log in"
            " once with the module's own tool, which gives the tries back, then start the signer"
        )


def _tries_left(flags: int) -> str:
    """What the token tells about the tries that remain after a wrong PIN."""
    if flags & P.CKF_USER_PIN_LOCKED:
        return f"wrong PIN, not tried again; {_LOCKED}"
    left = "the token does not say how many tries remain"
    if flags & P.CKF_USER_PIN_FINAL_TRY:
        left = "ONE try remains"
    elif flags & P.CKF_USER_PIN_COUNT_LOW:
        left = "the token counts wrong PINs, and few tries may remain"
    return f"wrong PIN, not tried again; {left}: check where the PIN comes from first"
