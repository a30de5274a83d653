"""`custody policy blast-radius`: the most that can leave, for each thing an attacker may hold."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from custody.cli.output import print_line, print_table
from policies.blast_radius import (
    UPKEEP,
    Position,
    Row,
    advance_fees,
    blast_radius,
    needed,
)
from policies.durations import format_duration, parse_period
from policies.policy import Policy, Wallet
from policies.units import format_units
from policies.windows import Period

_NOTES = (
    "Each figure is an upper bound of what is signed, fees and custody's own upkeep included, if"
    " nothing was signed before; what was, and is not yet final, can land on top of it. Hours,"
    " cooling periods and delays are left out, since they only make it less; so is what moves"
    " between our own wallets, but for its fees."
)


def print_blast_radius(
    policy: Policy, wallet: str | None, destinations: int | None, schedule: str | None
) -> None:
    """Print a table of each wallet, what its rows mean, and a period's schedules."""
    if wallet is not None and wallet not in policy.wallets:
        raise ValueError(f"no wallet is called {wallet}; there are: {', '.join(policy.wallets)}")
    period = _period(schedule)
    for found in [policy.wallets[wallet]] if wallet else policy.wallets.values():
        rows = list(blast_radius(policy, found, destinations))
        _print_wallet(policy, found, rows)
        for row in rows:
            if row.period is period:
                _print_schedule(policy, found, row)
    for line in _notes(policy, destinations):
        print_line(line)


def _period(text: str | None) -> Period | None:
    try:
        return None if text is None else parse_period(text)
    except ValueError as error:
        raise ValueError(f"--schedule {text}: {error}") from error


def _print_wallet(policy: Policy, wallet: Wallet, rows: Sequence[Row]) -> None:
    units = _units(policy, wallet)
    print_line(f"{wallet.name}: the most that can leave in any")
    positions = [(of, list(group)) for of, group in groupby(rows, lambda row: row.position)]
    table = [
        (_name(policy, wallet, position), *(units(row.amount) for row in group))
        for position, group in positions
    ]
    key = f"the key of {wallet.name} itself"
    table.append((key, *("everything" for _ in Period)))
    print_table(("an attacker who holds", *map(str, Period)), table)
    if not wallet.enabled:
        words = "its signer pays nobody, but still advances nonces, for a fee"
        print_line(f"  {wallet.name} is disabled: {words}.")
    for position, _ in positions:
        print_line(f"  {_name(policy, wallet, position)}: {_meaning(position)}.")
    print_line(f"  {key}: {_with_the_key(wallet, units)}.")
    words = (
        f"At most {units(wallet.beyond_recall)} of withdrawals (beyond_recall) is signed and not"
    )
    print_line(
        f"{words} yet final: so much lands after a freeze at most, unless the watchtower lies."
    )
    print_line(f"On top, {_advances(wallet, units)}.")
    print_line("")


def _advances(wallet: Wallet, units: Callable[[int], str]) -> str:
    """Return what custody can burn besides: what kills a withdrawal must not wait for a window."""
    words = "each withdrawal can be followed by one advance of its nonce, at"
    words += f" {units(wallet.maximum_fee)} at most, which no window counts: for the withdrawals of"
    fees = (f"{period} {units(amount)}" for period, amount in advance_fees(wallet))
    return f"{words} any {', '.join(fees)}"


def _with_the_key(wallet: Wallet, units: Callable[[int], str]) -> str:
    """Return what its thief can do, and what the alarm sweep saves of it."""
    words = "pays without the signer; no policy limits it, and one transaction can take everything"
    if wallet.sweep is None:
        return words
    sweep, fees = wallet.sweep, units(wallet.sweep.fee * wallet.sweep.count)
    words += f". What it leaves, and what comes in later, the signer sends to {sweep.to} as soon as"
    return f"{words} the watchtower shows it the theft, if it is the faster; in fees at most {fees}"


def _print_schedule(policy: Policy, wallet: Wallet, row: Row) -> None:
    units = _units(policy, wallet)
    print_line(f"{_name(policy, wallet, row.position)}: {units(row.amount)} in {row.period}")
    print_table(
        ("after", "amount", "transactions", "in which"),
        [
            (
                _after(spend.offset),
                units(spend.amount),
                "" if spend.source == UPKEEP else str(spend.count),
                spend.source,
            )
            for spend in row.schedule
        ],
    )
    print_line("")


def _name(policy: Policy, wallet: Wallet, position: Position) -> str:
    """Return what the attacker holds: "custody, exchange, 2 people"."""
    asking = {rule.requester for rule in policy.rules if rule.wallet == wallet.name}
    every = position.requesters == asking and len(asking) > 1
    held = ["custody", *(["every requester"] if every else sorted(position.requesters))]
    held += sorted(position.services)
    people = f"{position.people} {'person' if position.people == 1 else 'people'}"
    return ", ".join([*held, people] if position.people else held)


def _meaning(position: Position) -> str:
    if not position.requesters:
        return "outstanding intents of requesters, plus upkeep: so much in fees and rents"
    number = position.people
    approve = "approves" if number == 1 else "approve"
    who = f"{number} of those whom the rules ask {approve}" if number else "nobody approves"
    named = sorted(position.services)
    services = f", with {' and '.join(named)}" if named else ""
    asks = "any requester" if len(position.requesters) > 1 else next(iter(position.requesters))
    return f"asks in the name of {asks}, and {who}{services}"


def _notes(policy: Policy, destinations: int | None) -> Iterator[str]:
    yield _NOTES
    if destinations is None:
        yield "The address book may list any number of destinations; --destinations says how many."
    else:
        quorum = needed([policy.book_quorum])
        yield f"The address book lists {destinations}; {quorum} who may change it list any number."
    seats = " and ".join(map(str, policy.policy_quorum))
    delay = format_duration(policy.change_delay)
    words = f"Those who may change the policy ({seats}) can sign another one: it is in force"
    yield f"{words} after {delay}, unless an officer vetoes it."


def _units(policy: Policy, wallet: Wallet) -> Callable[[int], str]:
    decimals = policy.assets[wallet.asset].decimals
    return lambda amount: format_units(amount, wallet.asset, decimals)


def _after(offset: int) -> str:
    """Return "2d 01:00:00.001" for so many ms."""
    seconds, milliseconds = divmod(offset, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}d {hour:02}:{minute:02}:{second:02}.{milliseconds:03}"
