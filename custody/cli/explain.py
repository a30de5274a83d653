"""A policy in plain sentences. Pure: the answers are those of the functions the signer asks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import product

from policies.codes import Code, Refusal
from policies.durations import format_duration
from policies.evaluate import early_facts, evaluate, find_rule, find_tier, services_of
from policies.policy import DestinationClass, Policy, Rule, Tier, Wallet
from policies.quorum import Seats
from policies.statements import Destination, Intent
from policies.units import format_units, parse_units
from policies.windows import Scope

_LATER = frozenset({Code.APPROVALS_MISSING, Code.HOURS_CLOSED})
_WINDOWS = {
    Scope.WALLET: "what nobody approved takes",
    Scope.REQUESTER: "what nobody approved takes for one requester",
    Scope.DESTINATION: "what nobody approved takes to one destination",
    Scope.APPROVED: "what people approved takes",
    Scope.UPKEEP: "opening and keeping nonce accounts takes",
}


class Place(Enum):
    """What may be known of a destination."""

    BOOK = "destinations in the address book"
    OWN = "our own wallets"
    OTHER = "other destinations"


_NO_BOOK = "destinations that are not in the address book"  # OTHER, where there is no OWN
_CHOICES = {
    DestinationClass.ADDRESS_BOOK: (Place.BOOK,),
    DestinationClass.OWN_WALLET: (Place.OWN,),
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about: wallets, requesters, destinations."""

    wallets: tuple[Wallet, ...]
    requesters: tuple[str, ...]
    places: tuple[Place, ...]


def question(
    policy: Policy, wallet: str | None, requester: str | None, destination: DestinationClass | None
) -> Question:
    """Return what these choices leave, None leaving all; ValueError for a name nobody has."""
    places = tuple(Place) if destination is None else _CHOICES.get(destination, (Place.OTHER,))
    return Question(
        tuple(policy.wallets[name] for name in _chosen(policy.wallets, wallet, "wallet")),
        tuple(_chosen(policy.requesters, requester, "requester")),
        places,
    )


def explain(policy: Policy, asked: Question) -> Iterator[str]:
    """Yield who may send what from where to whom, with whose approvals."""
    for wallet in asked.wallets:
        yield from _limits(policy, wallet)
        for requester in asked.requesters:
            yield from _rules(policy, wallet, requester, asked.places)
    yield "Everything else is refused."


def answer(policy: Policy, asked: Question, amount: str) -> Iterator[str]:
    """Yield what the signer would say to an amount such as "5 SOL"; ValueError if it is none."""
    asset = amount.rpartition(" ")[2]
    wallets = [wallet for wallet in asked.wallets if wallet.asset == asset]
    if not wallets:
        held = " or ".join(sorted({wallet.asset for wallet in asked.wallets}))
        words = f"the wallets asked about hold {held}, no {asset}"
        if " " not in amount:
            words = f"say of which asset ({held})"
        raise ValueError(f'--amount {amount}: {words}; for example --amount "1.5 SOL"')
    units = parse_units(amount, asset, policy.assets[asset].decimals)
    for wallet, requester in product(wallets, asked.requesters):
        for place in _places(policy, wallet, asked.places):
            intent = _intent(policy, wallet, requester, units, place)
            yield _answer(policy, wallet, intent, amount, place)


def _answer(policy: Policy, wallet: Wallet, intent: Intent, amount: str, place: Place) -> str:
    listed = place is Place.BOOK
    facts = early_facts(intent, now=0, in_address_book=listed, approvals=(), fee=0)
    verdict = evaluate(policy, intent, facts)
    rule = find_rule(policy, intent, in_address_book=listed)
    tier = find_tier(rule, intent.amount) if rule else None
    to = _place_words(policy, wallet, (place,), rule)
    what = f"{amount} from {intent.wallet} to {to}"
    if isinstance(verdict, Refusal) and verdict.code not in _LATER:
        return f"{intent.requester} may not send {what}: {verdict.message}."
    people = tier_words(policy, rule, tier) if rule and tier else ""
    return f"{intent.requester} may send {what} {people} (rule {verdict.rule})."


def seats_words(policy: Policy, seats: tuple[Seats, ...]) -> str:
    """Return whose approval that is, each group with its people."""
    if not seats:
        return "without anybody's approval"
    names = [f"{item} ({', '.join(sorted(policy.groups[item.group]))})" for item in seats]
    people = sum(item.count for item in seats)
    different = f", {people} different people" if people > 1 else ""
    return f"with the approval of {' and '.join(names)}{different}"


def tier_words(policy: Policy, rule: Rule, tier: Tier) -> str:
    """Return what a tier asks: people, services, patience."""
    words = ", or ".join(seats_words(policy, path) for path in tier.people)
    if services := sorted(services_of(rule, tier)):
        named = f"of the service{'s' * (len(services) > 1)} {' and '.join(services)}"
        words = f"{words}, and {named}" if words else f"with the approval {named} alone"
    words = words or seats_words(policy, ())
    if tier.delay:
        words += f", {format_duration(tier.delay)} after the signer first saw it"
    return words


def _limits(policy: Policy, wallet: Wallet) -> Iterator[str]:
    if not wallet.enabled:
        yield f"{wallet.name} is disabled: nothing leaves it."
    cap, fee = (_units(policy, wallet, units) for units in (wallet.cap, wallet.maximum_fee))
    yield f"No transaction from {wallet.name} is above {cap}, whoever approves it."
    yield f"None pays the network more than {fee}."
    for window in wallet.windows:
        amount = _units(policy, wallet, window.amount)
        most = f"{amount} in {window.count} transactions" if window.count else "nothing"
        yield f"In any {window.period}, {_WINDOWS[window.scope]} at most {most}, fees included."
    recall = _units(policy, wallet, wallet.beyond_recall)
    yield f"At most {recall} is signed and not yet final (beyond_recall)."
    if sweep := wallet.sweep:
        fees = f"at most {sweep.count} times for {_units(policy, wallet, sweep.fee)}"
        yield f"After a proven theft its signer sends what is left to {sweep.to}, {fees}."


def _conditions(policy: Policy, wallet: Wallet, rule: Rule) -> Iterator[str]:
    if rule.hours:
        yield f"  only {rule.hours}"
    if rule.cooling_period:
        most = _units(policy, wallet, rule.cooling_amount)
        first = format_duration(rule.cooling_period)
        yield f"  {most} in all to a destination in its first {first}"


def _rules(
    policy: Policy, wallet: Wallet, requester: str, places: tuple[Place, ...]
) -> Iterator[str]:
    """Yield the rules that any of these places finds, in the policy's order: the first counts."""
    places = _places(policy, wallet, places)
    found: dict[str, tuple[Place, ...]] = {}
    for place in places:
        intent = _intent(policy, wallet, requester, 1, place)
        if rule := find_rule(policy, intent, in_address_book=place is Place.BOOK):
            found[rule.name] = (*found.get(rule.name, ()), place)
    if not found:
        to = _place_words(policy, wallet, places, None)
        yield f"{requester} may send nothing from {wallet.name} to {to}."
    for rule in (rule for rule in policy.rules if rule.name in found):
        to = _place_words(policy, wallet, found[rule.name], rule)
        yield f"{requester} may send from {wallet.name} to {to} (rule {rule.name}):"
        above = ""
        for tier in rule.tiers:
            reach = _units(policy, wallet, tier.up_to)
            yield f"  {above}up to {reach} {tier_words(policy, rule, tier)}"
            above = f"above {reach}, "
        yield from _conditions(policy, wallet, rule)
    if len(found) > 1:
        yield f"For {requester}, the first of these rules that fits counts, and no other."


def _other_wallets(policy: Policy, wallet: Wallet) -> list[str]:
    """Return the addresses of other wallets on the wallet's network."""
    network = policy.assets[wallet.asset].network
    others = (other for other in policy.wallets.values() if other.name != wallet.name)
    return [o.address for o in others if policy.assets[o.asset].network == network]


def _places(policy: Policy, wallet: Wallet, places: tuple[Place, ...]) -> tuple[Place, ...]:
    """Return those that there are: a wallet alone on its network has no other to send to."""
    alone = not _other_wallets(policy, wallet)
    return tuple(place for place in places if not (alone and place is Place.OWN))


def _place_words(
    policy: Policy, wallet: Wallet, places: tuple[Place, ...], rule: Rule | None
) -> str:
    attested = f" that {rule.service} attests" if rule and rule.service else ""
    if len(places) > 1 and places == _places(policy, wallet, tuple(Place)):
        return "any destination" + attested
    alone = not _other_wallets(policy, wallet)
    words = [_NO_BOOK if alone and place is Place.OTHER else place.value for place in places]
    return (" and ".join(words) or Place.OWN.value) + attested


def _intent(policy: Policy, wallet: Wallet, requester: str, amount: int, place: Place) -> Intent:
    """Return the intent that stands for every such intent."""
    address = _other_wallets(policy, wallet)[0] if place is Place.OWN else "the destination"
    return Intent(
        key="",
        requester=requester,
        request_id="",
        wallet=wallet.name,
        network=policy.assets[wallet.asset].network,
        asset=wallet.asset,
        destination=Destination(address, ""),
        amount=amount,
        created=0,
        expires=1,
    )


def _units(policy: Policy, wallet: Wallet, units: int) -> str:
    return format_units(units, wallet.asset, policy.assets[wallet.asset].decimals)


def _chosen(names: Iterable[str], name: str | None, kind: str) -> list[str]:
    known = list(names)
    if name is None:
        return known
    if name not in known:
        raise ValueError(f"no {kind} is called {name}; there are: {', '.join(known) or 'none'}")
    return [name]
