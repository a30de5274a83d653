"""One officer freezes, a quorum clears, each in its epoch: nothing of an earlier one counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.codes import Code, Refusal
from policies.freezes import SIGNATURES_MAX, epoch_after, open_freeze, open_unfreeze
from policies.policy import Policy
from policies.statements import FREEZES_MAX, Freeze, Signed, Unfreeze, digest, encode
from tests.factories import (
    NOW,
    key,
    make_change,
    make_freeze,
    make_policy,
    make_unfreeze,
    public,
    sign,
    sign_bytes,
)
from tests.malformed import refusal, with_field
from tests.strategies import PROPERTY, digests

POLICY = make_policy()  # changed by 1 of operations (alice, bob) and 1 of risk (bob, carol)
FIRST, SECOND = sorted(digest(encode(make_freeze(who))) for who in ("alice", "bob"))
EPOCH = epoch_after("", [FIRST])


def freeze(person: str = "alice", with_key: str = "", **says: Any) -> Signed:
    name = with_key or person
    return sign(key(name), make_freeze(person, **{"key": public(name)} | says))


def unfreeze(person: str, *freezes: str, with_key: str = "", **says: Any) -> Signed:
    name = with_key or person
    statement = make_unfreeze(person, *(freezes or [FIRST]), **{"key": public(name)} | says)
    return sign(key(name), statement)


def refused(outcome: object) -> tuple[Code, str]:
    assert isinstance(outcome, Refusal)
    assert outcome.message
    return outcome.code, outcome.field


@pytest.mark.parametrize("wallet", ["*", "hot-sol"])
def test_any_officer_freezes_alone(wallet: str) -> None:
    for person, with_key in (("alice", ""), ("alice", "alice-2"), ("bob", ""), ("carol", "")):
        opened = open_freeze(POLICY, freeze(person, with_key, wallet=wallet), "")
        assert isinstance(opened, Freeze)
        assert (opened.person, opened.wallet) == (person, wallet)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (freeze("mallory"), "key"),
        (freeze("exchange"), "key"),  # a requester is no officer
        (freeze("watchtower"), "key"),
        (freeze("carol", "bob"), "key"),
        (Signed(freeze().statement, bytes(64)), "key"),
        (Signed(freeze().statement, freeze("bob").signature), "key"),
        (Signed(freeze().statement, b""), "key"),
        (freeze(wallet="hot-btc"), "wallet"),
        (sign_bytes(key("alice"), with_field(make_freeze(), "wallet", "")), "wallet"),
        (sign_bytes(key("alice"), with_field(make_freeze(), "wallet", "**")), "wallet"),
        (sign_bytes(key("alice"), with_field(make_freeze(), "epoch", "0")), "epoch"),
        (sign_bytes(key("alice"), freeze().statement + b"\n"), ""),
        (sign_bytes(key("alice"), b""), ""),
        (sign(key("alice"), make_change("policy", FIRST, "alice")), "kind"),
        (unfreeze("alice"), "kind"),
    ],
)
def test_a_freeze_of_anybody_else_or_anything_else_is_refused(bad: Signed, field: str) -> None:
    assert refused(open_freeze(POLICY, bad, "")) == (Code.FREEZE_INVALID, field)


def test_a_service_does_not_freeze() -> None:
    policy = make_policy(services={"screening": [public("screening")]})
    assert refused(open_freeze(policy, freeze("screening"), ""))[0] is Code.FREEZE_INVALID


def test_a_removed_officer_freezes_no_more() -> None:
    after = make_policy(alice=[public("alice-2")])
    assert refused(open_freeze(after, freeze("alice"), ""))[0] is Code.FREEZE_INVALID
    assert isinstance(open_freeze(after, freeze("alice", "alice-2"), ""), Freeze)


@pytest.mark.parametrize(
    ("named", "now"), [("", EPOCH), (EPOCH, ""), (epoch_after("", [SECOND]), EPOCH)]
)
def test_what_was_signed_for_another_epoch_is_refused(named: str, now: str) -> None:
    assert refused(open_freeze(POLICY, freeze(epoch=named), now)) == (Code.EPOCH_PASSED, "epoch")
    quorum = [unfreeze("alice", epoch=named), unfreeze("carol", epoch=named)]
    assert refused(open_unfreeze(POLICY, quorum, now, NOW)) == (Code.EPOCH_PASSED, "epoch")
    assert isinstance(open_freeze(POLICY, freeze(epoch=named), named), Freeze)
    assert open_unfreeze(POLICY, quorum, named, NOW) == (FIRST,)


def test_every_flipped_bit_of_a_freeze_is_refused() -> None:
    signed = freeze()
    whole = signed.statement + signed.signature
    for position in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            bad = Signed(bytes(changed[:-64]), bytes(changed[-64:]))
            assert isinstance(open_freeze(POLICY, bad, ""), Refusal)


def test_every_flipped_bit_of_an_unfreeze_is_refused() -> None:
    other, signed = unfreeze("carol"), unfreeze("alice")
    whole = signed.statement + signed.signature
    for position in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            bad = Signed(bytes(changed[:-64]), bytes(changed[-64:]))
            assert isinstance(open_unfreeze(POLICY, [other, bad], "", NOW), Refusal)


@pytest.mark.parametrize("people", [["alice", "carol"], ["carol", "bob"], ["bob", "alice"]])
def test_the_change_quorum_clears(people: list[str]) -> None:
    signed = [unfreeze(person, SECOND, FIRST) for person in people]
    assert open_unfreeze(POLICY, signed, "", NOW) == (FIRST, SECOND)
    assert open_unfreeze(POLICY, [*signed, *signed], "", NOW) == (FIRST, SECOND)


@pytest.mark.parametrize(
    "signed",
    [
        [unfreeze("alice")],
        [unfreeze("bob")],  # in both groups, but one person takes one seat
        [unfreeze("alice"), unfreeze("alice")],
        [unfreeze("alice"), unfreeze("alice", with_key="alice-2")],
        [unfreeze("bob"), unfreeze("bob")],
    ],
)
def test_fewer_than_the_quorum_clear_nothing(signed: list[Signed]) -> None:
    assert refused(open_unfreeze(POLICY, signed, "", NOW))[0] is Code.QUORUM_MISSING


def test_a_quorum_of_the_address_book_clears_nothing() -> None:
    policy = make_policy(book_quorum=["1 of operations"], policy_quorum=["2 of operations"])
    assert refused(open_unfreeze(policy, [unfreeze("alice")], "", NOW))[0] is Code.QUORUM_MISSING


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (unfreeze("carol", SECOND), "freezes"),
        (unfreeze("carol", FIRST, SECOND), "freezes"),
        (unfreeze("carol", expires=NOW), "expires"),
        (unfreeze("carol", expires=0), "expires"),
        (unfreeze("carol", with_key="bob"), "key"),
        (unfreeze("mallory"), "key"),
        (unfreeze("exchange"), "key"),
        (Signed(unfreeze("carol").statement, unfreeze("alice").signature), "key"),
        (freeze("carol"), "kind"),
        (sign_bytes(key("carol"), b"[]"), "kind"),
    ],
)
def test_one_bad_signature_spoils_all(bad: Signed, field: str) -> None:
    """What somebody signed otherwise is told, and not left out in silence."""
    good = [unfreeze("alice"), unfreeze("bob")]
    assert open_unfreeze(POLICY, good, "", NOW) == (FIRST,)
    assert refused(open_unfreeze(POLICY, [*good, bad], "", NOW)) == (Code.UNFREEZE_INVALID, field)


def test_a_signature_holds_until_it_expires() -> None:
    signed = [unfreeze("alice", expires=NOW + 1), unfreeze("carol", expires=NOW + 1)]
    assert open_unfreeze(POLICY, signed, "", NOW) == (FIRST,)
    assert refused(open_unfreeze(POLICY, signed, "", NOW + 1))[0] is Code.UNFREEZE_INVALID


def test_no_signature_and_too_many_are_refused() -> None:
    assert refused(open_unfreeze(POLICY, [], "", NOW))[0] is Code.UNFREEZE_INVALID
    many = [unfreeze("alice"), unfreeze("carol")] * (SIGNATURES_MAX // 2)
    assert open_unfreeze(POLICY, many, "", NOW) == (FIRST,)
    assert refused(open_unfreeze(POLICY, [*many, many[0]], "", NOW))[0] is Code.UNFREEZE_INVALID


@pytest.mark.parametrize(
    ("freezes", "reason"),
    [
        ([], f"must name 1 to {FREEZES_MAX}"),
        ([SECOND, FIRST], "must be sorted, each named once"),
        ([FIRST, FIRST], "must be sorted, each named once"),
        ([f"{number:064x}" for number in range(FREEZES_MAX + 1)], f"must name 1 to {FREEZES_MAX}"),
    ],
)
def test_a_list_is_sorted_and_neither_empty_nor_endless(freezes: list[str], reason: str) -> None:
    data = with_field(make_unfreeze("alice", FIRST), "freezes", freezes)
    error = refusal(Unfreeze, data)
    assert (error.field, error.reason) == ("freezes", reason)
    signed = [sign_bytes(key("alice"), data), unfreeze("carol")]
    assert refused(open_unfreeze(POLICY, signed, "", NOW)) == (Code.UNFREEZE_INVALID, "freezes")


def test_the_longest_list_is_a_statement() -> None:
    digests = [f"{number:064x}" for number in range(FREEZES_MAX)]
    signed = [unfreeze(person, *digests) for person in ("alice", "carol")]
    assert open_unfreeze(POLICY, signed, "", NOW) == tuple(digests)


def test_the_epoch_is_as_the_document_says() -> None:
    """docs/statements.md: whoever writes another verifier gets the same."""
    value = f'{{"epoch":"","freezes":["{FIRST}","{SECOND}"],"kind":"kura.epoch.v1"}}'
    assert epoch_after("", [SECOND, FIRST]) == digest(value.encode())


@PROPERTY
@given(
    st.just("") | digests,
    st.lists(digests, min_size=1, max_size=4, unique=True),
    st.just("") | digests,
    st.lists(digests, min_size=1, max_size=4, unique=True),
)
def test_an_epoch_comes_of_one_epoch_and_one_list(
    epoch: str, freezes: list[str], other: str, others: list[str]
) -> None:
    same = (epoch, {*freezes}) == (other, {*others})
    assert (epoch_after(epoch, freezes) == epoch_after(other, others)) is same
    assert epoch_after(epoch, freezes) == epoch_after(epoch, freezes[::-1])
    assert epoch_after(epoch, freezes) not in (epoch, "")


def in_force(policy: Policy, *people: str) -> bool:
    return open_unfreeze(policy, [unfreeze(who) for who in people], "", NOW) == (FIRST,)


def test_the_quorum_in_force_clears() -> None:
    stricter = make_policy(policy_quorum=["2 of operations", "1 of risk"])
    assert not in_force(stricter, "alice", "carol")
    assert in_force(stricter, "alice", "bob", "carol")
