"""The address book by CSV, and its look-alikes: every wrong row by its line, nothing half made."""

import csv
import random
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.cli import book_chain, book_csv
from custody.cli.address import refuse_address
from custody.cli.book_chain import ADD, versions
from custody.cli.look_alikes import look_alikes
from kura.custody.v1 import custody_pb2 as wire
from policies.canonical import find_hidden
from policies.statements import BOOK_BYTES_MAX, Book, BookEntry, decode, digest, encode
from signer.chains.solana_address import encode_address
from tests.factories import CUSTOMER, STRANGER, make_book
from tests.memory_custody import MemoryCustody, config_file, key_file

Run = Callable[..., tuple[int, str, str]]
NETWORK = "solana:devnet"
HEADER = "network,address,memo,label\n"
_random = random.Random(7)
ADDRESSES = [encode_address(_random.randbytes(32)) for _ in range(60)]
REAL = CUSTOMER.address


def false_one(real: str, seed: int = 1) -> str:
    """Return another address with the same ends."""
    letters = random.Random(seed)
    while True:
        made = real[:4] + "".join(letters.sample(real[4:-4], len(real) - 8)) + real[-4:]
        if made != real and refuse_address(NETWORK, made) is None:
            return made


FALSE = false_one(REAL)


def line(address: str, memo: str = "", label: str = "a customer", network: str = NETWORK) -> str:
    out = StringIO()
    csv.writer(out, lineterminator="\n").writerow((network, address, memo, label))
    return out.getvalue()


def entry(address: str, memo: str = "", label: str = "a customer") -> BookEntry:
    return BookEntry(network=NETWORK, address=address, memo=memo, label=label)


def told(
    address: str, memo: str = "", label: str = "known", network: str = NETWORK
) -> wire.BookEntry:
    return wire.BookEntry(network=network, address=address, memo=memo, label=label)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "customers.csv"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "made"


@pytest.fixture
def importing(run: Run, alice: Path, custody: MemoryCustody, table: Path, into: Path) -> Run:
    """Import `content` against custody's address book."""

    def command(content: str | bytes, *options: str) -> tuple[int, str, str]:
        table.write_bytes(content.encode() if isinstance(content, str) else content)
        return run("--config", alice, "book", "import", table, "--into", into, *options)

    return command


def report(into: Path) -> list[dict[str, str]]:
    with (into / "report.csv").open(encoding="utf-8-sig", newline="") as rows:
        return list(csv.DictReader(rows))


def made(into: Path) -> list[Book]:
    return book_chain.read_chain(list(into.glob("book-*.json")))


def test_rows_become_the_next_version(importing: Run, into: Path) -> None:
    code, out, _ = importing(HEADER + line(REAL, "7") + line(STRANGER.address, label="zwölf, GmbH"))
    assert code == 0
    (book,) = made(into)
    assert (book.version, book.previous) == (7, "ab" * 32)
    assert book.add == (entry(REAL, "7"), entry(STRANGER.address, label="zwölf, GmbH"))
    assert digest(encode(book)) in out
    assert [(row["line"], row["result"], row["reason"]) for row in report(into)] == [
        ("2", "ok", ""),
        ("3", "ok", ""),
    ]


WRONG = {
    "network: must be chain:network": line(REAL, network="Solana"),
    "network: must be one of the policy's: solana:devnet": line(REAL, network="solana:main"),
    "address: must be 1 to 128 visible": line(""),
    "address: a Solana address stands for exactly 32 bytes": line(REAL[:-1]),
    "address: '0' does not occur": line("0" + REAL[1:]),
    "address: begins or ends with a blank": line(REAL + " "),
    "address: holds the hidden character U+200B": line(REAL[:9] + "\u200b" + REAL[9:]),
    "address: must be 1 to 128 visible ASCII": line(REAL[:-1] + "\u0441"),  # a Cyrillic letter
    "memo: must be at most 256 bytes": line(REAL, "ö" * 129),
    "memo: begins or ends with a blank": line(REAL, "7\u00a0"),
    "memo: was rounded by a spreadsheet": line(REAL, "1.23457E+19"),
    "memo: begins with =, so that spreadsheets run it: write '=": line(REAL, "=1+1"),
    "label: must be 1 to 64": line(REAL, label=""),
    "label: must be 1 to 64 characters": line(REAL, label="x" * 65),
    "label: holds the hidden character U+202E": line(REAL, label="\u202eabc"),
    "label: holds the hidden character U+0000": line(REAL, label="a\0b"),
    "label: holds the hidden character U+000A": line(REAL, label="a\nb"),
    "label: holds the hidden character U+FEFF": line(REAL, label="\ufeffabc"),
    "label: begins with @, so": line(REAL, label="@SUM(A1)"),
    "label: begins with \uff1d, so": line(REAL, label="\uff1dcmd|'/c calc'!A0"),
    "has 3 cells, the header 4": f"{NETWORK},{REAL},7\n",
    "has 5 cells, the header 4": f"{NETWORK},{REAL},7,a,b\n",
    "is the same destination as line 2": line(ADDRESSES[0], label="again"),
    "is in the address book already": line(ADDRESSES[1], "9"),
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_wrong_row_is_told_with_its_line_and_stops_everything(
    importing: Run, custody: MemoryCustody, into: Path, reason: str
) -> None:
    custody.entries = [told(ADDRESSES[1], "9")]
    text = HEADER + line(ADDRESSES[0]) + WRONG[reason] + line(ADDRESSES[2])
    code, out, err = importing(text)
    assert code == 1
    assert f"line 3: {reason}" in err
    assert "3 rows, 1 bad" in out
    assert "no version was made" in err
    assert [path.name for path in into.iterdir()] == ["report.csv"]
    rows = report(into)
    assert [row["result"] for row in rows] == ["ok", "bad", "ok"]
    assert rows[1]["reason"].startswith(reason)
    assert importing(text, "--skip-bad")[0] == 0
    assert [item.address for item in made(into)[0].add] == [ADDRESSES[0], ADDRESSES[2]]


def test_bytes_that_are_not_utf8_are_told_of_their_row(importing: Run, into: Path) -> None:
    rows = line(ADDRESSES[0]) + line(ADDRESSES[1], label="M\xfcller") + line(ADDRESSES[2])
    code, _, err = importing((HEADER + rows).encode("latin-1"))
    assert code == 1
    assert "line 3: label: is not UTF-8" in err
    assert "line 2" not in err
    assert report(into)[1]["label"] == "M<U+DCFC>ller"


NO_TABLE = {
    "line 1 must be network,address,memo,label": b"",
    "line 1 must be": line(REAL).encode(),
    "line 1 must be network": b"network,address,memo,memo,label\n",
    "may name a column action": b"network,address,memo,label,\n",
    "separate the cells with commas": b"network;address;memo;label\n",
    "this is not UTF-8": (HEADER + line(REAL)).encode("utf-16"),
    "line 2 is longer than 8192 characters": HEADER.encode() + b"x" * 10_000_000,
    "line 3 is longer": (HEADER + line(REAL)).encode() + b'"' + b"x" * 8_192 + b'"\n',
    "line 2: unexpected end of data": HEADER.encode() + b'a,"b',
    "line 2: ',' expected after '\"'": HEADER.encode() + b'a,"b"c,d,e\n',
    "field larger than field limit": HEADER.encode() + b'"' + (b"x" * 80 + b"\n") * 5_000 + b'"',
}


@pytest.mark.parametrize("words", NO_TABLE)
def test_what_is_no_such_table_is_told_and_nothing_made(
    importing: Run, into: Path, words: str
) -> None:
    code, _, err = importing(NO_TABLE[words])
    assert code == 1
    assert words in err
    assert not into.exists()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "mixed"])
def test_every_spreadsheet_s_lines_are_read(importing: Run, into: Path, end: str) -> None:
    rows = [HEADER.strip(), *(line(address).strip() for address in ADDRESSES[:3]), ""]
    ends = ["\r\n", "\n", "\r", "\n\n", ""] if end == "mixed" else [end] * 5
    text = "\ufeff" + "".join(map("".join, zip(rows, ends, strict=True)))
    assert importing(text)[0] == 0
    assert [item.address for item in made(into)[0].add] == ADDRESSES[:3]


def test_lines_are_counted_in_the_file_and_columns_stand_in_any_order(
    importing: Run, custody: MemoryCustody, into: Path
) -> None:
    custody.entries = [told(ADDRESSES[1])]
    text = "label,action,memo,address,network\n\n"
    text += f'"a\nb",add,,{ADDRESSES[0]},{NETWORK}\n\n'
    text += f"x,remove,,{ADDRESSES[1]},{NETWORK}\nx,remove,,{ADDRESSES[2]},{NETWORK}\n"
    text += f"x,delete,,{ADDRESSES[3]},{NETWORK}\nx,,,{ADDRESSES[4]},{NETWORK}\n"
    code, _, err = importing(text, "--skip-bad")
    assert code == 0
    assert "line 3: label: holds the hidden character U+000A" in err
    assert "line 7: is not in the address book" in err
    assert "line 8: action: must be add or remove" in err
    (book,) = made(into)
    assert [item.address for item in book.add] == [ADDRESSES[4]]
    assert [item.address for item in book.remove] == [ADDRESSES[1]]


def test_nothing_is_written_over(importing: Run, into: Path) -> None:
    assert importing(HEADER + line(REAL))[0] == 0
    before = (into / "book-7.json").read_bytes()
    code, _, err = importing(HEADER + line(STRANGER.address))
    assert code == 1
    assert "is there already and is never written over" in err
    assert (into / "book-7.json").read_bytes() == before


def test_an_empty_table_makes_no_version(importing: Run, into: Path) -> None:
    code, _, err = importing(HEADER)
    assert (code, "no row changes anything" in err) == (1, True)
    assert not list(into.glob("book-*"))


def test_without_custody_it_is_said_what_the_first_version_follows(
    run: Run, table: Path, into: Path
) -> None:
    table.write_text(HEADER + line(REAL))
    command = ("book", "import", table, "--into", into)
    code, _, err = run(*command, "--offline")
    assert (code, "--version and --previous" in err) == (1, True)
    assert run(*command, "--offline", "--version", "9", "--previous", "cd" * 32)[0] == 0
    (book,) = made(into)
    assert (book.version, book.previous) == (9, "cd" * 32)


def test_more_than_a_version_holds_become_a_chain_that_is_signed_and_applied(
    run: Run,
    importing: Run,
    custody: MemoryCustody,
    into: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(book_chain, "BOOK_ENTRIES_MAX", 5)
    assert importing(HEADER + "".join(map(line, ADDRESSES)))[0] == 0
    books = made(into)
    assert [book.version for book in books] == [*range(7, 19)]
    assert [item.address for book in books for item in book.add] == ADDRESSES
    files, signatures = sorted(into.glob("book-*.json")), into / "signatures"
    assert files[0].name == "book-10.json"
    for person in ("alice", "carol"):
        mine = ("--config", config_file(into.parent, person))
        assert run(*mine, "book", "sign", *files, "--signatures", signatures, "--yes")[0] == 0
    mine = ("--config", config_file(into.parent, "alice"))
    for _ in range(2):  # again changes nothing
        code, out, _ = run(*mine, "book", "apply", *files, "--signatures", signatures)
        assert code == 0
        assert [text.split()[2] for text in out.splitlines()] == [*map(str, range(7, 19))]
    sent = custody.sent("CreateBookVersion")
    assert [decode(Book, request.book) for request in sent] == books * 2
    assert all(len(request.changes) == 2 for request in sent)


def test_files_that_do_not_follow_one_another_are_not_signed(run: Run, tmp_path: Path) -> None:
    first, third = tmp_path / "1.json", tmp_path / "3.json"
    first.write_bytes(encode(make_book(CUSTOMER)))
    who = ("--key", key_file(tmp_path, "alice"), "--person", "alice", "--yes")
    signatures = tmp_path / "signatures"
    for changes in ({"version": 3}, {"version": 2, "previous": "ab" * 32}, {}):
        third.write_bytes(encode(make_book(STRANGER, **changes)))
        options = ("--signatures", signatures, *who, "--offline")
        code, _, err = run("book", "sign", first, third, *options)
        assert (code, "does not follow version 1 of these" in err) == (1, True)
    assert not signatures.exists()


def test_a_version_without_signatures_is_named(
    run: Run, alice: Path, custody: MemoryCustody, tmp_path: Path
) -> None:
    file, signatures = tmp_path / "1.json", tmp_path / "signatures"
    file.write_bytes(encode(make_book(CUSTOMER)))
    signatures.write_bytes(b"")
    code, _, err = run("--config", alice, "book", "apply", file, "--signatures", signatures)
    assert (code, "holds no signature under version 1" in err) == (1, True)
    assert not custody.sent("CreateBookVersion")


TEXT = st.text(max_size=64).filter(lambda text: not find_hidden(text) and text == text.strip())


@given(st.lists(st.tuples(TEXT, TEXT.filter(bool)), max_size=5))
def test_what_is_exported_is_what_is_imported(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]
) -> None:
    file = tmp_path_factory.mktemp("export") / "book.csv"
    entries = [entry(ADDRESSES[0], memo, label) for memo, label in texts]
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        book_csv.write_entries(out, entries)
    rows = list(book_csv.read_rows(file))
    assert [row.entry for row in rows] == entries
    assert [row.reason for row in rows if not row.reason.startswith("memo: must be")] == [
        "" for _ in rows
    ]


EVIL = (
    "=cmd|'/c calc'!A0",
    "+1",
    "-1",
    "@x",
    "\uff1d1",
    "'=1",
    "'",
    "'t Hooft",
    '",=1',
    "a,b;c\td",
)


def test_nothing_that_is_exported_runs_in_a_spreadsheet(
    run: Run, alice: Path, custody: MemoryCustody, tmp_path: Path, into: Path
) -> None:
    evil = [text for text in EVIL if "\t" not in text]
    custody.entries = [told(ADDRESSES[n], text, text) for n, text in enumerate(evil)]
    custody.entries += [told(ADDRESSES[30], "00123"), told("=address", network="xrp:main")]
    file = tmp_path / "book.csv"
    code, out, _ = run("--config", alice, "book", "export", file)
    assert code == 0
    assert f"{len(evil) + 2} entries of version 6 of the address book ({'ab' * 32})" in out
    with file.open(encoding="utf-8-sig", newline="") as text:
        cells = [cell for row in csv.reader(text) for cell in row]
    assert not [cell for cell in cells if cell[:1] and cell[0] in "=+-@\uff1d"]
    assert "'00123" in cells
    custody.entries = []
    options = ("--into", into, "--skip-bad")  # xrp:main is no network of the policy
    assert run("--config", alice, "book", "import", file, *options)[0] == 0
    added = [(item.memo, item.label) for item in made(into)[0].add]
    assert added == [*((text, text) for text in evil), ("00123", "known")]
    with (into / "report.csv").open(encoding="utf-8-sig", newline="") as text:
        cells = [cell for row in csv.reader(text) for cell in row]
    assert not [cell for cell in cells if cell[:1] and cell[0] in "=+-@\uff1d"]


@pytest.mark.parametrize(
    "lie",
    [
        told("a b"),
        told(ADDRESSES[0], label="a\x1b[2J"),
        told(ADDRESSES[0], memo="a\nsolana:devnet,evil,,x"),
        told(ADDRESSES[0], network="Solana"),
        told(ADDRESSES[0], label=""),
    ],
)
def test_an_entry_that_cannot_be_one_is_not_exported(
    run: Run, alice: Path, custody: MemoryCustody, tmp_path: Path, lie: wire.BookEntry
) -> None:
    custody.entries = [told(ADDRESSES[1]), lie]
    code, _, err = run("--config", alice, "book", "export", tmp_path / "book.csv")
    assert (code, "that cannot be one" in err) == (1, True)
    assert not list(tmp_path.glob("book.csv*"))


def test_an_export_is_of_one_version(
    run: Run,
    alice: Path,
    custody: MemoryCustody,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    custody.entries = [*map(told, ADDRESSES)]
    answer = custody.list_book_entries

    def moving(request: wire.ListBookEntriesRequest) -> wire.ListBookEntriesResponse:
        custody.book_version += int(request.page_token or 0) == 10
        return answer(request)

    file = tmp_path / "book.csv"
    with monkeypatch.context() as patch:
        patch.setattr(custody, "list_book_entries", moving)
        code, _, err = run("--config", alice, "book", "export", file)
    assert (code, "changed on the way" in err) == (1, True)
    assert not list(tmp_path.glob("book.csv*"))
    assert run("--config", alice, "book", "export", file)[0] == 0
    before = file.read_bytes()
    assert run("--config", alice, "book", "export", file)[0] == 1
    assert file.read_bytes() == before


def test_a_copy_that_is_not_what_the_signer_has_is_told(
    run: Run,
    alice: Path,
    custody: MemoryCustody,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    behind = wire.ListBookEntriesResponse(book_version="5", book_digest="cd" * 32)
    monkeypatch.setattr(custody, "list_book_entries", lambda _: behind)
    code, _, err = run("--config", alice, "book", "export", tmp_path / "book.csv")
    assert code == 0
    assert f"are of version 5 of the address book ({'cd' * 32}), but the signer has" in err


def together(err: str, *addresses: str) -> bool:
    """Tell whether these whole addresses stand one under the other."""
    columns = [
        (number, text.find(address))
        for number, text in enumerate(err.splitlines())
        for address in addresses
        if address in text and "looks like" not in text
    ]
    lines, places = zip(*columns, strict=True)
    return len({*places}) == 1 and lines[-1] - lines[0] == len(addresses) - 1


def test_a_draft_that_looks_like_an_entry_in_force_is_told(
    run: Run, alice: Path, custody: MemoryCustody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    custody.entries = [*map(told, ADDRESSES), told(REAL, label="the real one")]
    file, signatures = tmp_path / "book.json", tmp_path / "signatures"
    mine = ("--config", alice, "book")
    _, _, err = run(*mine, "draft", file, "--add", FALSE, "--label", "the false one")
    assert together(err, REAL, FALSE)
    assert '"the real one"' in err
    assert '"the false one"' in err
    assert f"Compared with version 6 of the address book ({'ab' * 32}), as custody says." in err
    assert together(run(*mine, "check", file)[2], REAL, FALSE)
    assert "Not compared" in run(*mine, "check", file, "--offline")[2]
    sign = (*mine, "sign", file, "--signatures", signatures, "--yes")
    monkeypatch.setattr("sys.stdin", StringIO())
    code, _, err = run(*sign)
    assert (code, "--look-alikes NUMBER" in err) == (1, True)
    code, _, err = run(*sign, "--look-alikes", "2")
    assert (code, "not how many look-alikes" in err) == (1, True)
    assert together(err, REAL, FALSE)
    assert not signatures.exists()
    assert run(*sign, "--look-alikes", "1")[0] == 0
    assert signatures.exists()


@pytest.mark.parametrize(("typed", "code"), [("1\n", 0), ("y\n", 1), ("\n", 1)])
def test_look_alikes_are_asked_about(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    file, signatures = tmp_path / "book.json", tmp_path / "signatures"
    file.write_bytes(encode(make_book(add=(entry(REAL), entry(REAL, "7"), entry(FALSE)))))
    who = ("--key", key_file(tmp_path, "alice"), "--person", "alice", "--yes")
    monkeypatch.setattr("sys.stdin", StringIO(typed))
    assert run("book", "sign", file, *who, "--signatures", signatures)[0] == code
    assert signatures.exists() == (code == 0)


def test_look_alikes_in_one_import_are_told_and_marked(
    importing: Run, custody: MemoryCustody, into: Path
) -> None:
    custody.entries = [told(ADDRESSES[5])]
    other = false_one(ADDRESSES[5])
    code, _, err = importing(HEADER + line(REAL) + line(other) + line(FALSE) + line(ADDRESSES[6]))
    assert code == 0
    assert "look-alikes 1 of 2" in err
    assert together(err, REAL, FALSE)
    assert together(err, ADDRESSES[5], other)
    assert [(row["result"], row["reason"]) for row in report(into)] == [
        ("warning", f"looks like {FALSE}"),
        ("warning", f"looks like {ADDRESSES[5]}"),
        ("warning", f"looks like {REAL}"),
        ("ok", ""),
    ]


def test_custody_is_believed_nothing_that_looks_like_nothing(
    run: Run,
    alice: Path,
    custody: MemoryCustody,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lie = wire.ListBookEntriesResponse(
        entries=[*map(told, ADDRESSES)], book_version="6\x1b[2J", book_digest="x" * 5_000
    )
    monkeypatch.setattr(custody, "list_book_entries", lambda _: lie)
    draft = ("draft", tmp_path / "book.json", "--add", FALSE, "--label", "x")
    code, _, err = run("--config", alice, "book", *draft)
    assert code == 0
    assert "look-alikes" not in err
    assert "\x1b" not in err
    assert len(err) < 2_000


def group(*found: Sequence[str]) -> list[list[str]]:
    groups = look_alikes((where, entry(address)) for where, address in found)
    return [[item.address for _, item in members] for members in groups]


def test_which_addresses_look_alike() -> None:
    swapped = REAL[:4].swapcase() + "x" * 36 + REAL[-4:].swapcase()
    assert group(("adds", REAL), ("adds", REAL)) == []
    assert group(("adds", REAL), ("adds", "x" + REAL[1:]), ("adds", REAL[:-1] + "x")) == []
    assert group(("in force", REAL), ("adds", swapped)) == [[REAL, swapped]]
    assert group(("in force", REAL), ("adds", FALSE), ("removes", swapped)) == [
        [REAL, FALSE, swapped]
    ]
    elsewhere = BookEntry(network="solana:other", address=FALSE, memo="", label="x")
    assert look_alikes([("adds", entry(REAL)), ("adds", elsewhere)]) == []


def test_versions_are_as_full_as_they_may_be() -> None:
    deeds = [(ADD, entry(REAL, str(number), 'a"\\' * 20)) for number in range(10_000)]
    books = list(versions(deeds, 1, ""))
    assert [item for book in books for item in book.add] == [item for _, item in deeds]
    sizes = [len(encode(book)) for book in books]
    assert max(sizes) <= BOOK_BYTES_MAX < min(sizes[:-1]) + 1_000
    assert all(decode(Book, encode(book)) == book for book in books)
    follows = [(book.version, book.previous) for book in books]
    digests = ["", *(digest(encode(book)) for book in books)]
    assert follows == list(zip(range(1, len(books) + 1), digests, strict=False))
    short = [
        (ADD, BookEntry(network="a:b", address="a", memo=str(n), label="x")) for n in range(10_001)
    ]
    assert [len(book.add) for book in versions(short, 1, "")] == [10_000, 1]
