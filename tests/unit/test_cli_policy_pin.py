"""`custody policy pin`: what is proved before the settings change, and what of them changes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from custody.words import digest_words
from policies.signature_file import format_signature
from policies.statements import digest
from tests.factories import key, make_change, policy_file, sign
from tests.memory_custody import MemoryCustody

pytestmark = pytest.mark.usefixtures("alice_at_home")
Run = Callable[..., tuple[int, str, str]]
FIRST = policy_file()
SECOND = policy_file(version=2, previous=digest(FIRST), cap="400 SOL")
THIRD = policy_file(version=3, previous=digest(SECOND), cap="500 SOL")
QUORUM = ("alice", "carol")


def lines(file: bytes, previous: bytes, people: Sequence[str] = QUORUM, expires: int = 0) -> str:
    times = {"expires": expires} if expires else {}
    changes = [
        make_change("policy", digest(file), person, previous=digest(previous), **times)
        for person in people
    ]
    return "".join(format_signature(sign(key(change.person), change)) for change in changes)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"policy-{number}.toml" for number in (1, 2, 3)]
    for file, content in zip(made, (FIRST, SECOND, THIRD), strict=True):
        file.write_bytes(content)
    return made


@pytest.fixture
def signatures(tmp_path: Path) -> Path:
    made = tmp_path / "signatures"
    made.write_text(lines(SECOND, FIRST, expires=1) + lines(THIRD, SECOND))
    return made


def test_only_the_line_changes_once_the_first_word_is_typed(
    run: Run, alice: Path, files: list[Path], signatures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = "# mine\r\n" + alice.read_text() + "\n# policy_digest = 'x'\n"
    alice.write_bytes(before.encode())
    alice.chmod(0o640)
    monkeypatch.setattr("builtins.input", lambda _: digest_words(digest(THIRD))[0])
    code, out, _ = run("policy", "pin", *files, "--signatures", signatures)
    assert code == 0
    assert "version 1 → 2" in out
    assert "hot-sol: cap per transaction 400 SOL → 500 SOL" in out
    assert digest(THIRD) in out
    assert alice.read_bytes().decode() == before.replace(digest(FIRST), digest(THIRD))
    assert alice.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in alice.parent.iterdir() if "alice.toml" in file.name] == [
        "alice.toml"
    ]


def test_a_link_to_the_settings_stays_one(
    run: Run, alice: Path, files: list[Path], signatures: Path
) -> None:
    alice.rename(alice.with_name("real.toml"))
    alice.symlink_to("real.toml")
    assert run("policy", "pin", *files, "--signatures", signatures, "--yes")[0] == 0
    assert alice.is_symlink()
    assert digest(THIRD) in alice.read_text()


@pytest.mark.parametrize(
    "case",
    [
        ((0, 2), lines(THIRD, SECOND), "does not follow version 1"),
        ((1, 2), lines(THIRD, SECOND), "is not the version that your settings pin"),
        ((0, 1), lines(SECOND, FIRST, ["alice"]), "still needs"),
        ((0, 1), lines(THIRD, SECOND), "still needs"),
        ((0, 1), "", "still needs"),
        ((0, 1), "nonsense\n", "line 1 is not a signature"),
    ],
    ids=["gap", "old", "one officer", "other version", "nobody", "nonsense"],
)
def test_what_is_not_proved_changes_nothing(
    run: Run, alice: Path, files: list[Path], case: tuple[Sequence[int], str, str]
) -> None:
    order, signed, words = case
    before, file = alice.read_bytes(), alice.with_name("some")
    file.write_text(signed)
    named = [files[number] for number in order]
    code, out, err = run("policy", "pin", *named, "--signatures", file, "--yes")
    assert (code, out) == (1, "")
    assert words in err
    assert alice.read_bytes() == before


def test_a_wrong_word_changes_nothing(
    run: Run, alice: Path, files: list[Path], signatures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = alice.read_bytes()
    monkeypatch.setattr("builtins.input", lambda _: "zebra zebra")
    code, _, err = run("policy", "pin", *files, "--signatures", signatures)
    assert code == 1
    assert "not the first word: the settings stay as they were" in err
    assert alice.read_bytes() == before


def test_a_line_that_cannot_be_changed_alone_is_left(
    run: Run, alice: Path, files: list[Path], signatures: Path
) -> None:
    alice.write_text(alice.read_text().replace("policy_digest =", '"policy_digest" ='))
    before = alice.read_bytes()
    code, _, err = run("policy", "pin", *files, "--signatures", signatures, "--yes")
    assert code == 1
    assert f'make its line policy_digest = "{digest(THIRD)}"' in err
    assert alice.read_bytes() == before


def test_the_refusal_after_a_change_names_the_command_that_ends_it(
    run: Run, custody: MemoryCustody, files: list[Path], signatures: Path
) -> None:
    custody.policy = THIRD
    code, _, err = run("withdrawal", "list")
    assert code == 1
    assert "custody policy pin OLD NEW... --signatures FILE" in err
    assert "if they did not, approve nothing" in err
    assert run("policy", "pin", *files, "--signatures", signatures, "--yes")[0] == 0
    assert run("withdrawal", "list")[0] == 0
