"""What must hold across a policy file: names that exist, quorums that people can reach."""

from collections.abc import Sequence
from dataclasses import replace

from policies.approvals import APPROVALS_MAX
from policies.freezes import WATCHTOWER
from policies.policy import Policy, Rule, Wallet
from policies.quorum import Seats, missing
from policies.reader import EntryError, Path
from policies.statements import INTENT_LIFE_MAX_MS
from policies.windows import Period, Scope


def check(policy: Policy, rules: tuple[Rule, ...]) -> Policy:
    """Return `policy` with its rules, or raise EntryError at the first entry that cannot hold."""
    _check_keys(policy)
    _check_groups(policy)
    _check_addresses(policy)
    for subject in ("policy", "book"):
        seats = policy.policy_quorum if subject == "policy" else policy.book_quorum
        path = ("change_quorum", subject)
        if not seats:
            raise EntryError(path, "needs at least one group: nobody could be asked")
        _check_reachable(policy, seats, path)
    _check_rules(policy, rules)
    return replace(policy, rules=rules)


def _check_keys(policy: Policy) -> None:
    if WATCHTOWER in policy.people:  # whose freeze would be taken for a proven theft's
        raise EntryError(("people", WATCHTOWER), "is what a proven theft's freeze is signed with")
    owners: dict[str, str] = {}
    held = [
        (kind, name, keys)
        for kind in ("people", "services", "requesters")
        for name, keys in getattr(policy, kind).items()
    ]
    names: dict[str, str] = {}
    for kind, name, keys in held:
        if name in names:
            raise EntryError((kind, name), f"is also among the {names[name]}; names are used once")
        names[name] = kind
        for key in keys:
            if key == policy.watchtower:
                raise EntryError((kind, name, "keys"), f"{key} is the watchtower's")
            if key in owners:
                raise EntryError((kind, name, "keys"), f"{key} is already {owners[key]}'s")
            owners[key] = name
    for name, wallet in policy.wallets.items():
        if wallet.signer in owners:
            raise EntryError(("wallets", name, "signer"), f"is the key of {owners[wallet.signer]}")
        if wallet.signer == policy.watchtower:
            raise EntryError(("wallets", name, "signer"), "is the watchtower's key")


def _check_groups(policy: Policy) -> None:
    for name, members in policy.groups.items():
        path = ("groups", name, "members")
        if not members:
            raise EntryError(path, "needs at least one person")
        for member in sorted(members - policy.people.keys()):
            raise EntryError(path, f"{member} is not among the people")


def _check_addresses(policy: Policy) -> None:
    seen: dict[str, str] = {}  # on any network: what is signed for one may be valid on another
    for name, wallet in policy.wallets.items():
        if other := seen.get(wallet.address):
            raise EntryError(("wallets", name, "address"), f"is already {other}'s")
        seen[wallet.address] = name
    hot = {wallet.address for wallet in policy.wallets.values() if wallet.sweep}
    for name, wallet in policy.wallets.items():
        path = ("wallets", name, "sweep")
        if wallet.sweep and wallet.sweep.to in hot:
            raise EntryError((*path, "to"), "is a hot wallet's own address")
        if wallet.sweep and not wallet.sweep.fee:
            raise EntryError((*path, "fee"), "must be more than 0: no chain takes it for nothing")


def _check_rules(policy: Policy, rules: tuple[Rule, ...]) -> None:
    names: set[str] = set()
    selectors: set[tuple[str, ...]] = set()
    for index, rule in enumerate(rules):
        path = ("rules", index)
        selector = (rule.wallet, rule.requester, rule.destination)
        if rule.name in names:
            raise EntryError((*path, "name"), f"{rule.name} is already the name of a rule")
        taken = {(*selector[:2], kind) for kind in ("any", "attested")} | {selector}
        if taken & selectors:
            raise EntryError(path, "can never apply: a rule above it takes every case of it")
        names.add(rule.name)
        selectors.add(selector)
        _check_tiers(policy, rule, path)
    for wallet in policy.wallets.values():
        _check_windows(wallet, [rule for rule in rules if rule.wallet == wallet.name])


def _check_windows(wallet: Wallet, rules: Sequence[Rule]) -> None:
    """No wallet without limits: what each rule lets out counts in some window."""
    path = ("wallets", wallet.name, "windows")
    seen = [(window.scope, window.period) for window in wallet.windows]
    for place in seen:
        if seen.count(place) > 1:
            raise EntryError(path, f"has two of {place[0]} for {place[1]}")
    tiers = [tier for rule in rules for tier in rule.tiers]
    needed = {Scope.UPKEEP: "fees and rents"}
    if any(not tier.people for tier in tiers):
        needed[Scope.WALLET] = "what leaves without people's approval"
    if any(tier.people for tier in tiers):
        needed[Scope.APPROVED] = "what leaves with people's approval"
    for scope, words in needed.items():
        if scope not in {of for of, _ in seen}:
            raise EntryError(path, f'needs a window of "{scope}", for {words}')


def _check_tiers(policy: Policy, rule: Rule, path: Path) -> None:
    if not rule.tiers:
        raise EntryError(path, "needs at least one tier")
    below = 0
    for index, tier in enumerate(rule.tiers):
        where = (*path, "tiers", index)
        if tier.up_to <= below:
            raise EntryError((*where, "up_to"), "must be more than the tier before it")
        if tier.up_to > policy.wallets[rule.wallet].cap:
            raise EntryError((*where, "up_to"), "is above the wallet's cap")
        below = tier.up_to
        if tier.delay >= INTENT_LIFE_MAX_MS:
            days = INTENT_LIFE_MAX_MS // Period.DAY.value
            raise EntryError((*where, "delay"), f"never ends: a request lives at most {days} days")
        for seats in tier.people:
            _check_reachable(policy, seats, (*where, "people"))


def _check_reachable(policy: Policy, seats: Sequence[Seats], path: Path) -> None:
    if sum(seat.count for seat in seats) > APPROVALS_MAX:
        raise EntryError(path, f"cannot be reached: at most {APPROVALS_MAX} approvals are taken")
    for seat in seats:
        if seat.group not in policy.groups:
            raise EntryError(path, f"{seat.group} is not among the groups")
    if empty := missing(seats, policy.groups, sorted(policy.people)):
        raise EntryError(path, f"cannot be reached: nobody is left for {empty[0]}")
