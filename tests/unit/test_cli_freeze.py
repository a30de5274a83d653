"""`custody freeze`: both are told, one that is down stops nobody, nothing is signed unread."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from custody.cli import both, freeze
from custody.words import digest_words
from policies.codes import Code, Refusal
from policies.freezes import epoch_after, open_freeze, open_unfreeze
from policies.policy_file import parse_policy
from policies.statements import Freeze, Signed, digest
from tests.factories import policy_file
from tests.memory_custody import CallError, MemoryCustody, config_file
from tests.memory_watchtower import TARGET, MemoryWatchtower, serve_both

Run = Callable[..., tuple[int, str, str]]
POLICY = parse_policy(policy_file())
EPOCH = "cd" * 32


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(both, "PATIENCE", timedelta(seconds=0.2))
    monkeypatch.setattr("custody.cli.session.PATIENCE", timedelta(seconds=0.2))


@pytest.fixture
def watchtower(monkeypatch: pytest.MonkeyPatch, custody: MemoryCustody) -> MemoryWatchtower:
    made = MemoryWatchtower()
    serve_both(monkeypatch, custody, made)
    return made


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return config_file(tmp_path, "alice", digest(policy_file()), TARGET)


def down() -> list[grpc.RpcError]:
    return [CallError(grpc.StatusCode.UNAVAILABLE, "connection refused")] * 50


def signed_of(request: object) -> Signed:
    return Signed(request.freeze.statement, request.freeze.signature)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("typed", "wallet"), [("hot-sol", "hot-sol"), ("all", "*")])
def test_both_get_the_same_freeze_without_a_question(  # noqa: PLR0917
    run: Run,
    custody: MemoryCustody,
    watchtower: MemoryWatchtower,
    alice: Path,
    typed: str,
    wallet: str,
) -> None:
    code, out, err = run("--config", alice, "freeze", "create", typed)
    assert (code, err) == (0, "")
    (told,) = watchtower.sent("CreateFreeze")
    first, second = custody.sent("CreateFreeze")
    assert first == second  # until the signer has it
    assert first.freeze.statement == told.freeze.statement
    freeze = open_freeze(POLICY, signed_of(told), "")
    assert isinstance(freeze, Freeze)
    assert (freeze.person, freeze.wallet) == ("alice", wallet)
    assert "custody: FROZEN" in out
    assert "watchtower: FROZEN" in out


def test_each_gets_one_for_the_epoch_that_it_names(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path
) -> None:
    """A custody that names another epoch, so that the order is none, stops nothing."""
    watchtower.status.signers[0].epoch, custody.epoch = EPOCH, "ef" * 32
    assert run("--config", alice, "freeze", "create", "all")[0] == 0
    (told,) = watchtower.sent("CreateFreeze")
    assert isinstance(open_freeze(POLICY, signed_of(told), EPOCH), Freeze)
    kept = custody.sent("CreateFreeze")[0]
    assert isinstance(open_freeze(POLICY, signed_of(kept), "ef" * 32), Freeze)


@pytest.mark.parametrize("absent", ["custody", "watchtower"])
def test_one_that_is_down_is_a_warning(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path, absent: str
) -> None:
    {"custody": custody, "watchtower": watchtower}[absent].outages = down()
    code, out, err = run("--config", alice, "freeze", "create", "all")
    assert code == 0
    assert f"WARNING: {'custody' if absent == 'custody' else 'the watchtower'} at " in err
    other = "watchtower" if absent == "custody" else "custody"
    assert [line.split(":")[0] for line in out.splitlines()] == [other, "what is frozen"]


def test_when_neither_takes_it_the_exit_code_says_so(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path
) -> None:
    custody.outages, watchtower.outages = down(), down()
    code, out, err = run("--config", alice, "freeze", "create", "all")
    assert (code, out) == (1, "")
    assert "NOT FROZEN" in err


@pytest.fixture
def gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the signer asks once more and no longer."""
    monkeypatch.setattr(freeze, "WAIT_SECONDS", 0.0)


@pytest.mark.usefixtures("gives_up")
def test_a_signer_that_never_gets_it_is_not_called_frozen(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path
) -> None:
    custody.orders_taken, watchtower.applied = 10_000, False
    code, out, err = run("--config", alice, "freeze", "create", "all")
    assert code == 0
    assert "the signer has not answered" in err
    assert "a signer that has not heard of it gets no lease" in out
    assert "custody: FROZEN" not in out


def test_a_refusal_names_who_refused_and_why(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path
) -> None:
    watchtower.refusals = [Refusal(Code.FREEZE_INVALID, "no wallet is called hot-sl")]
    code, _, err = run("--config", alice, "freeze", "create", "hot-sl")
    assert code == 0
    assert "the watchtower refused: FREEZE_INVALID" in err
    assert "no wallet is called hot-sl" in err


def test_what_is_no_wallets_name_is_sent_to_nobody(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path
) -> None:
    code, _, err = run("--config", alice, "freeze", "create", "hot sol")
    assert code == 1
    assert "wallet" in err
    assert custody.calls == watchtower.calls == []


def test_without_a_watchtower_in_the_settings_it_says_so(
    run: Run, custody: MemoryCustody, tmp_path: Path
) -> None:
    bob = config_file(tmp_path, "bob", digest(policy_file()))
    code, out, err = run("--config", bob, "freeze", "create", "all")
    assert (code, "custody: FROZEN" in out) == (0, True)
    assert 'set watchtower = "host:port"' in err


def test_a_list_shows_what_custody_hides(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path
) -> None:
    assert run("--config", alice, "freeze", "create", "hot-sol")[0] == 0
    watchtower.status.freezes.add(digest="ab" * 32, wallet="*", person="watchtower", applied=True)
    code, out, _ = run("--config", alice, "freeze", "list")
    rows = [" ".join(line.split()) for line in out.splitlines()]
    ((name, known),) = custody.freezes.items()
    assert code == 0
    assert rows[0] == "FROZEN BY SINCE CUSTODY SAYS WATCHTOWER SAYS DIGEST"
    assert rows[1].startswith("hot-sol alice ")
    assert rows[1].endswith(f"in force in force {name.removeprefix('freezes/')}")
    assert rows[2] == f"all wallets watchtower ? not known in force {'ab' * 32}"
    assert known.person == "alice"


@pytest.fixture
def frozen(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path
) -> tuple[str, ...]:
    """Two freezes' digests, of a wallet and of all."""
    for wallet in ("hot-sol", "all"):
        assert run("--config", alice, "freeze", "create", wallet)[0] == 0
    return tuple(sorted(name.removeprefix("freezes/") for name in custody.freezes))


@pytest.fixture
def lifting(run: Run, alice: Path, frozen: tuple[str, ...]) -> Path:
    """What the quorum signed to lift both."""
    carol = config_file(alice.parent, "carol", digest(policy_file()), TARGET)
    file = alice.parent / "lift.signatures"
    for config in (alice, carol):
        assert run("--config", config, "freeze", "sign", "--signatures", file, "--yes")[0] == 0
    return file


def test_a_quorum_lifts_what_it_was_shown(  # noqa: PLR0917
    run: Run,
    custody: MemoryCustody,
    watchtower: MemoryWatchtower,
    alice: Path,
    lifting: Path,
    frozen: tuple[str, ...],
) -> None:
    custody.orders_taken = 1
    code, out, err = run("--config", alice, "freeze", "lift", "--signatures", lifting, "--yes")
    assert (code, err) == (0, "")
    assert "signed by       alice, carol" in out
    assert "custody: lifted" in out
    assert "watchtower: lifted" in out
    for service in (custody, watchtower):
        orders = [Signed(o.statement, o.signature) for o in service.sent("LiftFreezes")[0].orders]
        assert open_unfreeze(POLICY, orders, "", 0) == frozen
    assert custody.epoch == epoch_after("", frozen)
    assert not custody.freezes
    told = len(custody.sent("LiftFreezes"))
    code, out, err = run("--config", alice, "freeze", "lift", "--signatures", lifting, "--yes")
    assert (code, err, "is in force any more: nothing was sent" in out) == (0, "", True)
    assert "lifted" not in out
    assert (len(custody.sent("LiftFreezes")), len(watchtower.sent("LiftFreezes"))) == (told, 1)


def test_who_signed_with_two_keys_is_named_once(
    run: Run, watchtower: MemoryWatchtower, alice: Path, lifting: Path
) -> None:
    lines = lifting.read_text().splitlines(keepends=True)
    lifting.write_text(lines[0] + "".join(lines))
    code, out, _ = run("--config", alice, "freeze", "lift", "--signatures", lifting, "--yes")
    assert (code, "signed by       alice, carol\n" in out) == (0, True)


def test_what_a_silent_one_may_still_hold_is_lifted_there(  # noqa: PLR0917
    run: Run,
    custody: MemoryCustody,
    watchtower: MemoryWatchtower,
    alice: Path,
    lifting: Path,
    frozen: tuple[str, ...],
) -> None:
    watchtower.status.ClearField("freezes")
    custody.outages = down()
    code, _, _ = run("--config", alice, "freeze", "lift", "--signatures", lifting, "--yes")
    assert (code, len(watchtower.sent("LiftFreezes"))) == (0, 1)


def test_the_first_word_is_of_what_is_lifted(
    run: Run,
    watchtower: MemoryWatchtower,
    alice: Path,
    frozen: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = alice.parent / "lift.signatures"
    command = ("--config", alice, "freeze", "sign", frozen[0], "--signatures", file)
    right, wrong = (digest_words(epoch_after("", named))[0] for named in (frozen[:1], frozen))
    monkeypatch.setattr("builtins.input", lambda _: wrong)
    code, out, err = run(*command)
    assert (code, "nothing was signed" in err, file.exists()) == (1, True, False)
    assert f"lifts           {frozen[0]}" in out
    assert "still frozen    " in out
    monkeypatch.setattr("builtins.input", lambda _: right)
    assert run(*command)[0] == 0
    assert file.exists()


def test_what_is_not_frozen_is_not_lifted(
    run: Run, watchtower: MemoryWatchtower, alice: Path, frozen: tuple[str, ...]
) -> None:
    file = alice.parent / "lift.signatures"
    for named, words in (("ab" * 32, "knows a freeze"), ("nonsense", "is no freeze's digest")):
        command = ("freeze", "sign", named, "--signatures", file, "--yes")
        code, _, err = run("--config", alice, *command)
        assert (code, words in err, file.exists()) == (1, True, False)


def test_nothing_frozen_is_nothing_to_sign(
    run: Run, watchtower: MemoryWatchtower, alice: Path
) -> None:
    file = alice.parent / "lift.signatures"
    code, _, err = run("--config", alice, "freeze", "sign", "--signatures", file, "--yes")
    assert (code, "nothing is frozen" in err) == (1, True)
    assert run("--config", alice, "freeze", "list") == (0, "nothing is frozen\n", "")


def test_nothing_frozen_is_one_ones_word_when_the_other_is_silent(
    run: Run, watchtower: MemoryWatchtower, alice: Path
) -> None:
    watchtower.outages = down()
    code, said, _ = run("--config", alice, "freeze", "list")
    assert (code, said) == (0, "nothing is frozen, as custody alone says\n")


def test_all_sign_the_same_list(
    run: Run, watchtower: MemoryWatchtower, alice: Path, lifting: Path, frozen: tuple[str, ...]
) -> None:
    before = lifting.read_bytes()
    command = ("freeze", "sign", frozen[0], "--signatures", lifting, "--yes")
    code, _, err = run("--config", alice, *command)
    assert (code, "holds signatures for other freezes" in err) == (1, True)
    assert lifting.read_bytes() == before


def test_different_epochs_are_signed_by_nobody(
    run: Run, watchtower: MemoryWatchtower, alice: Path, frozen: tuple[str, ...]
) -> None:
    watchtower.status.signers[0].epoch = EPOCH
    file = alice.parent / "lift.signatures"
    code, _, err = run("--config", alice, "freeze", "sign", "--signatures", file, "--yes")
    assert (code, "different epochs" in err, file.exists()) == (1, True, False)


COLD, OTHER = "ed25519:" + "0c" * 32, "ed25519:" + "0d" * 32


def test_a_signer_that_was_never_heard_of_holds_up_nobody(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path
) -> None:
    """A cold one never dials in: after the first lift its epoch was another for ever."""
    watchtower.status.signers[0].epoch = custody.epoch = EPOCH
    watchtower.status.signers.add(audit_key=COLD)
    assert run("--config", alice, "freeze", "create", "all")[0] == 0
    file = alice.parent / "lift.signatures"
    assert run("--config", alice, "freeze", "list")[0] == 0
    assert run("--config", alice, "freeze", "sign", "--signatures", file, "--yes")[0] == 0
    assert f'"epoch":"{EPOCH}"' in file.read_text().replace("\\", "")


def test_signers_in_different_epochs_are_frozen_and_lifted_each(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path
) -> None:
    """They are after any lift that only one of them needed, such as of a theft's freeze."""
    watchtower.status.signers[0].epoch = custody.epoch = EPOCH
    watchtower.status.signers.add(audit_key=OTHER, policy="ab" * 32)
    watchtower.refusals = [Refusal(Code.EPOCH_PASSED, "the other signer's")]
    code, out, err = run("--config", alice, "freeze", "create", "hot-sol")
    assert (code, err, "watchtower: FROZEN" in out) == (0, "", True)
    stolen = "cd" * 32
    watchtower.status.freezes.add(digest=stolen, wallet="*", person="x", audit_keys=[OTHER])
    file = alice.parent / "lift.signatures"
    assert run("--config", alice, "freeze", "list")[0] == 0
    sign = ("--config", alice, "freeze", "sign", stolen, "--signatures", file, "--yes")
    assert run(*sign)[0] == 0
    assert '"epoch":""' in file.read_text().replace("\\", "")
    assert run("--config", alice, "freeze", "lift", "--signatures", file, "--yes")[0] == 0


def test_an_epoch_that_custody_makes_up_for_a_freeze_is_signed_by_nobody(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path
) -> None:
    """What is signed ahead for an epoch to come would lift that one's freezes at once."""
    watchtower.status.signers[0].policy = "ab" * 32
    custody.epoch = EPOCH
    run("--config", alice, "freeze", "create", "all")
    del watchtower.status.freezes[:]
    file = alice.parent / "lift.signatures"
    code, _, err = run("--config", alice, "freeze", "sign", "--signatures", file, "--yes")
    assert (code, "different epochs" in err, file.exists()) == (1, True, False)


def test_a_file_of_other_signatures_lifts_nothing(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path, lifting: Path
) -> None:
    other = alice.parent / "other.signatures"
    first = lifting.read_text().splitlines(keepends=True)[0]
    for text, words in (
        ("", "holds no signatures"),
        ("nonsense\n", "line 1 is not a signature"),
        (first.replace("kura.unfreeze.v1", "kura.veto.v1"), "holds another signature"),
        (first + first.replace('"epoch":""', f'"epoch":"{EPOCH}"'), "for different freezes"),
    ):
        other.write_text(text)
        code, _, err = run("--config", alice, "freeze", "lift", "--signatures", other, "--yes")
        assert (code, words in err) == (1, True), err
    assert not custody.sent("LiftFreezes")
    assert not watchtower.sent("LiftFreezes")


@pytest.mark.usefixtures("gives_up")
def test_a_lift_that_neither_takes_fails(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, alice: Path, lifting: Path
) -> None:
    refusal = Refusal(Code.QUORUM_MISSING, "still needs 1 of risk")
    watchtower.refusals, custody.orders_taken = [refusal], 10_000
    code, _, err = run("--config", alice, "freeze", "lift", "--signatures", lifting, "--yes")
    assert (code, "still needs 1 of risk" in err) == (1, True)
