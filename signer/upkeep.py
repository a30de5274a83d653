"""What no intent asks for: nonces opened and advanced, counted in a window of their own."""

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

_UPKEEP = Counter(Scope.UPKEEP)


class Upkeep:
    """Transactions that only keep a wallet working."""

    def __init__(self, journal: Journal, keys: Keys, leases: Leases) -> None:
        self._journal, self._keys, self._leases = journal, keys, leases
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
        return self._issue(policy, wallet, *built, at=at)

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
        return self._issue(policy, wallet, *built, at=at)

    def _issue(
        self, policy: Policy, wallet: Wallet, message: bytes, cost: int, *, at: Moment
    ) -> Answer:
        place = (wallet.name, wallet.asset)
        known = usage(self._journal, place, [_UPKEEP])
        counted = Counted(now=at.wall, tick=at.tick, usage=known)
        refusal = check_windows(policy, wallet, [_UPKEEP], cost, counted)
        if refusal:
            return Answer(refusal)
        with self._journal.entry(at, "upkeep", wallet.name, message):
            charge(self._journal, place, [_UPKEEP], cost, at.tick)
        signature = self._keys.sign(wallet, message)
        self._journal.issued([(signature, wallet.name, cost)], at)
        note = of_transaction(Note(wallet=wallet.name), message, signature, cost)
        return Answer(transaction(message, signature), (note,))


def _refuse_disabled(wallet: Wallet) -> Refusal | None:
    if wallet.enabled:
        return None
    return Refusal(Code.WALLET_DISABLED, f"the policy has disabled {wallet.name}")
