"""What no intent asks for: nonces opened and advanced, counted in a window of their own.

Each message counts once. The first that kills what this journal signed counts in no window, which
custody could have used up.
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
        """Open one nonce account of the wallet's pool; each attempt on another blockhash counts."""
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
        return self._issue(policy, wallet, built, at)

    def advance(self, policy: Policy, job: wire.NonceAdvance, at: Moment) -> Answer:
        """Advance one nonce account, so that what stands on its value can never land.

        Frozen, without a lease and for a disabled wallet too: it pays nobody, and costs a fee.
        """
        wallet = self._keys.held(policy, job.wallet)
        if isinstance(wallet, Refusal):
            return Answer(wallet)
        built = build_nonce_advance(wallet, job)
        if isinstance(built, Refusal):
            return Answer(built)
        value = self._requests.find_unkilled(wallet.name, job.index, job.nonce_value)
        return self._issue(policy, wallet, built, at, value)

    def _issue(
        self,
        policy: Policy,
        wallet: Wallet,
        built: tuple[bytes, int],
        at: Moment,
        kills: int | None = None,
    ) -> Answer:
        (message, cost), place = built, (wallet.name, wallet.asset)
        name = hashlib.sha256(message).digest()[:16]
        query = "SELECT 1 FROM upkeep WHERE message = ?"
        if not self._journal.db.execute(query, (name,)).fetchone():
            counters = [_UPKEEP] if kills is None else []
            known = usage(self._journal, place, counters)
            counted = Counted(now=at.wall, tick=at.tick, usage=known)
            refusal = check_windows(policy, wallet, counters, cost, counted)
            if refusal:
                return Answer(refusal)
            with self._journal.entry(at, "upkeep", wallet.name, message) as db:
                charge(self._journal, place, counters, cost, at.tick)
                db.execute("INSERT INTO upkeep VALUES (?, ?)", (name, kills))
        signature = self._keys.sign(wallet, message)
        self._journal.issued([(signature, wallet.name, cost)], at)
        note = of_transaction(Note(wallet=wallet.name), message, signature, cost)
        return Answer(transaction(message, signature), (note,))


def _refuse_disabled(wallet: Wallet) -> Refusal | None:
    if wallet.enabled:
        return None
    return Refusal(Code.WALLET_DISABLED, f"the policy has disabled {wallet.name}")
