"""What `custody policy` says of a file beside its own text. Pure."""

from collections.abc import Iterator

from policies.cases import Case, outcome
from policies.differences import differences
from policies.durations import format_duration
from policies.policy import Policy
from policies.spare import Spare


def spare_words(spare: Spare) -> str:
    """Return how many people more a quorum can lose."""
    more = " or more" if not spare.people else ""
    return f"{spare.losses}{more}, for {spare.quorum}"


def spare_warnings(spares: tuple[Spare, ...]) -> Iterator[str]:
    """Yield what one more loss would make impossible, and whose."""
    for spare in (spare for spare in spares if not spare.losses):
        names = " or ".join(name for names in spare.people for name in names)
        words = f"WARNING: one more loss and no {spare.what} is possible"
        yield f"{words}: {spare.quorum} cannot do without {names}"


def diff_lines(before: Policy, after: Policy) -> Iterator[str]:
    """Yield what changes, one line each, and when the new version acts."""
    found = differences(before, after)
    for item in found:
        yield f"{'tightens' if item.tightens else 'loosens '}  {item.words}"
    if not all(item.tightens for item in found):
        delay = format_duration(before.change_delay)
        yield f"It waits {delay}, in which any officer may veto it: not all of it tightens."
    elif found:
        yield "It is in force at once: all of it only tightens."
    else:
        yield "It changes nothing; it is in force at once."


def case_lines(policy: Policy, cases: tuple[Case, ...]) -> Iterator[tuple[str, bool]]:
    """Yield a line for each case, and whether what came is what was expected."""
    for case in cases:
        came, why = outcome(policy, case)
        if came == case.expect:
            yield f"holds  {case.say}", True
        else:
            yield f"FAILS  {case.say}: expected {case.expect}, but it is {came}: {why}", False
