"""Hypothesis drives custody in any order, with anything lost on the way, against a model.

`make test` runs a few trials; `make state-trials` (TRIALS=…, STEPS=…) as many as one likes, tells
how often each transition happened and which of the table's never did.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_trials

from custody.dev.postgres import EmbeddedPostgres
from custody.domain.audit import AuditEvent, Kind, verify
from custody.domain.states import TRANSITIONS, Event, State
from custody.flows import create, kill
from custody.store import audit
from custody.store.withdrawals import Row
from custody.worker import LINES
from policies.codes import Code, Refusal
from policies.statements import Intent, Signed, decode, digest
from tests.factories import CUSTOMER, SOL
from tests.integration.test_ends import forced
from tests.integration.trials import DEATHS, SIGNER_DEATHS, Trial

TRIALS = int(os.environ.get("TRIALS", "6"))
STEPS = int(os.environ.get("STEPS", "25"))
LONG = "TRIALS" in os.environ
# To make a failing trial small takes minutes.
PHASES = (Phase.generate, Phase.shrink) if LONG else (Phase.generate,)
MINUTE = 60_000
UNITS = (SOL // 2, SOL, 3 * SOL, 12 * SOL)  # the last two need approvals, and mostly a deposit
BLOCKS = Code.CAP_EXCEEDED
WAITS = (Code.FEE_EXCEEDED, Code.WINDOW_EXCEEDED, Code.COOLING, Code.WALLET_DISABLED)
LARGE = SOL + 1_000_000
KILLABLE = (State.SIGNED, State.BROADCASTING, State.CONFIRMING)
PAID = (State.BROADCASTING, State.CONFIRMING, State.COMPLETED)
ENDS = {state for state in State if state.ended}
WORK = {
    step.__module__.rpartition(".")[2] + "." + step.__name__: step
    for steps in LINES.values()
    for step in steps
}
SENDING = ("receipts.hand_over", "broadcast.start", "broadcast.send")
steps_of_work = st.sampled_from(sorted(WORK))


@dataclass
class Request:
    """What the model knows of one request: what may be true of it, no more."""

    signed: Signed
    intent: Intent
    approved: set[str] = field(default_factory=set)
    rejected: bool = False
    cancelled: bool = False
    killed: bool = False

    def may_be(self, state: State, now: int) -> bool:
        """Tell whether what people did explains this end."""
        quorum = {"alice", "bob"} & self.approved and "carol" in self.approved
        return {
            State.COMPLETED: self.intent.amount < LARGE or bool(quorum),
            State.CANCELLED: self.cancelled,
            State.REJECTED: self.rejected,
            State.EXPIRED: self.intent.expires <= now,
            State.FAILED: self.killed,
        }.get(state, False)


class Custody(RuleBasedStateMachine):
    """Rules are what people, wires and processes do; invariants what must be true after each."""

    make: Callable[[], Trial]
    seen: ClassVar = Counter[tuple[State, Event]]()

    def __init__(self) -> None:
        super().__init__()
        self.trial = self.make()
        self.house = self.trial.house
        self.known: dict[str, Request] = {}
        self.ended: dict[str, str] = {}
        self.numbers = 0
        self.blocks = 0

    # What the exchange does.

    def _signed(self, unit: int) -> Signed:
        # A bit of its own in every amount: the customer's balance tells who was paid, how often.
        self.numbers += 1
        return self.house.intent(amount=unit + (1 << (self.numbers % 20)))

    def _learn(self, signed: Signed) -> None:
        name = digest(signed.statement)
        self.known.setdefault(name, Request(signed, decode(Intent, signed.statement)))

    @initialize(units=st.lists(st.sampled_from(UNITS), min_size=4, max_size=8))
    def begin_busy(self, units: list[int]) -> None:
        self.create_some(units)

    @rule(units=st.lists(st.sampled_from(UNITS), min_size=1, max_size=3))
    def create_some(self, units: list[int]) -> None:
        batch = [self._signed(unit) for unit in units]
        made = self.trial.run(create.create_withdrawals(self.house.parts, "exchange", batch))
        for signed, row in zip(batch, made, strict=True):
            if isinstance(row, Refusal):
                assert row.code == Code.NODE_UNREACHABLE, row
            else:
                self._learn(signed)

    @rule(unit=st.sampled_from(UNITS), death=st.sampled_from(DEATHS))
    def create_and_die(self, unit: int, death: tuple[object, str]) -> None:
        signed = self._signed(unit)
        self.trial.dies(self.house.submit(signed), *death)
        if isinstance(again := self.trial.run(self.house.submit(signed)), Row):
            self._learn(signed)
        else:
            assert again.code == Code.NODE_UNREACHABLE, again

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def create_again(self, data: st.DataObject) -> None:
        name, request = self._some(data)
        row = self.trial.run(self.house.submit(request.signed))
        assert isinstance(row, Row), row
        assert row.digest == name

    @precondition(lambda self: self.known)
    @rule(data=st.data(), more=st.sampled_from((0, 1)))
    def create_other_bytes(self, data: st.DataObject, more: int) -> None:
        _, request = self._some(data)
        old = request.intent
        other = self.house.intent(request_id=old.request_id, amount=old.amount + more)
        refused = self.trial.run(self.house.submit(other))
        assert isinstance(refused, Refusal), refused
        assert refused.code == Code.REQUEST_ID_REUSED, refused

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self._cancel(self._some(data)[0])

    @rule()
    def take_back_what_has_a_share_of_its_funds(self) -> None:
        self.create_some([SOL] * 3)
        self.deposit(SOL // 10, steps=True)
        for row in self._rows():
            if row["waiting_for"] == "FUNDS":
                self._cancel(row["digest"])

    def _cancel(self, name: str) -> None:
        row = self.trial.run(self.house.cancel(self._row(name)))
        if isinstance(row, Row):
            self.known[name].cancelled = True
        else:
            assert row.code == Code.TOO_LATE, row

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        self._kill(self._some(data)[0])

    @rule(depth=st.integers(0, len(SENDING)), slots=st.sampled_from((0, 40)))
    def kill_what_is_signed(self, depth: int, slots: int) -> None:
        self.create_some([SOL // 2])
        self.work(["sign.claim", "sign.ask", *SENDING[:depth]])
        self.house.chain.advance(slots)
        for row in self._rows():
            if row["state"] in KILLABLE:
                self._kill(row["digest"])

    def _kill(self, name: str) -> None:
        row = self.trial.run(kill.kill_withdrawal(self.house.parts, "alice", name))
        if isinstance(row, Row):
            self.known[name].killed = True
        else:
            assert row.code == Code.TOO_LATE, row

    # What officers do.

    @precondition(lambda self: self.known)
    @rule(data=st.data(), minutes=st.sampled_from((2, 50)))
    def approve_by_two(self, data: st.DataObject, minutes: int) -> None:
        name = self._some(data)[0]
        for person in ("alice", "carol"):
            self._decide(name, person, "approve", minutes)

    @precondition(lambda self: self.known)
    @rule(
        data=st.data(),
        person=st.sampled_from(("alice", "bob", "carol")),
        decision=st.sampled_from(("approve", "approve", "reject")),
        minutes=st.sampled_from((2, 50)),
    )
    def decide(self, data: st.DataObject, person: str, decision: str, minutes: int) -> None:
        self._decide(self._some(data)[0], person, decision, minutes)

    def _decide(self, name: str, person: str, decision: str, minutes: int) -> None:
        expires = self.house.clock.now() + minutes * MINUTE
        row = self.trial.run(
            self.house.decide(self._row(name), person, decision=decision, expires=expires)
        )
        if isinstance(row, Refusal):
            note(f"{person} is refused: {row.code}")
        elif decision == "approve":
            self.known[name].approved.add(person)
        else:
            self.known[name].rejected = True

    # What the worker does, in any order, living or dying.

    @rule(steps=st.lists(steps_of_work, min_size=1, max_size=4))
    def work(self, steps: list[str]) -> None:
        for step in steps:
            self._make_due()
            self.trial.run(WORK[step](self.house.parts))

    @rule(
        line=st.sampled_from(
            ("sign", "end", "receipts", "broadcast", "confirm", "books", "advance")
        )
    )
    def work_line(self, line: str) -> None:
        for step in LINES[line]:
            self._make_due()
            self.trial.run(step(self.house.parts))

    @rule(step=steps_of_work, death=st.sampled_from(SIGNER_DEATHS + DEATHS))
    def work_and_die(self, step: str, death: tuple[object, str]) -> None:
        self._make_due()
        if self.trial.dies(WORK[step](self.house.parts), *death):
            note(f"died in {step} after {death[1]}")

    @rule(minutes=st.sampled_from((3, 61)))
    def time_passes_while_it_signs(self, minutes: int) -> None:
        self.work(["sign.claim"])
        self.time_passes(minutes)
        self.work(["sign.ask"])

    @rule(code=st.sampled_from((BLOCKS, BLOCKS, *WAITS)), ends=st.booleans())
    def signer_refuses(self, code: Code, ends: bool) -> None:
        # The real one never refuses what it has signed: what waits for a lost reply comes first.
        self.house.gateway.replies_lost = 0
        self.work(["sign.ask", "sign.claim"])
        self.house.gateway.refuse.append(code)
        self.blocks += code is BLOCKS
        self.work(["sign.ask", *["end.ask"] * ends])

    @rule()
    def restart(self) -> None:
        self.trial.restart()

    @rule()
    def rest(self) -> None:
        self.trial.run(self.house.step())

    # What the world does.

    @rule(slots=st.sampled_from((1, 4, 40)))
    def chain_advances(self, slots: int) -> None:
        self.house.chain.advance(slots)

    @rule(amount=st.sampled_from((SOL // 10, SOL // 10, 2 * SOL, 15 * SOL)), steps=st.booleans())
    def deposit(self, amount: int, steps: bool) -> None:
        if steps:  # what waits for funds by now is given its share
            self.work(["sign.claim"])
        self.house.pay(self.house.wallet, amount)
        if steps:
            self.work(["housekeeping.book_inflows"])

    @rule(minutes=st.sampled_from((3, 20, 61)))
    def time_passes(self, minutes: int) -> None:
        self.house.clock.ahead_ms += minutes * MINUTE

    @rule()
    def signer_reply_is_lost(self) -> None:
        self.house.gateway.replies_lost = 1

    @rule(silent=st.booleans(), blind=st.booleans())
    def watchtower_is_not_itself(self, silent: bool, blind: bool) -> None:
        self.house.tower.silent, self.house.tower.blind = silent, blind

    @rule(method=st.sampled_from(("sendTransaction", "getSignatureStatuses")))
    def node_loses_a_call(self, method: str) -> None:
        self.house.node_line.undelivered.append(method)

    @rule(method=st.sampled_from(("sendTransaction", "getSignatureStatuses")))
    def node_loses_an_answer(self, method: str) -> None:
        self.house.node_line.answers_lost.append(method)

    # What must be true.

    @invariant()
    def nobody_is_paid_who_should_not_be(self) -> None:
        rows = self._rows()
        sent = sum(
            row["amount"] for row in rows if row["state"] in PAID or row["ending"] == "FAILED"
        )
        assert self._customer() <= sent, "somebody got more than was on its way"
        for row in rows:
            before = self.ended.get(row["digest"])
            assert before in {None, row["state"]}, f"{before} became {row['state']}"
            if row["state"] in ENDS:
                self.ended[row["digest"]] = row["state"]

    @invariant()
    def books_agree(self) -> None:
        self.trial.run(self.house.check())

    def teardown(self) -> None:
        try:
            self._come_to_rest()
            self._check_at_rest()
            self._check_log()
            self._check_tombstones()
        finally:
            self.trial.close()

    def _come_to_rest(self) -> None:
        gateway, line = self.house.gateway, self.house.node_line
        gateway.replies_lost = 0
        gateway.refuse.clear()
        self.house.tower.silent = self.house.tower.blind = False
        line.undelivered.clear()
        line.answers_lost.clear()
        self.trial.run(self.house.step())
        self.trial.run(self.house.check())
        self.nobody_is_paid_who_should_not_be()

    def _check_at_rest(self) -> None:
        rows = {row["digest"]: row for row in self._rows()}
        assert rows.keys() == self.known.keys(), "a request was lost, or came from nowhere"
        for name, row in rows.items():
            state, now = State(row["state"]), self.house.clock.now()
            if state is State.BLOCKED:
                self.blocks -= 1
                assert self.blocks >= 0, "nobody refused it"
            elif state in ENDS:
                assert self.known[name].may_be(state, now), f"nobody explains {state}"
            elif state is State.QUEUED:
                assert row["waiting_for"] in {"FUNDS", "WINDOW"}, row
            else:
                assert state is State.PENDING_APPROVAL, f"{state} at rest"
        done = [row for row in rows.values() if row["state"] == State.COMPLETED]
        paid, fees = sum(row["amount"] for row in done), sum(row["fee"] for row in done)
        assert self._customer() == paid, "not each COMPLETED one is paid once"
        balance = self.trial.run(self.house.balance())
        assert balance.in_use == 0, balance
        chain = self.trial.run(self.house.on_chain(self.house.wallet))
        assert balance.total == chain, "the books are not what the wallet holds"
        (opening,) = self.trial.run(
            self.house.sql(
                "SELECT coalesce(sum(amount), 0)::bigint FROM ledger_entry"
                " WHERE kind NOT IN ('inflow', 'withdrawal', 'fee')"
            )
        )[0]
        note(f"opening {opening}, paid {paid}, fees {fees}")

    def _check_log(self) -> None:
        log = self.trial.run(self._log())
        assert verify(event.encode() for event in log)[0] == len(log)
        states: dict[str, State] = {}
        ends = Counter[str]()
        for event in log:
            if event.kind != Kind.WITHDRAWAL:
                continue
            name, state = event.subject.removeprefix("withdrawals/"), State(event.details["state"])
            if event.event == "CREATED":
                assert name not in states, "created twice"
            else:
                step = states[name], Event(event.event)
                assert TRANSITIONS[step] == state
                self.seen[step] += 1
            states[name] = state
            ends[name] += state in ENDS
        for row in self._rows():
            assert states[row["digest"]] == row["state"], "the log tells something else"
            assert ends[row["digest"]] == (row["state"] in ENDS)

    def _check_tombstones(self) -> None:
        """A custody that was taken over asks for what has ended: the signer says never."""
        for row in self._rows():
            request = self.known[row["digest"]]
            alone = row["amount"] < LARGE and request.intent.expires > self.house.clock.now()
            if alone and row["state"] in ENDS and row["state"] not in PAID:
                job = self.trial.run(forced(self.house, self._row(row["digest"])))
                (answer,) = self.trial.run(self.house.gateway.ask([job]))
                assert answer.refusal.code == Code.REQUEST_ENDED, answer

    async def _log(self) -> list[AuditEvent]:
        events: list[AuditEvent] = []
        async with self.house.parts.database.transaction() as connection:
            await audit.seal_all(connection)
            while found := await audit.page(connection, len(events), 1_000):
                events += found
        return events

    # How to ask.

    def _some(self, data: st.DataObject) -> tuple[str, Request]:
        number = data.draw(st.integers(0, len(self.known) - 1), label="request")
        return list(self.known.items())[number]

    def _rows(self) -> list[dict[str, Any]]:
        found = self.trial.run(
            self.house.sql(
                "SELECT digest, state, ending, waiting_for, amount, fee FROM withdrawal"
                " ORDER BY sequence"
            )
        )
        names = ("digest", "state", "ending", "waiting_for", "amount", "fee")
        return [dict(zip(names, row, strict=True)) for row in found]

    def _row(self, name: str) -> Row:
        found = self.trial.run(self.house.submit(self.known[name].signed))
        assert isinstance(found, Row), found
        return found

    def _customer(self) -> int:
        return self.trial.run(self.house.on_chain(CUSTOMER.address))

    def _make_due(self) -> None:
        self.trial.run(self.house.make_due())


@pytest.mark.timeout(0)
def test_any_order_of_anything(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("trials")
    profile = settings(
        max_examples=TRIALS,
        stateful_step_count=STEPS,
        derandomize=False,
        print_blob=True,
        deadline=None,
        database=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )

    class Here(Custody):
        make = staticmethod(lambda: Trial(postgres, folder))

    run_trials(Here, settings=profile)
    census = [f"{state:>16} {event:<17}{Here.seen[state, event]:6}" for state, event in TRANSITIONS]
    sys.stdout.write("\n".join(["", *census, ""]))
