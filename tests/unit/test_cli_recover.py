"""`custody recover`: an officer reads and signs a signer's recovery, with files alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from custody.cli.session import unix_ms
from custody.words import digest_words
from policies.changes import open_recover
from policies.codes import Code, Refusal
from policies.policy_file import parse_policy
from policies.signature_file import parse_signatures
from policies.statements import Recover, Signed, digest, encode
from tests.factories import HOUR, make_recover, policy_file, public
from tests.memory_custody import MemoryCustody, config_file, key_file
from tests.memory_watchtower import TARGET, MemoryWatchtower, serve_both

Run = Callable[..., tuple[int, str, str]]
POLICY = policy_file()


@pytest.fixture
def recover() -> Recover:
    return make_recover(created=unix_ms() - HOUR)


@pytest.fixture
def signing(tmp_path: Path, recover: Recover) -> list[str | Path]:
    """Alice's command, the files that it names beside it."""
    (tmp_path / "recover.json").write_bytes(encode(recover))
    (tmp_path / "policy.toml").write_bytes(POLICY)
    return [
        *("recover", "sign", tmp_path / "recover.json", "--policy", tmp_path / "policy.toml"),
        *("--signatures", tmp_path / "recover.sig", "--person", "alice"),
        *("--key", key_file(tmp_path, "alice")),
    ]


def type_word(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setattr("builtins.input", lambda _: word)


def test_a_recovery_is_shown(run: Run, tmp_path: Path, recover: Recover) -> None:
    file = tmp_path / "recover.json"
    file.write_bytes(encode(recover))
    code, out, _ = run("recover", "show", file)
    assert code == 0
    for shown in (recover.audit_key, recover.old_journal, recover.new_journal, "policy names"):
        assert shown in out
    assert " ".join(digest_words(digest(encode(recover)))) in out
    other = replace(recover, old_journal="", watchtower=public("watchtower"))
    file.write_bytes(encode(other))
    _, out, _ = run("recover", "show", file)
    assert "none that the token remembers" in out
    assert public("watchtower") in out


@pytest.mark.parametrize("content", [b"", b"{}", POLICY])
def test_what_is_no_recovery_is_said_to_be_none(run: Run, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "recover.json"
    file.write_bytes(content)
    code, out, err = run("recover", "show", file)
    assert (code, out) == (1, "")
    assert f"{file} is no recovery" in err
    code, _, err = run("recover", "show", tmp_path / "absent")
    assert (code, "No such file" in err) == (1, True)


def test_two_officers_sign_what_the_signer_takes(
    run: Run,
    signing: list[str | Path],
    recover: Recover,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    type_word(monkeypatch, digest_words(digest(encode(recover)))[0])
    code, out, _ = run(*signing)
    assert code == 0
    assert "hot-sol" in out
    assert digest(POLICY) in out
    carol = [*signing[:-3], "carol", "--key", key_file(tmp_path, "carol"), "--yes"]
    assert run(*carol)[0] == 0
    signed = parse_signatures((tmp_path / "recover.sig").read_bytes())
    opened = open_recover(parse_policy(POLICY), encode(recover), signed, unix_ms())
    assert opened == recover


def test_the_wrong_word_signs_nothing(
    run: Run, signing: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_word(monkeypatch, "yes")
    code, _, err = run(*signing)
    assert (code, "nothing was signed" in err) == (1, True)
    assert not (tmp_path / "recover.sig").exists()


def test_a_key_that_the_policy_does_not_know_signs_nothing(
    run: Run, signing: list[str | Path], tmp_path: Path
) -> None:
    for person, name in (("alice", "mallory"), ("mallory", "mallory"), ("bob", "alice")):
        command = [*signing[:-3], person, "--key", key_file(tmp_path, name), "--yes"]
        code, _, err = run(*command)
        assert (code, "nothing was signed" in err) == (1, True)
    assert not (tmp_path / "recover.sig").exists()


def test_a_signers_wrong_clock_is_noticed(
    run: Run, signing: list[str | Path], tmp_path: Path, recover: Recover
) -> None:
    for off, words in ((-8 * 24 * HOUR, "more than a week ago"), (HOUR, "later than your clock")):
        other = replace(recover, created=unix_ms() + off)
        (tmp_path / "recover.json").write_bytes(encode(other))
        code, _, err = run(*signing, "--yes")
        assert (code, words in err, "nothing was signed" in err) == (1, True, True)
    assert not (tmp_path / "recover.sig").exists()


def test_a_policy_that_does_not_name_the_signer_is_said_so(
    run: Run, signing: list[str | Path], tmp_path: Path
) -> None:
    (tmp_path / "policy.toml").write_bytes(policy_file(signer=public("another audit key")))
    code, out, _ = run(*signing, "--yes")
    assert (code, "none: it does not name this signer" in out) == (0, True)
    (tmp_path / "policy.toml").write_bytes(b"# no policy")
    code, _, err = run(*signing, "--yes")
    assert (code, err.startswith(f"{tmp_path / 'policy.toml'}: line 1")) == (1, True)


@pytest.fixture
def submitting(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    signing: list[str | Path],
    custody: MemoryCustody,
    tmp_path: Path,
) -> list[str | Path]:
    """What hands over a recovery that alice signed; her settings are at hand."""
    assert run(*signing, "--yes")[0] == 0
    config = config_file(tmp_path, "alice", watchtower=TARGET)
    monkeypatch.setenv("KURA_CONFIG", str(config))
    return [
        "recover",
        "submit",
        tmp_path / "recover.json",
        "--signatures",
        tmp_path / "recover.sig",
    ]


def test_a_recovery_is_handed_to_the_watchtower_alone(  # noqa: PLR0917
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    custody: MemoryCustody,
    submitting: list[str | Path],
    tmp_path: Path,
    recover: Recover,
) -> None:
    watchtower = MemoryWatchtower()
    serve_both(monkeypatch, custody, watchtower)
    code, out, _ = run(*submitting)
    assert code == 0
    assert recover.new_journal in out
    (told,) = watchtower.sent("CreateRecovery")
    signed = [Signed(item.statement, item.signature) for item in told.changes]
    assert (told.recover, signed) == (
        encode(recover),
        parse_signatures((tmp_path / "recover.sig").read_bytes()),
    )
    assert custody.calls == []


def test_a_recovery_that_the_watchtower_refuses_says_why(
    run: Run, monkeypatch: pytest.MonkeyPatch, custody: MemoryCustody, submitting: list[str | Path]
) -> None:
    watchtower = MemoryWatchtower()
    serve_both(monkeypatch, custody, watchtower)
    watchtower.refusals = [Refusal(Code.QUORUM_MISSING, "still needs 1 of risk")]
    code, _, err = run(*submitting)
    assert (code, "still needs 1 of risk" in err) == (1, True)


def test_a_recovery_without_a_watchtower_in_the_settings_is_sent_to_nobody(
    run: Run, custody: MemoryCustody, submitting: list[str | Path], tmp_path: Path
) -> None:
    config_file(tmp_path, "alice")
    code, _, err = run(*submitting)
    assert (code, 'add the line watchtower = "host:port"' in err) == (1, True)
    assert custody.calls == []
