"""The devnet's slots, their blockhashes and their commitment.

A slot is confirmed CONFIRMED_AFTER slots later and final FINALIZED_AFTER slots later. A real chain
takes about 32 slots to finality; it is 4 here so that a demonstration need not wait 13 seconds.
"""

from collections import deque

from solders.hash import Hash

CONFIRMED_AFTER = 1
FINALIZED_AFTER = 4
# A blockhash lets transactions in for this many slots after its own (Agave: MAX_PROCESSING_AGE).
MAX_AGE = 150
# Slots whose blockhash some bank that may be asked (processed to final) still lets in.
KEPT = MAX_AGE + FINALIZED_AFTER + 1

_BEHIND = {"processed": 0, "confirmed": CONFIRMED_AFTER, "finalized": FINALIZED_AFTER}


class Slots:
    """`newest` is the slot where transactions run, `time` its Unix seconds.

    A slot's blockhash is the newest one that transactions of that slot find.
    """

    def __init__(self) -> None:
        self.newest = self.time = -1
        self._hashes: deque[Hash] = deque(maxlen=KEPT)
        self._made: dict[Hash, int] = {}

    def enter(self, slot: int, blockhash: Hash, time: int) -> None:
        """Begin `slot`, the one after `newest` (any, the first time)."""
        if len(self._hashes) == KEPT:
            del self._made[self._hashes[0]]
        self._hashes.append(blockhash)
        self._made[blockhash] = slot
        self.newest, self.time = slot, time

    def at(self, commitment: str) -> int:
        """The newest slot with that commitment. Raises KeyError for an unknown one."""
        return max(0, self.newest - _BEHIND[commitment])

    def commitment(self, slot: int) -> str:
        """The highest that `slot` has."""
        return next(name for name in reversed(_BEHIND) if slot <= self.at(name))

    def blockhash(self, slot: int) -> Hash:
        return self._hashes[slot - self.newest - 1]

    def is_recent(self, blockhash: Hash, slot: int) -> bool:
        """Whether the bank of `slot` lets in transactions with this blockhash."""
        made = self._made.get(blockhash)
        return made is not None and 0 <= slot - made <= MAX_AGE
