"""Which module, which token, which PIN: what is refused, and with which words."""

from pathlib import Path
from typing import Any

import PyKCS11 as P
import pytest
from nacl.signing import VerifyKey

from signer.hsm import Token
from signer.pkcs11 import (
    HsmError,
    ModuleMissingError,
    PinLockedError,
    TokenMissingError,
    WrongPinError,
    _tries_left,
    find_slot,
    load,
)
from signer.token_init import init_token
from tests.softhsm import SoftHsm


def user_flags(softhsm: SoftHsm) -> int:
    lib = load(softhsm.module)
    flags: int = lib.getTokenInfo(find_slot(lib, softhsm.label)).flags
    lib.unload()
    return flags


def test_a_wrong_pin_is_tried_once(softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    login = P.Session.login

    def spy(session: Any, pin: str, *role: int) -> None:
        tries.append(pin)
        login(session, pin, *role)

    monkeypatch.setattr(P.Session, "login", spy)
    assert not user_flags(softhsm) & P.CKF_USER_PIN_COUNT_LOW
    wrong = "0123456789-wrong"
    with pytest.raises(WrongPinError, match=r"not tried again; .*few tries may remain") as caught:
        Token.open(softhsm.module, softhsm.label, wrong)
    assert tries == [wrong]
    assert wrong not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert user_flags(softhsm) & P.CKF_USER_PIN_COUNT_LOW
    token = softhsm.open()
    assert softhsm.pin not in repr(vars(token))
    token.close()
    assert not user_flags(softhsm) & P.CKF_USER_PIN_COUNT_LOW


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (P.CKF_USER_PIN_LOCKED, "security officer must set a new one"),
        (P.CKF_USER_PIN_FINAL_TRY, "one last try"),
    ],
)
def test_a_locked_pin_or_a_last_try_is_left_alone(
    softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch, flag: int, words: str
) -> None:
    """SoftHSM never locks; so its answer gets the flag that a hardware token sets."""
    info_of = P.PyKCS11Lib.getTokenInfo

    def locked(lib: Any, slot: int) -> Any:
        info = info_of(lib, slot)
        info.flags |= flag
        return info

    monkeypatch.setattr(P.PyKCS11Lib, "getTokenInfo", locked)
    with pytest.raises(PinLockedError, match=words):
        Token.open(softhsm.module, softhsm.label, "0123456789-wrong")
    monkeypatch.undo()
    assert not user_flags(softhsm) & P.CKF_USER_PIN_COUNT_LOW


def test_a_wrong_pin_tells_what_the_token_tells() -> None:
    assert "locked its user PIN" in _tries_left(P.CKF_USER_PIN_LOCKED)
    assert "ONE try" in _tries_left(P.CKF_USER_PIN_FINAL_TRY | P.CKF_USER_PIN_COUNT_LOW)
    assert "few tries" in _tries_left(P.CKF_USER_PIN_COUNT_LOW)
    assert "does not say" in _tries_left(0)


def test_an_open_token_does_not_let_a_wrong_pin_in(softhsm: SoftHsm, token: Token) -> None:
    """PKCS#11 logs in per process: a second login is not even checked."""
    with pytest.raises(HsmError, match="CKR_USER_ALREADY_LOGGED_IN"):
        Token.open(softhsm.module, softhsm.label, "0123456789-wrong")
    token.generate("hot")
    assert len(token.sign("hot", b"the first one lives")) == 64


def test_two_tokens_stand_side_by_side(softhsm: SoftHsm, token: Token) -> None:
    init_token(softhsm.module, "second", softhsm.so_pin, softhsm.pin)
    second = Token.open(softhsm.module, "second", softhsm.pin)
    public = second.generate("hot")
    assert token.keys() == {}
    token.close()
    VerifyKey(public).verify(b"message", second.sign("hot", b"message"))
    with pytest.raises(WrongPinError):  # the first was logged out, though the library is in use
        Token.open(softhsm.module, softhsm.label, "0123456789-wrong")


def test_the_library_is_let_go(softhsm: SoftHsm) -> None:
    """Otherwise the module's state, and in it the keys, outlives the token."""
    with pytest.raises(WrongPinError) as caught:
        Token.open(softhsm.module, softhsm.label, "0123456789-wrong")
    assert not P.PyKCS11Lib._loaded_libs
    assert caught.tb  # even while the error and its frames live
    token = softhsm.open()
    token.close()
    token.close()
    assert not P.PyKCS11Lib._loaded_libs


def test_a_missing_token_or_module_is_named(softhsm: SoftHsm, tmp_path: Path) -> None:
    with pytest.raises(TokenMissingError, match=r"0 tokens .*'absent' \(there are: kura\)"):
        Token.open(softhsm.module, "absent", softhsm.pin)
    with pytest.raises(ModuleMissingError, match="no file"):
        Token.open(tmp_path / "absent.so", softhsm.label, softhsm.pin)
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(ModuleMissingError, match="does not start"):
        Token.open(tmp_path / "text.so", softhsm.label, softhsm.pin)


def test_a_module_with_a_broken_configuration_is_named(softhsm: SoftHsm) -> None:
    softhsm.conf.unlink()
    with pytest.raises(ModuleMissingError, match="configuration"):
        softhsm.open()


def test_two_tokens_of_one_name_are_refused(softhsm: SoftHsm) -> None:
    lib = load(softhsm.module)
    free = max(lib.getSlotList(), key=lambda slot: not lib.getTokenInfo(slot).label.strip())
    lib.initToken(free, softhsm.so_pin, softhsm.label)  # padded with NUL, as some do
    lib.unload()
    with pytest.raises(TokenMissingError, match="2 tokens have the label"):
        softhsm.open()


def test_a_token_is_never_initialised_over(softhsm: SoftHsm, token: Token) -> None:
    public = token.generate("hot")
    token.close()
    with pytest.raises(HsmError, match="exists already"):
        init_token(softhsm.module, softhsm.label, softhsm.so_pin, softhsm.pin)
    with pytest.raises(HsmError, match="are the same"):
        init_token(softhsm.module, "second", softhsm.pin, softhsm.pin)
    for label in ("", "x" * 33, "日本"):
        with pytest.raises(HsmError, match="token's label"):
            init_token(softhsm.module, label, softhsm.so_pin, softhsm.pin)
    assert softhsm.open().keys() == {"hot": public}


def test_a_token_without_user_pin_says_so(softhsm: SoftHsm) -> None:
    with pytest.raises(HsmError, match="no user PIN, remove it"):
        init_token(softhsm.module, "second", softhsm.so_pin, "1")
