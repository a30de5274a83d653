"""A28, replayed orders: an old unfreeze against the freeze of today; an old veto, an old freeze."""

from policies.codes import Code
from policies.freezes import ALL_WALLETS, epoch_after
from policies.statements import Signed, digest
from tests.factories import key, make_freeze, make_unfreeze, sign
from tests.integration.guard.orders import freeze_job, unfreeze_job
from tests.integration.guard.payments import ask, code_of, pay
from tests.integration.guard.versions import DAY, apply, following, proposals, refused, veto
from tests.signing import STATUS, SignerRig

MONTH = 30 * DAY


def epoch(rig: SignerRig) -> str:
    return str(rig.ask(STATUS).status.epoch)


def freeze(rig: SignerRig, person: str = "alice", wallet: str = ALL_WALLETS) -> str:
    """Freeze in the epoch of now; return the order's digest."""
    order = sign(key(person), make_freeze(person, wallet=wallet, epoch=epoch(rig)))
    assert rig.ask(freeze_job(order)).applied.digest == digest(order.statement)
    assert code_of(ask(rig)) is Code.FROZEN
    return digest(order.statement)


def lift(rig: SignerRig, *freezes: str, lasts: int = DAY) -> list[Signed]:
    """Clear these freezes by a quorum; return the orders, which custody keeps."""
    named = {"epoch": epoch(rig), "expires": rig.now + lasts}
    orders = [
        sign(key(name), make_unfreeze(name, *freezes, **named)) for name in ("alice", "carol")
    ]
    expected = epoch_after(epoch(rig), freezes)
    assert rig.ask(unfreeze_job(*orders)).applied.digest == expected
    return orders


def test_last_months_unfreeze_against_todays_freeze(rig: SignerRig) -> None:
    """Alice's freeze would be the same bytes again, were it not for the epoch."""
    first = freeze(rig)
    kept = lift(rig, first, lasts=2 * MONTH)
    pay(rig)
    rig.now += MONTH
    second = freeze(rig)
    assert second != first
    assert code_of(rig.ask(unfreeze_job(*kept))) is Code.EPOCH_PASSED
    assert code_of(ask(rig)) is Code.FROZEN
    rig.restart()
    assert code_of(rig.ask(unfreeze_job(*kept))) is Code.EPOCH_PASSED
    assert code_of(ask(rig)) is Code.FROZEN
    lift(rig, second)
    pay(rig)


def test_an_old_freeze_stops_nothing(rig: SignerRig) -> None:
    old = sign(key("bob"), make_freeze("bob"))
    assert rig.ask(freeze_job(old)).applied.digest
    lift(rig, digest(old.statement))
    assert code_of(rig.ask(freeze_job(old))) is Code.EPOCH_PASSED
    pay(rig)


def test_an_unfreeze_clears_what_it_names_and_nothing_that_came_meanwhile(rig: SignerRig) -> None:
    """Custody holds the quorum's unfreeze back until another officer has seen something."""
    first, begun = freeze(rig), epoch(rig)
    orders = [sign(key(name), make_unfreeze(name, first)) for name in ("alice", "carol")]
    second = freeze(rig, "carol", "hot-sol")
    assert rig.ask(unfreeze_job(*orders)).applied.digest
    assert epoch(rig) != begun
    assert code_of(ask(rig)) is Code.FROZEN
    assert [item.digest for item in rig.ask(STATUS).status.freezes] == [second]
    lift(rig, second)
    pay(rig)


def test_a_veto_of_one_version_is_none_of_another(rig: SignerRig) -> None:
    """The vetoed version falls with the next one; its veto means nothing for that one's like."""
    vetoed = following(rig, cap="60 SOL")
    refused(apply(rig, vetoed), Code.POLICY_DELAYED)
    assert veto(rig, digest(vetoed), "bob").applied.digest
    refused(apply(rig, vetoed), Code.POLICY_VETOED)
    assert apply(rig, following(rig, cap="45 SOL")).HasField("applied")
    again = following(rig, cap="60 SOL")
    refused(apply(rig, again), Code.POLICY_DELAYED)
    assert veto(rig, digest(vetoed), "bob").applied.digest  # the old one, once more
    assert [list(item.vetoed_by) for item in proposals(rig)] == [[]]
    pay(rig)
