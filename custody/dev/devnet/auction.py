"""Transactions that wait for the end of their slot, where the one that bids most runs first."""

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from custody.dev.devnet.wire import Body, body

_COMPUTE_BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
_SET_UNIT_PRICE = 3  # and the price as u64, little-endian


class Auction:
    """What arrived in the slot that is still open."""

    def __init__(self) -> None:
        self._waiting: list[VersionedTransaction] = []

    def add(self, tx: VersionedTransaction) -> None:
        self._waiting.append(tx)

    def close(self) -> list[VersionedTransaction]:
        """Return all, the highest price first; those with the same price as they came."""
        waiting, self._waiting = self._waiting, []
        return sorted(waiting, key=lambda tx: -unit_price(body(tx)))


def unit_price(message: Body) -> int:
    """Micro-lamports a compute unit, by which a leader orders what it has; 0 when none is bid."""
    for step in message.instructions:
        if message.account_keys[step.program_id_index] == _COMPUTE_BUDGET and step.data[
            :1
        ] == bytes([_SET_UNIT_PRICE]):
            return int.from_bytes(step.data[1:], "little")
    return 0
