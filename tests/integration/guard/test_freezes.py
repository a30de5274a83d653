"""One officer freezes, only the change quorum unfreezes, and no order works twice."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.freezes import epoch_after
from policies.statements import Freeze, Signed, Unfreeze, digest, encode
from signer import freezes as freezes_module
from signer.freezes import Freezes
from signer.requests import Requests
from tests.factories import (
    HOUR,
    NOW,
    key,
    make_book,
    make_freeze,
    make_intent,
    make_unfreeze,
    policy_file,
    public,
    sign,
    wallet_text,
)
from tests.integration.guard.orders import freeze_job, unfreeze_job
from tests.integration.guard.payments import ask, code_of, intend, job_of, pay
from tests.integration.guard.versions import QUORUM, apply, following
from tests.integration.mischief import Crash, crash_in
from tests.signing import STATUS, SignerRig, apply_book, enveloped, hold_keys, nonce_open, transfer
from tests.softhsm import SoftHsm

MakeRig = Callable[[bytes], SignerRig]


def freeze(rig: SignerRig, person: str = "alice", **changes: Any) -> str:
    """Freeze in the present epoch; return the freeze's digest."""
    order = make_freeze(person, **{"epoch": epoch_of(rig)} | changes)
    result = rig.ask(freeze_job(order))
    assert result.applied.digest == digest(encode(order)), result
    return result.applied.digest


def lift(rig: SignerRig, *names: str, people: tuple[str, ...] = QUORUM, **changes: Any) -> Any:
    usual = {"epoch": epoch_of(rig), "expires": rig.now + HOUR}
    return rig.ask(unfreeze_job(*(make_unfreeze(p, *names, **usual | changes) for p in people)))


def epoch_of(rig: SignerRig) -> str:
    return str(rig.ask(STATUS).status.epoch)


def standing(rig: SignerRig) -> list[tuple[str, str, str]]:
    return [(f.digest, f.wallet, f.person) for f in rig.ask(STATUS).status.freezes]


@pytest.mark.parametrize("wallet", ["*", "hot-sol"])
def test_one_officer_stops_all_that_leaves(rig: SignerRig, wallet: str) -> None:
    first = rig.signed(transfer(make_intent()))
    name = freeze(rig, "bob", wallet=wallet)
    for _ in range(2):
        assert rig.refused(transfer(make_intent(request_id="w-2"))) is Code.FROZEN
        assert rig.refused(nonce_open()) is Code.FROZEN
        again = rig.ask(transfer(make_intent()))
        assert code_of(again) is Code.FROZEN, "not even the bytes that were given before"
        assert not again.signed.transaction
        assert standing(rig) == [(name, wallet, "bob")]
        rig.restart()
    assert lift(rig, name).HasField("applied")
    assert rig.signed(transfer(make_intent())).transaction == first.transaction
    pay(rig)


def test_what_goes_on_under_freeze(rig: SignerRig) -> None:
    paid, waiting = make_intent(), make_intent(request_id="w-2")
    first = rig.signed(transfer(paid))
    freeze(rig)
    answer = rig.ask(wire.Job(end=wire.End(intent=enveloped(paid)))).signed
    assert (answer.transaction, answer.transaction_id) == (b"", first.transaction_id)
    assert rig.ask(wire.Job(end=wire.End(intent=enveloped(waiting)))).HasField("ended")
    assert apply(rig, following(rig, cap="45 SOL")).HasField("applied")
    removal = make_book(
        version=2, previous=digest(encode(make_book())), add=(), remove=make_book().add
    )
    assert rig.ask(apply_book(removal, *QUORUM)).HasField("applied")
    assert rig.lease().HasField("applied")
    assert code_of(ask(rig)) is Code.FROZEN


def test_first_sight_is_noted_under_freeze(make_rig: MakeRig) -> None:
    tiers = {"50 SOL": {"people": [], "delay": "6 hours"}}
    rig = make_rig(policy_file(tiers=tiers))
    intent = make_intent(expires=NOW + 20 * HOUR)
    name = freeze(rig)
    assert rig.refused(transfer(intent)) is Code.FROZEN
    rig.now += HOUR
    assert lift(rig, name).HasField("applied")
    assert rig.ask(transfer(intent)).refusal.earliest_time == NOW + 6 * HOUR


def test_a_freeze_of_one_wallet_leaves_the_others(softhsm: SoftHsm, make_rig: MakeRig) -> None:
    hold_keys(softhsm, "cold-sol")
    text = wallet_text("cold-sol", signer=public("audit"))
    rig = make_rig(policy_file(more=text))
    freeze(rig, wallet="cold-sol")
    pay(rig)
    freeze(rig, wallet="hot-sol")
    assert code_of(ask(rig)) is Code.FROZEN


def test_the_same_again_is_applied_and_nothing_more(rig: SignerRig) -> None:
    name = freeze(rig)
    sequence = rig.journal.sequence
    assert freeze(rig) == name
    assert rig.journal.sequence == sequence


def test_what_was_reserved_is_frozen_too(rig: SignerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    intent = intend(rig)
    with monkeypatch.context() as patch:
        crash_in(Requests, "reserve", patch)
        with pytest.raises(Crash):
            rig.ask(job_of(rig, intent))
    rig.restart()
    freeze(rig)
    assert rig.refused(job_of(rig, intent)) is Code.FROZEN


def test_who_may_not_freeze(rig: SignerRig) -> None:
    order = make_freeze()
    wrongs: tuple[tuple[Freeze | Signed, Code], ...] = (
        (sign(key("mallory"), order), Code.FREEZE_INVALID),
        (replace(order, key=public("bob")), Code.FREEZE_INVALID),
        (replace(order, person="exchange", key=public("exchange")), Code.FREEZE_INVALID),
        (replace(order, person="watchtower", key=public("watchtower")), Code.FREEZE_INVALID),
        (replace(order, wallet="absent"), Code.FREEZE_INVALID),
        (replace(order, epoch="0" * 64), Code.EPOCH_PASSED),
        (Signed(b"", b""), Code.FREEZE_INVALID),
    )
    for wrong, code in wrongs:
        assert rig.refused(freeze_job(wrong)) is code, wrong
    pay(rig)


def test_a_freeze_or_lift_of_an_earlier_epoch_does_nothing(rig: SignerRig) -> None:
    old, first = make_freeze(), freeze(rig)
    lifts = [make_unfreeze(person, first) for person in QUORUM]
    assert rig.ask(unfreeze_job(*lifts)).applied.digest == epoch_after("", [first])
    assert epoch_of(rig) == epoch_after("", [first])
    assert rig.refused(freeze_job(old)) is Code.EPOCH_PASSED, "a replay, by whoever kept it"
    pay(rig)
    second = freeze(rig)
    assert second != first
    assert rig.refused(unfreeze_job(*lifts)) is Code.EPOCH_PASSED
    rig.restart()
    assert rig.refused(unfreeze_job(*lifts)) is Code.EPOCH_PASSED
    assert code_of(ask(rig)) is Code.FROZEN


def test_a_lift_needs_the_quorum_signing_one_list(rig: SignerRig) -> None:
    one, two = freeze(rig), freeze(rig, "bob")
    good = [make_unfreeze(person, one, two) for person in QUORUM]
    wrongs: tuple[tuple[list[Unfreeze | Signed], Code], ...] = (
        ([], Code.UNFREEZE_INVALID),
        ([good[0]], Code.QUORUM_MISSING),
        ([good[0], good[0]], Code.QUORUM_MISSING),
        ([good[0], replace(good[0], key=public("alice-2"))], Code.QUORUM_MISSING),
        ([good[0], make_unfreeze("carol", one)], Code.UNFREEZE_INVALID),
        ([good[0], sign(key("mallory"), good[1])], Code.UNFREEZE_INVALID),
        ([good[0], replace(good[1], expires=NOW)], Code.UNFREEZE_INVALID),
        ([make_unfreeze(p, one, "0" * 64) for p in QUORUM], Code.UNFREEZE_INVALID),
        ([make_unfreeze(p, one, two, epoch="0" * 64) for p in QUORUM], Code.EPOCH_PASSED),
    )
    for orders, code in wrongs:
        assert rig.refused(unfreeze_job(*orders)) is code, orders
    assert len(standing(rig)) == 2


def test_what_a_lift_does_not_name_stays(rig: SignerRig) -> None:
    """The quorum cleared what it knew of; a freeze that it had not seen goes on."""
    known, unseen = freeze(rig), freeze(rig, "bob")
    assert lift(rig, known).applied.digest == epoch_after("", [known])
    assert standing(rig) == [(unseen, "*", "bob")]
    assert code_of(ask(rig)) is Code.FROZEN
    assert lift(rig, unseen).HasField("applied")
    pay(rig)


@pytest.mark.parametrize("effect", ["freeze", "unfreeze"])
def test_a_crash_leaves_it_frozen_or_lifted_whole(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch, effect: str
) -> None:
    name = digest(encode(make_freeze())) if effect == "freeze" else freeze(rig)
    with monkeypatch.context() as patch:
        crash_in(Freezes, effect, patch)
        with pytest.raises(Crash):
            freeze(rig) if effect == "freeze" else lift(rig, name)
    rig.restart()
    assert [item[0] for item in standing(rig)] == ([name] if effect == "freeze" else [])
    assert ask(rig).refusal.code == (Code.FROZEN if effect == "freeze" else "")


def test_so_many_stand_at_most_and_one_lift_can_name_them(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezes_module, "FREEZES_MAX", 3)
    names = [freeze(rig), freeze(rig, "bob")]
    assert rig.refused(freeze_job(make_freeze("carol"))) is Code.FREEZE_INVALID
    assert freeze(rig) == names[0], "which stands already"
    rig.guard._freezes.freeze_all(b"stolen", rig.guard._clock.now())
    rig.guard._freezes.freeze_all(b"stolen again", rig.guard._clock.now())
    names.append(digest(b"stolen"))
    assert {item[0] for item in standing(rig)} == {*names}
    assert lift(rig, *names).HasField("applied")
    assert standing(rig) == []
