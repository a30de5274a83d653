"""The signer's only door to PKCS#11: one logged-in session on one token.

Invariants:
- A private key stays in the token: sensitive, not extractable, not copyable, not modifiable, for
  signing only. These attributes are read back before a key is used, imported or made there.
- A label names one key pair, and the public key was seen to verify what the private key signs.
- After any PKCS#11 error the session is gone: some errors leave it useless for ever. The process
  restarts; nothing logs in again by itself.

No vendor's own calls. For one thread and one process: spawn, never fork.
"""

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import PyKCS11 as P
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from signer.pkcs11 import (
    HsmError,
    KeyRefusedError,
    close_session,
    find_slot,
    in_words,
    load,
    login,
)

RECORD: Final = "kura.head"
_ED25519: Final = bytes.fromhex("06032b6570")  # DER of OID 1.3.101.112 (RFC 8410)
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_POINT: Final = re.compile(rb"(?:\x04\x20)?(.{32})", re.DOTALL)
_EDDSA: Final = P.EDDSA_Mechanism()  # no parameters: pure Ed25519
_GENERATE: Final = P.Mechanism(P.CKM_EC_EDWARDS_KEY_PAIR_GEN)
_PUBLIC: Final = {P.CKA_TOKEN: True, P.CKA_PRIVATE: False, P.CKA_VERIFY: True}
_PRIVATE: Final = {
    P.CKA_TOKEN: True,
    P.CKA_PRIVATE: True,
    P.CKA_SENSITIVE: True,
    P.CKA_EXTRACTABLE: False,
    P.CKA_SIGN: True,
    P.CKA_SIGN_RECOVER: False,
    P.CKA_DECRYPT: False,
    P.CKA_UNWRAP: False,
    P.CKA_DERIVE: False,
    P.CKA_MODIFIABLE: False,
    P.CKA_COPYABLE: False,
}
# What only the token can say of a key made inside it; an imported key has none of the last three.
_BORN: Final = {
    **_PRIVATE,
    P.CKA_ALWAYS_SENSITIVE: True,
    P.CKA_NEVER_EXTRACTABLE: True,
    P.CKA_LOCAL: True,
}


class RecordsChangedError(HsmError):
    """The token's record is not what this signer left there."""


@dataclass(frozen=True)
class _Key:
    handle: Any
    public: bytes


class Token:
    """An open, logged-in session on one PKCS#11 token."""

    def __init__(self, session: Any, keys: dict[str, _Key], undo: ExitStack) -> None:
        self._session, self._keys, self._undo = session, keys, undo

    @classmethod
    def open(cls, module: Path, label: str, pin: str) -> Self:
        """Log in once and find every Ed25519 key. Linear in the number of keys, once."""
        with ExitStack() as undo, in_words(f"opening token {label!r}"):
            lib = load(module)
            undo.callback(lib.unload)
            slot = find_slot(lib, label)
            session = lib.openSession(slot, P.CKF_RW_SESSION)
            undo.callback(close_session, session)
            login(lib, slot, session, pin)
            return cls(session, _find_keys(session), undo.pop_all())

    def keys(self) -> dict[str, bytes]:
        """Label -> raw 32-byte public key."""
        return {label: key.public for label, key in self._keys.items()}

    def sign(self, label: str, message: bytes) -> bytes:
        """Pure Ed25519 (RFC 8032), 64 bytes. The caller verifies it under the key it expects."""
        if not message:  # would leave the session with an operation that never ends
            raise HsmError("an empty message is never signed: the caller has a bug")
        with self._using("signing") as session:
            if label not in self._keys:
                raise KeyRefusedError(f"the token holds no key {label!r}: check the policy's keys")
            return bytes(session.sign(self._keys[label].handle, message, _EDDSA))

    def generate(self, label: str) -> bytes:
        """Make a key pair inside the token; returns the raw 32-byte public key."""
        if not _LABEL.fullmatch(label):
            raise KeyRefusedError(f"{label!r} cannot be a key's label: use letters, digits, . _ -")
        with self._using("generating a key") as session:
            if session.findObjects([(P.CKA_LABEL, label)]):
                raise KeyRefusedError(f"the token already holds {label!r}: choose another label")
            public, private = session.generateKeyPair(
                [(P.CKA_EC_PARAMS, _ED25519), (P.CKA_LABEL, label), *_PUBLIC.items()],
                [(P.CKA_LABEL, label), *_PRIVATE.items()],
                _GENERATE,
            )
            try:
                self._keys[label] = _checked(session, label, public, private, _BORN)
            except (HsmError, P.PyKCS11Error):
                for handle in (public, private):
                    session.destroyObject(handle)
                raise
            os.sync()  # SoftHSM fsyncs nothing: no address before its key outlives a power cut
            return self._keys[label].public

    def records(self) -> list[bytes]:
        """Return what the token keeps under RECORD, besides its keys."""
        with self._using("reading the token's record") as session:
            return list(_find_records(session))

    def replace_records(self, expected: frozenset[bytes], record: bytes) -> None:
        """Keep `record` in place of the `expected` ones; RecordsChangedError when others are there.

        A data object's value cannot be changed in every token, so there are two for a moment.
        """
        with self._using("writing the token's record") as session:
            found = _find_records(session)
            _only(found, expected)
            if record not in found:
                data = [(P.CKA_CLASS, P.CKO_DATA), (P.CKA_TOKEN, True), (P.CKA_PRIVATE, True)]
                session.createObject([*data, (P.CKA_LABEL, RECORD), (P.CKA_VALUE, record)])
            found = _find_records(session)  # after creating: of two signers one sees the other
            _only(found, expected | {record})
            os.sync()  # SoftHSM fsyncs nothing: the new one is safe before the old one goes
            for value in expected - {record}:
                for handle in found.get(value, ()):
                    session.destroyObject(handle)

    def close(self) -> None:
        """Log out and let go of the module. What is called afterwards raises."""
        self._session = None  # PyKCS11 crashes the process when a session outlives its library
        self._undo.close()

    @contextmanager
    def _using(self, doing: str) -> Iterator[Any]:
        if self._session is None:
            raise HsmError(f"{doing}: the token's session is closed: restart the signer")
        try:
            yield self._session
        except P.PyKCS11Error as err:
            self.close()
            raise HsmError(f"{doing}: the token said {err}; check it, restart the signer") from None


def _find_records(session: Any) -> dict[bytes, list[Any]]:
    found: dict[bytes, list[Any]] = {}
    for handle in session.findObjects([(P.CKA_CLASS, P.CKO_DATA), (P.CKA_LABEL, RECORD)]):
        [value] = session.getAttributeValue(handle, [P.CKA_VALUE], allAsBinary=True)
        found.setdefault(bytes(value or ()), []).append(handle)
    return found


def _only(found: Mapping[bytes, object], expected: frozenset[bytes]) -> None:
    if found.keys() - expected:
        raise RecordsChangedError(
            "another signer uses this token: stop it; if there is none, signer doctor says more"
        )


def _find_keys(session: Any) -> dict[str, _Key]:
    public, private = _find(session, P.CKO_PUBLIC_KEY), _find(session, P.CKO_PRIVATE_KEY)
    if lone := private.keys() - public.keys():
        raise KeyRefusedError(f"no public key beside {sorted(lone)}: restore it or remove the key")
    return {
        label: _checked(session, label, public[label], handle, _PRIVATE)
        for label, handle in private.items()
    }


def _find(session: Any, kind: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for handle in session.findObjects([(P.CKA_CLASS, kind), (P.CKA_KEY_TYPE, P.CKK_EC_EDWARDS)]):
        [raw] = session.getAttributeValue(handle, [P.CKA_LABEL], allAsBinary=True)
        label = bytes(raw or ()).decode(errors="backslashreplace")
        if label in found:
            raise KeyRefusedError(f"two keys have the label {label!r}: remove the wrong one")
        found[label] = handle
    return found


def _checked(
    session: Any, label: str, public: Any, private: Any, demanded: Mapping[int, bool]
) -> _Key:
    """The key, once its attributes were read back and its two halves were seen to match."""
    held = dict(zip(demanded, session.getAttributeValue(private, list(demanded)), strict=True))
    for attribute, wanted in demanded.items():
        # A token that does not know an ability does not have it; about extraction it must know.
        absent = held[attribute] is None and not wanted and attribute != P.CKA_EXTRACTABLE
        if held[attribute] is not wanted and not absent:
            raise KeyRefusedError(
                f"key {label!r} has {P.CKA[attribute]} = {held[attribute]}, not {wanted}: it is"
                " less protected than a signing key must be; make a new one"
            )
    point = _point(session.getAttributeValue(public, [P.CKA_EC_POINT])[0])
    proof = b"kura.selftest.v1" + secrets.token_bytes(32)
    try:
        VerifyKey(point).verify(proof, bytes(session.sign(private, proof, _EDDSA)))
    except CryptoError:
        raise KeyRefusedError(f"the public key of {label!r} is another key's: remove it") from None
    return _Key(private, point)


def _point(value: Any) -> bytes:
    """The raw 32 bytes of CKA_EC_POINT, which tokens give bare or as a DER OCTET STRING."""
    point = bytes(value or ())
    match = _POINT.fullmatch(point)
    if not match:
        raise KeyRefusedError(f"an EC_POINT of {len(point)} bytes is no Ed25519 key: remove it")
    return match[1]
