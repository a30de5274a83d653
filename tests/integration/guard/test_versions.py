"""Policy versions: the quorum in force decides, tightening acts at once, all else waits."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.policy_file import parse_policy
from policies.statements import LEASE_MS, Elapsed, Signed, digest
from signer import governance, versions
from signer.anchor import newest
from signer.governance import Governance
from tests.factories import (
    HOT_ADDRESS,
    HOUR,
    NOW,
    SOL,
    STRANGER,
    key,
    make_approval,
    make_change,
    make_dead,
    make_elapsed,
    make_intent,
    policy_file,
    public,
    sign,
    wallet_text,
)
from tests.integration.guard.payments import ask, code_of, pay
from tests.integration.guard.versions import (
    DAY,
    QUORUM,
    apply,
    following,
    in_force,
    proposals,
    refused,
    signed_by,
    version_job,
    veto,
)
from tests.integration.mischief import Crash, crash_in
from tests.signing import SignerRig, transfer

MakeRig = Callable[[bytes], SignerRig]
LOOSER: dict[str, Any] = {"destination": "any"}
TIGHTER: dict[str, Any] = {"cap": "45 SOL"}


def test_what_only_tightens_acts_at_once(rig: SignerRig) -> None:
    large = {"amount": 39 * SOL}
    pay(rig, large["amount"], *QUORUM)
    for changes, code in (
        ({"cap": "40 SOL", "maximum_fee": "0.0005 SOL"}, None),
        ({"cap": "40 SOL", "maximum_fee": "0.0005 SOL", "enabled": False}, Code.WALLET_DISABLED),
    ):
        file = following(rig, **changes)
        assert apply(rig, file).HasField("applied")
        assert in_force(rig) == digest(file)
        result = ask(rig, large["amount"], *QUORUM)
        assert result.refusal.code == (code or "")
    rig.restart()
    assert code_of(ask(rig)) is Code.WALLET_DISABLED


def test_what_does_more_waits_for_the_watchtowers_word(rig: SignerRig) -> None:
    """The signer's own clock only says when that may be."""
    file = following(rig, **LOOSER)
    rig.now = first = NOW + 5 * HOUR
    for rig.now in (first, first + HOUR, first + DAY - 1, first + DAY, first + 6 * DAY):
        if rig.now >= first + DAY:
            assert refused(apply(rig, file), Code.POLICY_DELAYED) == rig.now
            continue
        assert refused(apply(rig, file), Code.POLICY_DELAYED) == first + DAY
        assert in_force(rig) != digest(file)
        assert code_of(ask(rig, destination=STRANGER)) is Code.DESTINATION_NOT_ALLOWED
        (waiting,) = proposals(rig)
        assert (waiting.digest, waiting.earliest_time) == (digest(file), first + DAY)
    assert apply(rig, file, elapsed=True).HasField("applied")
    assert (in_force(rig), proposals(rig)) == (digest(file), [])
    pay(rig, destination=STRANGER)


def test_the_word_must_be_the_watchtowers_and_about_this_version(rig: SignerRig) -> None:
    file = following(rig, **LOOSER)
    word, signed = make_elapsed(digest(file)), signed_by(rig, file, *QUORUM)
    wrongs: tuple[Elapsed | Signed, ...] = (
        replace(word, key=public("alice")),
        sign(key("mallory"), word),
        replace(word, change=rig.policy.digest),
        replace(word, time=NOW + LEASE_MS + 1),
        replace(word, time=NOW - LEASE_MS - 1),  # a veto may have come since
        sign(key("watchtower"), make_dead(make_intent(), "1" * 64)),
        Signed(b"", b""),
    )
    for wrong in wrongs:
        refused(rig.ask(version_job(file, signed, wrong)), Code.ELAPSED_INVALID)
        assert in_force(rig) == rig.policy.digest
    refused(rig.ask(version_job(file, signed[:1], word)), Code.QUORUM_MISSING)
    veto(rig, digest(file), "bob")
    refused(rig.ask(version_job(file, signed, word)), Code.POLICY_VETOED)


def test_a_word_about_one_version_is_none_about_the_next(rig: SignerRig) -> None:
    file = following(rig, **LOOSER)
    assert apply(rig, file, elapsed=True).HasField("applied")
    back = following(rig)
    assert apply(rig, back, elapsed=True).HasField("applied")
    again = following(rig, **LOOSER)
    job = version_job(again, signed_by(rig, again, *QUORUM), make_elapsed(digest(file)))
    refused(rig.ask(job), Code.ELAPSED_INVALID)


def test_tightening_something_does_not_carry_the_rest_along(rig: SignerRig) -> None:
    refused(apply(rig, following(rig, **TIGHTER, **LOOSER)), Code.POLICY_DELAYED)
    assert len(proposals(rig)) == 1


def test_first_sight_outlives_restarts_and_no_clock_shortens_the_wait(rig: SignerRig) -> None:
    file = following(rig, **LOOSER)
    refused(apply(rig, file), Code.POLICY_DELAYED)
    rig.now += 10 * HOUR
    rig.restart()
    assert refused(apply(rig, file), Code.POLICY_DELAYED) == NOW + DAY
    rig.set_clock(NOW + 2 * DAY)
    refused(apply(rig, file), Code.CLOCK_DIFFERS)
    rig.set_clock(NOW + 10 * HOUR)
    rig.stop()
    rig.boot, rig.now = "boot-2", NOW + 3 * DAY
    rig.steady = NOW - rig.now - HOUR
    rig.leased = False
    rig.start()  # it was off for days, and nobody has told it so
    assert refused(apply(rig, file), Code.POLICY_DELAYED) > rig.now + 13 * HOUR
    assert in_force(rig) == rig.policy.digest


@pytest.mark.parametrize("effect", ["propose", "put_in_force"])
def test_a_crash_on_the_way_changes_nothing_of_it(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch, effect: str
) -> None:
    file = following(rig, **LOOSER)
    job = version_job(file, signed_by(rig, file, *QUORUM))
    if effect == "put_in_force":
        job = version_job(file, signed_by(rig, file, *QUORUM), make_elapsed(digest(file)))
    with monkeypatch.context() as patch:
        crash_in(Governance, effect, patch)
        with pytest.raises(Crash):
            rig.ask(job)
    rig.restart()
    if effect == "propose":
        rig.now += HOUR
        assert refused(rig.ask(job), Code.POLICY_DELAYED) == NOW + DAY
    else:
        assert in_force(rig) == digest(file)
        assert rig.ask(job).applied.digest == digest(file), "custody asks again"
        pay(rig, destination=STRANGER)


def test_the_signatures_must_live_when_it_acts(rig: SignerRig) -> None:
    file = following(rig, **LOOSER)
    refused(apply(rig, file, expires=NOW + DAY), Code.POLICY_DELAYED)
    rig.now += DAY
    refused(apply(rig, file, elapsed=True, expires=NOW + DAY), Code.QUORUM_MISSING)
    assert apply(rig, file, elapsed=True, expires=NOW + DAY + 1).HasField("applied"), (
        "signed anew, seen before"
    )


def test_before_the_quorum_signed_nothing_is_seen(rig: SignerRig) -> None:
    file = following(rig, **LOOSER)
    refused(apply(rig, file, "alice"), Code.QUORUM_MISSING)
    assert proposals(rig) == []
    rig.now += DAY
    assert refused(apply(rig, file), Code.POLICY_DELAYED) == rig.now + DAY


def test_only_the_next_version_of_this_chain(rig: SignerRig) -> None:
    first = rig.policy
    assert apply(rig, following(rig, **TIGHTER)).HasField("applied")
    for wrong in (
        {"version": 2},
        {"version": 4},
        {"version": 1, "previous": ""},
        {"previous": first.digest},
        {"previous": "0" * 64},
        {"previous": ""},
        {"version": 2, "previous": first.digest, "cap": "44 SOL"},
    ):
        file = following(rig, **{**TIGHTER, **wrong})
        changes = signed_by(rig, file, *QUORUM, previous=parse_policy(file).previous)
        refused(rig.ask(version_job(file, changes)), Code.POLICY_OUT_OF_ORDER)
    replay = policy_file()
    refused(rig.ask(version_job(replay, signed_by(rig, replay, *QUORUM))), Code.POLICY_OUT_OF_ORDER)
    for spoilt in (b"", following(rig) + b"\xff", following(rig).replace(b"hot", b"warm")):
        refused(apply(rig, spoilt), Code.POLICY_MALFORMED)
    assert in_force(rig) == rig.policy.digest


def test_the_version_in_force_is_confirmed_again(rig: SignerRig) -> None:
    file = following(rig, **TIGHTER)
    assert apply(rig, file).HasField("applied")
    before = rig.remembered()
    assert rig.ask(version_job(file, [])).applied.digest == digest(file)
    assert rig.remembered() == before


def test_a_version_needs_its_quorum(rig: SignerRig) -> None:
    file = following(rig, **TIGHTER)
    for people in ((), ("alice",), ("bob",), ("bob", "bob"), ("carol", "carol")):
        job = version_job(file, signed_by(rig, file, *people))
        refused(rig.ask(job), Code.QUORUM_MISSING)
    (alice,) = signed_by(rig, file, "alice")
    both_keys = [alice, replace(alice, key=public("alice-2"))]
    refused(rig.ask(version_job(file, both_keys)), Code.QUORUM_MISSING)
    assert apply(rig, file, "bob", "alice").HasField("applied")


def test_a_wrong_signature_refuses_the_version(rig: SignerRig) -> None:
    file = following(rig, **TIGHTER)
    alice, bob, carol = signed_by(rig, file, "alice", "bob", "carol")
    for wrong in (
        sign(key("mallory"), carol),
        replace(carol, key=public("alice")),
        replace(carol, person="exchange", key=public("exchange")),
        replace(carol, subject="book"),
        replace(carol, digest="0" * 64),
        replace(carol, previous=""),
        replace(carol, expires=NOW),
        sign(key("exchange"), make_intent()),
        Signed(b"", b""),
    ):
        signed = [
            item if isinstance(item, Signed) else sealed(item) for item in (alice, bob, wrong)
        ]
        refused(rig.ask(version_job(file, signed)), Code.QUORUM_MISSING)
    many = version_job(file, [alice] * 64 + [carol])
    refused(rig.ask(many), Code.QUORUM_MISSING)


def sealed(change: Any) -> Signed:
    name = {public(name): name for name in ("alice", "bob", "carol", "exchange")}[change.key]
    return sign(key(name), change)


def test_a_signature_under_a_book_version_is_none_under_a_policy(rig: SignerRig) -> None:
    file = following(rig, **TIGHTER)
    changes = [
        make_change("book", digest(file), name, previous=rig.policy.digest) for name in QUORUM
    ]
    refused(rig.ask(version_job(file, changes)), Code.QUORUM_MISSING)


# --- veto


@pytest.mark.parametrize("person", ["alice", "bob", "carol"])
def test_any_one_officer_stops_it(rig: SignerRig, person: str) -> None:
    file = following(rig, **LOOSER)
    refused(apply(rig, file), Code.POLICY_DELAYED)
    assert veto(rig, digest(file), person).applied.digest == digest(file)
    assert [list(item.vetoed_by) for item in proposals(rig)] == [[person]]
    for rig.now in (NOW + HOUR, NOW + DAY, NOW + 6 * DAY):
        refused(apply(rig, file), Code.POLICY_VETOED)
        rig.restart()
    assert not Code.POLICY_VETOED.waits
    other = following(rig, **LOOSER, cap="49 SOL")
    refused(apply(rig, other), Code.POLICY_DELAYED)
    assert apply(rig, other, elapsed=True).HasField("applied"), "another version is not vetoed"


def test_a_veto_that_comes_before_the_version_counts(rig: SignerRig) -> None:
    """Custody may hold the version back until it is due; the officers read of it elsewhere."""
    file = following(rig, **LOOSER)
    assert veto(rig, digest(file), "carol").HasField("applied")
    refused(apply(rig, file), Code.POLICY_VETOED)
    assert proposals(rig) == []


def test_no_veto_stops_what_only_tightens(rig: SignerRig) -> None:
    file = following(rig, **TIGHTER)
    veto(rig, digest(file), "alice")
    assert apply(rig, file).HasField("applied")


def without(person: str, file: bytes) -> bytes:
    """Return the file with one person less, in their groups too."""
    text = file.decode()
    start = text.index(f"[people.{person}]")
    end = text.index("[", text.index("\n", start) + 1)
    while text[end - 1] != "\n":  # a bracket inside the keys
        end = text.index("[", end + 1)
    text = text[:start] + text[end:]
    return text.replace(f'"{person}", ', "").replace(f', "{person}"', "").encode()


def test_nobody_vetoes_their_own_removal(rig: SignerRig) -> None:
    removes_alice = without("alice", following(rig, **LOOSER))
    assert "alice" not in parse_policy(removes_alice).people
    refused(apply(rig, removes_alice), Code.POLICY_DELAYED)
    assert veto(rig, digest(removes_alice), "alice").HasField("applied")
    assert apply(rig, removes_alice, elapsed=True).HasField("applied")
    refused(veto(rig, "0" * 64, "alice"), Code.VETO_INVALID)


def test_who_stays_can_veto_the_removal_of_others(rig: SignerRig) -> None:
    removes_alice = without("alice", following(rig, **LOOSER))
    veto(rig, digest(removes_alice), "bob")
    refused(apply(rig, removes_alice), Code.POLICY_VETOED)


def test_a_veto_is_its_persons_own_and_names_one_version(rig: SignerRig) -> None:
    file = following(rig, **LOOSER)
    refused(veto(rig, digest(file), "alice", key="exchange"), Code.VETO_INVALID)
    refused(veto(rig, digest(file), "exchange"), Code.VETO_INVALID)
    refused(veto(rig, digest(file), "carol", key="alice"), Code.VETO_INVALID)
    signed = sign(key("mallory"), signed_by(rig, file, "alice")[0])
    job = wire.SignedStatement(statement=signed.statement, signature=signed.signature)
    refused(rig.ask(wire.Job(apply=wire.Apply(veto=job))), Code.VETO_INVALID)
    assert veto(rig, digest(file), "alice", key="alice-2").HasField("applied")
    sequence = rig.journal.sequence
    assert veto(rig, digest(file), "alice").HasField("applied")
    assert rig.journal.sequence == sequence, "once is enough"


def test_an_old_veto_means_nothing_after_another_version(rig: SignerRig) -> None:
    vetoed = following(rig, **LOOSER)
    veto(rig, digest(vetoed), "carol")
    assert apply(rig, following(rig, **TIGHTER)).HasField("applied")
    assert Governance(rig.journal).vetoes(digest(vetoed)) == []
    again = following(rig, **TIGHTER, **LOOSER)
    assert veto(rig, digest(vetoed), "carol").HasField("applied"), "a replay"
    refused(apply(rig, again), Code.POLICY_DELAYED)
    assert apply(rig, again, elapsed=True).HasField("applied")


def test_what_waited_starts_anew_after_another_version(rig: SignerRig) -> None:
    loose = following(rig, **LOOSER)
    refused(apply(rig, loose), Code.POLICY_DELAYED)
    rig.now += 23 * HOUR
    assert apply(rig, following(rig, **TIGHTER)).HasField("applied")
    assert proposals(rig) == []
    rig.now += HOUR
    stale = signed_by(rig, loose, *QUORUM, previous=parse_policy(loose).previous)
    refused(rig.ask(version_job(loose, stale)), Code.POLICY_OUT_OF_ORDER)
    anew = following(rig, **TIGHTER, **LOOSER)
    assert refused(apply(rig, anew), Code.POLICY_DELAYED) == rig.now + DAY


def test_the_delay_is_that_of_the_version_in_force(rig: SignerRig) -> None:
    hasty = following(rig, change_delay="1 hour")
    assert refused(apply(rig, hasty), Code.POLICY_DELAYED) == NOW + DAY
    longer = following(rig, change_delay="48 hours")
    assert apply(rig, longer).HasField("applied")
    rig.now += DAY
    second = following(rig, change_delay="1 hour")
    assert refused(apply(rig, second), Code.POLICY_DELAYED) == rig.now + 2 * DAY


def test_so_many_versions_may_wait_and_there_is_a_way_out(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(governance, "PROPOSALS_MAX", 2)
    files = [following(rig, **LOOSER, cap=f"{number} SOL") for number in (50, 51, 52)]
    for file in files[:2]:
        assert refused(apply(rig, file), Code.POLICY_DELAYED) == NOW + DAY
    assert veto(rig, digest(files[0]), "bob").HasField("applied")
    late = apply(rig, files[2])
    assert refused(late, Code.POLICY_DELAYED) == 0, "a veto makes no room: it may be void"
    assert "too many wait: activate one, or one that tightens" in late.refusal.message
    assert refused(apply(rig, files[1]), Code.POLICY_DELAYED) == NOW + DAY
    assert apply(rig, following(rig, cap="50 SOL")).HasField("applied"), "tightening ends all waits"
    third = following(rig, cap="52 SOL")
    assert refused(apply(rig, third), Code.POLICY_DELAYED) == NOW + DAY


def test_so_many_vetoes_of_one_person(rig: SignerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "VETOES_MAX", 2)
    for number in range(2):
        assert veto(rig, f"{number:064}", "alice").HasField("applied")
    refused(veto(rig, f"{2:064}", "alice"), Code.VETO_INVALID)
    assert veto(rig, f"{2:064}", "bob").HasField("applied")
    assert veto(rig, f"{1:064}", "alice").HasField("applied"), "which is there already"


# --- what a new version does to what is under way


def test_a_new_version_voids_what_was_approved_under_the_old(rig: SignerRig) -> None:
    intent = make_intent(amount=20 * SOL, expires=NOW + DAY)
    people = [make_approval(rig.policy, intent, name, expires=NOW + DAY) for name in QUORUM]
    assert apply(rig, following(rig, **TIGHTER)).HasField("applied")
    assert rig.refused(transfer(intent, *people)) is Code.APPROVALS_STALE
    (alice, _), (_, carol) = (
        people,
        [make_approval(rig.policy, intent, name, expires=NOW + DAY) for name in QUORUM],
    )
    assert rig.refused(transfer(intent, alice, carol)) is Code.APPROVALS_STALE
    anew = [make_approval(rig.policy, intent, name, expires=NOW + DAY) for name in QUORUM]
    assert rig.signed(transfer(intent, *anew))


def test_first_sight_stands_when_the_approvals_are_void(make_rig: MakeRig) -> None:
    tiers = {"1 SOL": [], "40 SOL": {"people": [["1 of risk"]], "delay": "6 hours"}}
    rig = make_rig(policy_file(tiers=tiers))
    intent = make_intent(amount=20 * SOL, expires=NOW + DAY)
    assert rig.refused(transfer(intent)) is Code.APPROVALS_MISSING
    rig.now += 5 * HOUR
    assert apply(rig, following(rig, tiers=tiers, **TIGHTER)).HasField("applied")
    yes = make_approval(rig.policy, intent, "bob", expires=NOW + DAY)
    assert rig.ask(transfer(intent, yes)).refusal.earliest_time == NOW + 6 * HOUR


def test_the_token_remembers_the_policy_in_force(rig: SignerRig) -> None:
    """So a journal from before a tightening is as old as any other."""
    file = following(rig, **TIGHTER)
    assert apply(rig, file).HasField("applied")
    anchor = newest(rig.token.records())
    assert anchor
    assert anchor.policy == digest(file)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sweep_to": "nowhere"},
        {"sweep_to": HOT_ADDRESS[:-1] + "0"},
        {"sweep_to": "1nc1nerator11111111111111111111111111111111"},
        {"sweep_fee": "0.000004999 SOL"},
    ],
)
def test_a_sweep_that_the_chain_would_not_take_never_comes_into_force(
    rig: SignerRig, wrong: dict[str, str]
) -> None:
    """It would be found out after the theft."""
    file = following(rig, **wrong)
    refusal = apply(rig, file, elapsed=True).refusal
    assert (refusal.code, refusal.field) == (Code.POLICY_MALFORMED, "wallets.hot-sol.sweep")
    assert apply(rig, following(rig, sweep_fee="0.000005 SOL"), elapsed=True).HasField("applied")


def test_no_signer_that_was_there_takes_over_a_wallet(make_rig: MakeRig) -> None:
    """What the other one paid it would pay again, and swear that it never did."""
    others = wallet_text("second", signer=public("second"))
    mine = wallet_text("second", signer=public("audit"))
    rig = make_rig(policy_file(more=others))
    for taken in ({"more": mine}, {"more": others, "signer": public("second")}):
        refusal = apply(rig, following(rig, **taken), elapsed=True).refusal
        assert refusal.code == Code.POLICY_MALFORMED
        assert refusal.field in ("wallets.second.signer", "wallets.hot-sol.signer")
        assert "another name" in refusal.message
    assert apply(rig, following(rig), elapsed=True).HasField("applied")
    rig.restart()
    refused(apply(rig, following(rig, more=mine), elapsed=True), Code.POLICY_MALFORMED)
    renamed = wallet_text("third", signer=public("audit"))
    assert apply(rig, following(rig, more=renamed), elapsed=True).HasField("applied")


def test_a_new_signer_takes_over_a_wallet_for_good(rig: SignerRig) -> None:
    """Its journal begins with a recovery, which refuses what is older."""
    new = following(rig, signer=public("new"))
    assert apply(rig, new, elapsed=True).HasField("applied")
    assert code_of(ask(rig)) is Code.WALLET_NOT_HELD
    refused(apply(rig, following(rig), elapsed=True), Code.POLICY_MALFORMED)


def test_a_signer_that_no_policy_named_takes_over_no_wallet(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(signer=public("first")))
    refused(apply(rig, following(rig), elapsed=True), Code.POLICY_MALFORMED)
