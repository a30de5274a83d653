"""All that the watchtower sees of the chain: each wallet of the policies in force, on each node.

Invariants: one task for each thing that waits, so that none holds up another; a fault in one is
logged and tried again; a wallet once followed is followed until the process ends.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from custody.chains.errors import NodeError
from custody.chains.solana_checks import nonce_address
from custody.watchtower import receipts, suspects
from custody.watchtower.follow import Follower
from custody.watchtower.nodes import Nodes
from custody.watchtower.parts import Parts
from custody.watchtower.settle import Settler
from custody.watchtower.suspects import Suspect, Verdict
from custody.watchtower.theft import Responder
from kura.watchtower.v1 import watchtower_pb2 as wire
from policies.policy import Policy, Wallet

CHECK_SECONDS = 0.25
TELL_SECONDS = 5.0
QUIET_SECONDS = 300.0  # without such a problem, after which the next one is told again
SOLANA = "solana:"
_REVIVED = "the watchtower was told wrong by its nodes: freeze, and compare with another node"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Watch:
    """All that is at work for one wallet."""

    followers: tuple[Follower, ...]
    settler: Settler
    responder: Responder


class Chain:
    """Runs beside the orders' half, which asks `problem` before each lease."""

    def __init__(self, parts: Parts, urls: Sequence[str]) -> None:
        """Connect to one or two nodes; nothing is asked before `run`."""
        self._parts = parts
        database = parts.database
        known = database.rows("SELECT genesis FROM network")
        self._nodes = Nodes(urls, parts.clock, known[0][0] if known else "")
        self._watches: dict[tuple[str, str], _Watch] = {}
        self._found = suspects.open_suspects(database)
        # By node: when its problem began; when one was last as long as is told.
        self._since: dict[str, float] = {}
        self._lasted: dict[str, float] = {}
        self._well = False

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._nodes.run(self._learn))
                while True:
                    self._take_up(group)
                    self._tell()
                    await asyncio.sleep(CHECK_SECONDS)
        finally:
            await self._nodes.close()

    def problem(self, audit_key: str) -> str:
        """Return why this signer gets no lease, with what to do; "" when the chain is in order."""
        return self._nodes.problem() or self._suspected() or self._behind(audit_key)

    def nodes(self) -> list[wire.Node]:
        """Return how each node stands."""
        nodes = self._nodes
        return [
            wire.Node(address=node.name, slot=node.slot, problem=nodes.problem_of(node))
            for node in nodes.each
        ]

    def wallets(self) -> list[wire.Wallet]:
        """Return how each wallet stands."""
        return [self._view(watch) for watch in self._watches.values()]

    async def nonce_values(self, policy: Policy, audit_key: str) -> dict[str, str]:
        """Return the finalised value (hex) of each open nonce account of a signer's pools.

        NodeError when the nodes do not answer, or not alike.
        """
        values = dict[str, str]()
        for wallet in _wallets({audit_key: policy}).values():
            pool = [nonce_address(wallet.address, index) for index in range(wallet.nonce_pool)]
            if wallet.signer != audit_key or not pool:
                continue
            values |= await self._nonces(wallet, pool)
        return values

    async def _nonces(self, wallet: Wallet, pool: list[str]) -> dict[str, str]:
        about = f"the nonces of {wallet.name}"
        try:
            answers = await self._nodes.all(lambda node: node.nonces(pool, wallet.address), about)
        finally:  # who asks is told; nobody may ever ask again
            self._nodes.answered(about)
        _, read = answers[0]
        if any(other != read for _, other in answers):
            raise NodeError("the nodes differ about nonces: ask again")
        return {account: value.hex() for account, value in read.items() if value is not None}

    def _take_up(self, group: asyncio.TaskGroup) -> None:
        for wallet in _wallets(self._parts.policies).values():
            watch = self._watches.get((wallet.name, wallet.address))
            if watch is None:
                watch = self._watches[wallet.name, wallet.address] = self._watch(wallet)
                for work in (watch.settler.run(), watch.responder.run()):
                    group.create_task(work)
                for follower in watch.followers:
                    group.create_task(follower.run())
            watch.responder.wallet = wallet

    def _watch(self, wallet: Wallet) -> _Watch:
        database, nodes = self._parts.database, self._nodes
        found = [suspect for suspect in self._found if suspect.wallet == wallet.name]
        responder = Responder(self._parts, nodes, wallet, found)
        self._found = [suspect for suspect in self._found if suspect not in found]

        def revived(transaction_id: str) -> None:
            words = f"a transaction of {wallet.name} that was called dead is on the chain"
            self._parts.alarm(
                "UNEXPLAINED",
                words,
                _REVIVED,
                wallet=wallet.name,
                transaction_id=transaction_id,
            )

        followers = tuple(
            Follower(database, node, wallet, responder.add, revived) for node in nodes.each
        )
        log.info("following", wallet=wallet.name, address=wallet.address)
        return _Watch(followers, Settler(database, nodes, wallet, followers), responder)

    def _suspected(self) -> str:
        undecided = [item for item in self._found if item.verdict is Verdict.UNDECIDED]
        for watch in self._watches.values():
            undecided += watch.responder.undecided()
        if not undecided:
            return ""
        first: Suspect = undecided[0]
        words = f"{first.wallet} paid in {first.transaction_id}, which no receipt covers"
        return f"{words}: wait until its signer has said whether it is a theft"

    def _behind(self, audit_key: str) -> str:
        watches = [w for w in self._watches.values() if w.responder.wallet.signer == audit_key]
        if not watches:
            return "none of its wallets is followed yet: wait until it has said its policy"
        problems = (follower.problem() for watch in watches for follower in watch.followers)
        return next(filter(None, problems), "")

    def _view(self, watch: _Watch) -> wire.Wallet:
        wallet = watch.responder.wallet
        signed, resolved = receipts.sums(self._parts.database, wallet.name)
        return wire.Wallet(
            name=wallet.name,
            address=wallet.address,
            balance=str(watch.settler.balance),
            signed=str(signed),
            resolved=str(resolved),
            seen_until=min(follower.seen_until for follower in watch.followers),
        )

    def _tell(self) -> None:
        """Raise the alarm when a node's problem lasts, have leases decided when it is over."""
        now = asyncio.get_running_loop().time()
        for view in self.nodes():
            if not view.problem:
                self._since.pop(view.address, None)
            elif now - self._since.setdefault(view.address, now) >= TELL_SECONDS:
                before, self._lasted[view.address] = self._lasted.get(view.address), now
                if before is None or now - before >= QUIET_SECONDS:
                    words = f"no leases: the watchtower cannot rely on node {view.address}"
                    self._parts.alarm("NODE", words, view.problem)
        well = all(not self.problem(key) for key in self._parts.links)
        if well != self._well:
            self._well = well
            self._parts.wake()

    def _learn(self, genesis: str) -> None:
        with self._parts.database.transaction() as connection:
            connection.execute("INSERT INTO network VALUES (?)", (genesis,))


def _wallets(policies: Mapping[str, Policy]) -> dict[str, Wallet]:
    """Return every wallet on Solana by name, as the policy of its own signer has it if we can."""
    found: dict[str, Wallet] = {}
    for audit_key, policy in policies.items():
        for wallet in policy.wallets.values():
            network = policy.assets[wallet.asset].network
            if network.startswith(SOLANA) and (
                wallet.signer == audit_key or wallet.name not in found
            ):
                found[wallet.name] = wallet
    return found
