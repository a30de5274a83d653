"""What the accounts held at the slots that are not final yet.

Only accounts touched in those slots are here; any other is, at every slot one may ask for, as the
runtime has it now.
"""

from collections.abc import Mapping

from solders.account import Account
from solders.pubkey import Pubkey

_EARLIER = -1  # stands for every slot before the first one on record


class Versions:
    def __init__(self) -> None:
        self._of: dict[Pubkey, list[tuple[int, Account | None]]] = {}
        self._touched: dict[int, set[Pubkey]] = {}

    def record(
        self, slot: int, changes: Mapping[Pubkey, tuple[Account | None, Account | None]]
    ) -> None:
        """Note what a transaction of `slot` changed, each with its state before and after it."""
        for address, (before, after) in changes.items():
            versions = self._of.setdefault(address, [(_EARLIER, before)])
            if versions[-1][0] == slot:
                versions.pop()
            versions.append((slot, after))
            self._touched.setdefault(slot, set()).add(address)

    def finalize(self, slot: int) -> None:
        """Forget what was before `slot`; every slot is to be finalized, in order."""
        for address in self._touched.pop(slot, ()):
            versions = self._of[address]
            while len(versions) > 1 and versions[1][0] <= slot:
                versions.pop(0)
            if len(versions) == 1:
                del self._of[address]

    def at(self, address: Pubkey, slot: int) -> tuple[Account | None] | None:
        """The account as of `slot`, in a tuple of one; None if it has not changed since."""
        for changed, account in reversed(self._of.get(address, [])):
            if changed <= slot:
                return (account,)
        return None
