"""The devnet's chain: which transactions are let in, where they land, what is durable.

Invariants: the slot never goes back, not over a kill -9 either; a message lands at most once; what
a caller is told is in the ledger first; an error while storing leaves the runtime as it was. Every
slot has a block, so block height and slot are the same number.

A transaction runs at once, in the newest slot; with an auction at that slot's end, the highest bid
first, and one that waits when the process ends is lost, as on a real chain. A start adds
FINALIZED_AFTER empty slots, so that whatever had landed before is final.
"""

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from solders.account import Account
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from custody.dev.devnet.auction import Auction
from custody.dev.devnet.landed import MEMO_PROGRAM, landed
from custody.dev.devnet.ledger import Ledger
from custody.dev.devnet.nonce import may_use, nonce_address
from custody.dev.devnet.runtime import Executed, Runtime, refused
from custody.dev.devnet.slots import FINALIZED_AFTER, KEPT, Slots
from custody.dev.devnet.versions import Versions
from custody.dev.devnet.wire import Body, body

FAUCET_LAMPORTS = 500_000_000 * 10**9


class Chain:
    """`wall` gives Unix seconds. Threads hold `lock` around whatever must see one state; methods
    that run or change something take it themselves.

    `data` is the folder that keeps it, None for one in memory. Raises DataInUseError when another
    chain has `data` open.
    """

    def __init__(
        self,
        data: Path | None,
        wall: Callable[[], float] = time.time,
        auction: Auction | None = None,
    ) -> None:
        self._auction = auction
        self.lock = threading.RLock()
        self.ledger = Ledger(data)
        self.runtime = Runtime()
        self.slots = Slots()
        self._versions = Versions()
        self._wall = wall
        self.genesis, self._faucet = self.ledger.chain() or self._create()
        self._load()
        self.advance(FINALIZED_AFTER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        with self.lock:
            self.ledger.close()

    def advance(self, slots: int = 1) -> None:
        """Begin `slots` further slots, each with a new blockhash and the time of the wall clock."""
        with self.lock:
            for _ in range(slots):
                for tx in self._auction.close() if self._auction else ():
                    self.submit(tx)
                slot, now = self.slots.newest + 1, max(self.slots.time, int(self._wall()))
                parent = self.slots.blockhash(slot - 1)
                blockhash = Hash(hashlib.sha256(bytes(parent)).digest())
                self.ledger.add_slot(slot, blockhash, now, oldest=slot - KEPT + 1)
                self.slots.enter(slot, blockhash, now)
                self.runtime.set_clock(slot, now)
                self._versions.finalize(self.slots.at("finalized"))

    def account(self, address: Pubkey, slot: int) -> Account | None:
        """The account as of `slot`, which is not before the final one."""
        version = self._versions.at(address, slot)
        return self.runtime.account(address) if version is None else version[0]

    def take(self, tx: VersionedTransaction) -> None:
        """Submit it, now or at the slot's end. WireError as there."""
        with self.lock:
            if self._auction:
                self._auction.add(tx)
            else:
                self.submit(tx)

    def submit(self, tx: VersionedTransaction) -> Executed:
        """Execute in the newest slot.

        If it lands, with an error or without, it is durable when this returns; if it is refused,
        nothing has changed. Raises WireError for a kind of transaction that this chain lacks.
        """
        with self.lock:
            slot = self.slots.newest
            refusal = self._refusal(tx, slot, verify=True)
            if refusal is not None:
                return refused(refusal)
            recent = self.slots.is_recent(tx.message.recent_blockhash, slot)
            nonce = None if recent else nonce_address(body(tx))
            done = self.runtime.execute(tx, self.slots.blockhash(slot), nonce)
            if done.landed:
                self._store(tx, done)
            return done

    def simulate(self, tx: VersionedTransaction, slot: int, *, verify: bool) -> Executed:
        """What the bank of `slot` (not before the final one) would make of it; changes nothing."""
        with self.lock:
            refusal = self._refusal(tx, slot, verify=verify)
            return self._try(tx, slot) if refusal is None else refused(refusal)

    def fee(self, message: Body, slot: int) -> int | None:
        """Lamports the message would cost, None if its blockhash is neither recent nor a nonce."""
        with self.lock:
            if not self._is_let_in(message, slot):
                return None
            unsigned = [Signature.default()] * message.header.num_required_signatures
            return self._try(VersionedTransaction.populate(message, unsigned), slot).fee

    def airdrop(self, address: Pubkey, lamports: int) -> VersionedTransaction:
        """A transaction of the faucet's, to be submitted. A random memo tells equal ones apart."""
        memo = Instruction(MEMO_PROGRAM, secrets.token_hex(8).encode(), [])
        sender = self._faucet.pubkey()
        pay = transfer(TransferParams(from_pubkey=sender, to_pubkey=address, lamports=lamports))
        newest = self.slots.blockhash(self.slots.newest)
        message = Message.new_with_blockhash([pay, memo], sender, newest)
        return VersionedTransaction(message, [self._faucet])

    def _refusal(self, tx: VersionedTransaction, slot: int, *, verify: bool) -> str | None:
        """Why the bank of `slot` does not let it in: the checks of a real node, in its order."""
        if verify and not all(tx.verify_with_results()):
            return "SignatureFailure"
        if not self._is_let_in(body(tx), slot):
            return "BlockhashNotFound"
        seen = self.ledger.slot_of_message(tx.message.hash())
        return None if seen is None or seen > slot else "AlreadyProcessed"

    def _is_let_in(self, message: Body, slot: int) -> bool:
        """A recent blockhash counts first, only then a durable nonce."""
        if self.slots.is_recent(message.recent_blockhash, slot):
            return True
        nonce = nonce_address(message)
        newest = self.slots.blockhash(slot)
        return nonce is not None and may_use(message, self.account(nonce, slot), newest)

    def _try(self, tx: VersionedTransaction, slot: int) -> Executed:
        versions = {key: self._versions.at(key, slot) for key in tx.message.account_keys}
        older = {key: version[0] for key, version in versions.items() if version is not None}
        return self.runtime.simulate(tx, self.slots.blockhash(slot), older)

    def _store(self, tx: VersionedTransaction, done: Executed) -> None:
        slot, keys = self.slots.newest, tx.message.account_keys
        row = landed(tx, done, slot, self.slots.time)
        try:
            after = {address: new for address, (_, new) in done.changes.items()}
            self.ledger.add_transaction(row, after, keys)
        except BaseException:
            self.runtime.put({address: old for address, (old, _) in done.changes.items()})
            raise
        self._versions.record(slot, done.changes)

    def _create(self) -> tuple[Hash, Keypair]:
        genesis, faucet = Hash(os.urandom(32)), Keypair()
        funds = {faucet.pubkey(): Account(FAUCET_LAMPORTS, b"", SYSTEM_PROGRAM)}
        self.ledger.create(genesis, int(self._wall()), faucet, funds)
        return genesis, faucet

    def _load(self) -> None:
        # Programs last: the runtime loads one from its data account.
        stored = sorted(self.ledger.accounts().items(), key=lambda item: item[1].executable)
        self.runtime.put(dict(stored))
        for slot, blockhash, unix_time in self.ledger.slots():
            self.slots.enter(slot, blockhash, unix_time)
