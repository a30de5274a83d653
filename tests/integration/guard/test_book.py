"""The address book moves one version at a time, by quorum, and acts at once."""

from dataclasses import replace

from policies.codes import Code
from policies.statements import Book, Destination, Signed, digest, encode
from signer.governance import Governance
from tests.factories import (
    CUSTOMER,
    NOW,
    STRANGER,
    key,
    make_book,
    make_change,
    make_intent,
    public,
    sign,
)
from tests.signing import SignerRig, apply_book, apply_statement, transfer

FIRST = make_book()  # the rig has it in force
SECOND = make_book(STRANGER, version=2, previous=digest(encode(FIRST)))
PEOPLE = ("alice", "carol")


def pays(rig: SignerRig, destination: Destination, number: int) -> bool:
    intent = make_intent(destination=destination, request_id=f"w-{number}")
    result = rig.ask(transfer(intent, nonce_value=number.to_bytes(32, "big")))
    code = result.refusal.code
    assert code in {"", Code.DESTINATION_NOT_ALLOWED}
    return not code


def apply(rig: SignerRig, book: Book) -> None:
    assert rig.ask(apply_book(book, *PEOPLE)).applied.digest == digest(encode(book))


def test_what_is_added_and_removed_counts_at_once(rig: SignerRig) -> None:
    assert (pays(rig, CUSTOMER, 1), pays(rig, STRANGER, 2)) == (True, False)
    apply(rig, SECOND)
    assert (pays(rig, CUSTOMER, 3), pays(rig, STRANGER, 4)) == (True, True)
    removal = Book(version=3, previous=digest(encode(SECOND)), add=(), remove=FIRST.add)
    apply(rig, removal)
    assert (pays(rig, CUSTOMER, 5), pays(rig, STRANGER, 6)) == (False, True)
    rig.restart()
    assert (pays(rig, CUSTOMER, 7), pays(rig, STRANGER, 8)) == (False, True)


def test_a_tag_is_removed_alone(rig: SignerRig) -> None:
    tagged = Destination(CUSTOMER.address, "7")
    apply(rig, make_book(tagged, version=2, previous=SECOND.previous))
    third = make_book(version=3, previous=Governance(rig.journal).book_version()[1])
    apply(rig, replace(third, add=(), remove=FIRST.add))
    assert (pays(rig, CUSTOMER, 1), pays(rig, tagged, 2)) == (False, True)


def test_a_version_needs_its_quorum(rig: SignerRig) -> None:
    for people in ((), ("alice",), ("bob",), ("bob", "bob"), ("carol", "carol")):
        assert rig.refused(apply_book(SECOND, *people)) is Code.QUORUM_MISSING, people
    second_key = make_change("book", digest(encode(SECOND)), "alice", previous=SECOND.previous)
    keys = (second_key, replace(second_key, key=public("alice-2")))
    assert rig.refused(apply_statement(encode(SECOND), keys)) is Code.QUORUM_MISSING
    assert rig.ask(apply_book(SECOND, "bob", "alice")).applied.digest


def test_a_wrong_signature_refuses_the_version(rig: SignerRig) -> None:
    """Even beside a whole quorum: somebody made it on purpose."""
    alice, carol = (
        make_change("book", digest(encode(SECOND)), name, previous=SECOND.previous)
        for name in PEOPLE
    )
    for wrong in (
        sign(key("mallory"), carol),
        replace(carol, key=public("alice")),
        replace(carol, person="exchange", key=public("exchange")),
        replace(carol, subject="policy"),
        replace(carol, digest="0" * 64),
        replace(carol, previous=""),
        replace(carol, expires=NOW),
        sign(key("exchange"), make_intent()),
        Signed(b"", b""),
    ):
        job = apply_statement(encode(SECOND), (alice, wrong))
        assert rig.refused(job) is Code.QUORUM_MISSING, wrong
        job = apply_statement(encode(SECOND), (alice, carol, wrong))
        assert rig.refused(job) is Code.QUORUM_MISSING, wrong
    many = apply_statement(encode(SECOND), [alice] * 64 + [carol])
    assert rig.refused(many) is Code.QUORUM_MISSING


def test_versions_come_in_order(rig: SignerRig) -> None:
    for book in (
        replace(SECOND, version=1),
        replace(SECOND, version=3),
        replace(SECOND, previous=""),
        replace(SECOND, previous="0" * 64),
        make_book(STRANGER),
    ):
        assert rig.refused(apply_book(book, *PEOPLE)) is Code.BOOK_OUT_OF_ORDER, book
    apply(rig, SECOND)
    assert rig.refused(apply_book(FIRST, *PEOPLE)) is Code.BOOK_OUT_OF_ORDER  # a replay


def test_the_version_in_force_is_confirmed_again(rig: SignerRig) -> None:
    """Custody asks again after a lost answer."""
    apply(rig, SECOND)
    before = rig.remembered()
    apply(rig, SECOND)
    assert rig.remembered() == before


def test_a_malformed_version_is_refused(rig: SignerRig) -> None:
    elsewhere = replace(SECOND.add[0], network="stellar:testnet")
    for statement in (
        b"",
        b"{}",
        encode(SECOND) + b"\n",
        encode(replace(SECOND, add=(elsewhere,))),
        encode(make_intent()),
    ):
        changes = [
            make_change("book", digest(statement), name, previous=SECOND.previous)
            for name in PEOPLE
        ]
        assert rig.refused(apply_statement(statement, changes)) is Code.BOOK_MALFORMED, statement
