"""What is done about a transaction of ours that no receipt covers: the signer is asked at once.

The signer checks the transaction's bytes against its journal. One that it signed itself comes back
with its receipt, and the pause is over. Any other is proven theft: the signer freezes and signs the
sweep, and what is left or paid in goes to the pinned address, until a quorum lifts the freeze.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import structlog

from custody.chains.errors import ChainError
from custody.chains.solana_history import HistoryNode, Listed
from custody.gateway import Gateway, SignerUnreachableError
from custody.watchtower import freezes, leases, receipts, signers, suspects
from custody.watchtower.ladder import Ladder, Rung
from custody.watchtower.nodes import Nodes
from custody.watchtower.outflows import LyingNodeError, signer_place
from custody.watchtower.parts import Parts
from custody.watchtower.suspects import Suspect, Verdict
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.freezes import WATCHTOWER
from policies.policy import Wallet
from policies.receipts import ReceiptError, open_receipt
from policies.statements import Receipt, Theft

AGAIN_SECONDS = 0.3
USED_UP_SECONDS = 30.0  # then it is asked again: the count may be raised, and the relay may lie
_STOLEN = (
    "find out who holds the key; the freeze stays until a quorum lifts it: custody freeze list"
)
_WITHHELD = "the signer had signed it: find out why custody sent it without handing its receipt in"
_UNPROVEN = "no lease is given meanwhile: look at the signer; an officer can freeze all wallets"
_USED_UP = "move what is left by hand, or raise sweep.count by a policy version"
log = structlog.get_logger()


class Responder:
    """One wallet's. `suspects` are those that are undecided or whose money is not safe yet."""

    def __init__(
        self, parts: Parts, nodes: Nodes, wallet: Wallet, found: Sequence[Suspect]
    ) -> None:
        self.wallet = wallet
        self.suspects = list(found)
        self._parts, self._nodes = parts, nodes
        self._wake = asyncio.Event()
        self._asked = self._turn = 0
        self._asked_of = Counter[str]()  # how often without an answer that decides
        self._epoch_of = dict[str, str]()  # in which each is claimed
        self._ladder = Ladder(nodes)
        self._used_up = False
        self._rests_until = 0.0  # by the steady clock, in seconds

    def add(self, suspect: Suspect) -> None:
        """Take up a new suspect at once."""
        self.suspects.append(suspect)
        self._wake.set()
        self._parts.wake()

    def undecided(self) -> list[Suspect]:
        """Return those that the signer has not decided: no lease is given meanwhile.

        The first is asked about next: what took the most, since custody can send what it withheld
        by the hundred to have a theft asked about last.
        """
        found = [item for item in self.suspects if item.verdict is Verdict.UNDECIDED]
        return sorted(found, key=lambda item: (self._asked_of[item.transaction_id], -item.lost))

    async def run(self) -> None:
        """Respond to suspects until cancelled."""
        try:
            while True:
                if not self.suspects:
                    await self._wake.wait()
                self._wake.clear()
                await self._respond()
                if self.suspects:
                    await self._pause()
        finally:
            self._ladder.stop()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(AGAIN_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _respond(self) -> None:
        try:
            self._cover()
            while (waiting := self.undecided()) and not self._proofs():
                if not await self._decide(waiting[0]):
                    break
            if self._proofs():
                await self._sweep()
        except (ChainError, SignerUnreachableError) as error:
            log.warning("theft not answered yet", wallet=self.wallet.name, reason=str(error))
        except Exception:
            log.exception("fault", wallet=self.wallet.name, next="trying again")

    def _cover(self) -> None:
        """Ask nobody about what was handed in meanwhile: its signer may never be asked again."""
        for suspect in self.undecided():
            if receipts.covers(self._parts.database, suspect.transaction_id, self.wallet.name):
                self._is_lawful(suspect)

    async def _sweep(self) -> None:
        """Ask again while something is left and the ladder before has done what it could.

        A thief's further transactions are asked about then, so that they use up no sweeps. Once the
        freeze is lifted nothing of before is sent: it would take what the wallet is filled with.
        """
        if self._is_lifted():
            self._ladder.stop()
            self._ladder = Ladder(self._nodes)
            self._done()
            return
        self._ladder.send()
        await self._ladder.look()
        waits = self._ladder.under_way and not self._ladder.paid
        left = await self._is_left()
        waiting = self.undecided()
        if waiting and not (left and waits) and await self._decide(waiting[0]):
            return
        if left and not waits and time.monotonic() >= self._rests_until:
            await self._decide(self._proofs()[0])

    async def _decide(self, suspect: Suspect) -> bool:
        """Have the signer say what it is; False when it does not."""
        try:
            gateway = self._gateway()
            blockhash, theft = await self._stated(suspect)
            # Lifted meanwhile: asked after it took the lift, the signer would freeze once more.
            if suspect.verdict is Verdict.THEFT and self._is_lifted():
                return False
            before = self._stood()
            result, frozen, epoch = await self._ask(gateway, theft)
        except SignerUnreachableError as error:
            self._turn += 1
            self._alarm_unproven(suspect, str(error))
            raise
        outcome = result.WhichOneof("outcome")
        if frozen and (outcome == "swept" or result.refusal.code == Code.LIMIT_EXCEEDED):
            lifted = self._is_over(epoch, before)  # a relay may have kept the answer back
            self._proven(suspect, stands=not lifted)
            if not lifted:
                self._climb(blockhash, result)
        elif receipt := self._covering(suspect, result):
            self._lawful(suspect, receipt, result.receipt)
        else:
            if self._is_void(suspect, epoch, frozen=frozen):
                self._parts.wake()  # the next look shows that it was lifted
                return False
            words = f"the signer says {result.refusal.code}: {result.refusal.message}"
            self._alarm_unproven(suspect, words)
            self._turn += 1
            self._asked_of[suspect.transaction_id] += 1
            return False
        return True

    def _gateway(self) -> Gateway:
        """Return the way to the wallet's signer: another relay when one led to no decision."""
        front = self._parts.links.get(self.wallet.signer)
        if front is None:
            raise SignerUnreachableError("the wallet's signer is not connected: start its relay")
        others = (link for link in self._parts.links_of(self.wallet.signer) if link is not front)
        links = [front, *others]
        return links[self._turn % len(links)].gateway

    async def _stated(self, suspect: Suspect) -> tuple[bytes, wire.SignedStatement]:
        """Return the blockhash that a sweep may stand on, and the claim that this is a theft."""
        address = self.wallet.address

        async def present(node: HistoryNode) -> tuple[bytes, int]:
            return await asyncio.gather(
                node.latest_blockhash("confirmed"), node.balance(address, "processed")
            )

        self._asked += 1
        blockhash, balance = await self._nodes.first(present, self._asked)
        statement = Theft(
            key=self._parts.key.public,
            wallet=self.wallet.name,
            epoch=self._epoch_of.setdefault(suspect.transaction_id, self._stood()[0]),
            transaction=suspect.transaction.hex(),
            blockhash=blockhash.hex(),
            balance=balance,
        )
        signed = self._parts.key.sign(statement)
        return blockhash, freezes.enveloped(signed)

    def _is_void(self, suspect: Suspect, epoch: str, *, frozen: bool) -> bool:
        """Tell whether the freeze for a proven theft was lifted; else claim it in this epoch."""
        if suspect.verdict is Verdict.UNDECIDED or frozen:
            self._epoch_of[suspect.transaction_id] = epoch
        return epoch != self._epoch_of[suspect.transaction_id]

    async def _ask(
        self, gateway: Gateway, theft: wire.SignedStatement
    ) -> tuple[wire.Result, bool, str]:
        """Return the signer's answer, whether it is frozen for a theft, and in which epoch.

        The relay could make up an answer; what stands, the signer's HELLO says.
        """
        question, look = secrets.token_bytes(leases.QUESTION_BYTES), next(self._parts.looks)
        jobs = [
            wire.Job(alarm_sweep=wire.AlarmSweep(theft=theft)),
            wire.Job(hello=wire.Hello(question=question)),
            wire.Job(status=wire.Status()),
        ]
        result, hello, status = await gateway.ask(jobs)
        try:
            epoch, standing = leases.freezes_shown(self._parts, question, hello, status)
        except leases.SignerError as error:
            raise SignerUnreachableError(str(error)) from error
        self._parts.is_newest(self.wallet.signer, look)  # no earlier look takes it back
        frozen = any(item.person == WATCHTOWER for item in standing)
        return result, frozen, epoch

    def _climb(self, blockhash: bytes, result: wire.Result) -> None:
        """Keep the receipts of a sweep and send it; without one, its count is used up."""
        if result.WhichOneof("outcome") != "swept":
            self._use_up()
            return
        self._used_up = False
        opened = [(self._opened(data), data) for data in result.swept.receipts]
        with self._parts.database.transaction() as connection:
            for receipt, data in opened:
                if receipt:
                    receipts.store(connection, receipt, data)
        known = {receipt.transaction_id for receipt, _ in opened if receipt}
        rungs = [
            Rung(signed.transaction_id, signed.transaction, blockhash)
            for signed in result.swept.transactions
            if signed.transaction_id in known and self._is_own(signed)
        ]
        self._ladder.stop()
        self._ladder = Ladder(self._nodes, rungs)
        self._ladder.send()
        log.warning("sweep sent", wallet=self.wallet.name, transactions=len(rungs))

    def _is_own(self, signed: wire.Signed) -> bool:
        """Tell whether the wallet signed it: what a relay made up can neither land nor be past."""
        try:
            place = signer_place(signed.transaction, signed.transaction_id, self.wallet.address)
        except LyingNodeError as error:
            log.error("no sweep", id=signed.transaction_id, reason=str(error))  # noqa: TRY400
            return False
        return place is not None

    def _covering(self, suspect: Suspect, result: wire.Result) -> Receipt | None:
        receipt = self._opened(result.receipt)
        if result.refusal.code != Code.THEFT_UNPROVEN or receipt is None:
            return None
        if (receipt.outcome, receipt.transaction_id) != ("signed", suspect.transaction_id):
            return None
        return receipt

    def _opened(self, data: bytes) -> Receipt | None:
        """Return a receipt of this wallet by a signer of ours; None for anything else."""
        try:
            receipt = open_receipt(self._parts.audit_keys, data)
        except ReceiptError:
            return None
        return receipt if receipt.wallet == self.wallet.name else None

    def _proofs(self) -> list[Suspect]:
        return [item for item in self.suspects if item.verdict is Verdict.THEFT]

    async def _is_left(self) -> bool:
        """Tell whether what is left is worth a sweep: two fees."""
        address, fee = self.wallet.address, self.wallet.sweep.fee if self.wallet.sweep else 0
        balances = await self._nodes.some(lambda node: node.balance(address, "processed"))
        return max(balances) >= 2 * fee > 0

    def _is_lifted(self) -> bool:
        """Tell whether a quorum lifted the freeze, as far as the signer said."""
        return not freezes.is_theft_proven(self._parts, self.wallet.signer)

    def _is_over(self, epoch: str, before: tuple[str, bool]) -> bool:
        """Tell whether a quorum lifted, meanwhile, what froze the signer when it answered.

        `before`: how it stood when it was asked. A lift of other freezes leaves the theft's.
        """
        was_in, was_frozen = before
        now_in, is_frozen = self._stood()
        return epoch == was_in and not is_frozen and (was_frozen or now_in != epoch)

    def _stood(self) -> tuple[str, bool]:
        """Return the epoch that the signer was last seen in, and whether a theft froze it."""
        signer = signers.find(self._parts.database, self.wallet.signer)
        return signer.epoch if signer else "", not self._is_lifted()

    def _proven(self, suspect: Suspect, *, stands: bool) -> None:
        if suspect.verdict is Verdict.THEFT:
            return
        if stands:
            freezes.prove_theft(self._parts, self.wallet.signer, suspect.transaction)
        words = f"{self.wallet.name}'s key signed what its signer did not: all is frozen"
        self._alarm("THEFT", words, _STOLEN, suspect)  # before: what is settled is told no more
        self._settle(suspect, Verdict.THEFT)

    def _lawful(self, suspect: Suspect, receipt: Receipt, data: bytes) -> None:
        try:
            with self._parts.database.transaction() as connection:
                receipts.store(connection, receipt, data)
        except receipts.SignedTwiceError as error:
            signers.lose(self._parts, receipt.key, str(error))
            self._alarm_unproven(suspect, str(error))
            return
        self._is_lawful(suspect)

    def _is_lawful(self, suspect: Suspect) -> None:
        listed = Listed(suspect.transaction_id, suspect.slot, failed=False)
        receipts.see(self._parts.database, self.wallet.name, [listed])
        words = f"a transaction of {self.wallet.name} was on the chain before its receipt was here"
        self._alarm("RECEIPT", words, _WITHHELD, suspect)
        self._settle(suspect, Verdict.LAWFUL)

    def _done(self) -> None:
        for suspect in self._proofs():
            self._settle(suspect, Verdict.SWEPT)
        self._used_up, self._rests_until = False, 0.0
        log.warning("sweep is over", wallet=self.wallet.name)

    def _use_up(self) -> None:
        self._rests_until = time.monotonic() + USED_UP_SECONDS
        if not self._used_up:
            self._used_up = True
            words = f"{self.wallet.name}: the policy's sweeps are used up and money may be left"
            self._parts.alarm("THEFT", words, _USED_UP, wallet=self.wallet.name)

    def _settle(self, suspect: Suspect, verdict: Verdict) -> None:
        self.suspects = [item for item in self.suspects if not item.is_same(suspect)]
        self._asked_of.pop(suspect.transaction_id, None)
        if verdict is Verdict.THEFT:
            self.suspects.append(replace(suspect, verdict=verdict))
        else:
            self._epoch_of.pop(suspect.transaction_id, None)
        suspects.decide(self._parts.database, suspect, verdict)
        self._parts.wake()

    def _alarm_unproven(self, suspect: Suspect, words: str) -> None:
        words = f"a transaction of {self.wallet.name} has no receipt, and {words}"
        self._alarm("UNEXPLAINED", words, _UNPROVEN, suspect)

    def _alarm(self, kind: str, words: str, then: str, suspect: Suspect) -> None:
        self._parts.alarm(
            kind,
            words,
            then,
            wallet=self.wallet.name,
            transaction_id=suspect.transaction_id,
            amount=max(0, suspect.lost),
        )
