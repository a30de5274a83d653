"""Later versions, vetoes and recoveries: who signed them, and what they are about."""

from typing import Any

import pytest

from policies.changes import open_policy, open_recover, open_veto
from policies.codes import Code, Refusal
from policies.policy_file import parse_policy
from policies.statements import Signed, Veto, digest, encode
from tests.factories import (
    NOW,
    key,
    make_change,
    make_policy,
    make_recover,
    policy_file,
    public,
    sign,
    sign_bytes,
)
from tests.malformed import with_field

FIRST = make_policy()  # changed by 1 of operations (alice, bob) and 1 of risk (bob, carol)
NEXT: dict[str, Any] = {"version": 2, "previous": FIRST.digest}
FILE = policy_file(cap="60 SOL", **NEXT)
RECOVER = encode(make_recover())


def changes(subject: str, of: bytes, *people: str, **says: Any) -> list[Signed]:
    signed = {"previous": FIRST.digest} | says
    return [sign(key(who), make_change(subject, digest(of), who, **signed)) for who in people]


def refused(outcome: object) -> tuple[Code, str]:
    assert isinstance(outcome, Refusal)
    return outcome.code, outcome.message


def test_a_version_that_follows_is_opened() -> None:
    opened = open_policy(FIRST, FILE, changes("policy", FILE, "alice", "carol"), NOW)
    assert opened == parse_policy(FILE)


@pytest.mark.parametrize(
    ("file", "code", "field"),
    [
        (FILE + b"cap = 1\n", Code.POLICY_MALFORMED, "rules.0.tiers.2.cap"),
        (b"", Code.POLICY_MALFORMED, ""),
        (policy_file(version=3, previous=FIRST.digest), Code.POLICY_OUT_OF_ORDER, "previous"),
        (policy_file(version=2, previous="0" * 64), Code.POLICY_OUT_OF_ORDER, "previous"),
        (policy_file(), Code.POLICY_OUT_OF_ORDER, "previous"),
    ],
)
def test_a_version_that_does_not_follow_is_refused(file: bytes, code: Code, field: str) -> None:
    outcome = open_policy(FIRST, file, changes("policy", file, "alice", "carol"), NOW)
    assert isinstance(outcome, Refusal)
    assert (outcome.code, outcome.field) == (code, field)


def test_what_the_quorum_did_not_sign_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a file that is made for it takes the signer from everybody else for many seconds."""
    monkeypatch.delattr("policies.changes.parse_policy")
    for people in ((), ("alice",), ("bob",)):
        outcome = open_policy(FIRST, FILE, changes("policy", FILE, *people), NOW)
        assert refused(outcome)[0] is Code.QUORUM_MISSING


def test_the_quorum_in_force_signs_and_not_the_one_that_the_version_brings() -> None:
    eased = policy_file(policy_quorum=["1 of risk"], **NEXT)
    signed = changes("policy", eased, "carol")
    assert refused(open_policy(FIRST, eased, signed, NOW))[0] is Code.QUORUM_MISSING
    signed = changes("policy", eased, "carol", "bob")
    assert not isinstance(open_policy(FIRST, eased, signed, NOW), Refusal)
    text = FILE.decode().replace(public("carol"), public("dave")).encode()
    forged = make_change("policy", digest(text), "carol", previous=FIRST.digest, key=public("dave"))
    signed = [*changes("policy", text, "alice"), sign(key("dave"), forged)]
    assert refused(open_policy(FIRST, text, signed, NOW))[1] == "the signature is not carol's"


@pytest.mark.parametrize(
    "says", [{"previous": ""}, {"subject": "book"}, {"subject": "recover"}, {"digest": "0" * 64}]
)
def test_signatures_under_something_else_do_not_count(says: dict[str, Any]) -> None:
    subject = says.pop("subject", "policy")
    signed = changes(subject, FILE, "alice", "carol", **says)
    code, words = refused(open_policy(FIRST, FILE, signed, NOW))
    assert (code, words) == (Code.QUORUM_MISSING, "alice signed something else")


def veto(person: str = "carol", with_key: str = "", **says: Any) -> Signed:
    name = with_key or person
    fields = {"key": public(name), "person": person, "change": digest(FILE)} | says
    return sign(key(name), Veto(**fields))


def test_any_officer_vetoes_alone() -> None:
    for person, with_key in (("alice", ""), ("alice", "alice-2"), ("bob", ""), ("carol", "")):
        opened = open_veto(FIRST, veto(person, with_key))
        assert isinstance(opened, Veto)
        assert (opened.person, opened.change) == (person, digest(FILE))


@pytest.mark.parametrize(
    "bad",
    [
        veto("mallory"),
        veto("exchange"),  # a requester is no officer
        veto("carol", "bob"),
        veto("carol", "mallory"),
        Signed(veto().statement, bytes(64)),
        Signed(veto().statement, veto("bob").signature),
        sign_bytes(key("carol"), b""),
        sign_bytes(key("carol"), veto().statement + b"\n"),
        sign(key("carol"), make_change("policy", digest(FILE), "carol")),
    ],
)
def test_a_veto_of_anybody_else_is_refused(bad: Signed) -> None:
    assert refused(open_veto(FIRST, bad))[0] is Code.VETO_INVALID


def test_a_service_does_not_veto() -> None:
    policy = make_policy(services={"screening": [public("screening")]})
    assert refused(open_veto(policy, veto("screening")))[0] is Code.VETO_INVALID


def test_every_flipped_bit_of_a_veto_is_refused() -> None:
    whole = veto().statement + veto().signature
    for position in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            bad = Signed(bytes(changed[:-64]), bytes(changed[-64:]))
            assert isinstance(open_veto(FIRST, bad), Refusal)


def test_every_flipped_bit_of_a_recovery_is_refused() -> None:
    signed = changes("recover", RECOVER, "alice", "carol")
    for position in range(len(RECOVER)):
        for bit in range(8):
            changed = bytearray(RECOVER)
            changed[position] ^= 1 << bit
            assert isinstance(open_recover(FIRST, bytes(changed), signed, NOW), Refusal)


def test_a_recovery_is_signed_by_the_change_quorum() -> None:
    signed = changes("recover", RECOVER, "alice", "carol")
    assert open_recover(FIRST, RECOVER, signed, NOW) == make_recover()
    for too_few in (signed[:1], signed[1:], []):
        assert refused(open_recover(FIRST, RECOVER, too_few, NOW))[0] is Code.QUORUM_MISSING


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ("policy", {}),
        ("book", {}),
        ("recover", {"previous": ""}),
        ("recover", {"previous": "0" * 64}),  # signed under another policy
        ("recover", {"digest": digest(encode(make_recover(new_journal="ab" * 16)))}),
        ("recover", {"expires": NOW}),
    ],
)
def test_signatures_under_another_recovery_do_not_count(subject: str, says: dict[str, Any]) -> None:
    signed = changes(subject, RECOVER, "alice", "carol", **says)
    assert refused(open_recover(FIRST, RECOVER, signed, NOW))[0] is Code.QUORUM_MISSING


def test_a_malformed_recovery_is_refused() -> None:
    for field in ("new_journal", "audit_key", "created"):
        data = with_field(make_recover(), field, "")
        signed = changes("recover", data, "alice", "carol")
        code, words = refused(open_recover(FIRST, data, signed, NOW))
        assert (code, "the recovery is malformed" in words) == (Code.QUORUM_MISSING, True)
