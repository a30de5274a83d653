"""A thief who has a hot wallet's private key, sends to the chain directly, and races the sweep.

He takes the same share of what he found every slot, each time for twice the fee, until nothing is
left; some begin above what the sweep bids. One who takes all in his first transaction loses
nothing to a sweep; no alarm can be faster.
"""

import asyncio
from dataclasses import dataclass, field

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from custody.chains.errors import ChainError
from tests.watched import Watched
from tests.watched_host import SWEEP_FEE

UNITS = 1_000
LEAST_FEE, MOST_FEE = 5_000, 4 * SWEEP_FEE
RENT_EXEMPT = 890_880
EACH_SECONDS = 0.4


@dataclass
class Thief:
    """`share`: of the balance at first sight, taken each time; `fee`: the first one's, lamports."""

    ground: Watched
    victim: Keypair
    share: float
    fee: int
    purse: Keypair = field(default_factory=Keypair)
    sent: list[str] = field(default_factory=list)

    async def take(self) -> None:
        """Take until nothing can be taken."""
        address, fee = str(self.victim.pubkey()), self.fee
        piece = int(await self.ground.balance(address) * self.share)
        while True:
            try:
                left = await self.ground.balance(address)
                if left < fee + RENT_EXEMPT:
                    return
                amount = min(piece, left - fee)
                if 0 < left - fee - amount < RENT_EXEMPT:
                    amount = left - fee
                self.sent.append(await self._send(amount, fee))
            except ChainError:
                pass  # the node is away; he tries again
            fee = min(2 * fee, MOST_FEE)
            await asyncio.sleep(EACH_SECONDS)

    async def stolen(self) -> int:
        """Lamports that reached him."""
        return await self.ground.balance(str(self.purse.pubkey()))

    async def _send(self, lamports: int, fee: int) -> str:
        payer, to = self.victim.pubkey(), self.purse.pubkey()
        steps = [
            set_compute_unit_limit(UNITS),
            set_compute_unit_price((fee - LEAST_FEE) * 1_000_000 // UNITS),
            transfer(TransferParams(from_pubkey=payer, to_pubkey=to, lamports=lamports)),
        ]
        recent = Hash.from_bytes(await self.ground.blockhash())
        message = Message.new_with_blockhash(steps, payer, recent)
        return await self.ground.send(bytes(VersionedTransaction(message, [self.victim])))
