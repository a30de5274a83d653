"""A house: custody's works and the people around it, by the keys and names of tests.factories."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from custody.dev.devnet.chain import Chain
from custody.dev.devnet.server import serve
from custody.flows import create, decide, parts
from custody.flows import policy_versions as versions
from custody.flows.book import BookState, create_book_version
from custody.store.database import migrate
from custody.store.withdrawals import Row
from policies.codes import Refusal
from policies.policy_file import parse_policy
from policies.statements import Book, Cancel, Destination, Signed, Veto, digest, encode
from signer.hsm import Token
from tests import factories
from tests.factories import CUSTOMER, HOUR, SOL, key, public, sign
from tests.integration.works import Works, policy_file

BOOK_SIGNERS = ("alice", "carol")


class House(Works):
    """Custody, its signer and everybody who asks it for something."""

    _intents = 0

    async def ready(self, *destinations: Destination, lamports: int = 100 * SOL) -> None:
        """Fund the wallet, open its nonces, put CUSTOMER and `destinations` into the book."""
        self.pay(self.wallet, lamports)
        await self.step()
        state = await self.book(factories.make_book(CUSTOMER, *destinations))
        assert isinstance(state, BookState), state
        await self.step()

    def intent(self, **changes: Any) -> Signed:
        """Return a signed intent of 0.5 SOL to CUSTOMER under a new request_id."""
        self._intents += 1
        now = self.clock.now()
        usual = {"request_id": f"w-{self._intents}", "created": now, "expires": now + HOUR}
        return sign(key("exchange"), factories.make_intent(**{**usual, **changes}))

    async def submit(self, signed: Signed) -> Row | Refusal:
        return await create.create_withdrawal(self.parts, "exchange", signed)

    async def create(self, **changes: Any) -> Row:
        row = await self.submit(self.intent(**changes))
        assert isinstance(row, Row), row
        return row

    def approval(self, intent_digest: str, person: str, **changes: Any) -> Signed:
        usual = {"intent": intent_digest, "expires": self.clock.now() + HOUR}
        intent = factories.make_intent()
        approval = factories.make_approval(self.policy, intent, person, **{**usual, **changes})
        return sign(key(person), approval)

    async def decide(self, row: Row, person: str, **changes: Any) -> Row | Refusal:
        """Hand over `person`'s approval, or what `changes` make of it."""
        signed = self.approval(row.digest, person, **changes)
        return await decide.create_approval(self.parts, person, row.digest, signed)

    async def cancel(self, row: Row) -> Row | Refusal:
        signed = sign(key("exchange"), Cancel(key=public("exchange"), intent=row.digest))
        return await decide.cancel_withdrawal(self.parts, "exchange", row.digest, signed)

    def changes(self, book: Book, people: Sequence[str] = BOOK_SIGNERS) -> list[Signed]:
        """Return what `people` sign under an address-book version."""
        until = {"previous": book.previous, "expires": self.clock.now() + HOUR}
        name = digest(encode(book))
        return [
            sign(key(person), factories.make_change("book", name, person, **until))
            for person in people
        ]

    async def book(self, book: Book, people: Sequence[str] = BOOK_SIGNERS) -> BookState | Refusal:
        signed = self.changes(book, people)
        return await create_book_version(self.parts, encode(book), signed)

    def next_policy(self, *changes: tuple[str, str]) -> bytes:
        """Return the file that follows the policy, each (old, new) text of it replaced."""
        text = self.file.decode()
        before = f'previous = "{self.policy.previous}"'
        follows = f'previous = "{self.policy.digest}"'
        number = self.policy.version
        numbers = (f"version = {number}", f"version = {number + 1}")
        for old, new in ((before, follows), numbers, *changes):
            assert old in text, f"{old} is not in the policy"
            text = text.replace(old, new)
        return text.encode()

    def policy_changes(self, file: bytes, people: Sequence[str] = BOOK_SIGNERS) -> list[Signed]:
        """Return what `people` sign under a policy version."""
        until = {"previous": self.policy.digest, "expires": self.clock.now() + 48 * HOUR}
        return [
            sign(key(person), factories.make_change("policy", digest(file), person, **until))
            for person in people
        ]

    async def propose(
        self, file: bytes, people: Sequence[str] = BOOK_SIGNERS
    ) -> versions.Shown | Refusal:
        signed = self.policy_changes(file, people)
        return await versions.create_policy_version(self.parts, file, signed)

    async def veto(self, file: bytes, person: str) -> bool | Refusal:
        signed = sign(key(person), Veto(key=public(person), person=person, change=digest(file)))
        return await versions.create_veto(self.parts, person, digest(file), signed)

    async def govern(self, *changes: tuple[str, str]) -> None:
        """Put the next policy in force, whatever its delay is."""
        file = self.next_policy(*changes)
        made = await self.propose(file)
        assert isinstance(made, versions.Shown), made
        await self.step()
        if await self.sql("SELECT policy_digest FROM signer") != [(digest(file),)]:
            self.clock.ahead_ms += self.policy.change_delay
            await self.step()
        self.file, self.policy = file, parse_policy(file)
        assert await self.sql("SELECT policy_digest FROM signer") == [(self.policy.digest,)]


@pytest.fixture
async def house(
    database: str, token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    """A house with a policy in force; `ready` does the rest."""
    await migrate(database)
    with Chain(tmp_path / "chain") as chain, serve(chain) as url:
        house = House(database, url, chain, token, tmp_path)
        monkeypatch.setattr(parts, "time", house.clock)
        house.genesis(policy_file(house.wallet, house.audit_key))
        await house.start()
        try:
            yield house
            await house.check()
        finally:
            await house.stop()
