"""What a Solana node's answers about accounts mean: pure readers, no I/O.

Invariants: a value of another type, format or length than documented is a NodeError; an account
that is not exactly what it should be is refused with words, never interpreted.
"""

import base64
import struct
from dataclasses import dataclass
from typing import Any

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from custody.chains.errors import NodeError, NonceUnusableError
from custody.chains.jsonrpc import integer, member

# agave, `nonce::state::Versions`: version, state, authority, durable nonce, lamports per signature
_NONCE = struct.Struct("<II32s32sQ")
_CURRENT, _INITIALIZED = 1, 1


@dataclass(frozen=True, slots=True)
class Account:
    """What lies at an address; `owner` is the program whose account it is."""

    lamports: int
    owner: str
    executable: bool
    data: bytes


def read_hash(value: Any) -> Hash:
    try:
        return Hash.from_string(value)
    except (TypeError, ValueError):
        raise NodeError("the node's answer has no hash where one belongs") from None


def read_account(value: Any) -> Account:
    owner, executable = member(value, "owner"), member(value, "executable")
    encoded = member(value, "data")
    try:
        text, encoding = encoded
        data = base64.b64decode(text, validate=True)
        Pubkey.from_string(owner)
    except (TypeError, ValueError):
        raise NodeError("the node's account has malformed data or owner") from None
    if encoding != "base64" or type(executable) is not bool:
        raise NodeError("the node's account is in another format")
    lamports = integer(member(value, "lamports"), "lamports")
    return Account(lamports, owner, executable, data)


def read_nonce(found: Account, address: str, wallet: str) -> bytes:
    if found.owner != str(SYSTEM) or len(found.data) != _NONCE.size:
        raise NonceUnusableError(f"{address} is not a nonce account: skip this index")
    version, state, authority, value, _ = _NONCE.unpack(found.data)
    if (version, state) != (_CURRENT, _INITIALIZED):
        raise NonceUnusableError(f"{address} is not an initialized nonce account: skip this index")
    if authority != bytes(Pubkey.from_string(wallet)):
        raise NonceUnusableError(f"{address} has another authority than {wallet}: skip this index")
    return bytes(value)


def not_a_wallet(found: Account) -> str | None:
    if found.executable:
        return "the destination is a program: what is paid to it is lost"
    if found.owner != str(SYSTEM):
        return f"the destination belongs to program {found.owner} (a token account or mint, say)"
    if found.data:
        return "the destination is a nonce account, not a wallet"
    return None
