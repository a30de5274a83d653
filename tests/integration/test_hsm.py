"""The token as the signer uses it."""

import PyKCS11 as P
import pytest
from nacl.signing import SigningKey, VerifyKey

from signer import hsm
from signer.hsm import Token
from signer.pkcs11 import HsmError, KeyRefusedError
from tests.softhsm import SoftHsm, import_key


def test_a_generated_key_signs_and_is_found_again(softhsm: SoftHsm) -> None:
    token = softhsm.open()
    keys = {label: token.generate(label) for label in ("hot-sol", "audit")}
    token.close()
    token = softhsm.open()
    assert token.keys() == keys
    for label, public in keys.items():
        VerifyKey(public).verify(b"message", token.sign(label, b"message"))
    assert token.sign("audit", b"message") != token.sign("hot-sol", b"message")


def test_signatures_are_pure_ed25519(softhsm: SoftHsm, token: Token) -> None:
    """A known seed gives RFC 8032's bytes: nothing is hashed or prefixed on the way."""
    known = SigningKey(bytes(range(32)))
    import_key(token._session, "known", bytes(known))
    token.close()
    token = softhsm.open()
    assert token.keys() == {"known": bytes(known.verify_key)}
    assert token.sign("known", b"message") == known.sign(b"message").signature


def test_an_imported_key_is_not_one_made_here(token: Token) -> None:
    import_key(token._session, "known", bytes(32))
    key = hsm._find_keys(token._session)["known"]
    proofs = hsm._BORN.keys() - hsm._PRIVATE.keys()
    assert proofs == {P.CKA_ALWAYS_SENSITIVE, P.CKA_NEVER_EXTRACTABLE, P.CKA_LOCAL}
    for proof in proofs:
        with pytest.raises(KeyRefusedError, match=P.CKA[proof]):
            hsm._checked(token._session, "known", key.handle, key.handle, {proof: True})


def test_an_empty_message_does_not_poison_the_session(token: Token) -> None:
    public = token.generate("hot")
    with pytest.raises(HsmError, match="empty message"):
        token.sign("hot", b"")
    VerifyKey(public).verify(b"after", token.sign("hot", b"after"))


def test_an_unknown_key_is_refused_and_the_session_lives(token: Token) -> None:
    token.generate("hot")
    with pytest.raises(KeyRefusedError, match="no key 'cold'"):
        token.sign("cold", b"message")
    assert len(token.sign("hot", b"message")) == 64


def test_any_pkcs11_error_ends_the_session_for_good(softhsm: SoftHsm, token: Token) -> None:
    token.generate("hot")
    public = token.generate("other")
    token._session.destroyObject(token._keys["hot"].handle)
    with pytest.raises(HsmError, match=r"signing: the token said CKR_\w+ .*restart"):
        token.sign("hot", b"message")
    with pytest.raises(HsmError, match="session is closed: restart"):
        token.sign("other", b"message")
    with pytest.raises(HsmError, match="session is closed: restart"):
        token.generate("new")
    assert softhsm.open().keys() == {"other": public}  # the library was let go


def test_a_label_is_used_once_and_is_plain(token: Token) -> None:
    public = token.generate("hot")
    with pytest.raises(KeyRefusedError, match="already holds 'hot'"):
        token.generate("hot")
    for label in ("", "-hot", "h\0t", "hot\n", "ホット", "x" * 65):
        with pytest.raises(KeyRefusedError, match="cannot be a key's label"):
            token.generate(label)
    assert token.keys() == {"hot": public}


def test_a_token_that_ignores_the_template_loses_the_key(
    token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = hsm._PRIVATE | {P.CKA_EXTRACTABLE: True}
    monkeypatch.setattr(hsm, "_PRIVATE", weak)  # asks for it, as such a token would make it
    with pytest.raises(KeyRefusedError, match="CKA_EXTRACTABLE = True, not False"):
        token.generate("hot")
    assert token._session.findObjects() == []
    assert token.keys() == {}


def test_points_come_bare_or_wrapped() -> None:
    bare = b"\x04\x20" + bytes(30)  # looks like a wrapping, by its start
    assert hsm._point(bare) == bare
    assert hsm._point(tuple(b"\x04\x20" + bare)) == bare
    for wrong in (None, b"", bare[:-1], b"\x04\x21" + bare, b"\x04\x20" + bare + b"\0", bytes(57)):
        with pytest.raises(KeyRefusedError, match="EC_POINT"):
            hsm._point(wrong)
