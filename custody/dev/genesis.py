"""The first policy and address book of a development system, and its officers' signatures."""

import re
import time
from collections.abc import Mapping
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


def fill_policy(
    keys: Mapping[str, SigningKey], audit_key: str, address: str, example: Path = EXAMPLE
) -> bytes:
    """Return the example policy with the keys of these people and requesters, and this wallet."""
    text = example.read_text()
    for name, key in keys.items():
        text = re.sub(rf'(\[\w+\.{name}\]\nkeys = \[")[^"]+', rf"\g<1>{key.public}", text)
    text = re.sub(r'(?m)^(address = ")[^"]+', rf"\g<1>{address}", text)
    return re.sub(r'(?m)^(signer = ")[^"]+', rf"\g<1>{audit_key}", text).encode()


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
