"""ALARM_SWEEP: a theft that this signer has checked itself, then the freeze, then the ladder.

The watchtower's word is only where to look. What proves a theft is the stolen transaction: a valid
signature of the named hot wallet's key that this journal did not give. Then all wallets are frozen,
and what is left of that one goes to the address that the policy pins, without lease or officer.
"""

import hashlib

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code, Refusal
from policies.freezes import refuse_epoch
from policies.policy import Policy, Wallet, WalletTier
from policies.statements import Signed, Theft
from signer.chains.solana_sweep import build_sweeps
from signer.chains.solana_theft import Proof, open_theft
from signer.clock import Moment
from signer.freezes import Freezes
from signer.governance import Governance
from signer.journal import Journal
from signer.keys import Keys
from signer.receipts import Answer, Note, of_transaction, transaction
from signer.requests import Requests

_MESSAGE = slice(65, None)  # of a transaction that was built here: behind its one signature


class Alarm:
    """What a signer does about a theft."""

    def __init__(self, journal: Journal, keys: Keys, requests: Requests) -> None:
        self._journal, self._keys, self._requests = journal, keys, requests
        self._governance, self._freezes = Governance(journal), Freezes(journal)

    def sweep(self, policy: Policy, job: wire.AlarmSweep, at: Moment) -> Answer:
        """Freeze all wallets and sign the sweep of the stolen one; or say why it is no theft."""
        signed = Signed(job.theft.statement, job.theft.signature)
        theft = self._governance.open_word(Theft, policy, signed, Code.THEFT_UNPROVEN)
        if isinstance(theft, Refusal):
            return Answer(theft)
        key, stolen = self._keys.wallets.get(theft.wallet), bytes.fromhex(theft.transaction)
        proof = open_theft(key, stolen) if key else None
        own = self._note(theft.wallet, proof, stolen) if isinstance(proof, Proof) else None
        if own:  # whatever the policy says of this wallet by now
            words = "this signer signed it itself: here is its receipt"
            return Answer(Refusal(Code.THEFT_UNPROVEN, words), (own,))
        wallet = self._hot(policy, theft.wallet)
        if isinstance(wallet, Refusal):
            return Answer(wallet)
        if isinstance(proof, Refusal):
            return Answer(proof)
        if refusal := refuse_epoch(theft.epoch, self._freezes.epoch()):
            return Answer(refusal)
        self._freezes.freeze_all(stolen, at)
        return self._ladder(wallet, theft, at)

    def _hot(self, policy: Policy, name: str) -> Wallet | Refusal:
        wallet = self._keys.held(policy, name)
        if isinstance(wallet, Refusal):
            return Refusal(Code.THEFT_UNPROVEN, wallet.message, field="wallet")
        if wallet.tier is not WalletTier.HOT:
            return Refusal(Code.THEFT_UNPROVEN, f"{name} is no hot wallet", field="wallet")
        return wallet

    def _note(self, wallet: str, proof: Proof, stolen: bytes) -> Note | None:
        """Return what a receipt says of a transaction that the journal knows; None for none."""
        note = Note(wallet=wallet)
        past = self._requests.find_signed(wallet, proof.blockhash, proof.signature)
        if past:
            note, cost = Note(wallet=wallet, intent=past.intent), past.cost
        else:
            issued = self._journal.cost_of_issued(proof.signature)
            if issued is None:
                return None
            cost = issued
        return of_transaction(note, stolen[_MESSAGE], proof.signature, cost)

    def _ladder(self, wallet: Wallet, theft: Theft, at: Moment) -> Answer:
        built = build_sweeps(wallet, theft)
        if isinstance(built, Refusal):
            return Answer(built)
        counted = self._count(wallet, built, at)
        if built and not counted:
            limit = wallet.sweep.count if wallet.sweep else 0
            words = f"{limit} transactions were signed to sweep {wallet.name} since the last lift"
            rule = f"wallets.{wallet.name}.sweep.count"
            return Answer(Refusal(Code.LIMIT_EXCEEDED, words, rule=rule))
        signed = [(message, self._keys.sign(wallet, message), cost) for message, cost in counted]
        self._journal.issued([(name, wallet.name, cost) for _, name, cost in signed], at)
        note = Note(wallet=wallet.name)
        return Answer(
            wire.Swept(transactions=[transaction(message, sign) for message, sign, _ in signed]),
            tuple(of_transaction(note, *item) for item in signed),
        )

    def _count(
        self, wallet: Wallet, messages: tuple[tuple[bytes, int], ...], at: Moment
    ) -> list[tuple[bytes, int]]:
        """Return those that the policy's count has room for, the same ones again included."""
        limit = wallet.sweep.count if wallet.sweep else 0
        names = {hashlib.sha256(item[0]).digest(): item for item in messages}
        query = "SELECT message FROM swept WHERE wallet = ?"
        before = {name for (name,) in self._journal.db.execute(query, (wallet.name,))}
        new = [name for name in names if name not in before][: max(0, limit - len(before))]
        if new:
            with self._journal.entry(at, "sweep", wallet.name, *new) as db:
                db.executemany(
                    "INSERT INTO swept VALUES (?, ?)", [(name, wallet.name) for name in new]
                )
        return [item for name, item in names.items() if name in before or name in new]
