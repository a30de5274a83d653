"""Policy and address book as the signer has them in force: custody follows, and never leads."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from custody.flows.book import BookState, create_book_version
from custody.flows.housekeeping import apply_book, read_status
from custody.flows.sign import claim
from custody.flows.status import gather, next_actions
from custody.store import signers
from custody.store.signers import SignerRow
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.statements import Book, digest, encode
from tests.factories import CUSTOMER, HOUR, SOL, STRANGER, make_book
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.mischief import Crash

house = houses.house
FIRST, RIVAL = make_book(CUSTOMER), make_book(STRANGER)
LARGE = 20 * SOL


def after(book: Book, **changes: Any) -> Book:
    """Return a version that follows `book`; it has the same entries unless `changes` say so."""
    follows = {"version": book.version + 1, "previous": digest(encode(book))}
    return replace(book, **{**follows, **changes})


def refusal(answer: object) -> tuple[Code, str]:
    assert isinstance(answer, Refusal), answer
    return answer.code, answer.field


def state(answer: object) -> str:
    assert isinstance(answer, BookState), answer
    return answer.state


async def seen(house: House) -> SignerRow:
    async with house.parts.database.transaction() as connection:
        row = await signers.latest(connection)
    assert row is not None
    return row


@pytest.fixture
async def funded(house: House) -> House:
    """A house whose address book is still empty."""
    house.pay(house.wallet, 100 * SOL)
    await house.step()
    return house


async def test_a_version_is_pending_until_the_signer_has_it(funded: House) -> None:
    house, statement, signed = funded, encode(FIRST), funded.changes(FIRST)
    for _ in range(2):
        answer = await create_book_version(house.parts, statement, signed)
        assert answer == BookState("pending", digest(statement))
    assert refusal(await house.submit(house.intent()))[0] is Code.DESTINATION_NOT_ALLOWED
    await house.step()
    for same in (signed, signed[::-1], house.changes(FIRST, ("bob", "carol"))):
        answer = await create_book_version(house.parts, statement, same)
        assert answer == BookState("applied", digest(statement))
    assert (await seen(house)).book_digest == digest(statement)
    await house.create()


async def test_versions_that_custody_refuses_are_not_kept(funded: House) -> None:
    house, statement = funded, encode(FIRST)
    other, stale = house.changes(RIVAL), house.changes(FIRST)
    for name, book, people, expected in (
        ("one officer", FIRST, ["alice"], (Code.QUORUM_MISSING, "")),
        ("one group", FIRST, ["alice", "bob"], (Code.QUORUM_MISSING, "")),
        ("nobody", FIRST, [], (Code.QUORUM_MISSING, "")),
        ("too early", after(FIRST), ["alice", "carol"], (Code.BOOK_OUT_OF_ORDER, "book.version")),
        (
            "another chain",
            make_book(add=(replace(FIRST.add[0], network="solana:mainnet"),)),
            ["alice", "carol"],
            (Code.BOOK_MALFORMED, "book.add"),
        ),
    ):
        assert refusal(await house.book(book, people)) == expected, name
    answer = await create_book_version(house.parts, statement, other)
    assert refusal(answer)[0] is Code.QUORUM_MISSING
    for spoiled, field in ((b"{", "book"), (statement + b"\n", "book"), (b"{}", "book.kind")):
        answer = await create_book_version(house.parts, spoiled, stale)
        assert refusal(answer) == (Code.BOOK_MALFORMED, field)
    house.clock.ahead_ms = HOUR
    answer = await create_book_version(house.parts, statement, stale)
    assert refusal(answer)[0] is Code.QUORUM_MISSING
    assert await house.sql("SELECT count(*) FROM book_version") == [(0,)]


async def test_what_the_signer_refuses_can_be_signed_anew(funded: House) -> None:
    house, statement, stale = funded, encode(FIRST), funded.changes(FIRST)
    assert state(await create_book_version(house.parts, statement, stale)) == "pending"
    house.clock.ahead_ms = HOUR  # the signatures expire on the way
    await house.step()
    answer = await create_book_version(house.parts, statement, stale)
    assert isinstance(answer, Refusal)
    assert answer.message.startswith("the signer refused it: QUORUM_MISSING")
    assert state(await house.book(FIRST)) == "pending"
    await house.step()
    assert state(await house.book(FIRST)) == "applied"


async def test_of_two_rival_versions_at_the_same_time_one_is_kept(
    funded: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, keep, both_looked = funded, signers.add_book, asyncio.Barrier(2)

    async def add_together(*arguments: Any) -> bool:
        await both_looked.wait()
        return await keep(*arguments)

    monkeypatch.setattr(signers, "add_book", add_together)
    answers = await asyncio.gather(house.book(FIRST), house.book(RIVAL))
    (kept,) = [answer.digest for answer in answers if isinstance(answer, BookState)]
    (refused,) = [refusal(answer) for answer in answers if isinstance(answer, Refusal)]
    assert refused == (Code.BOOK_OUT_OF_ORDER, "book.version")
    await house.step()
    assert (await seen(house)).book_digest == kept


async def test_a_removal_acts_on_what_is_in_the_queue(house: House) -> None:
    await house.ready()
    queued, signing = await house.create(), await house.create()
    await house.sql(
        "UPDATE withdrawal SET retry_at = '9999-01-01' WHERE digest = %s", queued.digest
    )
    await claim(house.parts)
    second = after(FIRST, add=RIVAL.add, remove=FIRST.add)
    assert state(await house.book(second)) == "pending"
    await apply_book(house.parts)
    await house.step()
    for row, by in ((queued, "custody"), (signing, "signer")):
        ended = await house.row(row)
        assert (ended.state, ended.refused_by) == ("BLOCKED", by)
        assert ended.refusal_code == "DESTINATION_NOT_ALLOWED"
    assert refusal(await house.book(RIVAL)) == (Code.BOOK_OUT_OF_ORDER, "book.version")
    await house.create(destination=STRANGER)


async def entries(house: House) -> list[Any]:
    return await house.sql("SELECT address FROM book_entry ORDER BY sequence")


async def told(house: House) -> str:
    return "\n".join(next_actions(await gather(house.parts)))


async def give(house: House, *books: Book) -> None:
    """Let the signer take versions past custody."""
    for book in books:
        signed = [
            wire.SignedStatement(statement=item.statement, signature=item.signature)
            for item in house.changes(book)
        ]
        version = wire.BookVersion(statement=encode(book), changes=signed)
        (result,) = await house.gateway.ask([wire.Job(apply=wire.Apply(book=version))])
        assert result.applied.digest == digest(encode(book))


async def test_a_signer_that_was_recovered_with_an_empty_book_is_followed(house: House) -> None:
    await house.ready()
    second = after(FIRST, add=RIVAL.add, remove=FIRST.add)
    await house.book(second)
    await house.step()
    asked = await house.create(destination=STRANGER)
    await house.recover()
    await house.step()
    house.lost = frozenset({asked.digest})  # its nonce is free again, its money is not
    assert await entries(house) == []
    assert "address book went back from version 2 to an empty one" in await told(house)
    assert "go on with version 1, signed anew" in await told(house)
    again = await house.submit(house.intent(destination=STRANGER))
    assert refusal(again)[0] is Code.DESTINATION_NOT_ALLOWED
    assert refusal(await house.book(after(second))) == (Code.BOOK_OUT_OF_ORDER, "book.version")
    assert state(await house.book(RIVAL)) == "pending"
    await house.step()
    assert state(await house.book(RIVAL)) == "applied"
    assert await entries(house) == [(STRANGER.address,)]
    assert "went back" not in await told(house)
    kept = "SELECT statement FROM book_version WHERE retired = 0 ORDER BY version"
    assert await house.sql(kept) == [(encode(FIRST),), (encode(second),)]


async def test_the_same_first_version_is_taken_again_after_a_recovery(house: House) -> None:
    await house.ready()
    first = make_book(CUSTOMER)
    signed = house.changes(first)
    await house.recover()
    await house.step()
    assert state(await create_book_version(house.parts, encode(first), signed)) == "pending"
    await house.step()
    assert await entries(house) == [(CUSTOMER.address,)]
    await house.create()


async def test_a_signer_with_an_older_book_and_then_its_own_again_is_followed(
    house: House,
) -> None:
    await house.ready()
    second = after(FIRST, add=RIVAL.add, remove=FIRST.add)
    await house.book(second)
    await house.step()
    await house.recover()
    await give(house, FIRST)
    await house.step()
    assert await entries(house) == [(CUSTOMER.address,)]
    assert "went back from version 2 to 1" in await told(house)
    await give(house, second)
    await house.step()
    assert await entries(house) == [(STRANGER.address,)]
    assert "went back" not in await told(house)
    assert state(await house.book(second)) == "applied"


async def test_a_late_status_takes_no_version_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.ready()
    second, ask = after(FIRST, add=RIVAL.add), house.gateway.ask
    await house.book(second)

    async def late(jobs: Any) -> Any:
        answer = await ask(jobs)
        with monkeypatch.context() as patch:
            patch.setattr(house.gateway, "ask", ask)
            await apply_book(house.parts)
        return answer

    monkeypatch.setattr(house.gateway, "ask", late)
    await read_status(house.parts)
    monkeypatch.undo()
    assert await house.sql("SELECT version FROM book_version WHERE applied") == [(1,), (2,)]
    assert state(await house.book(second)) == "applied"


async def test_a_crash_between_the_signer_and_custodys_copy(
    funded: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = funded
    await house.book(FIRST)

    async def dead(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(signers, "book_applied", dead)
        assert await house.dies(apply_book(house.parts))
    await house.step()
    assert state(await house.book(FIRST)) == "applied"
    await house.create()
