"""How custody is doing and what to do about it: facts gathered once, for every view of them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from custody.chains.errors import ChainError
from custody.domain.states import Waiting
from custody.flows.parts import Parts, unix_ms
from custody.store import status
from custody.store.status import Pool, Queue, SignerSeen
from policies.advice import NEXT
from policies.codes import Code
from policies.freezes import ALL_WALLETS
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.units import format_units

SILENT_AFTER = timedelta(seconds=30)
LAGS_AFTER = timedelta(seconds=60)
SOON = timedelta(hours=1)


_WAITING_WORDS = {
    Waiting.NOTHING: "",
    "APPROVALS": "officers decide: custody approval list",
    Waiting.FUNDS: "refill the wallet: each is signed when it has what it needs",
    Waiting.WINDOW: "find out who asks for so much; they are signed as the windows have room again,"
    " and a policy version can give more (custody policy propose)",
    Waiting.HOURS: "nothing: they are signed in their rule's hours",
    Waiting.COOLING: "nothing: they are signed when their destinations have cooled",
    Waiting.DELAY: "nothing: they are signed when their tier's delay is over",
    Waiting.NONCE: "nothing: they are signed as transactions before them land",
    Waiting.RECALL: "look whether earlier transactions become final: they are signed as these do",
    Waiting.POLICY: "the policy has disabled their wallet: a version of it enables it again"
    " (custody policy propose), or their requesters cancel them",
    Waiting.LEASE: f"the watchtower's word; {NEXT[Code.LEASE_MISSING]}",
    Waiting.FROZEN: "a quorum lifts the freeze when its cause is known: custody freeze list",
    Waiting.NODE: "look at the node, and at the worker's log",
    Waiting.SIGNER: "look at what refuses them: custody withdrawal list --waiting-for SIGNER, then"
    " custody withdrawal show",
    Waiting.OPERATOR: "they met a fault in custody (look for `fault` in the worker's log), or were"
    " being signed when the signer's journal was lost (docs/runbooks/recover.md)",
}
_TO_DO = {
    Waiting.WINDOW,
    Waiting.RECALL,
    Waiting.POLICY,
    Waiting.LEASE,
    Waiting.FROZEN,
    Waiting.SIGNER,
}


@dataclass(frozen=True, slots=True)
class Node:
    """The chain as our node sees it. `block_time` is None, and `problem` says why, when it fails.

    `problem` is "" when nothing is wrong.
    """

    network: str
    block_time: datetime | None
    problem: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the status is made of, as of `now`."""

    now: datetime
    queues: Sequence[Queue]
    signers: Sequence[SignerSeen]
    policy: Policy | None
    pools: Sequence[Pool]
    nodes: Sequence[Node]


async def gather(parts: Parts) -> Facts:
    """Ask database and node; the node's failure is a fact like others."""
    async with parts.database.transaction() as connection:
        queues = await status.queues(connection)
        signers = await status.signers(connection)
        pools = await status.pools(connection)
    policy = parse_policy(signers[0].policy) if signers and signers[0].policy else None
    now = datetime.fromtimestamp(unix_ms() / 1000, UTC)
    networks = sorted({asset.network for asset in policy.assets.values()}) if policy else []
    nodes = [await _node(parts, network) for network in networks]
    return Facts(now, queues, signers, policy, pools, nodes)


def next_actions(facts: Facts) -> list[str]:
    """Return what to do in words, most urgent first; nothing when nothing is to be done."""
    return [
        *_signers(facts),
        *_freezes(facts),
        *_leases(facts),
        *_books(facts),
        *_policies(facts),
        *_nodes(facts),
        *_wallets(facts),
        *_people(facts),
        *_stuck(facts),
    ]


def waiting_words(queue: Queue) -> str:
    """Return what ends the waiting and who does it, "" for what does not wait."""
    return _WAITING_WORDS[queue.waiting_for]


async def _node(parts: Parts, network: str) -> Node:
    try:
        return Node(network, await parts.node.block_time(), "")
    except ChainError as error:
        return Node(network, None, str(error))


def _signers(facts: Facts) -> Iterator[str]:
    if not facts.signers:
        yield "no signer has ever answered: start relay and signer (custody serve relay)"
    for signer in facts.signers[:1]:
        silent = facts.now - signer.seen
        if silent > SILENT_AFTER:
            yield f"the signer is silent for {words(silent)}: look at the logs of relay and signer"
        elif signer.locked:
            code = Code(signer.locked) if signer.locked in set(Code) else Code.JOB_MALFORMED
            said = f"{signer.locked}: {signer.locked_message}"
            yield f"the signer signs nothing ({said}): {NEXT[code]}"
    if len({signer.policy_digest for signer in facts.signers}) > 1:
        yield "signers differ in their policy: install the same one in each, or retire the old one"


def _freezes(facts: Facts) -> Iterator[str]:
    for signer in facts.signers[:1]:
        if signer.freezes:
            wallets = {frozen.wallet for frozen in signer.freezes}
            what = "every wallet is" if ALL_WALLETS in wallets else f"{_and(wallets)} is"
            people = _and({frozen.person for frozen in signer.freezes})
            yield (
                f"{what} frozen by {people}: find out why (custody freeze list); a quorum lifts it"
                " (custody freeze sign)"
            )


def _leases(facts: Facts) -> Iterator[str]:
    """A signer that is silent or frozen has more urgent trouble."""
    for signer in facts.signers[:1]:
        heard = facts.now - signer.seen <= SILENT_AFTER and not signer.locked
        if heard and signer.lease_until <= facts.now.timestamp() * 1000:
            yield f"signing is paused, {_lease(facts, signer)}: {NEXT[Code.LEASE_MISSING]}"


def _lease(facts: Facts, signer: SignerSeen) -> str:
    if not signer.lease_until:
        return "the signer has no lease"
    over = datetime.fromtimestamp(signer.lease_until / 1000, UTC)
    ago = words(facts.now - over)
    return f"the signer has no lease: it ran out {ago} ago, at {over:%Y-%m-%d %H:%M:%S} UTC"


def _and(names: Collection[str]) -> str:
    return " and ".join(sorted(names))


def _books(facts: Facts) -> Iterator[str]:
    for signer in facts.signers[:1]:
        if signer.book_before:
            back = f"from version {signer.book_before} to {signer.book_version or 'an empty one'}"
            yield (
                f"the signer's address book went back {back}: recover the signer with all versions"
                " as files (signer recover apply --book, docs/runbooks/recover.md), or go on with"
                f" version {signer.book_version + 1}, signed anew (custody book apply)"
            )


def _policies(facts: Facts) -> Iterator[str]:
    """Whoever stole a quorum is found by somebody who looks in time."""
    for signer in facts.signers[:1]:
        for proposal in signer.proposals:
            if proposal.vetoed_by:
                continue
            left = datetime.fromtimestamp(proposal.earliest / 1000, UTC) - facts.now
            when = f"in {words(left)}" if left > timedelta() else "now"
            yield (
                f"a policy version comes into force {when} unless an officer vetoes it: read it"
                f" (custody policy proposals {proposal.digest})"
            )


def _nodes(facts: Facts) -> Iterator[str]:
    for node in facts.nodes:
        if node.block_time is None:
            yield f"the node of {node.network} does not answer: {node.problem}"
        elif facts.now - node.block_time > LAGS_AFTER:
            lag = words(facts.now - node.block_time)
            yield f"the node of {node.network} is {lag} behind: check it, or take another"


def _wallets(facts: Facts) -> Iterator[str]:
    for pool in facts.pools:
        if pool.missing:
            short = max(pool.missing - (pool.total - pool.in_use), 0)
            more = f"needs about {_amount(facts, pool, short)} more and the fees"
            yield f"{pool.wallet} {more}: {_refill(facts, pool)}"
        dropped = facts.policy is not None and pool.wallet not in facts.policy.wallets
        if not pool.nonces_free and not dropped:
            yield f"{pool.wallet} has no free nonce: it waits for the {pool.nonces} under way"


def _people(facts: Facts) -> Iterator[str]:
    for queue in facts.queues:
        if queue.waiting_for != "APPROVALS":
            continue
        left = datetime.fromtimestamp(queue.first_expiry / 1000, UTC) - facts.now
        urgent = f", the first expires in {words(left)}" if left < SOON else ""
        yield f"{queue.count} wait for officers{urgent}: custody approval list shows them"


def _stuck(facts: Facts) -> Iterator[str]:
    for queue in facts.queues:
        if queue.waiting_for == Waiting.NODE:
            yield f"{queue.count} signed ones are not taken by the node: look at the worker's log"
        elif queue.waiting_for == Waiting.SIGNER and facts.now - queue.oldest < LAGS_AFTER:
            continue  # it is asked again in a moment
        elif queue.waiting_for == Waiting.OPERATOR:
            yield f"{queue.count} wait for OPERATOR: {waiting_words(queue)}"
        elif queue.waiting_for in _TO_DO:
            yield f"{queue.count} wait for {queue.waiting_for}: {waiting_words(queue)}"


def _amount(facts: Facts, pool: Pool, amount: int) -> str:
    asset = facts.policy.assets.get(pool.asset) if facts.policy else None
    return format_units(amount, pool.asset, asset.decimals) if asset else f"{amount} base units"


def _refill(facts: Facts, pool: Pool) -> str:
    wallet = facts.policy.wallets.get(pool.wallet) if facts.policy else None
    return f"refill {wallet.address}" if wallet else "refill it"


def words(time: timedelta) -> str:
    """Return "40 s", "12 min" or "3 h" for a length of time."""
    seconds = max(int(time.total_seconds()), 0)
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
