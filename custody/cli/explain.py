"""A policy in plain sentences. Pure: the answers are those of the functions the signer asks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
_PLACES = {
    (True, False): "any destination",
    (True,): "destinations in the address book",
    (False,): "destinations that are not in the address book",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about: wallets, requesters, and whether the address book lists the address."""

    wallets: tuple[Wallet, ...]
    requesters: tuple[str, ...]
    listed: tuple[bool, ...]


def scope(
    policy: Policy, wallet: str | None, requester: str | None, destination: DestinationClass | None
) -> Asked:
    """Return what these choices leave, None leaving all; ValueError for a name nobody has."""
    listed = {None: (True, False), DestinationClass.ADDRESS_BOOK: (True,)}
    return Asked(
        tuple(policy.wallets[name] for name in _chosen(policy.wallets, wallet, "wallet")),
        tuple(_chosen(policy.requesters, requester, "requester")),
        listed.get(destination, (False,)),
    )


def explain(policy: Policy, asked: Asked) -> Iterator[str]:
    """Yield who may send what from where to whom, with whose approvals."""
    for wallet in asked.wallets:
        yield from _limits(policy, wallet)
        for requester in asked.requesters:
            yield from _rules(policy, wallet, requester, asked.listed)
    yield "Everything else is refused."


def answer(policy: Policy, asked: Asked, amount: str) -> Iterator[str]:
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
    for wallet, requester, listed in product(wallets, asked.requesters, asked.listed):
        yield _answer(policy, _intent(policy, wallet, requester, units), amount, listed=listed)


def _answer(policy: Policy, intent: Intent, amount: str, *, listed: bool) -> str:
    facts = early_facts(intent, now=0, in_address_book=listed, approvals=(), fee=0)
    verdict = evaluate(policy, intent, facts)
    what = f"{amount} from {intent.wallet} to {_PLACES[(listed,)]}"
    if isinstance(verdict, Refusal) and verdict.code not in _LATER:
        return f"{intent.requester} may not send {what}: {verdict.message}."
    rule = find_rule(policy, intent, in_address_book=listed)
    tier = find_tier(rule, intent.amount) if rule else None
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
    words = " or ".join(seats_words(policy, path) for path in tier.people)
    words = words or seats_words(policy, ())
    if services := sorted(services_of(rule, tier)):
        words += f", and of the service{'s' * (len(services) > 1)} {' and '.join(services)}"
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
    yield f"At most {recall} is signed and not yet final."


def _conditions(policy: Policy, wallet: Wallet, rule: Rule) -> Iterator[str]:
    if rule.hours:
        yield f"  only {rule.hours}"
    if rule.cooling_period:
        most = _units(policy, wallet, rule.cooling_amount)
        first = format_duration(rule.cooling_period)
        yield f"  {most} in all to a destination in its first {first}"


def _rules(
    policy: Policy, wallet: Wallet, requester: str, listed: tuple[bool, ...]
) -> Iterator[str]:
    found: dict[str, tuple[Rule, tuple[bool, ...]]] = {}
    intent = _intent(policy, wallet, requester, 1)
    for known in listed:
        if rule := find_rule(policy, intent, in_address_book=known):
            _, before = found.get(rule.name, (rule, ()))
            found[rule.name] = (rule, (*before, known))
    if not found:
        yield f"{requester} may send nothing from {wallet.name} to {_PLACES[listed]}."
    for rule, places in found.values():
        yield f"{requester} may send from {wallet.name} to {_PLACES[places]} (rule {rule.name}):"
        above = ""
        for tier in rule.tiers:
            reach = _units(policy, wallet, tier.up_to)
            yield f"  {above}up to {reach} {tier_words(policy, rule, tier)}"
            above = f"above {reach}, "
        yield from _conditions(policy, wallet, rule)


def _intent(policy: Policy, wallet: Wallet, requester: str, amount: int) -> Intent:
    """Return the intent that stands for every such intent."""
    return Intent(
        key="",
        requester=requester,
        request_id="",
        wallet=wallet.name,
        network=policy.assets[wallet.asset].network,
        asset=wallet.asset,
        destination=Destination("the destination", ""),
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
