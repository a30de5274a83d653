"""What no intent asks for: nonces opened and advanced, counted in a window of their own.

But what kills a transfer of this journal is in no window, which custody could use up before.
"""

import hashlib

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.evaluate import Counted, check_windows
from policies.policy import Policy, Wallet
from policies.windows import Counter, Scope
from signer.chains.solana_jobs import build_nonce_advance, build_nonce_open
from signer.clock import Moment
from signer.counters import charge, usage
from signer.freezes import Freezes
from signer.journal import Journal
from signer.keys import Keys
from signer.leases import Leases
from signer.receipts import Answer, Note, of_transaction, transaction
from signer.requests import Requests

_UPKEEP = Counter(Scope.UPKEEP)


class Upkeep:
    """Transactions that only keep a wallet working."""

    def __init__(self, journal: Journal, keys: Keys, requests: Requests, leases: Leases) -> None:
        self._journal, self._keys = journal, keys
        self._requests, self._leases = requests, leases
        self._freezes = Freezes(journal)

    def open(self, policy: Policy, job: wire.NonceOpen, at: Moment) -> Answer:
        """Open one nonce account of the wallet's pool; each attempt is counted."""
        wallet = self._keys.held(policy, job.wallet)
        if isinstance(wallet, Refusal):
            return Answer(wallet)
        refusal = (
            _refuse_disabled(wallet)
            or self._freezes.refuse(wallet.name)
            or self._leases.refuse(policy, wallet, at)
        )
        if refusal:
            return Answer(refusal)
        built = build_nonce_open(wallet, job)
        if isinstance(built, Refusal):
            return Answer(built)
        message, cost = built
        if refusal := self._refuse_window(policy, wallet, cost, at):
            return Answer(refusal)
        with self._journal.entry(at, "upkeep", wallet.name, message):
            self._charge(wallet, cost, at)
        return self._issue(wallet, message, cost, at)

    def advance(self, policy: Policy, job: wire.NonceAdvance, at: Moment) -> Answer:
        """Advance one nonce account, so that what stands on its value can never land.

        Frozen, without a lease and for a disabled wallet too: it pays nobody, and costs a fee. The
        first of a value that a transfer stands on is in no window; no message is counted twice.
        """
        wallet = self._keys.held(policy, job.wallet)
        if isinstance(wallet, Refusal):
            return Answer(wallet)
        built = build_nonce_advance(wallet, job)
        if isinstance(built, Refusal):
            return Answer(built)
        message, cost = built
        name = hashlib.sha256(message).digest()[:16]
        if not self._is_noted("message", name):
            nonce = self._requests.find_nonce(wallet.name, job.index, job.nonce_value)
            if nonce is not None and self._is_noted("nonce", nonce):
                nonce = None
            refusal = self._refuse_window(policy, wallet, cost, at) if nonce is None else None
            if refusal:
                return Answer(refusal)
            with self._journal.entry(at, "upkeep", wallet.name, message) as db:
                db.execute("INSERT INTO advanced VALUES (?, ?)", (name, nonce))
                if nonce is None:
                    self._charge(wallet, cost, at)
        return self._issue(wallet, message, cost, at)

    def _is_noted(self, column: str, value: bytes | int) -> bool:
        query = f"SELECT 1 FROM advanced WHERE {column} = ?"  # noqa: S608
        return self._journal.db.execute(query, (value,)).fetchone() is not None

    def _refuse_window(
        self, policy: Policy, wallet: Wallet, cost: int, at: Moment
    ) -> Refusal | None:
        known = usage(self._journal, (wallet.name, wallet.asset), [_UPKEEP])
        counted = Counted(now=at.wall, tick=at.tick, usage=known)
        return check_windows(policy, wallet, [_UPKEEP], cost, counted)

    def _charge(self, wallet: Wallet, cost: int, at: Moment) -> None:
        charge(self._journal, (wallet.name, wallet.asset), [_UPKEEP], cost, at.tick)

    def _issue(self, wallet: Wallet, message: bytes, cost: int, at: Moment) -> Answer:
        signature = self._keys.sign(wallet, message)
        self._journal.issued([(signature, wallet.name, cost)], at)
        note = of_transaction(Note(wallet=wallet.name), message, signature, cost)
        return Answer(transaction(message, signature), (note,))


def _refuse_disabled(wallet: Wallet) -> Refusal | None:
    if wallet.enabled:
        return None
    return Refusal(Code.WALLET_DISABLED, f"the policy has disabled {wallet.name}")
