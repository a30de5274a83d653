"""Without a fresh lease of the watchtower for exactly this start, no hot wallet signs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import (
    LEASE_MS,
    Hello,
    Lease,
    Resolved,
    Signed,
    decode,
    digest,
    verify,
)
from signer import journal as journal_module
from tests.factories import (
    HOUR,
    NOW,
    SOL,
    key,
    make_freeze,
    make_intent,
    make_unfreeze,
    policy_file,
    public,
    sign,
)
from tests.integration.guard.orders import freeze_job, unfreeze_job
from tests.integration.guard.payments import FEE, SMALL, ask, code_of, intend, job_of, pay
from tests.integration.guard.versions import apply, following
from tests.integration.mischief import Crash, crash_in
from tests.signing import HELLO, STATUS, SignerRig, enveloped, lease_job, nonce_open, transfer

MakeRig = Callable[[bytes], SignerRig]


@pytest.fixture
def bare(rig: SignerRig) -> SignerRig:
    """A signer that has just started, with no lease, and gets none but the test's."""
    rig.restart()
    rig.leased = False
    return rig


def hello_of(rig: SignerRig) -> Hello:
    result = rig.ask(HELLO).hello
    hello = decode(Hello, result.statement)
    assert verify(public("audit"), Signed(result.statement, result.signature))
    return hello


def leased(rig: SignerRig, **changes: Any) -> None:
    result = rig.lease(**changes)
    assert result.HasField("applied"), result


def field_refused(rig: SignerRig, **changes: Any) -> str:
    """Return the field for which a lease is refused; nothing is signed then."""
    result = rig.lease(**changes)
    assert code_of(result) is Code.LEASE_INVALID
    assert code_of(ask(rig)) is Code.LEASE_MISSING
    return result.refusal.field


def test_hello_says_what_the_signer_is(bare: SignerRig) -> None:
    hello, status = hello_of(bare), bare.ask(STATUS).status
    assert (hello.key, hello.journal, hello.epoch) == (public("audit"), bare.journal.name, "")
    assert (hello.sequence, hello.head) == (status.sequence, status.head)
    assert hello.policy == digest(status.policy)
    assert hello_of(bare).challenge == hello.challenge
    bare.restart()
    assert hello_of(bare).challenge != hello.challenge


def test_no_hot_wallet_signs_without_one(bare: SignerRig) -> None:
    assert code_of(ask(bare)) is Code.LEASE_MISSING
    assert bare.refused(nonce_open()) is Code.LEASE_MISSING
    assert bare.ask(STATUS).status.lease_until == 0
    result = bare.lease()
    assert len(result.applied.digest) == 64
    assert bare.ask(STATUS).status.lease_until == NOW + LEASE_MS
    assert bare.ask(STATUS).status.watchtower == public("watchtower")
    pay(bare)
    bare.signed(nonce_open())


def test_first_sight_is_noted_without_one(make_rig: MakeRig) -> None:
    tiers = {"1 SOL": [], "40 SOL": {"people": [], "delay": "6 hours"}}
    rig = make_rig(policy_file(tiers=tiers))
    rig.restart()
    rig.leased = False
    intent = make_intent(amount=5 * SOL, expires=NOW + 24 * HOUR)
    assert rig.refused(transfer(intent)) is Code.LEASE_MISSING
    rig.now += HOUR
    leased(rig)
    assert rig.ask(transfer(intent)).refusal.earliest_time == NOW + 6 * HOUR


@pytest.mark.parametrize("late", [0, 10_000, 30_000])
def test_it_is_fresh_for_a_minute_from_its_own_time(bare: SignerRig, late: int) -> None:
    leased(bare, time=NOW - late)
    bare.now = NOW - late + LEASE_MS - 1
    pay(bare)
    bare.now += 1
    assert code_of(ask(bare)) is Code.LEASE_MISSING
    assert bare.ask(STATUS).status.lease_until == 0


@pytest.mark.parametrize("off", [30_001, -30_001, 24 * HOUR, -24 * HOUR])
def test_one_that_differs_from_the_hosts_clock_is_refused(bare: SignerRig, off: int) -> None:
    tick = bare.guard._clock.now().tick
    assert field_refused(bare, time=NOW + off) == "time"
    assert bare.guard._clock.now().tick == tick


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("audit_key", public("other audit")),
        ("challenge", "0" * 64),
        ("journal", "0" * 32),
        ("policy", "0" * 64),
        ("epoch", "0" * 64),
        ("head", "0" * 64),
        ("key", public("alice")),
    ],
)
def test_one_for_another_signer_is_refused(bare: SignerRig, field: str, value: str) -> None:
    assert field_refused(bare, **{field: value}) == field


def test_a_forged_or_spoilt_one_is_refused(bare: SignerRig) -> None:
    job = lease_job(bare.ask(HELLO), time=NOW)
    lease = decode(Lease, job.apply.lease.statement)
    for wrong in (
        sign(key("mallory"), lease),
        sign(key("audit"), replace(lease, key=public("audit"))),
        Signed(job.apply.lease.statement.replace(b"lease", b"hello"), bytes(64)),
        Signed(b"", b""),
    ):
        result = bare.ask(wire.Job(apply=wire.Apply(lease=enveloped(wrong))))
        assert code_of(result) is Code.LEASE_INVALID
    assert code_of(ask(bare)) is Code.LEASE_MISSING


def test_one_of_an_earlier_start_is_none_of_this(bare: SignerRig) -> None:
    job = lease_job(bare.ask(HELLO), time=NOW)
    assert bare.ask(job).HasField("applied")
    assert bare.ask(job).HasField("applied"), "again does no harm"
    pay(bare)
    bare.restart()
    assert bare.ask(job).refusal.field == "challenge"
    assert code_of(ask(bare)) is Code.LEASE_MISSING


def test_an_older_copy_of_the_journal_is_named(bare: SignerRig) -> None:
    """The watchtower saw entries that this journal has not: it was restored, token and all."""
    result = bare.lease(sequence=bare.journal.sequence + 1)
    assert (result.refusal.code, result.refusal.field) == (Code.LEASE_INVALID, "sequence")
    assert "it is an older copy" in result.refusal.message


def test_one_that_saw_an_earlier_entry_is_good(bare: SignerRig) -> None:
    hello = hello_of(bare)
    leased(bare)
    for _ in range(2):
        pay(bare)
    assert bare.journal.sequence > hello.sequence
    leased(bare, sequence=hello.sequence, head=hello.head)
    assert field_of(bare.lease(sequence=hello.sequence)) == "head"


def field_of(result: wire.Result) -> str:
    assert code_of(result) is Code.LEASE_INVALID
    return result.refusal.field


def test_it_ends_with_the_policy_and_with_the_epoch(bare: SignerRig) -> None:
    leased(bare)
    assert apply(bare, following(bare, cap="45 SOL")).HasField("applied")
    assert code_of(ask(bare)) is Code.LEASE_MISSING
    leased(bare)
    pay(bare)
    order = make_freeze()
    name = bare.ask(freeze_job(order)).applied.digest
    assert bare.lease().HasField("applied"), "leases go on under freeze"
    assert code_of(ask(bare)) is Code.FROZEN
    orders = [make_unfreeze(person, name) for person in ("alice", "carol")]
    assert bare.ask(unfreeze_job(*orders)).HasField("applied")
    assert code_of(ask(bare)) is Code.LEASE_MISSING
    leased(bare)
    pay(bare)


def test_a_retry_needs_none_and_what_was_only_reserved_does(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rig.signed(transfer(make_intent()))
    reserved = intend(rig)
    with monkeypatch.context() as patch:
        crash_in(type(rig.guard._transfers._requests), "reserve", patch)
        with pytest.raises(Crash):
            rig.ask(job_of(rig, reserved))
    rig.restart()
    rig.leased = False
    assert rig.ask(transfer(make_intent())).signed.transaction == first.transaction
    assert rig.refused(job_of(rig, reserved)) is Code.LEASE_MISSING
    leased(rig)
    rig.signed(job_of(rig, reserved))


def test_a_new_watchtower_key_takes_the_place_of_the_old(bare: SignerRig) -> None:
    file = following(bare, watchtower=public("tracing"))
    assert apply(bare, file, elapsed=True).HasField("applied")
    assert field_refused(bare) == "key"
    leased(bare, key=public("tracing"))
    pay(bare)


def test_a_host_that_runs_fast_is_not_locked_out(bare: SignerRig) -> None:
    """A second a day, and somebody sets its clock right: ticks wait until leases have caught up."""
    ticks = [NOW]
    for _ in range(90):
        bare.now += 24 * HOUR + 1_000
        bare.set_clock(bare.now - 1_000)
        leased(bare, time=bare.now)
        bare.now += 500
        ticks.append(bare.guard._clock.now().tick)
        pay(bare)
    assert ticks == sorted(ticks)
    assert ticks[-1] - bare.now <= 1_000


# --- beyond recall


RECALL = 10 * SOL


@pytest.fixture
def recalled(make_rig: MakeRig) -> SignerRig:
    rig = make_rig(policy_file(beyond_recall="10 SOL"))
    rig.leased = False
    leased(rig)
    return rig


def resolve(rig: SignerRig, amount: int, **changes: Any) -> wire.Result:
    item = Resolved(wallet="hot-sol", asset="SOL", amount=amount)
    return rig.lease(resolved=(item,), **changes)


def test_what_is_signed_and_not_final_has_a_limit(recalled: SignerRig) -> None:
    part = RECALL // 10 - FEE
    for _ in range(10):
        pay(recalled, part)
    result = ask(recalled, 1)
    assert code_of(result) is Code.RECALL_EXCEEDED
    assert result.refusal.rule == "wallets.hot-sol.beyond_recall"
    assert resolve(recalled, RECALL // 10).HasField("applied")
    pay(recalled, part)
    assert code_of(ask(recalled, 1)) is Code.RECALL_EXCEEDED
    recalled.restart()
    leased(recalled)
    assert code_of(ask(recalled, 1)) is Code.RECALL_EXCEEDED, "nothing is resolved but by a lease"
    assert resolve(recalled, 11 * (RECALL // 10)).HasField("applied")
    for _ in range(10):
        pay(recalled, part)


def test_no_lease_resolves_more_than_was_signed(recalled: SignerRig) -> None:
    pay(recalled, SMALL)
    assert field_of(resolve(recalled, SMALL + FEE + 1)) == "resolved"
    other = Resolved(wallet="cold-sol", asset="SOL", amount=1)
    assert field_of(recalled.lease(resolved=(other,))) == "resolved"
    assert resolve(recalled, SMALL + FEE).HasField("applied")


def test_a_reservation_counts_once_and_is_taken_off_when_it_is_ended(
    recalled: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, ended = intend(recalled, SOL - FEE), intend(recalled, 9 * SOL - FEE)
    with monkeypatch.context() as patch:
        crash_in(type(recalled.guard._transfers._requests), "reserve", patch)
        for intent in (large, ended):
            with pytest.raises(Crash):
                recalled.ask(job_of(recalled, intent, "alice"))
    recalled.restart()
    leased(recalled)
    assert code_of(ask(recalled, 1)) is Code.RECALL_EXCEEDED
    recalled.signed(job_of(recalled, large))
    assert recalled.ask(wire.Job(end=wire.End(intent=enveloped(ended)))).HasField("ended")
    assert recalled.ask(wire.Job(end=wire.End(intent=enveloped(ended)))).HasField("ended")
    pay(recalled, 9 * SOL - FEE, "alice")
    assert code_of(ask(recalled, 1)) is Code.RECALL_EXCEEDED
    assert field_of(resolve(recalled, RECALL + 1)) == "resolved"


def test_a_fork_is_found_however_much_was_written_since(
    bare: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who put journal and token back only has to have more entries written than heads are kept."""
    monkeypatch.setattr(journal_module, "_HEADS_KEPT", 4)
    assert bare.lease().applied.digest
    for _ in range(4):
        pay(bare)
    assert code_of(bare.lease(sequence=2, head="ee" * 32)) is Code.LEASE_INVALID


def test_an_entry_whose_head_was_let_go_confirms_nothing(
    bare: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads from before the last lease's entry go: whoever names one may have seen another fork."""
    monkeypatch.setattr(journal_module, "_HEADS_KEPT", 4)
    for _ in range(2):
        assert bare.lease().applied.digest
        for _ in range(4):
            pay(bare)
    assert bare.journal.head_at(2) is None
    assert field_of(bare.lease(sequence=2, head="ee" * 32)) == "head"


def test_a_lease_that_expires_at_once_takes_back_the_one_before(bare: SignerRig) -> None:
    first = lease_job(bare.ask(HELLO), time=bare.now)
    assert bare.ask(first).applied.digest
    pay(bare)
    bare.now += 1
    assert bare.lease(expires=bare.now).applied.digest
    assert code_of(ask(bare)) is Code.LEASE_MISSING
    refusal = bare.ask(first).refusal
    assert (refusal.code, refusal.field) == (Code.LEASE_INVALID, "time"), "played again"
    assert code_of(ask(bare)) is Code.LEASE_MISSING
    assert bare.lease().applied.digest
    pay(bare)
