"""The first policy and address book of a development system, and its officers' signatures."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from solders.keypair import Keypair

from custody.keys import SigningKey
from policies.signature_file import format_signature
from policies.statements import Book, BookEntry, Change, encode

EXAMPLE = Path(__file__).parents[2] / "policies" / "example.toml"
NETWORK = "solana:devnet"
SIGNERS = ("alice", "carol")
CUSTOMERS = tuple(str(Keypair.from_seed(bytes([number]) * 32).pubkey()) for number in (1, 2))
DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Public:
    """What a system's own policy names: public keys and addresses."""

    audit_key: str
    address: str
    watchtower: str
    cold: str


def fill_policy(keys: Mapping[str, SigningKey], public: Public, example: Path = EXAMPLE) -> bytes:
    """Return the example policy with the keys of these people and requesters, and this system's."""
    text = example.read_text()
    for name, key in keys.items():
        text = re.sub(rf'(\[\w+\.{name}\]\nkeys = \[")[^"]+', rf"\g<1>{key.public}", text)
    for entry, value in (
        (r'^(address = ")', public.address),
        (r'^(signer = ")', public.audit_key),
        (r'^(\[watchtower\]\nkey = ")', public.watchtower),
        (r'^(to = ")', public.cold),
    ):
        text = re.sub(rf'(?m){entry}[^"]+', rf"\g<1>{value}", text)
    return text.encode()


def cold_address(file: Path) -> str:
    """Return the address whose private half lies in `file`; make it the first time. Play money."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(Keypair().to_json() + "\n")
    return str(Keypair.from_json(file.read_text()).pubkey())


def first_book() -> bytes:
    """Return version 1 of the address book: two customers."""
    entries = tuple(
        BookEntry(network=NETWORK, address=address, memo="", label=f"customer {number}")
        for number, address in enumerate(CUSTOMERS, start=1)
    )
    return encode(Book(version=1, previous="", add=entries, remove=()))


def sign_first(keys: Mapping[str, SigningKey], subject: str, digest: str) -> str:
    """Return the officers' signatures on a first policy or book, one a line, valid for a day."""
    lines = []
    for person in SIGNERS:
        change = Change(
            key=keys[person].public,
            person=person,
            subject=subject,
            digest=digest,
            previous="",
            expires=time.time_ns() // 1_000_000 + DAY_MS,
        )
        lines.append(format_signature(keys[person].sign(change)))
    return "".join(lines)
