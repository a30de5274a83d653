"""The watchtower's memory of receipts: nothing in it reads through history."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from custody.chains.solana_history import Listed
from custody.watchtower import receipts, suspects
from custody.watchtower.database import Database
from custody.watchtower.receipts import Cursor, State
from custody.watchtower.suspects import Suspect
from policies.receipts import open_receipt
from tests.factories import make_intent, make_policy, make_receipt, public, travelling

AUDIT = public("audit")


class Explained(Database):
    """Keeps how SQLite does whatever it is asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, [receipts.SCHEMA, suspects.SCHEMA])
        self.plans: list[str] = []
        self._statements: list[str] = []
        self._db.set_trace_callback(self._statements.append)

    def explain(self) -> list[str]:
        """Return the plans of all statements so far."""
        self._db.set_trace_callback(None)
        done = {text for text in self._statements if re.match("SELECT|UPDATE", text)}
        return [
            str(row[3])
            for text in done
            for row in self._db.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()
        ]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Explained]:
    made = Explained(tmp_path / "tower.sqlite3")
    yield made
    made.close()


def give(database: Database, number: int, signer: str = "audit", **changes: Any) -> str:
    name = f"{number:064}"
    receipt = make_receipt(make_intent(request_id=f"w-{number}"), transaction_id=name)
    receipt = replace(receipt, key=public(signer), **changes)
    (data,) = travelling(receipt, signer=signer)
    with database.transaction() as connection:
        receipts.store(connection, open_receipt({receipt.key}, data), data)
    return name


def test_no_statement_reads_through_history(database: Explained) -> None:
    name, suspect = give(database, 1), Suspect("1" * 64, "hot-sol", 1, 1, b"")
    receipts.see(database, "hot-sol", [Listed(name, 5, failed=False)])
    receipts.covers(database, name, "hot-sol")
    receipts.final_at(database, "hot-sol", 5)
    receipts.lose_sight(database, [name])
    receipts.note_waiting(database, receipts.waiting(database, "hot-sol"))
    receipts.resolve(database, [name], State.DEAD)
    receipts.dead(database, AUDIT, [name])
    receipts.is_advanced(database, name)
    receipts.resolved(database, AUDIT, "0f" * 16, make_policy())
    receipts.move_cursor(database, "node", "address", Cursor("1" * 64, 5))
    receipts.cursor(database, "node", "address")
    suspects.add(database, suspect)
    suspects.known(database, "1" * 64, "hot-sol")
    suspects.decide(database, suspect, suspects.Verdict.LAWFUL)
    suspects.open_suspects(database)
    plans = database.explain()
    assert len(plans) >= 12
    # The index of open suspects holds only those.
    scans = [plan for plan in plans if "SCAN" in plan and "suspects_open" not in plan]
    assert scans == []


def test_what_was_given_is_kept_byte_for_byte(database: Explained) -> None:
    receipt = make_receipt(make_intent(), transaction_id="1" * 64)
    ended = make_receipt(make_intent(request_id="w-2"), outcome="ended", transaction_id="")
    refused = make_receipt(make_intent(), outcome="refused", code="FROZEN", transaction_id="")
    given = travelling(receipt, ended, refused)
    with database.transaction() as connection:
        for data in given:
            receipts.store(connection, open_receipt({AUDIT}, data), data)
    assert database.rows("SELECT receipt FROM signed") == [(given[0],)]
    assert database.rows("SELECT receipt FROM ended") == [(given[1],)]


def test_totals_are_of_each_journal_and_wallet(database: Explained) -> None:
    first = give(database, 1, amount=5)
    give(database, 2, amount=7)
    other = give(database, 3, amount=11, journal="f0" * 16)
    receipts.resolve(database, [first, other], State.FINAL)
    policy = make_policy()
    for journal, amount in (("0f" * 16, 5), ("f0" * 16, 11)):
        (resolved,) = receipts.resolved(database, AUDIT, journal, policy)
        assert (resolved.wallet, resolved.asset, resolved.amount) == ("hot-sol", "SOL", amount)
    assert receipts.resolved(database, public("other"), "0f" * 16, policy) == ()
    assert receipts.sums(database, "hot-sol") == (23, 16)
    assert receipts.unresolved(database, "hot-sol") == 7


def test_a_dead_transaction_that_lands_is_told(database: Explained) -> None:
    name = give(database, 1)
    receipts.resolve(database, [name], State.DEAD)
    listed = Listed(name, 5, failed=False)
    assert receipts.see(database, "hot-sol", [listed]) == ([], [name])


def test_only_what_has_an_intent_can_be_called_dead_to_the_signer(database: Explained) -> None:
    name = give(database, 1, intent="")
    receipts.resolve(database, [name], State.DEAD)
    assert receipts.dead(database, AUDIT, [name, "unknown"]) == [None, None]


def test_an_advance_proves_nothing_about_a_value_that_was_never_the_accounts(
    database: Explained,
) -> None:
    """Both may be on a recent blockhash, and then both can land."""
    transfer, advance = give(database, 1), give(database, 2, intent="")
    assert not receipts.is_advanced(database, transfer)
    receipts.resolve(database, [advance], State.FINAL)
    assert not receipts.is_advanced(database, transfer)
    (waiting,) = receipts.waiting(database, "hot-sol")
    receipts.note_waiting(database, [replace(waiting, held=7)])
    assert receipts.is_advanced(database, transfer)


def test_all_of_it_or_nothing(database: Explained) -> None:
    name = give(database, 1, amount=5)
    with database.transaction() as connection:
        connection.execute("UPDATE totals SET resolved = 1")  # as no code of ours does
    with pytest.raises(sqlite3.IntegrityError):
        receipts.resolve(database, [name], State.FINAL)
    assert database.rows("SELECT state FROM signed") == [("SENT",)]


def test_two_transactions_of_one_withdrawal_are_not_both_kept(database: Explained) -> None:
    first = give(database, 1)
    with pytest.raises(receipts.SignedTwiceError, match="both signed for one withdrawal"):
        give(database, 1, transaction_id="2" * 64)
    assert give(database, 1) == first
    assert receipts.covers(database, first, "hot-sol")
    assert not receipts.covers(database, "2" * 64, "hot-sol")
    for number in ("3" * 64, "4" * 64):  # what no intent asked for
        give(database, 1, transaction_id=number, intent="")


@pytest.mark.parametrize("signed_first", [True, False])
def test_what_was_ended_unsigned_is_not_kept_as_signed_too(
    database: Explained, *, signed_first: bool
) -> None:
    """A journal that was put back pays what was refunded."""
    changes: list[dict[str, Any]] = [{}, {"outcome": "ended", "transaction_id": ""}]
    first, second = changes if signed_first else reversed(changes)
    give(database, 1, **first)
    with pytest.raises(receipts.SignedTwiceError, match="ended without it"):
        give(database, 1, **second)
    other = give(database, 2)  # killed: its end names it
    give(database, 2, outcome="ended")
    assert give(database, 2) == other
    lost = give(database, 3)  # by a lost journal, of which the new one knows nothing
    receipts.resolve(database, [lost], State.DEAD)
    give(database, 3, outcome="ended", transaction_id="")


@pytest.mark.parametrize("signed_first", [True, False])
def test_two_signers_do_not_contradict_each_other(
    database: Explained, *, signed_first: bool
) -> None:
    """One ends what it was not asked to sign: for that no journal is lost, nor does it hide one."""
    if signed_first:
        give(database, 1)
    give(database, 1, "second", outcome="ended", transaction_id="")
    give(database, 1)
    give(database, 2, "second", outcome="ended", transaction_id="")
    give(database, 2, outcome="ended", transaction_id="")
    with pytest.raises(receipts.SignedTwiceError, match="ended without it"):
        give(database, 2)
