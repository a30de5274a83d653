"""What the watchtower's trials share."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction


def pays(transaction: bytes, address: str) -> bool:
    keys = VersionedTransaction.from_bytes(transaction).message.account_keys
    return Pubkey.from_string(address) in keys


class running:  # noqa: N801 - reads as what it does
    """Run something beside the block, which fails when that fails, and end it with the block."""

    def __init__(self, work: Awaitable[None]) -> None:
        self._work = work

    async def __aenter__(self) -> None:
        self._task = asyncio.ensure_future(self._work)
        self._task.add_done_callback(self._ended)
        self._owner = asyncio.current_task()

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def _ended(self, task: "asyncio.Future[None]") -> None:
        if not task.cancelled() and task.exception() and self._owner:
            self._owner.cancel()
