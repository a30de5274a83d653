"""`custody policy propose | activate | veto | proposals`: what is said, what is never signed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from custody.cli import both, policy_versions
from custody.views import timestamp
from custody.words import digest_words
from kura.custody.v1 import custody_pb2 as wire
from policies.changes import open_veto
from policies.codes import Code, Refusal
from policies.policy_file import parse_policy
from policies.signature_file import format_signature
from policies.statements import Signed, Veto, digest
from tests.factories import HOUR, key, make_change, policy_file, public, sign
from tests.memory_custody import CallError, MemoryCustody, config_file
from tests.memory_watchtower import TARGET, MemoryWatchtower, serve_both

pytestmark = pytest.mark.usefixtures("alice_at_home")
Run = Callable[..., tuple[int, str, str]]
Signatures = tuple[str, Path]
IN_FORCE = policy_file()
NEXT = policy_file(version=2, previous=digest(IN_FORCE))
DIGEST = digest(NEXT)
NAME = f"policyVersions/{DIGEST}"
AT = datetime(2027, 1, 16, 8, tzinfo=UTC)
DELAYED = {"state": wire.POLICY_VERSION_STATE_DELAYED, "earliest_time": timestamp(AT)}
APPLIED = {"state": wire.POLICY_VERSION_STATE_APPLIED}
PENDING = {"state": wire.POLICY_VERSION_STATE_PENDING}
VETOED = {
    "state": wire.POLICY_VERSION_STATE_REFUSED,
    "refusal": wire.Refusal(code="POLICY_VETOED", message="carol vetoed this version"),
}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_versions, "POLL_SECONDS", 0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "policy-2.toml"
    made.write_bytes(NEXT)
    return made


@pytest.fixture
def signed(tmp_path: Path) -> Signatures:
    made = tmp_path / "policy-2.signatures"
    changes = [
        make_change("policy", DIGEST, person, previous=digest(IN_FORCE))
        for person in ("alice", "carol")
    ]
    lines = [format_signature(sign(key(change.person), change)) for change in changes]
    made.write_text("".join(lines))
    return ("--signatures", made)


def test_one_that_only_tightens_is_in_force_at_once(
    run: Run, custody: MemoryCustody, file: Path, signed: Signatures
) -> None:
    custody.fates = [PENDING, APPLIED]
    code, out, _ = run("policy", "propose", file, *signed)
    assert (code, out) == (0, f"custody: in force: version 2, {DIGEST}\n")
    (request,) = custody.sent("CreatePolicyVersion")
    assert request.policy == NEXT
    assert len(request.changes) == 2


def test_one_that_waits_says_until_when_and_how_to_veto_it(
    run: Run, custody: MemoryCustody, file: Path, signed: Signatures
) -> None:
    custody.fates = [DELAYED]
    code, out, _ = run("policy", "propose", file, *signed)
    assert code == 0
    assert "it waits until 2027-01-16 08:00:00 UTC" in out
    assert f"custody policy veto {DIGEST}" in out


def test_activation_before_its_time_fails_and_says_until_when(
    run: Run, custody: MemoryCustody, file: Path, signed: Signatures
) -> None:
    custody.fates = [DELAYED]
    code, out, _ = run("policy", "activate", file, *signed)
    words = "it waits until 2027-01-16 08:00:00 UTC, then it comes into force by itself"
    assert (code, out) == (1, f"custody: {words}\n")
    custody.fates = [APPLIED]
    code, out, _ = run("policy", "activate", file, *signed)
    assert (code, out) == (0, f"custody: in force: version 2, {DIGEST}\n")


def test_a_refused_one_says_by_whom_and_what_to_do(
    run: Run, custody: MemoryCustody, file: Path, signed: Signatures
) -> None:
    custody.fates = [VETOED]
    code, _, err = run("policy", "propose", file, *signed)
    assert code == 1
    assert "POLICY_VETOED" in err
    assert "carol vetoed this version" in err
    assert "then propose another version" in err


def test_a_signer_that_does_not_answer_is_told(
    run: Run,
    custody: MemoryCustody,
    file: Path,
    signed: Signatures,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policy_versions, "WAIT_SECONDS", 0.0)
    code, out, err = run("policy", "propose", file, *signed)
    assert (code, out) == (1, "")
    assert "the signer has not answered" in err


def test_a_custody_that_speaks_of_another_version_is_caught(
    run: Run,
    custody: MemoryCustody,
    file: Path,
    signed: Signatures,
) -> None:
    custody.fates = [{"name": "policyVersions/" + "0" * 64, **APPLIED}]
    code, out, err = run("policy", "propose", file, *signed)
    assert (code, out) == (1, "")
    assert "custody shows policy version" in err


@pytest.fixture
def proposed(run: Run, custody: MemoryCustody, file: Path, signed: Signatures) -> Path:
    """The file of a version that was proposed and waits."""
    custody.fates = [DELAYED]
    assert run("policy", "propose", file, *signed)[0] == 0
    return file


@pytest.mark.parametrize("by", ["digest", "name", "file"])
def test_a_veto_is_signed_after_the_first_word_and_sent_until_the_signer_has_it(
    run: Run,
    custody: MemoryCustody,
    proposed: Path,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: digest_words(DIGEST)[0])
    named = {"digest": DIGEST, "name": NAME, "file": str(proposed)}[by]
    code, out, _ = run("policy", "veto", named)
    assert code == 0
    assert f"vetoed: {DIGEST} does not come into force" in out
    assert "signed by       alice, carol" in out
    first, second = custody.sent("CreateVeto")
    assert first == second
    assert first.parent == NAME
    veto = Signed(first.veto.statement, first.veto.signature)
    expected = Veto(key=public("alice"), person="alice", change=DIGEST)
    assert open_veto(parse_policy(IN_FORCE), veto) == expected


def test_a_wrong_word_signs_nothing(
    run: Run,
    custody: MemoryCustody,
    proposed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "zebra zebra")
    assert run("policy", "veto", DIGEST)[0] == 1
    assert not custody.sent("CreateVeto")


def test_a_version_of_which_custody_has_no_file_is_vetoed_by_its_digest(
    run: Run, custody: MemoryCustody
) -> None:
    code, out, err = run("policy", "veto", "ab" * 32, "--yes")
    assert code == 0
    assert "only the digest is shown" in err
    assert "ab" * 32 in out


def test_what_is_neither_digest_nor_file_is_named(run: Run, custody: MemoryCustody) -> None:
    code, _, err = run("policy", "veto", "nonsense.toml")
    assert code == 1
    assert "nonsense.toml is neither a digest (64 hex digits) nor a file" in err


def test_whom_a_version_removes_is_told_that_a_veto_would_not_count(
    run: Run, custody: MemoryCustody, tmp_path: Path, proposed: Path
) -> None:
    config = config_file(tmp_path, "dave", pinned=digest(IN_FORCE))
    code, _, err = run("--config", config, "policy", "veto", DIGEST, "--yes")
    assert code == 1
    assert "this version removes dave" in err
    assert not custody.sent("CreateVeto")


def test_a_custody_that_shows_another_file_is_caught(
    run: Run, custody: MemoryCustody, proposed: Path
) -> None:
    custody.versions[NAME].policy = IN_FORCE
    for command in (("policy", "veto", DIGEST, "--yes"), ("policy", "proposals", DIGEST)):
        code, out, err = run(*command)
        assert (code, out) == (1, "")
        assert "custody shows policy version" in err
    assert not custody.sent("CreateVeto")


def test_proposals_are_listed_with_those_that_only_the_signer_knows(
    run: Run, custody: MemoryCustody, proposed: Path
) -> None:
    run("policy", "proposals", DIGEST)  # takes note of what the signer says
    known = wire.PolicyProposal(name=NAME, earliest_time=timestamp(AT))
    other = wire.PolicyProposal(
        name="policyVersions/" + "ab" * 32, earliest_time=timestamp(AT), vetoed_by=["bob"]
    )
    custody.status = wire.GetStatusResponse(signers=[wire.SignerStatus(proposals=[known, other])])
    code, out, _ = run("policy", "proposals")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    when = "2027-01-16 08:00:00 UTC"
    assert lines[1:] == [
        f"2 delayed {when} alice, carol {DIGEST}",
        f"? only the signer has it {when} bob {'ab' * 32}",
    ]


def test_the_file_of_one_is_printed_byte_for_byte(
    run: Run, custody: MemoryCustody, proposed: Path
) -> None:
    code, out, err = run("policy", "proposals", DIGEST)
    assert (code, out.encode()) == (0, NEXT)
    assert DIGEST in err


def test_signatures_that_are_none_are_named_with_their_file(
    run: Run, custody: MemoryCustody, file: Path
) -> None:
    code, _, err = run("policy", "propose", file, "--signatures", file)
    assert (code, f"{file}: line 1 is not a signature" in " ".join(err.split())) == (1, True)


def test_who_signed_twice_is_listed_once(
    run: Run, custody: MemoryCustody, file: Path, signed: Signatures
) -> None:
    custody.fates = [{**DELAYED, "signed_by": ["alice", "alice", "carol"]}]
    assert run("policy", "propose", file, *signed)[0] == 0
    out = run("policy", "proposals")[1]
    assert "alice, carol" in out
    assert "alice, alice" not in out


@pytest.fixture
def watchtower(
    monkeypatch: pytest.MonkeyPatch, custody: MemoryCustody, tmp_path: Path
) -> MemoryWatchtower:
    """One that alice's settings name."""
    config_file(tmp_path, "alice", digest(IN_FORCE), TARGET)
    made = MemoryWatchtower()
    made.earliest = int(AT.timestamp() * 1000) + HOUR
    serve_both(monkeypatch, custody, made)
    monkeypatch.setattr(both, "PATIENCE", timedelta(seconds=0.2))
    monkeypatch.setattr("custody.cli.session.PATIENCE", timedelta(seconds=0.2))
    return made


def test_the_watchtower_gets_the_same_version_and_its_time_is_the_one_that_counts(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, file: Path, signed: Signatures
) -> None:
    custody.fates = [DELAYED]
    code, out, err = run("policy", "propose", file, *signed)
    assert (code, err) == (0, "")
    (told,) = watchtower.sent("CreatePolicyVersion")
    (request,) = custody.sent("CreatePolicyVersion")
    assert (told.file, len(told.changes)) == (NEXT, len(request.changes))
    assert "watchtower: noted; the signer gets it from there if it only tightens" in " ".join(
        out.split()
    )
    assert "over at 2027-01-16 09:00:00 UTC" in out
    watchtower.status.proposals.add(digest="ab" * 32, earliest_time=1, vetoed_by=["bob"])
    lines = [" ".join(line.split()) for line in run("policy", "proposals")[1].splitlines()]
    assert lines[1:] == [
        f"2 delayed 2027-01-16 09:00:00 UTC alice, carol {DIGEST}",
        f"? only the watchtower has it 1970-01-01 00:00:00 UTC bob {'ab' * 32}",
    ]


def test_a_version_that_the_watchtower_brought_to_the_signer_is_in_force(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, file: Path, signed: Signatures
) -> None:
    """Custody holds it back; nobody can veto it any more."""
    custody.outages = [CallError(grpc.StatusCode.UNAVAILABLE, "refused")] * 50
    watchtower.earliest = 0
    code, out, _ = run("policy", "propose", file, *signed)
    assert (code, out) == (0, "watchtower: in force\n")


def test_a_version_that_only_the_watchtower_took_is_taken(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower, file: Path, signed: Signatures
) -> None:
    custody.outages = [CallError(grpc.StatusCode.UNAVAILABLE, "refused")] * 50
    command = ("policy", "propose", file, *signed)
    code, out, err = run(*command)
    assert (code, "WARNING: custody at" in err) == (0, True)
    assert f"custody policy veto {DIGEST}" in out
    watchtower.refusals = [Refusal(Code.POLICY_VETOED, "bob vetoed this version")]
    code, out, err = run(*command)
    assert (code, out, "the watchtower refused: POLICY_VETOED" in err) == (1, "", True)


def test_a_veto_reaches_the_watchtower_while_custody_is_down(
    run: Run, custody: MemoryCustody, watchtower: MemoryWatchtower
) -> None:
    custody.outages = [CallError(grpc.StatusCode.UNAVAILABLE, "refused")] * 50
    code, out, err = run("policy", "veto", DIGEST, "--yes")
    assert code == 0
    assert watchtower.vetoed == [DIGEST]
    assert "only the digest is shown" in err
    assert "watchtower: vetoed" in out
    watchtower.outages = [CallError(grpc.StatusCode.UNAVAILABLE, "refused")] * 50
    assert run("policy", "veto", DIGEST, "--yes")[0] == 1
