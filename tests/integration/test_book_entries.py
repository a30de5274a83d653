"""ListBookEntries: custody's copy of the address book by the page, and its look-alikes."""

import asyncio
import string
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from custody.cli.address import refuse_address
from custody.domain.look_alikes import ends
from custody.filters import LOOK_ALIKES_MAX
from custody.flows.housekeeping import apply_book
from custody.identity import Identity, Role
from custody.main import main
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code
from policies.statements import Book, BookEntry, digest, encode
from tests.factories import CUSTOMER, SOL, make_book
from tests.integration import house as houses
from tests.integration.house import House
from tests.integration.served import refused, served
from tests.memory_custody import key_file

house = houses.house
NETWORK = "solana:devnet"
REAL = CUSTOMER.address
# One that an attacker made to be taken for it, with other letters between and of other case.
FALSE = (REAL[:4] + REAL[4:-4][::-1] + REAL[-4:]).swapcase()


@pytest.fixture
async def officer(house: House, tmp_path: Path) -> AsyncIterator[Any]:
    house.pay(house.wallet, SOL)
    await house.step()
    async with served(house.parts, tmp_path / "pki") as api, api.stub(Role.OFFICER) as stub:
        yield stub


def entry(address: str, memo: str = "", label: str = "somebody") -> BookEntry:
    return BookEntry(network=NETWORK, address=address, memo=memo, label=label)


async def put(house: House, *entries: BookEntry, after: Book | None = None) -> Book:
    """Put a version with these entries in force."""
    follows = {"version": after.version + 1, "previous": digest(encode(after))} if after else {}
    book = make_book(add=entries, **follows)
    await house.book(book)
    await apply_book(house.parts)
    return book


async def pages(officer: Any, size: int, **filters: Any) -> list[wire.ListBookEntriesResponse]:
    found, token = [], ""
    while True:
        request = wire.ListBookEntriesRequest(page_size=size, page_token=token, **filters)
        found.append(await officer.ListBookEntries(request))
        token = found[-1].next_page_token
        if not token:
            return found


def addresses(found: list[wire.ListBookEntriesResponse]) -> list[str]:
    return [item.address for page in found for item in page.entries]


async def test_every_entry_stands_on_one_page_in_the_order_they_came(
    house: House, officer: Any
) -> None:
    (empty,) = await pages(officer, 0)
    assert (list(empty.entries), empty.book_version, empty.book_digest) == ([], "0", "")
    first = await put(house, *(entry(REAL, memo=str(number)) for number in (3, 1, 2)))
    last = await put(house, entry("somewhere"), after=first)
    for size, sizes in ((3, [3, 1]), (0, [4]), (4, [4, 0])):
        found = await pages(officer, size)
        assert [len(page.entries) for page in found] == sizes
        assert [item.memo for page in found for item in page.entries] == ["3", "1", "2", ""]
        assert {(page.book_version, page.book_digest) for page in found} == {
            ("2", digest(encode(last)))
        }
    gone = replace(make_book(version=3, previous=digest(encode(last))), add=(), remove=first.add)
    await house.book(gone)
    await apply_book(house.parts)
    assert addresses(await pages(officer, 0)) == ["somewhere"]


async def test_a_version_that_waits_for_the_signer_is_not_told(house: House, officer: Any) -> None:
    first = await put(house, entry(REAL))
    await house.book(make_book(add=(entry("b"),), version=2, previous=digest(encode(first))))
    (page,) = await pages(officer, 0)
    assert (addresses([page]), page.book_version) == ([REAL], "1")


async def test_what_looks_like_an_address_is_found(house: House, officer: Any) -> None:
    others = (REAL[:3] + "x" + REAL[4:], REAL[:-1] + "x", REAL[:8], "short", "a")
    await put(house, entry(REAL), entry(REAL, "7"), entry(FALSE), *map(entry, others))
    for asked in ([REAL], [FALSE], [REAL, FALSE, "unknown"], [REAL] * LOOK_ALIKES_MAX):
        for size in (1, 2, 100):
            found = await pages(officer, size, network=NETWORK, look_alike_of=asked)
            assert addresses(found) == [REAL, REAL, FALSE], (asked[:4], size)
    for asked, expected in ((["short"], ["short"]), (["a", "short"], ["short", "a"]), (["b"], [])):
        found = await pages(officer, 0, network=NETWORK, look_alike_of=asked)
        assert addresses(found) == expected
    assert not addresses(await pages(officer, 0, network="solana:other", look_alike_of=[REAL]))


async def test_the_database_reads_the_ends_as_everybody_does(house: House, officer: Any) -> None:
    visible = string.ascii_letters + string.digits + string.punctuation
    some = ["a", "abcd", "abcdefg", *(visible[at : at + 9] for at in range(len(visible) - 9))]
    await put(house, *map(entry, some))
    rows = await house.sql("SELECT address, ends FROM book_entry")
    assert dict(rows) == {address: ends(address) for address in some}


async def test_filters_and_tokens_that_cannot_be(house: House, officer: Any) -> None:
    await put(house, entry(REAL), entry(FALSE))
    (page, _) = (await pages(officer, 1, network=NETWORK, look_alike_of=[REAL]))[:2]
    for request, field in (
        ({"look_alike_of": [REAL]}, "network"),
        ({"network": NETWORK}, "network"),
        ({"network": "Solana", "look_alike_of": [REAL]}, "network"),
        ({"network": NETWORK, "look_alike_of": [REAL, ""]}, "look_alike_of"),
        ({"network": NETWORK, "look_alike_of": ["a b"]}, "look_alike_of"),
        ({"network": NETWORK, "look_alike_of": [REAL] * (LOOK_ALIKES_MAX + 1)}, "look_alike_of"),
        ({"page_size": -1}, "page_size"),
        ({"page_token": page.next_page_token}, "page_token"),
        (
            {"page_token": page.next_page_token, "network": NETWORK, "look_alike_of": ["b"]},
            "page_token",
        ),
    ):
        call = officer.ListBookEntries(wire.ListBookEntriesRequest(**request))
        status, refusal = await refused(call)
        assert (status, refusal.code) == (grpc.StatusCode.INVALID_ARGUMENT, Code.ARGUMENT_INVALID)
        assert refusal.field == field, request


async def test_a_table_goes_in_and_comes_out(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As officers do it: import, sign, apply, export, and the next import meets its look-alike."""
    house.pay(house.wallet, SOL)
    await house.step()
    table, made, out = tmp_path / "in.csv", tmp_path / "made", tmp_path / "out.csv"
    table.write_text(f'network,address,memo,label\n{NETWORK},{REAL},\'007,"Müller, GmbH"\n')
    async with served(house.parts, tmp_path / "pki") as api:
        tls = api.authority.issue(Identity(Role.OFFICER, "alice"))
        lines = {"target": api.target, "ca": tls.ca, "certificate": tls.certificate, "key": tls.key}
        config = tmp_path / "custody.toml"
        config.write_text("".join(f'{name} = "{value}"\n' for name, value in lines.items()))

        async def run(*arguments: object) -> int:
            words = ["--config", str(config), "book", *map(str, arguments)]
            return await asyncio.to_thread(main, words)

        assert await run("import", table, "--into", made) == 0
        file, signatures = made / "book-1.json", made / "signatures"
        for person in ("alice", "carol"):
            who = ("--key", key_file(tmp_path, person), "--person", person, "--yes")
            assert await run("sign", file, *who, "--signatures", signatures) == 0
        applying = asyncio.create_task(run("apply", file, "--signatures", signatures))
        while not applying.done():
            await apply_book(house.parts)
            await asyncio.sleep(0.05)
        assert applying.result() == 0
        capsys.readouterr()
        assert await run("export", out) == 0
        printed = capsys.readouterr().out
        assert (
            f"1 entries of version 1 of the address book ({digest(file.read_bytes())})" in printed
        )
        assert out.read_text("utf-8-sig").splitlines() == table.read_text().splitlines()
        assert await run("import", out, "--into", tmp_path / "again") == 1
        assert "is in the address book already" in capsys.readouterr().err
        table.write_text(f"network,address,memo,label\n{NETWORK},{made_up()},,x\n")
        assert await run("import", table, "--into", tmp_path / "next") == 0
        assert f"  in force  {REAL}" in capsys.readouterr().err


def made_up() -> str:
    """Return an address that is one, with REAL's ends."""
    middle = list(REAL[4:-4])
    for first in range(len(middle) - 1):
        turned = [*middle[:first], middle[first + 1], middle[first], *middle[first + 2 :]]
        made = REAL[:4] + "".join(turned) + REAL[-4:]
        if made != REAL and refuse_address(NETWORK, made) is None:
            return made
    raise AssertionError
