"""Officers' own examples of what a policy allows, in a table beside it. The signer never reads it.

A file says what must come of each case; `evaluate` decides, as in the signer. What a case does not
say is as harmless as can be: nothing spent, all long known, within the rule's hours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar
from zoneinfo import ZoneInfo

from policies.codes import Code, Refusal
from policies.durations import parse_duration
from policies.evaluate import Facts, counters, early_facts, evaluate, find_rule
from policies.fields import label
from policies.policy import Policy, Wallet
from policies.policy_file import one_of, read_tagged
from policies.reader import EntryError, Table
from policies.statements import Approval, Destination, Intent
from policies.units import parse_units
from policies.windows import Scope, Usage

TAG = "# kura.cases.v1"
T = TypeVar("T")
BOOK, OWN, OTHER = "address-book", "own-wallet", "other"
ALLOWED = "allowed"
_NOW = 1_800_000_000_000  # for cases that say no time: a Friday in 2027
_HOUR = 3_600_000
_SPENT = {
    "spent": Scope.WALLET,
    "spent_by_requester": Scope.REQUESTER,
    "spent_to_destination": Scope.DESTINATION,
    "spent_approved": Scope.APPROVED,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One example: what is asked for, what is known, and `expect`: "allowed" or a code."""

    say: str
    expect: str
    intent: Intent
    facts: Facts


def parse_cases(policy: Policy, data: bytes) -> tuple[Case, ...]:
    """Return the cases that the exact bytes `data` are; FileError otherwise."""
    return read_tagged(data, TAG, lambda root: root.array("cases", partial(_case, policy)))


def outcome(policy: Policy, case: Case) -> tuple[str, str]:
    """Return "allowed" or the refusal's code, and why."""
    verdict = evaluate(policy, case.intent, case.facts)
    if isinstance(verdict, Refusal):
        return verdict.code, verdict.message
    return ALLOWED, f"rule {verdict.rule} allows it"


def _case(policy: Policy, table: Table) -> Case:
    wallet = policy.wallets[table.value("wallet", one_of(*policy.wallets))]
    decimals = policy.assets[wallet.asset].decimals
    amount = partial(parse_units, asset=wallet.asset, decimals=decimals)
    place = table.value("destination", one_of(BOOK, OWN, OTHER))
    intent = _intent(policy, wallet, table, amount, place)
    say, expect = table.value("say", label), table.value("expect", one_of(ALLOWED, *Code))
    facts = early_facts(
        intent,
        now=intent.created,
        in_address_book=place == BOOK,
        approvals=_approvals(policy, table),
        fee=_optional(table, "fee", amount, 0),
    )
    long = facts.age
    facts = replace(
        facts,
        age=_optional(table, "first_seen", parse_duration, long),
        destination_age=_optional(table, "destination_first_seen", parse_duration, long),
        destination_sent=_optional(table, "destination_got", amount, 0),
        unresolved=_optional(table, "not_final", amount, 0),
    )
    usage = dict(facts.usage)
    for key, scope in _SPENT.items():
        if spent := _optional(table, key, amount, 0):
            usage[counters(intent)[scope]] = Usage().add(facts.tick, spent)
    return Case(say, expect, intent, replace(facts, usage=usage))


def _intent(
    policy: Policy, wallet: Wallet, table: Table, amount: Callable[[object], int], place: str
) -> Intent:
    address = "the destination"
    network = policy.assets[wallet.asset].network
    if place == OWN:
        others = (
            other.address
            for other in policy.wallets.values()
            if other.name != wallet.name and policy.assets[other.asset].network == network
        )
        address = next(others, "")
        if not address:
            words = f"{wallet.name} is the only wallet on {network}"
            raise EntryError((*table.path, "destination"), words)
    intent = Intent(
        key="",
        requester=table.value("requester", one_of(*policy.requesters)),
        request_id="case",
        wallet=wallet.name,
        network=network,
        asset=wallet.asset,
        destination=Destination(address, ""),
        amount=table.value("amount", amount),
        created=_NOW,
        expires=_NOW + _HOUR,
    )
    rule = find_rule(policy, intent, in_address_book=place == BOOK)
    opens = rule.hours.opens_at(_NOW) if rule and rule.hours else _NOW
    now = _optional(table, "at", _moment, opens)
    return replace(intent, created=now, expires=now + _HOUR)


def _approvals(policy: Policy, table: Table) -> Sequence[Approval]:
    """Return the decisions of people and services, as if they had been verified."""
    approvers = [*policy.people, *policy.services]
    said = (
        ("people", "approve", list(policy.people)),
        ("services", "approve", list(policy.services)),
        ("rejected_by", "reject", approvers),
    )
    return [
        Approval(key="", decision=decision, intent="", approver=name, policy="", expires=0)
        for key, decision, names in said
        if key in table.names()
        for name in table.values(key, one_of(*names))
    ]


def _moment(value: object) -> int:
    """Parse "2027-01-15 17:30 Asia/Tokyo" into Unix ms."""
    try:
        day, time, zone = str(value).split(" ")
        moment = datetime.strptime(f"{day} {time}", "%Y-%m-%d %H:%M").replace(tzinfo=ZoneInfo(zone))
        return int(moment.timestamp()) * 1000
    except (ValueError, KeyError, OSError):
        raise ValueError('must be for example "2027-01-15 17:30 Asia/Tokyo"') from None


def _optional(table: Table, key: str, parse: Callable[[object], T], default: T) -> T:
    return table.value(key, parse) if key in table.names() else default
