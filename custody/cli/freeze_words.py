"""What is frozen, as custody and the watchtower say it, side by side. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from custody.cli.output import clipped, spoken, utc
from kura.custody.v1 import custody_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower
from policies.freezes import ALL_WALLETS, epoch_after

NAME = "freezes/"
IN_FORCE, ON_ITS_WAY, UNKNOWN, NOT_ASKED = "in force", "on its way", "not known", "?"


@dataclass(frozen=True, slots=True)
class Known:
    """A freeze; `since` in Unix ms, None when only the watchtower has it."""

    digest: str
    wallet: str
    person: str
    since: int | None
    custody: str
    watchtower: str

    @property
    def row(self) -> tuple[str, ...]:
        """The freeze as a line of a table."""
        since = "?" if self.since is None else utc(self.since)
        stops, person = wallet_words(self.wallet), clipped(self.person)
        return stops, person, since, self.custody, self.watchtower, clipped(self.digest)


def wallet_words(wallet: str) -> str:
    """Return what a freeze stops."""
    return "all wallets" if wallet == ALL_WALLETS else clipped(wallet.removeprefix("wallets/"))


def known_freezes(
    custody: wire.ListFreezesResponse | None, watchtower: tower.GetStatusResponse | None
) -> list[Known]:
    """Return every freeze that either knows; None for one that gave no answer."""
    theirs = {item.digest: item for item in watchtower.freezes} if watchtower else {}
    ours = {item.name.removeprefix(NAME): item for item in custody.freezes} if custody else {}
    found = []
    for digest in dict.fromkeys((*ours, *theirs)):
        mine, other = ours.get(digest), theirs.get(digest)
        found.append(
            Known(
                digest=digest,
                wallet=mine.wallet if mine else theirs[digest].wallet,
                person=mine.person if mine else theirs[digest].person,
                since=mine.create_time.ToMilliseconds() if mine else None,
                custody=_said(mine, asked=custody is not None),
                watchtower=_said(other, asked=watchtower is not None),
            )
        )
    return found


def epochs(watchtower: tower.GetStatusResponse | None) -> set[str]:
    """Return the epochs of the signers that the watchtower has ever heard of."""
    return {signer.epoch for signer in _heard(watchtower)}


def epochs_of(
    freezes: Collection[str],
    custody: wire.ListFreezesResponse | None,
    watchtower: tower.GetStatusResponse | None,
) -> set[str]:
    """Return every epoch that either names for the signers that have one of these freezes.

    One, unless somebody lies, or signers stand in different ones. Of a freeze that the watchtower
    does not know, every signer's counts: a custody that made it up must name the right one.
    """
    told = watchtower.freezes if watchtower else ()
    holders = {key for item in told if item.digest in freezes for key in item.audit_keys}
    heard = [item for item in _heard(watchtower) if item.audit_key in holders]
    named = {signer.epoch for signer in heard} or epochs(watchtower)
    ours = {item.name.removeprefix(NAME) for item in custody.freezes} if custody else set[str]()
    return named | {custody.epoch} if custody and ours & {*freezes} else named


def lift_rows(
    epoch: str, freezes: Sequence[str], known: Sequence[Known]
) -> Iterator[tuple[str, str]]:
    """Yield what lifting these would do, and its digest to compare by."""
    by_digest = {item.digest: item for item in known}
    for digest in freezes:
        yield "lifts", digest
        item = by_digest.get(digest)
        if item is None:
            yield "", "neither custody nor the watchtower knows it"
            continue
        since = "at an unknown time" if item.since is None else utc(item.since)
        yield "", f"{wallet_words(item.wallet)}, by {clipped(item.person)}, {since}"
    for item in known:
        if item.digest not in freezes:
            yield "still frozen", f"{wallet_words(item.wallet)}, by {clipped(item.person)}"
    after = epoch_after(epoch, freezes)
    yield "epoch then", after
    yield "in words", spoken(after)


def _said(item: wire.Freeze | tower.Freeze | None, *, asked: bool) -> str:
    if not asked:
        return NOT_ASKED
    if item is None:
        return UNKNOWN
    return IN_FORCE if item.applied else ON_ITS_WAY


def _heard(watchtower: tower.GetStatusResponse | None) -> list[tower.Signer]:
    signers = watchtower.signers if watchtower else ()
    return [signer for signer in signers if signer.policy or signer.epoch]
