"""Builds Solana messages for the signer's closed verbs, from typed values alone.

Invariants:
- Standard library only; nothing here signs, and nothing accepts bytes to be signed.
- Every message is a legacy one with exactly one signer, the wallet, which is also the fee payer
  and the authority of its nonce accounts.
- The bytes equal those of `solders.message.Message.new_with_blockhash` for the same instructions.
- Wallet, nonce account and destination differ and are none of the programs called. ValueError
  otherwise, since one account in two roles would change what the message means.

Amounts are lamports; keys, blockhashes and nonce values are 32 raw bytes. Everything out of range
raises ValueError. Formats: Solana documentation, "Transactions"; agave, `SystemInstruction`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack
from typing import NamedTuple

from signer.chains.solana_address import decode_address

MEMO_LIMIT = 256  # bytes of UTF-8
TRANSACTION_LIMIT = 1232  # bytes: an IPv6 packet without its headers
_AMOUNT_LIMIT = 2**63 - 1
_NONCE_INDEX_LIMIT = 2**32 - 1
_NONCE_SPACE = 80  # bytes of an initialized nonce account
_COMPUTE_UNIT_LIMIT = 1_400_000  # the runtime would lower a higher limit to this
_SIGNATURE_FEE = 5000
_SWEEP_LOADS = 65_536  # bytes; 64 MiB unless named, which counts like 16,384 compute units
_MICRO = 1_000_000  # micro-lamports in a lamport

_SYSTEM = bytes(32)
_COMPUTE_BUDGET = decode_address("ComputeBudget111111111111111111111111111111")
_MEMO = decode_address("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
_RECENT_BLOCKHASHES = decode_address("SysvarRecentB1ockHashes11111111111111111111")
_RENT = decode_address("SysvarRent111111111111111111111111111111111")
_RESERVED = {_SYSTEM, _COMPUTE_BUDGET, _MEMO, _RECENT_BLOCKHASHES, _RENT}


@dataclass(frozen=True, slots=True)
class Fee:
    """Compute budget of a transaction: limit in compute units, price in micro-lamports a unit."""

    compute_unit_limit: int
    compute_unit_price: int

    def __post_init__(self) -> None:
        _between(1, self.compute_unit_limit, _COMPUTE_UNIT_LIMIT, "the compute unit limit")
        _between(0, self.compute_unit_price, 2**64 - 1, "the compute unit price")
        _between(0, self.total(), _AMOUNT_LIMIT, "the fee")

    def total(self) -> int:
        """Lamports that the chain takes, whether or not the transaction then succeeds."""
        priority = -(-self.compute_unit_limit * self.compute_unit_price // _MICRO)  # rounded up
        return _SIGNATURE_FEE + priority


class _Instruction(NamedTuple):
    program: bytes
    accounts: tuple[bytes, ...]
    data: bytes


def transfer_message(  # noqa: PLR0913 (the typed fields of one transfer)
    *,
    source: bytes,
    nonce_account: bytes,
    nonce_value: bytes,
    destination: bytes,
    lamports: int,
    memo: str,
    fee: Fee,
) -> bytes:
    """A transfer, valid until its nonce is advanced; an empty memo adds no instruction."""
    _between(1, lamports, _AMOUNT_LIMIT, "the amount")
    text = memo.encode()
    _between(0, len(text), MEMO_LIMIT, "the memo's length in bytes")
    transfer = _Instruction(_SYSTEM, (source, destination), pack("<IQ", 2, lamports))
    noted = (_Instruction(_MEMO, (), text),) if text else ()
    steps = (_advance(nonce_account, source), *_budget(fee), transfer, *noted)
    return _message(source, (nonce_account, destination), steps, nonce_value)


def nonce_advance_message(
    *, wallet: bytes, nonce_account: bytes, nonce_value: bytes, fee: Fee
) -> bytes:
    """Only advances the nonce: of this and a transfer on the same value, one at most can land."""
    steps = (_advance(nonce_account, wallet), *_budget(fee))
    return _message(wallet, (nonce_account,), steps, nonce_value)


def nonce_seed(index: int) -> str:
    return f"kura:nonce:{_between(0, index, _NONCE_INDEX_LIMIT, 'the nonce index')}"


def nonce_address(wallet: bytes, index: int) -> bytes:
    """Where nonce account `index` of the wallet lies (`Pubkey::create_with_seed`)."""
    base = _exactly(32, wallet, "an account's key")
    return hashlib.sha256(base + nonce_seed(index).encode() + _SYSTEM).digest()


def nonce_open_message(
    *, wallet: bytes, index: int, blockhash: bytes, rent: int, fee: Fee
) -> bytes:
    """Creates nonce account `index` with `rent` lamports from the wallet, its authority."""
    _between(1, rent, _AMOUNT_LIMIT, "the rent")
    account, seed = nonce_address(wallet, index), nonce_seed(index).encode()
    seeded = pack("<I", 3) + wallet + pack("<Q", len(seed)) + seed
    create = seeded + pack("<QQ", rent, _NONCE_SPACE) + _SYSTEM
    initialize = pack("<I", 6) + wallet
    steps = (
        *_budget(fee),
        _Instruction(_SYSTEM, (wallet, account), create),
        _Instruction(_SYSTEM, (account, _RECENT_BLOCKHASHES, _RENT), initialize),
    )
    return _message(wallet, (account,), steps, blockhash)


def sweep_message(
    *, source: bytes, destination: bytes, lamports: int, blockhash: bytes, fee: Fee
) -> bytes:
    """A transfer on a recent blockhash. Naming how little it loads makes its fee weigh more."""
    _between(1, lamports, _AMOUNT_LIMIT, "the amount")
    transfer = _Instruction(_SYSTEM, (source, destination), pack("<IQ", 2, lamports))
    loads = _Instruction(_COMPUTE_BUDGET, (), pack("<BI", 4, _SWEEP_LOADS))
    return _message(source, (destination,), (*_budget(fee), loads, transfer), blockhash)


def transaction(message: bytes, signature: bytes) -> bytes:
    """What a node takes: one signature and the message it covers, at most 1232 bytes."""
    signed = b"\x01" + _exactly(64, signature, "a signature") + message
    _between(1, len(signed), TRANSACTION_LIMIT, "the transaction's length in bytes")
    return signed


def nonce_of(message: bytes) -> tuple[bytes, bytes] | None:
    """Return (account, value) of the nonce that a message built here advances, None for none."""
    value, steps = message[4 + 32 * message[3] :][:32], message[4 + 32 * message[3] + 33 :]
    program, account = (message[4 + 32 * place :][:32] for place in (steps[0], steps[2]))
    advances = program == _SYSTEM and steps[6:10] == _advance(bytes(32), bytes(32)).data
    return (account, value) if advances else None


def _advance(nonce_account: bytes, authority: bytes) -> _Instruction:
    return _Instruction(_SYSTEM, (nonce_account, _RECENT_BLOCKHASHES, authority), pack("<I", 4))


def _budget(fee: Fee) -> tuple[_Instruction, _Instruction]:
    return (
        _Instruction(_COMPUTE_BUDGET, (), pack("<BI", 2, fee.compute_unit_limit)),
        _Instruction(_COMPUTE_BUDGET, (), pack("<BQ", 3, fee.compute_unit_price)),
    )


def _message(
    payer: bytes, writable: tuple[bytes, ...], steps: Sequence[_Instruction], blockhash: bytes
) -> bytes:
    """Keys stand as payer, writable accounts, read-only accounts, each group in byte order."""
    own = {_exactly(32, key, "an account's key") for key in (payer, *writable)}
    if len(own - _RESERVED) != 1 + len(writable):
        raise ValueError("wallet, nonce account and destination must differ and be no program")
    readonly = {key for step in steps for key in (step.program, *step.accounts)} - own
    keys = (payer, *sorted(writable), *sorted(readonly))
    header = bytes((1, 0, len(readonly)))  # signers, read-only signers, other read-only accounts
    place = {key: number for number, key in enumerate(keys)}
    body = b"".join(_compiled(step, place) for step in steps)
    recent = _exactly(32, blockhash, "a blockhash or nonce value")
    return header + _vector(len(keys), b"".join(keys)) + recent + _vector(len(steps), body)


def _compiled(step: _Instruction, place: dict[bytes, int]) -> bytes:
    accounts = bytes(place[key] for key in step.accounts)
    indexes = _vector(len(accounts), accounts)
    return bytes((place[step.program],)) + indexes + _vector(len(step.data), step.data)


def _vector(count: int, content: bytes) -> bytes:
    """Content behind its count in compact-u16: 7 bits a byte, lowest first; below 16,384 here."""
    if count >> 7:
        return bytes((count & 0x7F | 0x80, count >> 7)) + content
    return bytes((count,)) + content


def _exactly(length: int, raw: bytes, name: str) -> bytes:
    if len(raw) != length:
        raise ValueError(f"{name} has {length} bytes, not {len(raw)}")
    return raw


def _between(low: int, value: int, high: int, name: str) -> int:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, not within {low} to {high}")
    return value
