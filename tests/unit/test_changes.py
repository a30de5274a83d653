"""Signed changes: a version follows the one in force, and its quorum signed exactly its bytes."""

from dataclasses import replace
from typing import Any

import pytest

from policies.changes import CHANGES_MAX, open_book, refuse_unsigned_policy
from policies.codes import Code, Refusal
from policies.statements import Book, Signed, digest, encode
from tests.factories import (
    NOW,
    key,
    make_approval,
    make_book,
    make_change,
    make_intent,
    make_policy,
    public,
    sign,
    sign_bytes,
)
from tests.malformed import raw, with_field

POLICY = make_policy()  # book and policy: 1 of operations (alice, bob), 1 of risk (bob, carol)
BOOK = make_book()
DATA = encode(BOOK)
FIRST = (0, "")


def change(person: str, with_key: str = "", subject: str = "book", **changes: Any) -> Signed:
    """Return `person`'s signature under DATA, made with the key that it names."""
    name = with_key or person
    statement = make_change(subject, digest(DATA), person, key=public(name), **changes)
    return sign(key(name), statement)


def opened(*changes: Signed, data: bytes = DATA, in_force: tuple[int, str] = FIRST) -> object:
    return open_book(POLICY, data, changes, in_force=in_force, now=NOW)


def refused(outcome: object) -> tuple[Code, str]:
    assert isinstance(outcome, Refusal)
    return outcome.code, outcome.message


def test_a_version_that_its_quorum_signed_is_returned() -> None:
    assert opened(change("alice"), change("carol")) == BOOK
    assert opened(change("bob"), change("alice", "alice-2")) == BOOK


@pytest.mark.parametrize(
    ("people", "seats"),
    [
        ([], "1 of operations and 1 of risk"),
        (["alice"], "1 of risk"),
        (["carol"], "1 of operations"),
        (["bob"], "1 of risk"),
        (["bob", "bob"], "1 of risk"),
    ],
)
def test_too_few_people_are_named(people: list[str], seats: str) -> None:
    outcome = opened(*(change(person) for person in people))
    assert refused(outcome) == (Code.QUORUM_MISSING, f"still needs {seats}")


def test_two_keys_of_one_person_count_once() -> None:
    outcome = opened(change("alice"), change("alice", "alice-2"))
    assert refused(outcome) == (Code.QUORUM_MISSING, "still needs 1 of risk")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (change("alice", "mallory"), "the signature is not alice's"),
        (change("alice", "bob"), "the signature is not alice's"),
        (change("mallory"), "the signature is not mallory's"),
        (change("exchange"), "the signature is not exchange's"),
        (Signed(change("alice").statement, bytes(64)), "the signature is not alice's"),
        (Signed(change("alice").statement, b""), "the signature is not alice's"),
        (sign(key("bob"), make_change("book", digest(DATA), "alice")), "is not alice's"),
        (change("alice", expires=NOW), "the signature of alice has expired"),
        (change("alice", subject="policy"), "alice signed something else"),
        (change("alice", subject="recover"), "alice signed something else"),
        (change("alice", digest="0" * 64), "alice signed something else"),
        (change("alice", previous="0" * 64), "alice signed something else"),
        (sign(key("alice"), make_approval(POLICY, make_intent())), "a change is malformed: kind"),
        (sign_bytes(key("alice"), b"{}"), "a change is malformed: kind"),
        (sign_bytes(key("alice"), b""), "a change is malformed"),
    ],
)
def test_one_bad_signature_refuses_the_version(bad: Signed, words: str) -> None:
    """Even beside a full quorum: somebody made it on purpose."""
    code, message = refused(opened(change("bob"), change("carol"), bad))
    assert code is Code.QUORUM_MISSING
    assert words in message


def test_no_more_signatures_than_a_job_may_carry() -> None:
    code, message = refused(opened(*[change("alice")] * (CHANGES_MAX + 1)))
    assert (code, "more than 64" in message) == (Code.QUORUM_MISSING, True)


def test_every_flipped_bit_of_the_version_is_refused() -> None:
    signatures = change("alice"), change("carol")
    for position in range(len(DATA)):
        for bit in range(8):
            changed = bytearray(DATA)
            changed[position] ^= 1 << bit
            assert isinstance(opened(*signatures, data=bytes(changed)), Refusal)


@pytest.mark.parametrize(
    ("version", "previous", "in_force"),
    [
        (1, "", (1, digest(DATA))),  # again
        (2, "", FIRST),  # one left out
        (2, "", (1, digest(DATA))),  # follows nothing
        (2, digest(b"another"), (1, digest(DATA))),  # follows another history
        (1, digest(DATA), FIRST),
        (3, digest(DATA), (1, digest(DATA))),
    ],
)
def test_a_version_follows_the_one_in_force(
    version: int, previous: str, in_force: tuple[int, str]
) -> None:
    data = encode(replace(BOOK, version=version, previous=previous))
    code, _ = refused(opened(*signatures_of(data, previous), data=data, in_force=in_force))
    assert code is Code.BOOK_OUT_OF_ORDER


def signatures_of(data: bytes, previous: str) -> list[Signed]:
    changes = [
        make_change("book", digest(data), who, previous=previous) for who in ("bob", "carol")
    ]
    return [sign(key(change.person), change) for change in changes]


def test_the_next_version_is_taken() -> None:
    book = replace(BOOK, version=2, previous=digest(DATA), add=(), remove=BOOK.add)
    data, first = encode(book), (1, digest(DATA))
    assert opened(*signatures_of(data, digest(DATA)), data=data, in_force=first) == book


def test_signatures_under_one_version_are_no_quorum_for_the_next() -> None:
    """The same additions again, after a removal: old signatures do not bring them back."""
    data = encode(replace(BOOK, version=3, previous=digest(b"version 2")))
    code, message = refused(
        opened(change("alice"), change("carol"), data=data, in_force=(2, digest(b"version 2")))
    )
    assert (code, message) == (Code.QUORUM_MISSING, "alice signed something else")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", ""),
        (b"{}", "kind"),
        (DATA + b"\n", ""),
        (encode(make_intent()), "kind"),
        (with_field(BOOK, "version", "0"), "version"),
        (with_field(BOOK, "add", []), "add"),
        (raw({"kind": Book.KIND}), "add"),
    ],
)
def test_a_malformed_version_names_its_field(data: bytes, field: str) -> None:
    refusal = opened(*signatures_of(data, ""), data=data)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == (Code.BOOK_MALFORMED, field)


def test_an_entry_for_a_network_that_the_policy_does_not_know_is_refused() -> None:
    entry = replace(BOOK.add[0], network="solana:mainnet")
    data = encode(replace(BOOK, add=(*BOOK.add, entry)))
    refusal = opened(*signatures_of(data, ""), data=data)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == (Code.BOOK_MALFORMED, "add")
    assert "solana:mainnet is no network" in refusal.message


def test_the_first_policy_is_signed_by_the_quorum_that_it_names() -> None:
    changes = [make_change("policy", POLICY.digest, who) for who in ("alice", "carol")]
    signed = [sign(key(change.person), change) for change in changes]
    assert refuse_unsigned_policy(POLICY, signed, NOW) is None
    for too_few in ([], signed[:1], signed[1:]):
        assert refused(refuse_unsigned_policy(POLICY, too_few, NOW))[0] is Code.QUORUM_MISSING
    other = make_policy(cap="49 SOL")
    assert refused(refuse_unsigned_policy(other, signed, NOW))[1] == "alice signed something else"


def test_a_policy_that_names_a_previous_one_needs_signatures_that_name_it_too() -> None:
    policy = make_policy(version=2, previous=POLICY.digest)
    changes = [make_change("policy", policy.digest, who) for who in ("alice", "carol")]
    signed = [sign(key(change.person), change) for change in changes]
    assert refused(refuse_unsigned_policy(policy, signed, NOW))[1] == "alice signed something else"
