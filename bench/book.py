"""`make book-trial`: a million entries of the address book, in the signer and in custody.

Real versions, as full as they may be and signed by a quorum, go through a real `signer serve`
(token, guard, journal, socket) and through custody's own flow into a real PostgreSQL. What it took
is in build/book.json; the exit code is 1 when a limit is broken. ENTRIES= for another number.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from custody.asks import ATTEMPT_SECONDS
from custody.chains.solana import SolanaNode
from custody.cli.book_chain import ADD, versions
from custody.dev.postgres import EmbeddedPostgres
from custody.domain.look_alikes import ends
from custody.filters import LOOK_ALIKES_MAX
from custody.flows.book import BookState, create_book_version
from custody.flows.parts import Parts
from custody.paging import SIZE_MAX
from custody.relay import SIGNER_SECONDS
from custody.store import signers
from custody.store.database import Database, migrate
from custody.store.signers import SignerRow
from policies.statements import Book, BookEntry, Change, Destination, decode, digest, encode
from signer.chains.solana_address import encode_address
from signer.governance import Governance
from signer.journal import Journal
from tests.factories import HOUR, key, make_change, policy_file, sign
from tests.signer_host import Host, now, signatures, temporary_host
from tests.signing import apply_statement

NETWORK, PEOPLE = "solana:devnet", ("alice", "carol")
LOOKUPS = 10_000
LIMITS = {
    "signer.start_seconds": 2.0,
    "signer.rss_mib": 150.0,
    "signer.applying_rss_mib": 150.0,
    "signer.look_up_ms_p99": 1.0,
    "signer.version_seconds_max": SIGNER_SECONDS,
    "custody.create_seconds_max": ATTEMPT_SECONDS,
    "custody.apply_seconds_max": ATTEMPT_SECONDS,
    "custody.look_up_ms_p99": 10.0,
    "custody.page_ms_p99": 100.0,
    "custody.look_alikes_ms_p99": 1_000.0,
}
Figures = dict[str, float]


def chain(entries: int) -> Iterator[Book]:
    """Yield versions that add so many entries of addresses that are always the same ones."""
    drawn = random.Random(entries)
    added = [
        BookEntry(
            network=NETWORK,
            address=encode_address(drawn.randbytes(32)),
            memo="",
            label=f"customer {number}",
        )
        for number in range(entries)
    ]
    return versions([(ADD, entry) for entry in added], 1, "")


@contextmanager
def signer_host() -> Iterator[tuple[Host, bytes]]:
    """A signer's host with a policy in force, and that policy."""
    with temporary_host() as host:
        init = host.done("init", "--so-pin-file", host.directory / "so-pin").split()
        keygen = host.done("keygen", "hot-sol").split()
        policy = policy_file(signer=init[2], address=keygen[keygen.index("address") + 1])
        files = host.file("policy", policy), host.file("signed", signatures(policy, *PEOPLE))
        host.done("policy", "install", *files, typed=digest(policy) + "\n")
        yield host, policy


def changes(book: Book) -> list[Change]:
    """Return what its quorum says under a version."""
    of, expires = digest(encode(book)), now() + HOUR
    return [
        make_change("book", of, person, previous=book.previous, expires=expires)
        for person in PEOPLE
    ]


def apply_all(host: Host, books: Sequence[Book]) -> Figures:
    """Have a serving signer apply versions in order."""
    with host.serving() as process:
        seconds = []
        for book in books:
            job = apply_statement(encode(book), changes(book))
            began = time.perf_counter()
            result = host.ask(job)
            seconds.append(time.perf_counter() - began)
            if not result.applied.digest:
                raise AssertionError(str(result))
        peak = _memory(process.pid, "VmHWM")
    return {**_spread("version_seconds", seconds), "applying_rss_mib": peak}


def started(host: Host) -> Figures:
    """Start the signer on what it has, and ask it for its status once."""
    began = time.perf_counter()
    with host.serving() as process:
        figures = {
            "start_seconds": time.perf_counter() - began,
            "start_cpu_seconds": _cpu_seconds(process.pid),
        }
        host.done("status")
        return {**figures, "rss_mib": _memory(process.pid, "VmRSS")}


def looked_up(host: Host, books: Sequence[Book]) -> Figures:
    """Look destinations up in the journal, every second of them in vain."""
    journal, times = Journal(host.directory / "journal"), list[float]()
    versions = Governance(journal)
    for number, entry in enumerate(_some(books)):
        place = Destination(entry.address, "" if number % 2 else "another memo")
        began = time.perf_counter()
        found = versions.listed_at(entry.network, place) is not None
        times.append(1_000 * (time.perf_counter() - began))
        if bool(found) != bool(number % 2):
            raise AssertionError(place)
    journal.close()
    size = sum(file.stat().st_size for file in host.directory.glob("journal*"))
    return {**_spread("look_up_ms", times), "file_mib": size / 2**20}


async def custodys(books: Sequence[Book], policy: bytes) -> Figures:
    """Take the versions as the api does, apply them as the worker does, and ask for entries."""
    with TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "data") as postgres:
        await migrate(postgres.dsn)
        parts = Parts(Database(postgres.dsn), SolanaNode("http://127.0.0.1:9"))
        await parts.database.open()
        try:
            return await _applied(parts, books, policy) | await _asked(parts.database, books)
        finally:
            await parts.node.close()
            await parts.database.close()


async def _applied(parts: Parts, books: Sequence[Book], policy: bytes) -> Figures:
    created, applied = list[float](), list[float]()
    in_force = SignerRow("signer", policy, digest(policy), 0, "")
    for book in books:
        statement = encode(book)
        async with parts.database.transaction() as connection:
            await signers.save(connection, in_force)
        signed = [sign(key(change.person), change) for change in changes(book)]
        began = time.perf_counter()
        state = await create_book_version(parts, statement, signed)
        created.append(time.perf_counter() - began)
        if not isinstance(state, BookState):
            raise AssertionError(str(state))
        began = time.perf_counter()
        async with parts.database.transaction() as connection:
            row = await signers.next_book(connection)
            if row is None:
                raise AssertionError(state)
            await signers.book_applied(connection, row, decode(Book, row.statement))
        applied.append(time.perf_counter() - began)
        in_force = SignerRow("signer", policy, digest(policy), book.version, state.digest)
    return _spread("create_seconds", created) | _spread("apply_seconds", applied)


async def _asked(database: Database, books: Sequence[Book]) -> Figures:
    some = _some(books)
    async with database.transaction() as connection:

        async def page(number: int) -> object:
            return await signers.entries(connection, number * 7, SIZE_MAX, "", ())

        async def look_alikes(number: int) -> object:
            asked = sorted({ends(entry.address) for entry in some[number:][:LOOK_ALIKES_MAX]})
            return await signers.entries(connection, 0, SIZE_MAX, NETWORK, asked)

        async def look_up(number: int) -> object:
            to = Destination(some[number].address, "")
            return await signers.in_address_book(connection, NETWORK, to)

        query = "SELECT pg_database_size(current_database()), count(*) FROM book_entry"
        row = await (await connection.execute(query)).fetchone()
        size, rows = row or (0, 0)
        if rows != sum(len(book.add) for book in books):
            raise AssertionError(rows)
        return {
            **_spread("look_up_ms", await _timed(look_up, 1_000)),
            **_spread("page_ms", await _timed(page, 50)),
            **_spread("look_alikes_ms", await _timed(look_alikes, 50)),
            "database_mib": size / 2**20,
        }


async def _timed(work: Callable[[int], Awaitable[object]], times: int) -> list[float]:
    """Return how many milliseconds each took."""
    taken = []
    for number in range(times):
        began = time.perf_counter()
        await work(number)
        taken.append(1_000 * (time.perf_counter() - began))
    return taken


def _some(books: Sequence[Book]) -> list[BookEntry]:
    """Return entries to ask for, from everywhere."""
    drawn = random.Random(0)
    return [drawn.choice(drawn.choice(books).add) for _ in range(LOOKUPS)]


def _spread(name: str, values: Sequence[float]) -> Figures:
    ordered = sorted(values)
    at = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100, "max": -1}
    return {f"{name}_{part}": ordered[index] for part, index in at.items()}


def _memory(process: int, field: str) -> float:
    """Return MiB of a process: VmRSS what it has now, VmHWM the most that it had."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _cpu_seconds(process: int) -> float:
    """Return the seconds that a process was at work, however long it had to wait for its turn."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def broken(figures: Figures) -> list[str]:
    """Return the limits that are broken."""
    return [
        f"{name} is {figures[name]:.3f}, more than {most}"
        for name, most in LIMITS.items()
        if figures[name] > most
    ]


def main() -> int:
    """Run the trial; 1 when a limit is broken."""
    entries = int(os.environ.get("ENTRIES", "1000000"))
    books = list(chain(entries))
    figures: Figures = {"entries": entries, "versions": len(books)}
    with signer_host() as (host, policy):
        parts = {
            "signer.empty": started(host),
            "signer": apply_all(host, books) | started(host) | looked_up(host, books),
            "custody": asyncio.run(custodys(books, policy)),
        }
    for part, measured in parts.items():
        figures |= {f"{part}.{name}": value for name, value in measured.items()}
    wrong = broken(figures)
    file = Path("build/book.json")
    file.parent.mkdir(exist_ok=True)
    report = {"figures": figures, "limits": LIMITS, "broken": wrong}
    file.write_text(json.dumps(report, indent=2) + "\n")
    for name, value in figures.items():
        print(f"{name:32} {value:14,.3f}")
    print(*wrong or ["within all limits"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
