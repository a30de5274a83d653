"""What a policy file says. Every error names its line, the entry and the reason."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import TypeVar

from policies import fields
from policies.canonical import find_hidden
from policies.durations import parse_duration, parse_period
from policies.hours import parse_hours
from policies.policy import (
    BYTES_MAX,
    TAG,
    Asset,
    DestinationClass,
    KeyOrigin,
    Policy,
    Rule,
    Sweep,
    Tier,
    Wallet,
    WalletTier,
)
from policies.policy_checks import check
from policies.quorum import Seats, parse_seats
from policies.reader import EntryError, FileError, Table, read_toml
from policies.statements import digest
from policies.units import parse_units
from policies.windows import Scope, Window

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
DECIMALS_MAX = 18
LINE_MAX = 300  # characters; tomllib's memory grows with the square of a dotted key's length
NONCE_POOL_MAX = 64
COUNT_MAX = 10**9
SWEEPS_MAX = 1000


def parse_policy(data: bytes) -> Policy:
    """Return the policy that the exact bytes `data` are; FileError otherwise."""
    return read_tagged(data, TAG, lambda root: _policy(digest(data), root))


def read_tagged(data: bytes, tag: str, read: Callable[[Table], T]) -> T:
    """Return what `read` makes of a file that people can read, whose first line is `tag`."""
    if len(data) > BYTES_MAX:
        raise FileError(1, (), f"has {len(data)} bytes; at most {BYTES_MAX} are allowed")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FileError(data[: error.start].count(b"\n") + 1, (), "is not UTF-8") from error
    if text.startswith(tag + "\r\n"):
        raise FileError(1, (), "ends in CR LF: save the file with LF (Unix) line ends")
    if not text.startswith(tag + "\n"):
        raise FileError(1, (), f"the first line must be exactly {tag}")
    _check_lines(text)
    return read_toml(text, read)


def _check_lines(text: str) -> None:
    """Refuse what people cannot read: officers sign what they see, comments too."""
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LINE_MAX:
            raise FileError(number, (), f"has more than {LINE_MAX} characters; break the line")
        if hidden := find_hidden(line.replace("\t", " ")):
            raise FileError(number, (), f"holds the hidden character {hidden}")


def _policy(file_digest: str, root: Table) -> Policy:
    assets = root.named("assets", _asset)
    quorums = root.table("change_quorum")
    watchtower = root.table("watchtower")
    policy = Policy(
        digest=file_digest,
        version=root.value("version", _whole_number(1, 10**9)),
        previous=root.value("previous", fields.digest_or_none),
        watchtower=watchtower.value("key", fields.key),
        assets=assets,
        people=root.named("people", _keys),
        groups=root.named("groups", _members),
        services=root.named("services", _keys),
        requesters=root.named("requesters", _keys),
        wallets=root.named("wallets", partial(_wallet, assets)),
        rules=(),
        policy_quorum=quorums.values("policy", parse_seats),
        book_quorum=quorums.values("book", parse_seats),
        change_delay=quorums.value("delay", parse_duration),
    )
    quorums.done()
    watchtower.done()
    return check(policy, root.array("rules", partial(_rule, policy)))


def _asset(name: str, table: Table) -> Asset:
    _named(fields.asset, name, table)
    return Asset(
        name=name,
        network=table.value("network", fields.network),
        decimals=table.value("decimals", _whole_number(0, DECIMALS_MAX)),
    )


def _keys(name: str, table: Table) -> frozenset[str]:
    _named(fields.name, name, table)
    keys = table.values("keys", fields.key)
    if not keys:
        raise EntryError((*table.path, "keys"), "needs at least one key")
    return frozenset(keys)


def _members(name: str, table: Table) -> frozenset[str]:
    _named(fields.name, name, table)
    return frozenset(table.values("members", fields.name))


def _wallet(assets: Mapping[str, Asset], name: str, table: Table) -> Wallet:
    _named(fields.name, name, table)
    asset = table.value("asset", one_of(*assets))
    amount = partial(parse_units, asset=asset, decimals=assets[asset].decimals)
    tier = table.value("tier", _member(WalletTier))
    return Wallet(
        name=name,
        enabled=table.value("enabled", _boolean),
        tier=tier,
        asset=asset,
        address=table.value("address", fields.address),
        signer=table.value("signer", fields.key),
        key_origin=table.value("key_origin", _member(KeyOrigin)),
        cap=table.value("cap", amount),
        maximum_fee=table.value("maximum_fee", amount),
        nonce_pool=table.value("nonce_pool", _whole_number(1, NONCE_POOL_MAX)),
        beyond_recall=table.value("beyond_recall", amount),
        sweep=_sweep(amount, table.table("sweep")) if tier is WalletTier.HOT else None,
        windows=table.array("windows", partial(_window, amount)),
    )


def _sweep(amount: Callable[[object], int], table: Table) -> Sweep:
    sweep = Sweep(
        to=table.value("to", fields.address),
        fee=table.value("fee", amount),
        count=table.value("count", _whole_number(1, SWEEPS_MAX)),
    )
    table.done()
    return sweep


def _window(amount: Callable[[object], int], table: Table) -> Window:
    return Window(
        scope=table.value("of", _member(Scope)),
        period=table.value("period", parse_period),
        amount=table.value("amount", amount),
        count=table.value("count", _whole_number(0, COUNT_MAX)),
    )


def _rule(policy: Policy, table: Table) -> Rule:
    wallet = policy.wallets[table.value("wallet", one_of(*policy.wallets))]
    decimals = policy.assets[wallet.asset].decimals
    amount = partial(parse_units, asset=wallet.asset, decimals=decimals)
    destination, service = table.value("destination", partial(_destination, policy))
    return Rule(
        name=table.value("name", fields.name),
        wallet=wallet.name,
        requester=table.value("requester", one_of(*policy.requesters)),
        destination=destination,
        service=service,
        hours=table.value("hours", parse_hours),
        cooling_period=table.value("cooling_period", parse_duration),
        cooling_amount=table.value("cooling_amount", amount),
        tiers=table.array("tiers", partial(_tier, policy, amount)),
    )


def _destination(policy: Policy, value: object) -> tuple[DestinationClass, str]:
    word, _, service = value.partition(" by ") if isinstance(value, str) else ("", "", "")
    plain = [str(kind) for kind in DestinationClass if kind is not DestinationClass.ATTESTED]
    if word == DestinationClass.ATTESTED and service in policy.services:
        return DestinationClass.ATTESTED, service
    if word == DestinationClass.ATTESTED and service:
        raise ValueError(f"{service} is not among the services")
    if service or word not in plain:
        named = [f"attested by {name}" for name in policy.services]
        raise ValueError(f"must be one of: {', '.join([*plain, *named])}")
    return DestinationClass(word), ""


def _tier(policy: Policy, amount: Callable[[object], int], table: Table) -> Tier:
    return Tier(
        up_to=table.value("up_to", amount),
        services=frozenset(table.values("services", one_of(*policy.services))),
        people=table.values("people", _path),
        delay=table.value("delay", parse_duration),
    )


def _path(value: object) -> tuple[Seats, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError('must be lists of seats, for example [["1 of operations", "1 of risk"]]')
    seats = tuple(parse_seats(item) for item in value)
    if len({seat.group for seat in seats}) != len(seats):
        raise ValueError("names a group twice in one path: add the numbers up")
    return seats


def _named(parse: Callable[[object], str], name: str, table: Table) -> None:
    try:
        parse(name)
    except ValueError as error:
        raise EntryError(table.path, f"its name {error}") from error


def one_of(*allowed: str) -> Callable[[object], str]:
    """Return a parser of exactly these words."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"must be one of: {', '.join(allowed) or 'none is defined'}")
        return value

    return parse


def _member(kind: type[E]) -> Callable[[object], E]:
    choose = one_of(*kind)
    return lambda value: kind(choose(value))


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _whole_number(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return parse
