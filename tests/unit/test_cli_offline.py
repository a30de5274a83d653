"""Keys, policy files and address-book versions: commands that need no custody, or hardly."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import NoReturn

import pytest

from custody.cli.address import refuse_address
from custody.cli.session import unix_ms
from custody.keys import create_key, load_key
from custody.words import digest_words
from policies.changes import open_book, refuse_unsigned_policy
from policies.policy_file import parse_policy
from policies.signature_file import parse_signatures
from policies.statements import Book, BookEntry, Destination, Signed, decode, digest, encode
from tests.factories import COLD_ADDRESS, CUSTOMER, make_book, policy_file
from tests.memory_custody import MemoryCustody, config_file, key_file

Run = Callable[..., tuple[int, str, str]]
POLICY = policy_file()
SOMEBODY = "with the approval of 1 of operations (alice, bob)"
MUCH = "1000000 SOL in 1000000 transactions"
BOTH = f"{SOMEBODY} and 1 of risk (bob, carol), 2 different people"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.toml"
    file.write_bytes(POLICY)
    return file


def test_a_key_is_made_and_its_public_half_printed(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("key", "create", tmp_path / "key.pem", "--no-passphrase")
    assert code == 0
    assert out.strip() == load_key(tmp_path / "key.pem", lambda: b"").public


def test_a_passphrase_is_typed_twice(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter(["four quite long words", "four quite long worms"])
    monkeypatch.setattr("custody.cli.session.getpass", lambda _: next(typed))
    code, _, err = run("key", "create", tmp_path / "key.pem")
    assert code == 1
    assert "differ" in err
    assert "worms" not in err
    assert not (tmp_path / "key.pem").exists()


def test_a_typed_passphrase_closes_the_key(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custody.cli.session.getpass", lambda _: "vier längere Wörter")
    code, out, _ = run("key", "create", tmp_path / "key.pem")
    assert code == 0
    opened = load_key(tmp_path / "key.pem", "vier längere Wörter".encode)
    assert opened.public == out.strip()


def test_no_passphrase_is_asked_for_a_file_that_exists(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custody.cli.session.getpass", lambda _: pytest.fail("asked"))
    (tmp_path / "key.pem").touch()
    code, _, err = run("key", "create", tmp_path / "key.pem")
    assert code == 1
    assert "exists; a key is never written over" in err


def test_a_passphrase_that_nobody_can_type_is_told_in_words(
    run: Run, custody: MemoryCustody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_: str) -> NoReturn:
        raise EOFError

    monkeypatch.setattr("custody.cli.session.getpass", nobody)
    code, _, err = run("key", "create", tmp_path / "key.pem")
    assert (code, "no terminal to ask for the passphrase on" in err) == (1, True)
    assert not (tmp_path / "key.pem").exists()
    config = config_file(tmp_path, "exchange", pinned=digest(POLICY))
    (tmp_path / "exchange.pem").unlink()
    create_key(tmp_path / "exchange.pem", b"four quite long words")
    code, _, err = run("--config", config, "withdrawal", "cancel", "ab" * 32)
    assert (code, "no terminal to ask for the passphrase on" in err) == (1, True)


def test_without_a_terminal_a_passphrase_is_piped_in_and_nothing_else_is_said(
    tmp_path: Path,
) -> None:
    file, typed = tmp_path / "key.pem", "four quite long words"
    command = [sys.executable, "-m", "custody.main", "key", "create", str(file)]
    made = [
        subprocess.run(
            command,
            check=False,
            input=piped,
            capture_output=True,
            text=True,
            start_new_session=True,
        )
        for piped in ("", f"{typed}\n{typed}\n")
    ]
    words = "no terminal to ask for the passphrase on: run this in a terminal\n"
    assert (made[0].returncode, made[0].stderr) == (1, words)
    assert (made[1].returncode, load_key(file, typed.encode).public) == (0, made[1].stdout.strip())


def test_a_good_policy_shows_digest_and_words(run: Run, policy: Path) -> None:
    code, out, _ = run("policy", "check", policy)
    assert code == 0
    assert digest(POLICY) in out
    assert " ".join(digest_words(digest(POLICY))) in out


def test_a_bad_policy_shows_line_entry_and_reason(run: Run, policy: Path) -> None:
    policy.write_bytes(policy_file(cap="5 EUR"))
    line = policy.read_text().split("\n").index('cap = "5 EUR"') + 1
    code, _, err = run("policy", "check", policy)
    assert code == 1
    assert err.startswith(f"{policy}: line {line}: wallets.hot-sol.cap: names EUR")


def test_a_policy_is_explained_in_sentences(run: Run, policy: Path) -> None:
    code, out, _ = run("policy", "explain", policy)
    assert code == 0
    assert out.splitlines() == [
        "No transaction from hot-sol is above 50 SOL, whoever approves it.",
        "None pays the network more than 0.001 SOL.",
        f"In any 24 hours, what nobody approved takes at most {MUCH}, fees included.",
        f"In any 24 hours, what people approved takes at most {MUCH}, fees included.",
        (
            "In any 24 hours, opening and keeping nonce accounts takes at most 1 SOL in 1000 "
            "transactions, fees included."
        ),
        "At most 1000000 SOL is signed and not yet final (beyond_recall).",
        (
            f"After a proven theft its signer sends what is left to {COLD_ADDRESS},"
            " at most 24 times for 0.01 SOL."
        ),
        "exchange may send from hot-sol to destinations in the address book (rule customers):",
        "  up to 1 SOL without anybody's approval",
        f"  above 1 SOL, up to 10 SOL {SOMEBODY}",
        f"  above 10 SOL, up to 40 SOL {BOTH}",
        "Everything else is refused.",
        f"The policy changes {BOTH}.",
        f"The address book changes {BOTH}.",
    ]


NOT_LISTED = "destinations that are not in the address book"
ANSWERS = {
    "--amount=1 SOL": "exchange may send 1 SOL from hot-sol to destinations in the address book "
    "without anybody's approval (rule customers).",
    "--amount=1.000000001 SOL": SOMEBODY,
    "--amount=40 SOL": BOTH,
    "--amount=40.1 SOL": "may not send 40.1 SOL from hot-sol",
    "--amount=51 SOL": "is above the cap of hot-sol",
    "--amount=1 SOL --destination=any": f"may not send 1 SOL from hot-sol to {NOT_LISTED}",
    "--destination=any": f"exchange may send nothing from hot-sol to {NOT_LISTED}.",
    "--destination=address-book": "up to 1 SOL without anybody's approval",
}


@pytest.mark.parametrize(("question", "words"), ANSWERS.items(), ids=ANSWERS.keys())
def test_a_question_is_answered_as_the_signer_would(
    run: Run, policy: Path, question: str, words: str
) -> None:
    options = ["--" + option for option in question.removeprefix("--").split(" --")]
    code, out, _ = run("policy", "explain", policy, *options)
    assert code == 0
    assert words in out


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--wallet=cold", "there are: hot-sol"),
        ("--requester=alice", "there are: exchange"),
        ("--amount=5 EUR", "the wallets asked about hold SOL, no EUR"),
        ("--amount=5", "say of which asset (SOL)"),
        ("--amount=0.0000000001 SOL", "more than the 9 decimals"),
    ],
)
def test_a_question_about_nothing_is_refused(
    run: Run, policy: Path, option: str, words: str
) -> None:
    code, _, err = run("policy", "explain", policy, option)
    assert code == 1
    assert words in err


def test_two_people_sign_a_policy(run: Run, policy: Path, tmp_path: Path) -> None:
    signatures = tmp_path / "signatures"
    for person in ("alice", "carol"):
        who = ("--key", key_file(tmp_path, person), "--person", person)
        assert run("policy", "sign", policy, *who, "--signatures", signatures)[0] == 0
    changes = parse_signatures(signatures.read_bytes())
    assert refuse_unsigned_policy(parse_policy(POLICY), changes, unix_ms()) is None


def test_a_signature_is_all_that_goes_to_standard_output(
    run: Run, policy: Path, tmp_path: Path
) -> None:
    who = ("--key", key_file(tmp_path, "alice"), "--person", "alice")
    code, out, err = run("policy", "sign", policy, *who)
    assert code == 0
    assert len(parse_signatures(out.encode())) == 1
    assert digest(POLICY) in err


@pytest.mark.parametrize("person", ["bob", "mallory", "Not A Name"])
def test_a_key_signs_for_its_own_person_only(
    run: Run, policy: Path, tmp_path: Path, person: str
) -> None:
    who = ("--key", key_file(tmp_path, "alice"), "--person", person)
    code, out, _ = run("policy", "sign", policy, *who)
    assert (code, out) == (1, "")


def test_the_policy_in_force_is_printed_byte_for_byte(
    run: Run, custody: MemoryCustody, alice: Path
) -> None:
    code, out, err = run("--config", alice, "policy", "show")
    assert code == 0
    assert out.encode() == POLICY
    assert digest(POLICY) in err


def test_a_version_is_drafted_signed_and_applied(
    run: Run, custody: MemoryCustody, tmp_path: Path
) -> None:
    book, signatures = tmp_path / "book.json", tmp_path / "book.signatures"
    config = config_file(tmp_path, "alice")
    draft = ("--add", CUSTOMER.address, "--label", "a customer", "--memo", "7")
    assert run("--config", config, "book", "draft", book, *draft)[0] == 0
    for person in ("alice", "carol"):
        mine = ("--config", config_file(tmp_path, person))
        assert run(*mine, "book", "sign", book, "--signatures", signatures, "--yes")[0] == 0
    code, out, _ = run("--config", config, "book", "apply", book, "--signatures", signatures)

    assert (code, out.split()[:3]) == (0, ["applied:", "version", "7"])
    (request,) = custody.sent("CreateBookVersion")
    changes = [Signed(item.statement, item.signature) for item in request.changes]
    force = (6, "ab" * 32)
    opened = open_book(parse_policy(POLICY), request.book, changes, in_force=force, now=unix_ms())
    assert isinstance(opened, Book)
    assert [(item.address, item.memo) for item in opened.add] == [(CUSTOMER.address, "7")]


def test_a_first_version_is_drafted_without_custody(run: Run, tmp_path: Path) -> None:
    options = ("--version", "1", "--network", "solana:devnet", "--label", "bad")
    file = tmp_path / "book.json"
    assert run("book", "draft", file, "--remove", CUSTOMER.address, *options)[0] == 0
    book = decode(Book, file.read_bytes())
    assert (book.version, book.previous, len(book.add), len(book.remove)) == (1, "", 0, 1)
    code, out, _ = run("book", "check", file)
    assert code == 0
    assert f"removes         {CUSTOMER.address}" in out
    code, _, err = run("book", "draft", file, "--add", CUSTOMER.address, *options)
    assert code == 1
    assert "is there already and is never written over" in err
    assert decode(Book, file.read_bytes()) == book


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--add", "with blank", "--label", "x"), "add[0].address"),
        (("--add", CUSTOMER.address[:-1], "--label", "x"), "add[0].address"),
        (("--add", CUSTOMER.address, "--label", "x" * 65), "add[0].label"),
        (("--label", "x"), "either --add ADDRESS or --remove"),
    ],
)
def test_a_bad_entry_is_named_and_nothing_written(
    run: Run, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    place = ("--version", "1", "--network", "solana:devnet")
    code, _, err = run("book", "draft", tmp_path / "book.json", *options, *place)
    assert code == 1
    assert words in err
    assert not (tmp_path / "book.json").exists()


def test_a_file_that_is_no_book_is_not_signed(run: Run, policy: Path, tmp_path: Path) -> None:
    who = ("--key", key_file(tmp_path, "alice"), "--person", "alice")
    signatures = tmp_path / "signatures"
    assert run("book", "sign", policy, *who, "--signatures", signatures, "--yes")[0] == 1
    assert not signatures.exists()


@pytest.fixture
def book(tmp_path: Path) -> Path:
    file = tmp_path / "book.json"
    entry = BookEntry(
        network="solana:devnet", address=CUSTOMER.address, memo="", label=" a \u3000customer"
    )
    file.write_bytes(encode(make_book(add=(entry,))))
    return file


@pytest.mark.parametrize(
    ("typed", "words"),
    [("", "no terminal to ask on: use --yes after reading"), ("y\n", "not the first word")],
)
def test_a_book_is_not_signed_without_its_first_word(
    run: Run, book: Path, monkeypatch: pytest.MonkeyPatch, typed: str, words: str
) -> None:
    who = ("--key", key_file(book.parent, "alice"), "--person", "alice")
    signatures = book.parent / "signatures"
    monkeypatch.setattr("sys.stdin", StringIO(typed))
    code, out, err = run("book", "sign", book, *who, "--signatures", signatures)
    assert (code, words in err) == (1, True)
    assert not signatures.exists()
    assert '" a <U+3000>customer"' in out
    assert "(no memo)" in out
    monkeypatch.setattr("sys.stdin", StringIO(digest_words(digest(book.read_bytes()))[0]))
    assert run("book", "sign", book, *who, "--signatures", signatures)[0] == 0
    assert len(parse_signatures(signatures.read_bytes())) == 1


WRONG = {
    "a letter that base58 has not": "0" + CUSTOMER.address[1:],
    "31 bytes": CUSTOMER.address[:-1],
    "33 bytes": "1" + CUSTOMER.address,
    "no letters": "1" * 31,
}


@pytest.mark.parametrize("address", WRONG.values(), ids=WRONG.keys())
def test_an_address_that_cannot_be_one_is_not_signed(
    run: Run, tmp_path: Path, address: str
) -> None:
    file, signatures = tmp_path / "book.json", tmp_path / "signatures"
    file.write_bytes(encode(make_book(CUSTOMER, Destination(address, ""))))
    who = ("--key", key_file(tmp_path, "alice"), "--person", "alice")
    for command in (("check",), ("sign", *who, "--signatures", signatures, "--yes")):
        code, _, err = run("book", command[0], file, *command[1:])
        assert (code, "add[1].address" in err) == (1, True)
    assert not signatures.exists()


@pytest.mark.parametrize(
    "address", [CUSTOMER.address, "1" * 32, "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG"]
)
def test_an_address_that_can_be_one_is_let_through(address: str) -> None:
    assert refuse_address("solana:devnet", address) is None


def test_an_address_of_a_network_that_nobody_here_knows_is_let_through() -> None:
    assert refuse_address("xrp:main", "rPT1Sjq2YGrBMTttX4GZHjKu9dyfzbpAYe") is None


def test_a_removal_says_what_it_will_not_do(run: Run, book: Path) -> None:
    assert "stays as it is" in run("book", "check", book)[2]
    first = decode(Book, book.read_bytes())
    slip = replace(first.add[0], address=CUSTOMER.address[:-1])
    for entry, words in ((first.add[0], "if the address book has no such"), (slip, "32 bytes")):
        book.write_bytes(encode(replace(first, add=(), remove=(entry,))))
        code, _, err = run("book", "check", book)
        assert (code, words in err) == (0, True)
