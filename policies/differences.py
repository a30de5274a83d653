"""What a version of the policy changes, in words, and whether all of it only tightens.

The signer decides by it whether a version waits. Fails closed: what is not named here as tightening
loosens, a field that nobody thought of too. Invariant: if all differences tighten, the new version
allows nothing that the old one refused with the same facts, save that what more people must approve
moves to the window of what people approve, and who must could draw on that window before.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from operator import gt, lt
from typing import Any

from policies.durations import format_duration
from policies.evaluate import approvers_of, find_tier
from policies.policy import Policy, Rule, Sweep, Tier, Wallet
from policies.quorum import Seats
from policies.units import format_units
from policies.windows import Window

Path = Sequence[Seats]
# How a field is called, how its values are said, and whether old and new of it tighten.
Compared = tuple[str, Callable[[Any], str], Callable[[Any, Any], bool]]
_IDENTITY = ("digest", "version", "previous")


@dataclass(frozen=True, slots=True)
class Difference:
    """One change, such as "hot-sol: cap per transaction 50 SOL → 80 SOL"."""

    words: str
    tightens: bool


def only_tightens(old: Policy, new: Policy) -> bool:
    """Tell whether `new` may act at once: it is as `old`, or tighter wherever it differs."""
    return all(item.tightens for item in differences(old, new))


def differences(old: Policy, new: Policy) -> tuple[Difference, ...]:
    """Return every change from `old` to `new`. Policies only: parsed, so their names exist."""
    return tuple(_policy(old, new))


def _policy(old: Policy, new: Policy) -> Iterator[Difference]:
    for kind, what in (
        ("people", "key"),
        ("groups", "member"),
        ("services", "key"),
        ("requesters", "key"),
    ):
        before, after = getattr(old, kind), getattr(new, kind)
        yield from _names(kind, before, after, fewer=True)
        for name in (name for name in before if name in after):
            yield from _names(f"{kind}.{name}: {what}", before[name], after[name], fewer=True)
    for kind in ("assets", "wallets"):
        yield from _names(kind, getattr(old, kind), getattr(new, kind), fewer=False)
    for name in (name for name in old.assets if name in new.assets):
        yield from _fields(old.assets[name], new.assets[name], name, {})
    for name in (name for name in old.wallets if name in new.wallets):
        yield from _wallet(_spoken(old, name), old.wallets[name], new.wallets[name])
    yield from _rules(old, new)
    known: dict[str, Compared] = {
        "policy_quorum": ("who changes the policy", _path_words, _fills),
        "book_quorum": ("who changes the address book", _path_words, _fills),
        "change_delay": ("delay of changes", format_duration, lt),
        "watchtower": ("watchtower's key", str, _never),
    }
    named = ("people", "groups", "services", "requesters", "assets", "wallets", "rules")
    yield from _fields(old, new, "changes", known, but=(*_IDENTITY, *named))


def _wallet(units: Callable[[int], str], old: Wallet, new: Wallet) -> Iterator[Difference]:
    known: dict[str, Compared] = {
        "enabled": ("enabled", str, gt),
        "cap": ("cap per transaction", units, gt),
        "maximum_fee": ("fee per transaction", units, gt),
        "beyond_recall": ("signed and not yet final", units, gt),
        "nonce_pool": ("nonce accounts", str, gt),
        "sweep": ("alarm sweep", lambda sweep: _sweep_words(units, sweep), _never),
    }
    yield from _fields(old, new, old.name, known, but=("windows",))
    before, after = ({(w.scope, w.period): w for w in side.windows} for side in (old, new))
    for place in sorted({*before, *after}, key=[*before, *after].index):
        was, now = before.get(place), after.get(place)
        if was != now:
            said = " → ".join(_window_words(units, window) for window in (was, now))
            words = f"{old.name}: {place[0]} window of {place[1]} {said}"
            yield Difference(words, _is_smaller(was, now))


def _is_smaller(old: Window | None, new: Window | None) -> bool:
    if old is None or new is None:
        return old is None
    return new.amount <= old.amount and new.count <= old.count


def _rules(old: Policy, new: Policy) -> Iterator[Difference]:
    """Compare rule by rule in order: another order, or one less, can let a laxer rule match."""
    kept = [rule for rule in old.rules if rule.requester in new.requesters]
    if [rule.name for rule in kept] != [rule.name for rule in new.rules]:
        was, now = (", ".join(rule.name for rule in side) for side in (kept, new.rules))
        yield Difference(f"rules: {was or 'none'} → {now or 'none'}", tightens=False)
        return
    for before, after in zip(kept, new.rules, strict=True):
        units = _spoken(old, before.wallet)
        known: dict[str, Compared] = {
            "hours": ("hours", lambda hours: str(hours or "always"), _never),
            "cooling_period": ("cooling period", format_duration, lt),
            "cooling_amount": ("cooling amount", units, gt),
        }
        yield from _fields(before, after, before.name, known, but=("tiers",))
        changes = tuple(_tiers(units, (old, before), (new, after)))
        if before.tiers != after.tiers and not changes:
            changes = (Difference(f"{before.name}: tiers written otherwise", tightens=False),)
        yield from changes


def _tiers(
    units: Callable[[int], str], old: tuple[Policy, Rule], new: tuple[Policy, Rule]
) -> Iterator[Difference]:
    """Compare amount by amount: a tier that reaches less far hands amounts to the next, or none."""
    above = 0
    for up_to in sorted({tier.up_to for _, rule in (old, new) for tier in rule.tiers}):
        before, after = find_tier(old[1], up_to), find_tier(new[1], up_to)
        start = f"above {units(above)} " if above else ""
        where, above = f"{old[1].name}, {start}up to {units(up_to)}", up_to
        if before and after:
            yield from _tier(where, old[1], before, after)
            yield from _silenced(where, old, before, (*new, after))
        elif before or after:
            words = "allowed → refused" if before else "refused → allowed"
            yield Difference(f"{where}: {words}", tightens=after is None)


def _tier(where: str, rule: Rule, old: Tier, new: Tier) -> Iterator[Difference]:
    known: dict[str, Compared] = {
        "services": ("services", lambda names: " and ".join(sorted(names)) or "none", lt),
        "people": ("approvals", _paths_words, lambda *_: _asks_more_people(rule, old, new)),
        "delay": ("delay", format_duration, lt),
    }
    return _fields(old, new, where, known, but=("up_to",))


def _asks_more_people(rule: Rule, old: Tier, new: Tier) -> bool:
    """Tell whether people who fill any of the new paths also fill one of the old ones.

    Where nobody was asked, amounts move to the window of what people approve: only people may be
    asked who could draw on it before, through another tier of the rule that asks for no more.
    """
    drawn = [old] if old.people else rule.tiers
    return bool(new.people) and any(
        all(any(_fills(path, filled) for path in tier.people) for filled in new.people)
        and tier.services <= new.services
        and tier.delay <= new.delay
        for tier in drawn  # of one that asks nobody, no path is filled
    )


def _fills(old: Path, new: Path) -> bool:
    """Tell whether people who fill all seats of `new` fill all of `old`: no group has fewer."""
    return _seats(old) <= _seats(new)


def _seats(path: Path) -> Counter[str]:
    return Counter(seats.group for seats in path for _ in range(seats.count))


def _silenced(
    where: str, old: tuple[Policy, Rule], tier: Tier, new: tuple[Policy, Rule, Tier]
) -> Iterator[Difference]:
    """Yield who could reject, is still there and cannot any more: what they stopped would pass."""
    could = approvers_of(*old, tier) & new[0].people.keys()  # a service less is told by itself
    for name in sorted(could - approvers_of(*new)):
        yield Difference(f"{where}: {name} can no longer reject", tightens=False)


def _fields(
    old: Any, new: Any, where: str, known: Mapping[str, Compared], but: Sequence[str] = ()
) -> Iterator[Difference]:
    """Compare two of one dataclass field by field; a field that is not known only loosens."""
    for name in (field.name for field in fields(old) if field.name not in but):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            label, say, tightens = known.get(name, (name, _say, _never))
            words = f"{where}: {label} {say(before)} → {say(after)}"
            yield Difference(words, tightens(before, after))


def _names(where: str, old: Any, new: Any, *, fewer: bool) -> Iterator[Difference]:
    for name in sorted({*old} - {*new}):
        yield Difference(f"{where} {name} removed", tightens=fewer)
    for name in sorted({*new} - {*old}):
        yield Difference(f"{where} {name} added", tightens=False)


def _never(*_: object) -> bool:
    return False


def _say(value: object) -> str:
    return str(value or "none")


def _paths_words(paths: Sequence[Path]) -> str:
    return " or ".join(_path_words(path) for path in paths) or "nobody"


def _path_words(path: Path) -> str:
    return " and ".join(str(seats) for seats in path)


def _window_words(units: Callable[[int], str], window: Window | None) -> str:
    return f"{units(window.amount)} in {window.count} transactions" if window else "none"


def _sweep_words(units: Callable[[int], str], sweep: Sweep | None) -> str:
    if sweep is None:
        return "none"
    each = f"each with a fee of {units(sweep.fee)}"
    return f"to {sweep.to}, at most {sweep.count} transactions, {each}"


def _spoken(policy: Policy, wallet: str) -> Callable[[int], str]:
    asset = policy.assets[policy.wallets[wallet].asset]
    return partial(format_units, asset=asset.name, decimals=asset.decimals)
