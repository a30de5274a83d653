"""A thief with custody and what a case says is stolen, who takes all that is left at each moment.

Keeps books of its own by the definition of a window, and never asks what the policy allows: it
sends signed intents and approvals, and after each moment one smallest transfer more, which must
be refused.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kura.signer.v1 import signer_pb2 as wire
from policies.blast_radius import APPROVED, UNATTENDED, UPKEEP
from policies.codes import Code
from policies.policy import Tier
from policies.quorum import missing
from policies.statements import Destination, Intent, Resolved, Signed
from policies.windows import Period, Window
from signer.chains.solana_address import encode_address
from tests.factories import key, make_approval, make_intent, public, sign
from tests.generated_policies import RENT_MOST, STOLEN, Case
from tests.signing import SignerRig, nonce_open, transfer

LEAST_FEE = 5_000
LEAST_RENT = 1_447_680
LISTED_MAX = 100  # a case's address book lists so many of the thief's addresses, or fewer
_SCOPES = {
    UNATTENDED: ("wallet", "requester", "destination"),
    APPROVED: ("approved",),
    UPKEEP: ("upkeep",),
}
_FULL = frozenset({Code.WINDOW_EXCEEDED, Code.LIMIT_EXCEEDED})


@dataclass(frozen=True)
class Sent:
    """What the guard signed: `cost` in base units, fees included."""

    tick: int
    source: str
    requester: str
    to: str
    cost: int


@dataclass(frozen=True)
class Range:
    """What one transaction of a source costs at least and at most."""

    least: int
    most: int


@dataclass(frozen=True)
class Cell:
    """One requester and one listed destination; `place` None for a new destination each time."""

    requester: str
    place: int | None


def thief(number: int) -> Destination:
    """Return an address of the thief's; a case's address book lists the first ones."""
    return Destination(encode_address(bytes(key(f"thief {number}").verify_key)), "")


class Drainer:
    """Drains the wallet of `rig`, which has the case's policy."""

    def __init__(self, case: Case, rig: SignerRig) -> None:
        self.case, self.rig = case, rig
        self.sent: list[Sent] = []
        self.ranges = dict(self._ranges())
        self._numbers = self._unresolved = 0

    def drain(self, tick: int) -> None:
        """Take what is left at `tick`, and see that nothing more can be taken."""
        self._resolve()
        for source in self.ranges:
            for sent, job in self._take(source, tick):
                if self._unresolved + sent.cost > self.case.wallet.beyond_recall:
                    self._resolve()
                result = self.rig.ask_unleased(job)
                assert result.WhichOneof("outcome") == "signed", (result, tick)
                self.sent.append(sent)
                self._unresolved += sent.cost
        more = [self._job(source, tick, self._cells(source)[0])[1] for source in self.ranges]
        for result in self.rig.guard.answer(more):
            assert result.refusal.code in _FULL, (result, tick)

    def _resolve(self) -> None:
        """Hand over a lease that calls final all that was signed: the thief sends it at once."""
        signed = sum(sent.cost for sent in self.sent if sent.source != UPKEEP)
        resolved = Resolved(wallet=self.case.wallet.name, asset="SOL", amount=signed)
        assert self.rig.lease(resolved=(resolved,)).applied.digest
        self._unresolved = 0

    def next_tick(self, tick: int) -> int:
        """Return the first tick after `tick` at which a window lets go of something."""
        widths = {window.period.width for window in self.case.wallet.windows}
        free = ((sent.tick // width + 25) * width for sent in self.sent for width in widths)
        return min((at for at in free if at > tick), default=tick + 2 * Period.MONTH.value)

    def left_within(self, source: str, begins: int, span: int) -> int:
        """Return what left from `begins` to `span` ms later, both included."""
        return sum(
            sent.cost
            for sent in self.sent
            if sent.source == source and begins <= sent.tick <= begins + span
        )

    def _ranges(self) -> Iterator[tuple[str, Range]]:
        wallet, fee = self.case.wallet, self.case.wallet.maximum_fee
        for source in (UNATTENDED, APPROVED):
            windows = [w.amount for w in wallet.windows if w.scope in _SCOPES[source]]
            at_once = min([wallet.beyond_recall, *windows])
            spans = [(at, tier.up_to) for at, tier in self._tiers(source)]
            spans = [span for span in spans if span[0] + LEAST_FEE <= at_once]
            if spans:
                yield source, Range(spans[0][0] + LEAST_FEE, min(spans[-1][1] + fee, at_once))
        yield UPKEEP, Range(LEAST_RENT + LEAST_FEE, RENT_MOST + fee)

    def _tiers(self, source: str) -> Iterator[tuple[int, Tier]]:
        """Yield each tier of a source that the thief fills, with its least amount."""
        rule, floor = self.case.policy.rules[-1], 0
        for tier in rule.tiers:
            least, floor = floor + 1, tier.up_to
            services = {*tier.services, rule.service} - {""}
            seated = not tier.people or any(
                not missing(path, self.case.policy.groups, STOLEN[self.case.position.people])
                for path in tier.people
            )
            asked = APPROVED if tier.people else UNATTENDED
            if asked == source and seated and services <= self.case.position.services:
                yield least, tier

    def _cells(self, source: str) -> list[Cell]:
        """Return the requesters and destinations that share what a source lets out."""
        requesters = sorted(self.case.position.requesters)
        if source != UNATTENDED:
            return [Cell(requesters[0], 0 if self.case.places else None)]
        places = [*range(self.case.places)] if self.case.places else [None]
        return [Cell(requester, place) for requester in requesters for place in places]

    def _take(self, source: str, tick: int) -> Iterator[tuple[Sent, wire.Job]]:
        """Yield an even share for each cell, then what is left over for the first that can."""
        cells = self._cells(source)
        fair = self._room(source, tick, cells) // len(cells)
        for share in (fair, self.case.wallet.beyond_recall):
            for cell in cells:
                room = min(share, self._room(source, tick, [cell]))
                for cost in self._split(source, room):
                    if cost <= self._room(source, tick, [cell]):
                        yield self._job(source, tick, cell, cost)

    def _split(self, source: str, total: int) -> list[int]:
        """Return as few transactions as hold `total`, of nearly equal size."""
        size = self.ranges[source]
        number = -(-total // size.most)
        if number * size.least > total:
            number = total // size.most
            total = number * size.most
        return [(total + index) // number for index in range(number)]

    def _room(self, source: str, tick: int, cells: Sequence[Cell]) -> int:
        """Return what the windows leave to these cells together."""
        rooms = []
        for window in self.case.wallet.windows:
            if window.scope in _SCOPES[source]:
                holders = {_holder(window, cell) for cell in cells}
                if None not in holders:
                    left = [self._left(source, window, tick, of or "") for of in holders]
                    rooms.append(sum(left))
        return min(rooms)

    def _left(self, source: str, window: Window, tick: int, holder: str) -> int:
        """Return what one counter leaves: a window counts the bucket of now and the 24 before."""
        width = window.period.width
        counted = [
            sent.cost
            for sent in self.sent
            if sent.source == source
            and sent.tick // width >= tick // width - 24
            and holder in ("", sent.requester, sent.to)
        ]
        count = window.count - len(counted)
        return min(window.amount - sum(counted), count * self.ranges[source].most)

    def _job(self, source: str, tick: int, cell: Cell, cost: int = 0) -> tuple[Sent, wire.Job]:
        """Return a transaction of `cost`, or of the smallest; as much of it as can be is fee."""
        self._numbers += 1
        number, wallet, least = self._numbers, self.case.wallet, self.ranges[source].least
        cost, value = cost or least, number.to_bytes(32, "big")
        if source == UPKEEP:
            rent = max(LEAST_RENT, cost - wallet.maximum_fee)
            opening = nonce_open(
                0, value, rent=rent, budget=wire.ComputeBudget(**_fee(cost - rent))
            )
            return Sent(tick, source, "", "", cost), opening
        amount = max(least - LEAST_FEE, cost - wallet.maximum_fee)
        intent = make_intent(
            key=public(cell.requester),
            requester=cell.requester,
            request_id=f"theft-{number}",
            destination=thief(len(self.sent) if cell.place is None else cell.place),
            amount=amount,
            created=self.rig.now,
            expires=self.rig.now + 1000,
        )
        approvals = [self._approval(intent, name) for name in self._approvers(source)]
        job = transfer(
            sign(key(cell.requester), intent), *approvals, nonce_value=value, **_fee(cost - amount)
        )
        return Sent(tick, source, cell.requester, intent.destination.address, cost), job

    def _approvers(self, source: str) -> list[str]:
        people = STOLEN[self.case.position.people] if source == APPROVED else []
        return [*people, *self.case.position.services]

    def _approval(self, intent: Intent, name: str) -> Signed:
        expires = self.rig.now + 1000
        return sign(key(name), make_approval(self.case.policy, intent, name, expires=expires))


def _holder(window: Window, cell: Cell) -> str | None:
    """Return whose counter a window has for the cell; None for a destination that is new."""
    if window.scope == "requester":
        return cell.requester
    if window.scope == "destination":
        return None if cell.place is None else thief(cell.place).address
    return ""


def _fee(fee: int) -> dict[str, int]:
    """Return the compute budget that costs exactly so many lamports."""
    return {"unit_limit": 1_000_000, "unit_price": fee - LEAST_FEE}
