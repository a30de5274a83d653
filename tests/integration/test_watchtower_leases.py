"""Leases between the watchtower's half and a real guard, with a relay that a test may corrupt."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from custody.chains.errors import NodeError
from custody.dev.layout import HOSTS
from custody.dev.pki import Authority
from custody.identity import Identity, Role
from custody.keys import load_key
from custody.retrying import ATTEMPT_SECONDS
from custody.serving import build_server
from custody.watchtower import freezes, leases, rejections, signers, versions
from custody.watchtower.counters import PAUSES
from custody.watchtower.database import Database
from custody.watchtower.parts import Link, Parts
from custody.watchtower.relays import Relays
from custody.watchtower.rules import Cause
from custody.watchtower.schema import SCHEMA
from custody.watchtower.service import Service
from custody.watchtower.status import problem_of
from custody.watchtower.theft import Responder
from kura.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from kura.signer.v1 import signer_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower_wire
from policies.freezes import WATCHTOWER
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.statements import LEASE_MS, Hello, Signed, Veto, decode, digest
from signer.anchor import begin
from tests.factories import (
    key,
    make_approval,
    make_freeze,
    make_intent,
    make_receipt,
    make_unfreeze,
    policy_file,
    public,
    sign,
    told_nobody,
    travelling,
)
from tests.integration.guard.versions import apply as apply_version
from tests.integration.link import SECONDS_MAX
from tests.integration.link import Link as Cable
from tests.integration.tower import write_key
from tests.signing import HELLO, STATUS, SignerRig, enveloped, transfer
from tests.softhsm import SoftHsm

AUDIT = public("audit")
Corrupt = Callable[[wire.Reply], None]


@dataclass
class Around:
    """A signer's guard, the watchtower's parts on its clock, and the chain as a test says."""

    rig: SignerRig
    parts: Parts
    cable: Cable
    chain_problem: str = ""
    alarms: list[str] = field(default_factory=list)
    corrupt: Corrupt = lambda _: None
    drops_freezes: bool = False
    silent: bool = False
    drops_rejections: bool = False
    drops_versions: bool = False

    def problem(self, audit_key: str) -> str:
        return self.chain_problem

    def nodes(self) -> Sequence[Any]:
        return ()

    def wallets(self) -> Sequence[Any]:
        return ()

    async def nonce_values(self, policy: Policy, audit_key: str) -> Mapping[str, str]:
        raise NodeError("the node is away")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve relays over mutual TLS, with one between the guard and the watchtower."""
        tls = self.cable.authority.issue(Identity(Role.SERVER, "watchtower"), HOSTS)
        server, self.cable.port, _ = await build_server("127.0.0.1:0", tls, told_nobody)
        relays = Relays(self.parts, self)
        gateway_pb2_grpc.add_SignerGatewayServicer_to_server(relays, server)
        await server.start()
        try:
            async with self.cable.hand_made_relay(self.answer):
                yield
        finally:
            relays.close()
            await server.stop(0)

    def answer(self, frame: gateway_pb2.ConnectResponse) -> list[gateway_pb2.ConnectRequest]:
        request = wire.Request.FromString(frame.request)
        if self.silent:
            return []
        for job in request.jobs:
            orders = (job.apply.HasField("freeze"), job.apply.HasField("unfreeze"))
            if self.drops_freezes and any(orders):
                job.ClearField("apply")
            if self.drops_rejections and job.apply.HasField("rejection"):
                job.ClearField("apply")
            if self.drops_versions and job.apply.HasField("policy"):
                job.ClearField("apply")
        reply = wire.Reply(id=request.id, results=self.rig.guard.answer(list(request.jobs)))
        self.corrupt(reply)
        return [gateway_pb2.ConnectRequest(id=frame.id, reply=reply.SerializeToString())]

    def status(self) -> wire.SignerStatus:
        return self.rig.ask_unleased(STATUS).status

    async def until(self, fits: Callable[[], object]) -> None:
        """Return when it fits, leases being decided meanwhile."""
        async with asyncio.timeout(SECONDS_MAX):
            while not fits():
                self.parts.wake()
                await asyncio.sleep(0.01)

    async def leased(self) -> None:
        await self.until(self.is_leased)

    def is_leased(self) -> bool:
        return not problem_of(self.parts, AUDIT) and bool(self.status().lease_until)

    async def refused(self, cause: Cause, words: str) -> Link:
        """Return when the signer gets no lease for this cause, the words being told of it."""
        await self.until(
            lambda: (link := self.link()) and link.problem and link.problem.cause is cause
        )
        link = self.link()
        assert link
        assert link.problem
        assert words in link.problem.words
        return link

    def link(self) -> Link | None:
        return self.parts.links.get(AUDIT)


@pytest.fixture
def around(softhsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Around]:
    monkeypatch.setattr(leases, "ROUND_SECONDS", 0.05)
    rig = SignerRig(softhsm, tmp_path / "journal", policy_file())
    rig.leased = False
    rig.restart()
    database = Database(tmp_path / "watchtower.sqlite", SCHEMA)
    write_key(tmp_path / "key.pem", "watchtower")
    own = load_key(tmp_path / "key.pem", bytes)
    alarms = list[str]()
    parts = Parts(
        own,
        frozenset({AUDIT}),
        database,
        lambda kind, *_, **__: alarms.append(kind),
        lambda: rig.now,
    )
    link = Cable(Authority(tmp_path / "pki"), tmp_path / "socket")
    yield Around(rig, parts, link, alarms=alarms)
    rig.stop()
    database.close()


def lease_of(around: Around) -> str:
    link = around.link()
    assert link
    assert link.hello
    return link.hello.lease


def freeze() -> Signed:
    return sign(key("alice"), make_freeze("alice"))


async def test_a_lease_is_for_a_minute_and_comes_again_before_it_is_over(around: Around) -> None:
    async with around.running():
        await around.leased()
        assert around.status().lease_until == around.rig.now + LEASE_MS
        around.rig.now += LEASE_MS
        assert not around.status().lease_until
        await around.leased()


async def test_orders_reach_the_guard_before_the_lease(around: Around) -> None:
    async with around.running():
        await around.leased()
        order = freeze()
        freezes.freeze(around.parts, order)
        around.rig.now += LEASE_MS
        await around.leased()
        assert [item.digest for item in around.status().freezes] == [digest(order.statement)]
        names = [digest(order.statement)]
        lift = [sign(key(who), make_unfreeze(who, *names)) for who in ("alice", "carol")]
        assert freezes.lift(around.parts, lift) == [AUDIT]
        await around.until(lambda: not around.status().freezes)
        await around.leased()  # for the new epoch
        assert freezes.held(around.parts) == []
        veto = Veto(key=public("bob"), person="bob", change="ab" * 32)
        versions.veto(around.parts, sign(key("bob"), veto))
        await around.until(lambda: around.rig.guard._governance.vetoes("ab" * 32) == ["bob"])


async def test_a_freeze_that_the_signer_refuses_stops_its_leases(around: Around) -> None:
    def refuse(reply: wire.Reply) -> None:
        for result in reply.results:
            if result.HasField("applied"):
                result.refusal.code = "FREEZE_INVALID"

    async with around.running():
        await around.leased()
        around.corrupt = refuse
        around.rig.now += 1
        with around.parts.database.transaction() as db:
            db.execute(
                "INSERT INTO freeze VALUES (?, 'f', '*', 'alice', '', ?, NULL)", (AUDIT, b"")
            )
        await around.refused(Cause.FREEZE, "sign it anew")
        around.rig.now += LEASE_MS
        assert not around.status().lease_until


async def test_the_chain_pauses_and_the_lease_comes_back_by_itself(around: Around) -> None:
    async with around.running():
        await around.leased()
        before = PAUSES.labels(AUDIT, Cause.CHAIN)._value.get()
        around.chain_problem = "node stands still: look at it"
        await around.refused(Cause.CHAIN, "node stands still: look at it")
        around.rig.now += LEASE_MS
        assert not around.status().lease_until
        assert PAUSES.labels(AUDIT, Cause.CHAIN)._value.get() == before + 1
        around.chain_problem = ""
        await around.leased()


def forge_hello(reply: wire.Reply) -> None:
    for result in reply.results:
        if result.HasField("hello"):
            result.hello.signature = bytes(64)


def hide_policy(reply: wire.Reply) -> None:
    for result in reply.results:
        if result.HasField("status"):
            result.status.policy += b"# more\n"


def other_watchtower(reply: wire.Reply) -> None:
    for result in reply.results:
        if result.HasField("status"):
            result.status.watchtower = public("mallory")


def no_hello(reply: wire.Reply) -> None:
    for result in reply.results:
        if result.HasField("hello"):
            result.refusal.code = "CLOCK_DIFFERS"


@pytest.mark.parametrize(
    ("corrupt", "cause", "words"),
    [
        (forge_hello, Cause.SIGNER, "is forged: look at the relay"),
        (no_hello, Cause.SIGNER, "CLOCK_DIFFERS"),
        (other_watchtower, Cause.POLICY, "name this key"),
    ],
)
async def test_a_relay_that_lies_gets_no_lease(
    around: Around, corrupt: Corrupt, cause: Cause, words: str
) -> None:
    async with around.running():
        await around.leased()
        around.corrupt = corrupt
        await around.refused(cause, words)
        around.rig.now += LEASE_MS
        assert not around.status().lease_until
        around.corrupt = lambda _: None
        await around.leased()


async def test_a_policy_that_is_not_the_one_of_hello_is_none(around: Around) -> None:
    around.corrupt = hide_policy
    async with around.running():
        await around.refused(Cause.POLICY, "does not show the policy")
        assert around.parts.policies == {}
        around.corrupt = lambda _: None
        await around.leased()


async def test_an_older_hello_is_no_answer(around: Around) -> None:
    """A relay plays it again: no lease, and nothing that only a recovery would mend."""
    async with around.running():
        await around.leased()
        old = around.rig.ask_unleased(HELLO)

        def play_again(reply: wire.Reply) -> None:
            for result in reply.results:
                if result.HasField("hello"):
                    result.CopyFrom(old)

        around.corrupt = play_again
        await around.refused(Cause.SIGNER, "answers another question")
        around.corrupt = lambda _: None
        await around.leased()
        assert around.alarms == []


async def test_a_journal_that_went_back_is_lost_for_good(around: Around) -> None:
    async with around.running():
        await around.leased()
        freezes.freeze(around.parts, freeze())
        sequence = around.status().sequence
        await around.until(
            lambda: (link := around.link()) and link.hello and link.hello.sequence > sequence
        )

        def go_back(reply: wire.Reply) -> None:
            for result in reply.results:
                if result.HasField("hello"):
                    said = decode(Hello, result.hello.statement)
                    older = replace(said, sequence=sequence, head="0" * 64)
                    result.hello.CopyFrom(enveloped(sign(key("audit"), older)))

        around.corrupt = go_back
        await around.refused(Cause.ROLLBACK, "went back")
        around.corrupt = lambda _: None
        around.rig.now += LEASE_MS
        for _ in range(2):  # whole rounds with the true HELLO
            around.rig.now += 1
            await around.until(lambda: (link := around.link()) and link.heard == around.rig.now)
        link = await around.refused(Cause.ROLLBACK, "went back")
        assert link.hello
        assert link.hello.sequence > sequence
        assert not around.status().lease_until
        assert around.alarms == ["ROLLBACK"]


async def test_a_relay_cannot_pretend_that_the_signer_took_a_freeze(around: Around) -> None:
    order = freeze()

    def pretend(reply: wire.Reply) -> None:
        for result in reply.results:
            if result.HasField("status"):
                shown = wire.Freeze(digest=digest(order.statement), wallet="*", person="alice")
                result.status.freezes.append(shown)
            elif result.HasField("refusal"):
                result.applied.digest = digest(order.statement)

    async with around.running():
        await around.leased()
        around.drops_freezes = True
        around.corrupt = pretend
        freezes.freeze(around.parts, order)
        await around.refused(Cause.SIGNER, "other freezes were shown")
        around.corrupt = lambda _: None
        await around.refused(Cause.FREEZE, "has not taken 1 freezes")
        around.drops_freezes = False
        await around.until(lambda: around.rig.ask_unleased(STATUS).status.freezes)
        await around.leased()


LONG = "x" * 700_000


def long_refusals(reply: wire.Reply) -> None:
    for result in reply.results:
        result.refusal.CopyFrom(wire.Refusal(code=LONG[:9], message=LONG))


def a_long_key(reply: wire.Reply) -> None:
    for result in reply.results:
        if result.HasField("status"):
            result.status.watchtower = LONG


def a_long_fault(reply: wire.Reply) -> None:
    reply.fault = LONG


@pytest.mark.parametrize("corrupt", [long_refusals, a_long_key, a_long_fault])
async def test_a_relays_long_words_hide_nothing(around: Around, corrupt: Corrupt) -> None:
    """They were kept with each alarm: soon no officer's client took the status, nor any freeze."""
    async with around.running():
        await around.leased()
        around.corrupt = corrupt
        await around.until(lambda: problem_of(around.parts, AUDIT))
        assert len(problem_of(around.parts, AUDIT)) < 2_000


async def test_a_lease_that_the_signer_refuses_is_told(around: Around) -> None:
    async with around.running():
        await around.leased()
        around.parts.clock = lambda: around.rig.now + 31_000
        await around.refused(Cause.SIGNER, "s off this host's clock")
        assert signers.agreed(around.parts.database) == around.rig.now
        around.parts.clock = lambda: around.rig.now
        await around.leased()


async def test_of_two_relays_the_newer_is_the_link_and_the_older_when_it_is_gone(
    around: Around,
) -> None:
    async with around.running():
        await around.leased()
        first = around.link()
        async with around.cable.hand_made_relay(around.answer):
            await around.until(lambda: around.link() not in (None, first) and around.is_leased())
        await around.until(lambda: around.link() is first)
        await around.leased()


def say_applied(reply: wire.Reply) -> None:
    for result in reply.results:
        if result.refusal.code == "LEASE_INVALID":
            result.applied.digest = "0" * 64


@pytest.mark.parametrize("corrupt", [lambda _: None, say_applied], ids=["true", "lying"])
async def test_a_journal_that_went_back_and_on_past_where_it_was_gets_no_lease(
    around: Around, tmp_path: Path, corrupt: Corrupt
) -> None:
    """Journal and token are put back together, and custody has more written before HELLO is asked.

    With a lease it would sign for the request that it forgot, a second time. That a relay says that
    a lease was taken confirms nothing.
    """
    rig, paid = around.rig, make_intent()
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "yesterday")
    rig.start()
    async with around.running():
        await around.leased()
        assert rig.ask_unleased(transfer(paid)).HasField("signed")
        signed = rig.journal.sequence
        query = "SELECT 1 FROM confirmed WHERE sequence = ?"
        await around.until(lambda: around.parts.database.rows(query, signed))
    rig.stop()
    shutil.copyfile(tmp_path / "yesterday", rig.path)
    rig.start()
    begin(rig.token, rig.journal)  # as root, who puts the old token's files back
    rig.restart()
    number = 0
    while rig.journal.sequence <= signed:
        number += 1
        rig.ask_unleased(transfer(make_intent(request_id=f"seen-{number}")))
    around.parts.links.clear()
    around.corrupt = corrupt
    async with around.running():
        for _ in range(5):  # rounds, each with another moment
            around.rig.now += 1
            await around.until(lambda: (link := around.link()) and link.heard == around.rig.now)
        link = await around.refused(Cause.SIGNER, "did not take its lease")
        assert link.hello
        assert link.lease_until == 0
        assert link.hello.sequence > signed
        again = rig.ask_unleased(transfer(paid, nonce_value=bytes(32), nonce_index=1))
        assert again.refusal.code == "LEASE_MISSING"


async def test_an_officer_is_not_told_applied_on_the_relays_word(around: Around) -> None:
    order = freeze()

    def pretend(reply: wire.Reply) -> None:
        for result in reply.results:
            if result.HasField("refusal"):
                result.applied.digest = digest(order.statement)

    async with around.running():
        await around.leased()
        around.drops_freezes, around.corrupt = True, pretend
        service: Any = Service(around.parts, around, None)  # type: ignore[arg-type]
        sealed = tower_wire.SignedStatement(statement=order.statement, signature=order.signature)
        request = tower_wire.CreateFreezeRequest(freeze=sealed)
        said = await Service.CreateFreeze.__wrapped__(service, request)  # type: ignore[attr-defined]
        assert not around.status().freezes
        assert not said.applied


async def test_an_officer_is_told_in_time_whatever_a_relay_does(around: Around) -> None:
    """Else the client gives up, and says that nobody took what is on the disk."""
    async with around.running():
        await around.leased()
        around.silent = True
        service: Any = Service(around.parts, around, None)  # type: ignore[arg-type]
        order = freeze()
        sealed = tower_wire.SignedStatement(statement=order.statement, signature=order.signature)
        request = tower_wire.CreateFreezeRequest(freeze=sealed)
        async with asyncio.timeout(ATTEMPT_SECONDS * 0.8):
            said = await Service.CreateFreeze.__wrapped__(service, request)  # type: ignore[attr-defined]
        assert not said.applied
        assert [name for name, _ in freezes.pending(around.parts, AUDIT)] == [
            digest(order.statement)
        ]


async def test_a_lift_that_a_relay_swallows_is_not_told_as_applied(around: Around) -> None:
    order = freeze()

    def pretend(reply: wire.Reply) -> None:
        for result in reply.results:
            if result.HasField("refusal"):
                result.applied.digest = digest(order.statement)

    async with around.running():
        await around.leased()
        freezes.freeze(around.parts, order)
        await around.until(lambda: around.status().freezes)
        await around.until(lambda: not freezes.pending(around.parts, AUDIT))
        around.drops_freezes, around.corrupt = True, pretend
        service: Any = Service(around.parts, around, None)  # type: ignore[arg-type]
        named = digest(order.statement)
        signed = [sign(key(who), make_unfreeze(who, named)) for who in ("alice", "carol")]
        orders = [
            tower_wire.SignedStatement(statement=item.statement, signature=item.signature)
            for item in signed
        ]
        request = tower_wire.LiftFreezesRequest(orders=orders)
        said = await Service.LiftFreezes.__wrapped__(service, request)  # type: ignore[attr-defined]
        assert around.status().freezes
        assert not said.applied
        around.drops_freezes, around.corrupt = False, lambda _: None
        await around.until(lambda: not around.status().freezes)  # it was not forgotten


async def test_a_signer_that_signed_one_withdrawal_twice_is_lost(around: Around) -> None:
    """Its journal was put back to what the watchtower last saw: no rule of its own can tell."""
    intent = make_intent()
    made = [make_receipt(intent, transaction_id=name) for name in ("1" * 64, "2" * 64)]
    async with around.running():
        await around.leased()
        service: Any = Service(around.parts, around, None)  # type: ignore[arg-type]
        request = tower_wire.SubmitReceiptsRequest(receipts=travelling(*made))
        said = await Service.SubmitReceipts.__wrapped__(service, request)  # type: ignore[attr-defined]
        assert [bool(ack.statement) for ack in said.acks] == [True, False]
        await around.refused(Cause.ROLLBACK, "both signed for one withdrawal")
        assert around.alarms == ["ROLLBACK"]


def no(number: int = 1, **changes: Any) -> Signed:
    intent = make_intent(request_id=f"w-{number}")
    policy, who = changes.pop("policy", parse_policy(policy_file())), changes.pop("person", "bob")
    return sign(key(who), make_approval(policy, intent, who, decision="reject", **changes))


def held(around: Around) -> set[str]:
    """Return the digests of the rejections that the signer has."""
    rows = around.rig.journal.db.execute("SELECT digest FROM rejection")
    return {name for (name,) in rows}


async def test_a_rejection_reaches_the_guard_and_is_told_no_more(around: Around) -> None:
    async with around.running():
        await around.leased()
        order = no()
        rejections.reject(around.parts, order)
        await around.until(lambda: held(around) == {digest(order.statement)})
        await around.until(lambda: not rejections.pending(around.parts, AUDIT))
        await around.leased()


async def test_a_rejection_reaches_the_guard_also_when_no_lease_is_given(around: Around) -> None:
    """The lease before holds for a minute more: it must not be a minute without the rejection."""
    async with around.running():
        await around.leased()
        around.chain_problem = "the chain stands still"
        await around.refused(Cause.CHAIN, "stands still")
        rejections.reject(around.parts, no())
        await around.until(lambda: held(around))
        assert rejections.pending(around.parts, AUDIT)  # only a lease that is taken says so
        around.chain_problem = ""
        await around.until(lambda: not rejections.pending(around.parts, AUDIT))


async def test_a_relay_that_drops_a_rejection_and_says_it_was_taken_gets_no_lease(
    around: Around,
) -> None:
    order = no()

    def pretend(reply: wire.Reply) -> None:
        for result in reply.results:
            if result.HasField("refusal"):
                result.applied.digest = digest(order.statement)

    async with around.running():
        await around.leased()
        around.drops_rejections, around.corrupt = True, pretend
        rejections.reject(around.parts, order)
        await around.refused(Cause.SIGNER, "did not take its lease")
        around.rig.now += LEASE_MS
        for _ in range(3):  # rounds
            around.rig.now += 1
            await around.until(lambda: (link := around.link()) and link.heard == around.rig.now)
        assert not around.status().lease_until
        assert not held(around)
        around.corrupt = lambda _: None
        await around.until(lambda: "which did not come here" in problem_of(around.parts, AUDIT))
        around.drops_rejections = False
        await around.leased()
        assert held(around) == {digest(order.statement)}


async def test_a_rejection_that_a_signer_cannot_keep_does_not_save_its_lease_from_a_theft(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = public("other-audit")
    theft = wire.Freeze(digest="ab" * 32, wallet="*", person=WATCHTOWER)
    async with around.running():
        await around.leased()
        monkeypatch.setattr("signer.rejections.REJECTIONS_MAX", 0)
        rejections.reject(around.parts, no())
        await around.refused(Cause.SIGNER, "which did not come here")
        assert around.status().lease_until
        around.parts.audit_keys |= {other}
        with around.parts.database.transaction() as db:
            freezes.compare(db, other, "", [theft])
        await around.until(lambda: not around.status().lease_until)


async def test_a_lease_of_before_the_relay_was_gone_is_taken_back_once(around: Around) -> None:
    """Or of before a restart, or of another relay: what the link alone knew lived for a minute."""
    other = public("other-audit")
    theft = wire.Freeze(digest="ab" * 32, wallet="*", person=WATCHTOWER)
    async with around.running():
        await around.leased()
    around.parts.audit_keys |= {other}
    with around.parts.database.transaction() as db:
        freezes.compare(db, other, "", [theft])
    async with around.running():
        await around.until(lambda: around.link() and not around.status().lease_until)
        leases_seen = list[str]()
        for _ in range(2):
            looked = around.parts.looked[AUDIT]
            await around.until(lambda: around.parts.looked[AUDIT] > looked + 2)  # noqa: B023 - now
            leases_seen.append(lease_of(around))
        assert leases_seen[0] == leases_seen[1] == around.parts.taken_back[AUDIT]


async def test_more_rejections_than_one_frame_takes_all_reach_the_guard(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "TOLD_AT_ONCE", 2)
    orders = [no(number) for number in range(5)]
    async with around.running():
        await around.leased()
        for order in orders:
            rejections.reject(around.parts, order)
        await around.until(lambda: len(held(around)) == len(orders))
        await around.until(lambda: not rejections.pending(around.parts, AUDIT))
        await around.leased()


async def test_who_rejects_by_the_hundred_holds_nobody_elses_rejection_up(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay could stop after the first lease, which must not be without the other one's."""
    monkeypatch.setattr(rejections, "TOLD_AT_ONCE", 2)
    async with around.running():
        await around.leased()
        around.drops_rejections = True
        for number in range(4):
            rejections.reject(around.parts, no(number))
        others = no(9, person="carol")
        rejections.reject(around.parts, others)
        names = [name for name, _ in rejections.pending(around.parts, AUDIT)]
        assert names == [digest(no(0).statement), digest(others.statement)]
        around.drops_rejections = False
        await around.until(lambda: len(held(around)) == 5)


async def test_one_that_was_dropped_while_a_lease_was_under_way_is_no_fault(around: Around) -> None:
    """Its policy passed meanwhile; the lease was taken all the same."""
    async with around.running():
        await around.leased()
    order, kept = no(), no(2)
    for one in (order, kept):
        rejections.reject(around.parts, one)
    names = [name for name, _ in rejections.pending(around.parts, AUDIT)]
    with around.parts.database.transaction() as db:
        db.execute("DELETE FROM rejection WHERE digest = ?", (digest(order.statement),))
        rejections.told(db, AUDIT, names)
    assert not rejections.pending(around.parts, AUDIT)


async def test_a_rejection_under_a_policy_that_is_new_here_is_taken(around: Around) -> None:
    """Custody brought the version to the signer a moment ago; the officer has read it."""
    async with around.running():
        await around.leased()
        file = policy_file(version=2, previous=around.rig.policy.digest, cap="45 SOL")
        service: Any = Service(around.parts, around, None)  # type: ignore[arg-type]
        order = no(policy=parse_policy(file))
        sealed = tower_wire.SignedStatement(statement=order.statement, signature=order.signature)
        request = tower_wire.CreateRejectionRequest(rejection=sealed)
        assert apply_version(around.rig, file).HasField("applied")
        said = await Service.CreateRejection.__wrapped__(service, request)  # type: ignore[attr-defined]
        assert said == tower_wire.CreateRejectionResponse()
        await around.until(lambda: held(around) == {digest(order.statement)})
        await around.leased()


class Held:
    """In a gateway's place: the guard answers at once, a relay keeps the first answer back."""

    def __init__(self, rig: SignerRig) -> None:
        self.rig, self.asked, self.released = rig, asyncio.Event(), asyncio.Event()

    async def ask(self, jobs: Sequence[wire.Job]) -> Sequence[wire.Result]:
        results, first = self.rig.guard.answer(list(jobs)), not self.asked.is_set()
        self.asked.set()
        if first:
            await self.released.wait()
        return results


async def test_what_a_relay_kept_back_takes_back_nothing_that_was_seen_since(
    around: Around,
) -> None:
    """An answer of before a lift made it forget a proven theft, and the sweeping with it."""
    order = freeze()
    job = wire.Job(apply=wire.Apply(freeze=freezes.enveloped(order)))
    assert around.rig.ask_unleased(job).HasField("applied")
    gateway: Any = Held(around.rig)
    link = Link(gateway, audit_key=AUDIT)
    late = asyncio.create_task(leases.look(around.parts, link))
    await gateway.asked.wait()
    orders = [make_unfreeze(who, digest(order.statement)) for who in ("alice", "carol")]
    lift = wire.Unfreeze(orders=map(enveloped, orders))
    applied = around.rig.ask_unleased(wire.Job(apply=wire.Apply(unfreeze=lift))).applied
    await leases.look(around.parts, link)
    freezes.prove_theft(around.parts, AUDIT, b"stolen")
    gateway.released.set()
    with pytest.raises(leases.SignerError, match="later"):
        await late
    assert freezes.is_theft_proven(around.parts, AUDIT)
    known = signers.find(around.parts.database, AUDIT)
    assert known
    assert known.epoch == applied.digest


async def test_the_entry_that_a_lease_names_does_not_go_back(around: Around) -> None:
    """Of two relays of one signer, one may keep back what it said as it took a lease."""
    database = around.parts.database
    hello = decode(Hello, around.rig.ask_unleased(HELLO).hello.statement)
    later = replace(hello, sequence=hello.sequence + 5, head="ab" * 32)
    for taken in (hello, later, hello):
        with database.transaction() as db:
            signers.confirm(db, taken)
    assert signers.confirmed(database, hello) == (later.sequence, later.head)


async def test_nor_what_was_seen_when_a_theft_was_asked_about(around: Around) -> None:
    gateway: Any = Held(around.rig)
    link = Link(gateway, audit_key=AUDIT)
    late = asyncio.create_task(leases.look(around.parts, link))
    await gateway.asked.wait()
    nodes: Any = None
    responder = Responder(around.parts, nodes, around.rig.policy.wallets["hot-sol"], ())
    await responder._ask(gateway, wire.SignedStatement())
    gateway.released.set()
    with pytest.raises(leases.SignerError, match="later"):
        await late
