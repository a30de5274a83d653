"""Custody's second opinion on what the signer signed, before anything is sent.

Invariants: the transaction is decoded by Solana's own SDK, and re-encoding must give the very bytes
(SDK parsers drop trailing bytes silently); the SDK builds the expected message from what was asked
for, and the signed one must equal it byte for byte; the signature must verify under the wallet's
key. Only the fee is taken from the signed message, up to the given maximum. Any difference is a
SignerMismatchError naming the first field that differs.

Addresses are base58 text, nonce values and blockhashes 32 raw bytes, amounts lamports.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from solders import system_program as system
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import CompiledInstruction, Instruction
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction

from custody.chains.errors import SignerMismatchError

_MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
_NONCE_SPACE = 80
_SIGNATURE_FEE, _MICRO = 5000, 1_000_000  # lamports; micro-lamports in a lamport


class _Step(NamedTuple):
    """An expected instruction; `data` and `accounts` say what those parts of it mean."""

    instruction: Instruction
    data: str
    accounts: tuple[str, ...] = ()


def nonce_address(wallet: str, index: int) -> str:
    """Where nonce account `index` of the wallet lies, opened or not."""
    return str(_nonce_key(Pubkey.from_string(wallet), index))


def nonce_of(transaction: bytes, wallet: str, pool: int) -> tuple[int, bytes]:
    """Which nonce account of the wallet's pool a durable transaction uses, and with which value."""
    message = _decoded(transaction).message
    accounts = message.instructions[0].accounts if message.instructions else b""
    place = accounts[0] if accounts else len(message.account_keys)
    used = message.account_keys[place] if place < len(message.account_keys) else None
    for index in range(pool):
        if used == _nonce_key(Pubkey.from_string(wallet), index):
            return index, bytes(message.recent_blockhash)
    raise SignerMismatchError("nonce account", f"{used} is none of the wallet's pool")


def check_transfer(  # noqa: PLR0913 (the typed fields of one transfer)
    transaction: bytes,
    *,
    source: str,
    nonce_account: str,
    nonce_value: bytes,
    destination: str,
    amount: int,
    memo: str,
    maximum_fee: int,
) -> str:
    """The transaction's id, if it is this durable transfer and nothing else."""
    signed, wallet = _decoded(transaction), Pubkey.from_string(source)
    transfer = system.transfer(
        {"from_pubkey": wallet, "to_pubkey": Pubkey.from_string(destination), "lamports": amount}
    )
    steps = [
        _advance(nonce_account, wallet),
        *_budget(signed.message, 1, maximum_fee),
        _Step(transfer, "amount", ("source", "destination")),
    ]
    if memo:
        steps.append(_Step(Instruction(_MEMO, memo.encode(), []), "memo"))
    return _compared(signed, steps, wallet, nonce_value)


def check_nonce_advance(
    transaction: bytes, *, wallet: str, nonce_account: str, nonce_value: bytes, maximum_fee: int
) -> str:
    """The transaction's id, if it advances this nonce and does nothing else."""
    signed, payer = _decoded(transaction), Pubkey.from_string(wallet)
    steps = [_advance(nonce_account, payer), *_budget(signed.message, 1, maximum_fee)]
    return _compared(signed, steps, payer, nonce_value)


def check_nonce_open(  # noqa: PLR0913 (the typed fields of one opening)
    transaction: bytes, *, wallet: str, index: int, blockhash: bytes, rent: int, maximum_fee: int
) -> str:
    """The transaction's id, if it opens this nonce account and does nothing else."""
    signed, payer = _decoded(transaction), Pubkey.from_string(wallet)
    account = _nonce_key(payer, index)
    create = system.create_account_with_seed(
        {
            "from_pubkey": payer,
            "to_pubkey": account,
            "base": payer,
            "seed": _nonce_seed(index),
            "lamports": rent,
            "space": _NONCE_SPACE,
            "owner": system.ID,
        }
    )
    initialize = system.initialize_nonce_account({"nonce_pubkey": account, "authority": payer})
    steps = [
        *_budget(signed.message, 0, maximum_fee),
        _Step(create, "nonce account's creation", ("wallet", "nonce account")),
        _Step(initialize, "nonce authority", ("nonce account", "sysvar", "sysvar")),
    ]
    return _compared(signed, steps, payer, blockhash)


def _nonce_seed(index: int) -> str:
    return f"kura:nonce:{index}"


def _nonce_key(wallet: Pubkey, index: int) -> Pubkey:
    return Pubkey.create_with_seed(wallet, _nonce_seed(index), system.ID)


def _advance(nonce_account: str, wallet: Pubkey) -> _Step:
    nonce = Pubkey.from_string(nonce_account)
    advance = system.advance_nonce_account({"nonce_pubkey": nonce, "authorized_pubkey": wallet})
    return _Step(advance, "nonce advance", ("nonce account", "sysvar", "nonce authority"))


def _decoded(transaction: bytes) -> Transaction:
    try:
        signed = Transaction.from_bytes(transaction)
    except ValueError as error:
        raise SignerMismatchError("encoding", str(error)) from None
    if bytes(signed) != transaction:
        raise SignerMismatchError("encoding", "re-encoding gives other bytes")
    return signed


def _budget(signed: Message, first: int, maximum_fee: int) -> list[_Step]:
    """The two budget instructions from place `first` on, whose values the signer may choose."""
    limit = _number(signed, first, struct.Struct("<BI"), "compute unit limit")
    price = _number(signed, first + 1, struct.Struct("<BQ"), "compute unit price")
    fee = _SIGNATURE_FEE - (-limit * price // _MICRO)  # rounded up
    if fee > maximum_fee:
        raise SignerMismatchError("fee", f"{fee} lamports are more than {maximum_fee}")
    return [
        _Step(set_compute_unit_limit(limit), "compute unit limit"),
        _Step(set_compute_unit_price(price), "compute unit price"),
    ]


def _number(signed: Message, place: int, form: struct.Struct, name: str) -> int:
    steps = signed.instructions
    if place >= len(steps) or len(steps[place].data) != form.size:
        raise SignerMismatchError(name, "there is no such instruction in its place")
    return int(form.unpack(steps[place].data)[1])


def _compared(signed: Transaction, steps: Sequence[_Step], payer: Pubkey, recent: bytes) -> str:
    message = signed.message
    expected = Message.new_with_blockhash(
        [step.instruction for step in steps], payer, Hash.from_bytes(recent)
    )
    _same("fee payer", message.account_keys[:1], [payer])
    _same("nonce value or blockhash", message.recent_blockhash, expected.recent_blockhash)
    _same("number of instructions", len(message.instructions), len(steps))
    for compiled, step in zip(message.instructions, steps, strict=True):
        _compare(message.account_keys, compiled, step)
    _same("message", bytes(message).hex(), bytes(expected).hex())
    _same("number of signatures", len(signed.signatures), 1)
    try:
        VerifyKey(bytes(payer)).verify(bytes(message), bytes(signed.signatures[0]))
    except CryptoError:
        raise SignerMismatchError("signature", f"it does not verify under {payer}") from None
    return str(signed.signatures[0])


def _compare(keys: Sequence[Pubkey], compiled: CompiledInstruction, step: _Step) -> None:
    places = (compiled.program_id_index, *compiled.accounts)
    if max(places) >= len(keys):
        raise SignerMismatchError("accounts", f"the {step.data} instruction names an absent one")
    program, *accounts = (keys[place] for place in places)
    _same(f"program of the {step.data} instruction", program, step.instruction.program_id)
    _same(f"accounts of the {step.data} instruction", len(accounts), len(step.accounts))
    for name, account, meta in zip(step.accounts, accounts, step.instruction.accounts, strict=True):
        _same(name, account, meta.pubkey)
    _same(step.data, bytes(compiled.data).hex(), bytes(step.instruction.data).hex())


def _same(field: str, signed: object, expected: object) -> None:
    if signed != expected:
        raise SignerMismatchError(field, f"{signed} instead of {expected}")
