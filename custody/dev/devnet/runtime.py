"""LiteSVM (the Solana runtime inside the process) run the way a bank of a real node runs it.

LiteSVM takes the blockhash of the message for the bank's newest one, so messages are given that
blockhash before they run: nonces then get the value a real node gives them and cannot advance twice
in one slot. Age, signatures and replays are the caller's to check (`chain`); LiteSVM's own
checks know a single blockhash and are off. What LiteSVM leaves out of a failed transaction is
added: the nonce advances, and one that fails while its programs load still pays its fee.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from solders.account import Account
from solders.clock import Clock
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import (
    FailedTransactionMetadata,
    SimulateResult,
    TransactionMetadata,
    TransactionResult,
)

from custody.dev.devnet.nonce import advanced, is_writable
from custody.dev.devnet.wire import Body, body

# Failures after the fee payer was found good and before anything ran: on a real node they land and
# pay (`TransactionLoadResult::FeesOnly`), LiteSVM returns them free of charge.
_FEES_ONLY = (
    "ProgramAccountNotFound",
    "InvalidProgramForExecution",
    "MaxLoadedAccountsDataSizeExceeded",
)


@dataclass(frozen=True)
class Executed:
    """What became of a transaction.

    `err` is None or a TransactionError in the JSON form of the RPC; `fee` is in lamports; `changes`
    maps each changed account to its state before and after; balances (lamports) are in the order of
    the message's accounts.
    """

    landed: bool
    err: Any
    fee: int = 0
    units: int = 0
    logs: tuple[str, ...] = ()
    changes: Mapping[Pubkey, tuple[Account | None, Account | None]] = field(default_factory=dict)
    pre_balances: tuple[int, ...] = ()
    post_balances: tuple[int, ...] = ()


def refused(err: str) -> Executed:
    return Executed(landed=False, err=err)


def _with_blockhash(tx: VersionedTransaction, blockhash: Hash) -> VersionedTransaction:
    message = body(tx)
    header, keys, instructions = message.header, message.account_keys, message.instructions
    if isinstance(message, MessageV0):
        lookups = message.address_table_lookups
        moved: Body = MessageV0(header, keys, blockhash, instructions, lookups)
    else:
        moved = Message.new_with_compiled_instructions(
            header.num_required_signatures,
            header.num_readonly_signed_accounts,
            header.num_readonly_unsigned_accounts,
            keys,
            blockhash,
            instructions,
        )
    return VersionedTransaction.populate(moved, tx.signatures)


def _read(result: TransactionResult | SimulateResult) -> Executed:
    if isinstance(result, FailedTransactionMetadata):
        meta, err = result.meta(), json.loads(result.to_json())["err"]
    else:
        meta = result if isinstance(result, TransactionMetadata) else result.meta()
        err = None
    logs, units = tuple(meta.logs()), meta.compute_units_consumed()
    return Executed(landed=err is None, err=err, fee=meta.fee(), units=units, logs=logs)


class Runtime:
    def __init__(self) -> None:
        self._svm = (
            LiteSVM()
            .with_sigverify(sigverify=False)
            .with_blockhash_check(check=False)
            .with_transaction_history(0)
        )

    def set_clock(self, slot: int, unix_time: int) -> None:
        schedule, old = self._svm.get_epoch_schedule(), self._svm.get_clock()
        epoch = schedule.get_epoch(slot)
        started = old.epoch_start_timestamp if old.epoch == epoch else unix_time
        leaders = schedule.get_leader_schedule_epoch(slot)
        self._svm.set_clock(Clock(slot, started, epoch, leaders, unix_time))

    def account(self, address: Pubkey) -> Account | None:
        return self._svm.get_account(address)

    def put(self, accounts: Mapping[Pubkey, Account | None]) -> None:
        for address, account in accounts.items():
            self._svm.set_account(address, account or Account(0, b"", SYSTEM_PROGRAM))

    def rent_exempt_minimum(self, size: int) -> int:
        return self._svm.minimum_balance_for_rent_exemption(size)

    def execute(self, tx: VersionedTransaction, newest: Hash, nonce: Pubkey | None) -> Executed:
        """Run `tx` in the bank whose newest blockhash is `newest` and keep what it did. `nonce` is
        the account by which the transaction was let in, None if by a recent blockhash.
        """
        message = body(tx)
        keys = message.account_keys
        before = {key: self.account(key) for i, key in enumerate(keys) if is_writable(message, i)}
        pre = self._balances(keys)
        done = _read(self._svm.send_transaction(_with_blockhash(tx, newest)))
        if done.err is not None and not self._fail(keys[0], before[keys[0]], done, newest, nonce):
            return done
        changes = {
            key: (old, new) for key, old in before.items() if (new := self.account(key)) != old
        }
        landed = replace(done, landed=True, changes=changes)
        return replace(landed, pre_balances=pre, post_balances=self._balances(keys))

    def simulate(
        self, tx: VersionedTransaction, newest: Hash, older: Mapping[Pubkey, Account | None]
    ) -> Executed:
        """What `tx` would do, with the accounts in `older` as given there; changes nothing."""
        kept = {address: self.account(address) for address in older}
        self.put(older)
        try:
            return _read(self._svm.simulate_transaction(_with_blockhash(tx, newest)))
        finally:
            self.put(kept)

    def _balances(self, keys: list[Pubkey]) -> tuple[int, ...]:
        return tuple(self._svm.get_balance(key) or 0 for key in keys)

    def _fail(
        self, payer: Pubkey, old: Account | None, done: Executed, newest: Hash, nonce: Pubkey | None
    ) -> bool:
        """Bring a failed transaction's payer and nonce to where a real node brings them; False if
        it would not have landed there.
        """
        if old is None:
            return False
        if done.err in _FEES_ONLY:
            paid = Account(
                old.lamports - done.fee, old.data, old.owner, old.executable, old.rent_epoch
            )
            self.put({payer: paid})
        elif self._svm.get_balance(payer) == old.lamports:
            return False  # LiteSVM takes the fee of exactly those failures that land
        if nonce is not None and (account := self.account(nonce)) is not None:
            self.put({nonce: advanced(account, newest)})
        return True
