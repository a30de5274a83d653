"""The token in the hands of somebody inside the signer's process, who has its session."""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import PyKCS11 as P
import pytest
from nacl.signing import SigningKey

from signer import hsm
from signer.hsm import Token
from signer.pkcs11 import KeyRefusedError
from tests.softhsm import MODULE, SoftHsm, import_key


def make_key(session: Any, label: str = "hot", **changed: bool) -> tuple[Any, Any]:
    """A key pair made past the signer, with other attributes."""
    private = hsm._PRIVATE | {getattr(P, name): value for name, value in changed.items()}
    public, handle = session.generateKeyPair(
        [(P.CKA_EC_PARAMS, hsm._ED25519), (P.CKA_LABEL, label), *hsm._PUBLIC.items()],
        [(P.CKA_LABEL, label), *private.items()],
        hsm._GENERATE,
    )
    return public, handle


def test_the_private_value_cannot_be_read(token: Token) -> None:
    token.generate("hot")
    [private] = token._session.findObjects([(P.CKA_CLASS, P.CKO_PRIVATE_KEY)])
    assert token._session.getAttributeValue(private, [P.CKA_VALUE]) == [None]


def test_the_private_key_can_sign_and_nothing_else(token: Token) -> None:
    token.generate("hot")
    names = [
        *("CKA_TOKEN", "CKA_PRIVATE", "CKA_SENSITIVE", "CKA_ALWAYS_SENSITIVE", "CKA_LOCAL"),
        *("CKA_NEVER_EXTRACTABLE", "CKA_SIGN", "CKA_EXTRACTABLE", "CKA_SIGN_RECOVER"),
        *("CKA_DECRYPT", "CKA_UNWRAP", "CKA_DERIVE", "CKA_MODIFIABLE", "CKA_COPYABLE"),
    ]
    held = token._session.getAttributeValue(
        token._keys["hot"].handle, [getattr(P, name) for name in names]
    )
    assert held == [True] * 7 + [False] * 7


def test_the_private_key_cannot_be_wrapped(token: Token) -> None:
    token.generate("hot")
    aes = token._session.generateKey(
        [
            (P.CKA_CLASS, P.CKO_SECRET_KEY),
            (P.CKA_KEY_TYPE, P.CKK_AES),
            (P.CKA_VALUE_LEN, 32),
            (P.CKA_WRAP, True),
            (P.CKA_ENCRYPT, True),
        ]
    )
    for mechanism in (P.CKM_AES_KEY_WRAP, P.CKM_AES_KEY_WRAP_PAD):
        with pytest.raises(P.PyKCS11Error, match="CKR_KEY_UNEXTRACTABLE"):
            token._session.wrapKey(aes, token._keys["hot"].handle, P.Mechanism(mechanism))


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("CKA_EXTRACTABLE", True),
        ("CKA_SENSITIVE", False),
        ("CKA_COPYABLE", True),
        ("CKA_MODIFIABLE", True),
        ("CKA_DERIVE", True),
        ("CKA_DECRYPT", True),
        ("CKA_LABEL", "cold"),
    ],
)
def test_no_attribute_can_be_changed(token: Token, attribute: str, value: object) -> None:
    token.generate("hot")
    with pytest.raises(P.PyKCS11Error, match="CKR_"):
        token._session.setAttributeValue(
            token._keys["hot"].handle, [(getattr(P, attribute), value)]
        )


class _Attribute(ctypes.Structure):
    _fields_ = (("type", ctypes.c_ulong), ("value", ctypes.c_void_p), ("length", ctypes.c_ulong))


def copy_object(session: Any, handle: Any, attribute: int, *, value: bool) -> int:
    """C_CopyObject, which PyKCS11 does not offer; returns the CKR code."""
    flag = ctypes.c_ubyte(value)
    template = _Attribute(attribute, ctypes.addressof(flag), 1)
    copy = ctypes.CDLL(str(MODULE)).C_CopyObject
    copy.argtypes = [ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong]
    copy.argtypes += [ctypes.c_void_p]
    copy.restype = ctypes.c_ulong
    code: int = copy(
        session.session.value(),
        handle.value(),
        ctypes.byref(template),
        1,
        ctypes.byref(ctypes.c_ulong()),
    )
    return code


def test_the_private_key_cannot_be_copied(token: Token) -> None:
    token.generate("hot")
    session, handle = token._session, token._keys["hot"].handle
    before = len(session.findObjects())
    for attribute, value in (
        (P.CKA_EXTRACTABLE, True),
        (P.CKA_SENSITIVE, False),
        (P.CKA_TOKEN, False),
    ):
        assert copy_object(session, handle, attribute, value=value) == P.CKR_ACTION_PROHIBITED
    assert len(session.findObjects()) == before
    _, loose = make_key(session, "loose", CKA_COPYABLE=True, CKA_MODIFIABLE=True)
    # The call itself works: it is the attribute that forbids the copy.
    assert copy_object(session, loose, P.CKA_TOKEN, value=False) == P.CKR_OK


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (lambda s: (make_key(s), make_key(s)), "two keys have the label 'hot'"),
        (lambda s: s.destroyObject(make_key(s)[0]), r"no public key beside \['hot'\]"),
        (lambda s: make_key(s, CKA_EXTRACTABLE=True), "CKA_EXTRACTABLE = True"),
        (lambda s: make_key(s, CKA_SENSITIVE=False), "CKA_SENSITIVE = False"),
        (lambda s: make_key(s, CKA_DERIVE=True), "CKA_DERIVE = True"),
        (lambda s: make_key(s, CKA_COPYABLE=True), "CKA_COPYABLE = True"),
    ],
)
def test_a_token_with_a_doubtful_key_does_not_open(
    softhsm: SoftHsm, token: Token, plant: Callable[[Any], object], words: str
) -> None:
    plant(token._session)
    token.close()
    with pytest.raises(KeyRefusedError, match=words):
        softhsm.open()


def test_a_swapped_public_key_does_not_open(softhsm: SoftHsm, token: Token) -> None:
    """Otherwise deposits would go to an address whose key somebody else holds."""
    theirs = bytes(SigningKey.generate().verify_key)
    import_key(token._session, "hot", bytes(range(32)), theirs)
    token.close()
    with pytest.raises(KeyRefusedError, match="public key of 'hot' is another key's"):
        softhsm.open()


def test_a_forked_child_cannot_sign(softhsm: SoftHsm) -> None:
    program = (
        "import os, sys; from pathlib import Path; from signer.hsm import Token\n"
        "token = Token.open(Path(sys.argv[1]), sys.argv[2], sys.stdin.readline())\n"
        "token.generate('hot')\n"
        "if os.fork() == 0:\n"
        "    try: token.sign('hot', b'message')\n"
        "    except Exception as err: os.write(1, str(err).encode())\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, softhsm.module, softhsm.label],
        input=softhsm.pin,
        env=softhsm.env,
        capture_output=True,
        check=True,
        text=True,
    )
    assert "CKR_CRYPTOKI_NOT_INITIALIZED" in done.stdout, done.stderr
