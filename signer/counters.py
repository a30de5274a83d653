"""What each wallet let through, kept for the windows. Keyed by wallet, asset, scope and holder.

Neither a policy version nor a renamed rule resets a counter. One that a recovered journal never saw
starts full, but that of upkeep: the nonces have to be advanced before anything else is signed.
"""

from collections.abc import Iterable, Mapping

from policies.windows import Counter, Period, Scope, Usage
from signer.journal import Journal

_IDLE_TICKS = Period.MONTH.value + 2 * Period.MONTH.width
_WHERE = "WHERE (wallet, asset, scope, holder) = (?, ?, ?, ?)"


def usage(
    journal: Journal, wallet: tuple[str, str], counters: Iterable[Counter]
) -> Mapping[Counter, Usage]:
    """Return what each of these counters of a (wallet, asset) let through."""
    return {counter: _read(journal, wallet, counter) for counter in counters}


def charge(
    journal: Journal, wallet: tuple[str, str], counters: Iterable[Counter], cost: int, tick: int
) -> None:
    """Count one transaction of `cost` base units, inside an entry of the journal."""
    for counter in counters:
        buckets = _read(journal, wallet, counter).add(tick, cost).encode()
        values = (*wallet, counter.scope, counter.holder, buckets, tick)
        journal.db.execute("INSERT OR REPLACE INTO counter VALUES (?, ?, ?, ?, ?, ?)", values)
    # A destination's counter of which every window has let go.
    if journal.recovered is None or tick - journal.recovered > _IDLE_TICKS:
        journal.db.execute(
            "DELETE FROM counter WHERE (wallet, asset, scope, holder) IN (SELECT wallet, asset,"
            " scope, holder FROM counter WHERE scope = 'destination' AND tick < ? LIMIT 16)",
            (tick - _IDLE_TICKS,),
        )


def _read(journal: Journal, wallet: tuple[str, str], counter: Counter) -> Usage:
    where = (*wallet, counter.scope, counter.holder)
    row = journal.db.execute(f"SELECT buckets FROM counter {_WHERE}", where).fetchone()  # noqa: S608
    if row:
        return Usage.decode(row[0])
    if journal.recovered is None or counter.scope is Scope.UPKEEP:
        return Usage()
    return Usage.full(journal.recovered)
