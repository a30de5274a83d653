"""What must hold across a policy file: names that exist, quorums that people can reach."""

from collections.abc import Sequence
from dataclasses import replace

from policies.approvals import APPROVALS_MAX
from policies.policy import Policy, Rule
from policies.quorum import Seats, missing
from policies.reader import EntryError, Path


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
    owners: dict[str, str] = {}
    held = [
        (kind, name, keys)
        for kind, table in (("people", policy.people), ("requesters", policy.requesters))
        for name, keys in table.items()
    ]
    for kind, name, keys in held:
        for key in keys:
            if key in owners:
                raise EntryError((kind, name, "keys"), f"{key} is already {owners[key]}'s")
            owners[key] = name
    for name in sorted(policy.people.keys() & policy.requesters.keys()):
        raise EntryError(("requesters", name), "is also a person; names are used once")
    for name, wallet in policy.wallets.items():
        if wallet.signer in owners:
            raise EntryError(("wallets", name, "signer"), f"is the key of {owners[wallet.signer]}")


def _check_groups(policy: Policy) -> None:
    for name, members in policy.groups.items():
        path = ("groups", name, "members")
        if not members:
            raise EntryError(path, "needs at least one person")
        for member in sorted(members - policy.people.keys()):
            raise EntryError(path, f"{member} is not among the people")


def _check_addresses(policy: Policy) -> None:
    seen: dict[tuple[str, str], str] = {}
    for name, wallet in policy.wallets.items():
        place = (policy.assets[wallet.asset].network, wallet.address)
        if place in seen:
            raise EntryError(("wallets", name, "address"), f"is already {seen[place]}'s")
        seen[place] = name


def _check_rules(policy: Policy, rules: tuple[Rule, ...]) -> None:
    names: set[str] = set()
    selectors: set[tuple[str, ...]] = set()
    for index, rule in enumerate(rules):
        path = ("rules", index)
        selector = (rule.wallet, rule.requester, rule.destination)
        if rule.name in names:
            raise EntryError((*path, "name"), f"{rule.name} is already the name of a rule")
        if selector in selectors or (rule.wallet, rule.requester, "any") in selectors:
            raise EntryError(path, "can never apply: a rule above it takes every case of it")
        names.add(rule.name)
        selectors.add(selector)
        _check_tiers(policy, rule, path)


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
        _check_reachable(policy, tier.approvals, (*where, "approvals"))


def _check_reachable(policy: Policy, seats: Sequence[Seats], path: Path) -> None:
    if sum(seat.count for seat in seats) > APPROVALS_MAX:
        raise EntryError(path, f"cannot be reached: at most {APPROVALS_MAX} approvals are taken")
    for seat in seats:
        if seat.group not in policy.groups:
            raise EntryError(path, f"{seat.group} is not among the groups")
    if empty := missing(seats, policy.groups, sorted(policy.people)):
        raise EntryError(path, f"cannot be reached: nobody is left for {empty[0]}")
