"""Durable nonces as a bank of a real node treats them; values in, values out.

Follows `check_transactions.rs` of the Agave validator: a transaction is a durable nonce transaction
when its first instruction is the system program's AdvanceNonceAccount on a writable account whose
stored value is the transaction's blockhash, and the stored authority signs that instruction.
"""

import hashlib

from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM

from custody.dev.devnet.wire import Body

_ADVANCE = (4).to_bytes(4, "little")
_LAMPORTS_PER_SIGNATURE = 5000

# The account's layout (`solana_nonce::versions`): version and state as little-endian u32,
# authority, value, lamports per signature as u64. Version 1 is "current", state 1 is "initialised".
_READY = (1).to_bytes(4, "little") * 2
_AUTHORITY = slice(8, 40)
_VALUE = slice(40, 72)
_SIZE = 80


def next_value(blockhash: Hash) -> Hash:
    """The value every nonce advanced in the bank with this newest blockhash gets."""
    return Hash(hashlib.sha256(b"DURABLE_NONCE" + bytes(blockhash)).digest())


def is_writable(message: Body, index: int) -> bool:
    header, keys = message.header, len(message.account_keys)
    signers = header.num_required_signatures
    if index < signers:
        return index < signers - header.num_readonly_signed_accounts
    return index < keys - header.num_readonly_unsigned_accounts


def nonce_address(message: Body) -> Pubkey | None:
    """The account that the message advances first, if it has the form of a nonce transaction."""
    first, keys = next(iter(message.instructions), None), message.account_keys
    if first is None or keys[first.program_id_index] != SYSTEM_PROGRAM:
        return None
    accounts = first.accounts
    if first.data[:4] != _ADVANCE or not accounts or not is_writable(message, accounts[0]):
        return None
    return keys[accounts[0]]


def may_use(message: Body, account: Account | None, newest: Hash) -> bool:
    """Whether `account` (the one at `nonce_address`) lets the message in, in the bank with the
    newest blockhash `newest`: a value made from that blockhash cannot be advanced again yet.
    """
    if account is None or account.owner != SYSTEM_PROGRAM or len(account.data) < _SIZE:
        return False
    value = message.recent_blockhash
    if account.data[:8] != _READY or account.data[_VALUE] != bytes(value):
        return False
    signers = message.header.num_required_signatures
    signing = {
        bytes(message.account_keys[i]) for i in message.instructions[0].accounts if i < signers
    }
    return account.data[_AUTHORITY] in signing and value != next_value(newest)


def advanced(account: Account, newest: Hash) -> Account:
    """The nonce account with its next value, everything else as it was."""
    fee = _LAMPORTS_PER_SIGNATURE.to_bytes(8, "little")
    data = account.data[: _VALUE.start] + bytes(next_value(newest)) + fee + account.data[_SIZE:]
    return Account(account.lamports, data, account.owner, account.executable, account.rent_epoch)
