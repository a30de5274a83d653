"""When a signer gets a lease, and when its journal has gone back."""

from dataclasses import replace
from typing import Any

import pytest

from custody.watchtower.rules import Cause, Facts, Seen, journal_problem, lease_problem
from policies.statements import Hello
from tests.factories import public

JOURNAL, OTHER = "a" * 32, "b" * 32
HEAD, OTHER_HEAD = "1" * 64, "2" * 64
SEEN = Seen(JOURNAL, 7, HEAD, "")
FACTS = Facts(
    key=public("watchtower"),
    leases_of=public("watchtower"),
    policy_known=True,
    waiting=(),
    tighter=(),
    theft="",
    unmoved=(),
    chain="",
)


def hello(journal: str = JOURNAL, sequence: int = 7, head: str = HEAD) -> Hello:
    return Hello(
        key=public("audit"),
        question="a" * 64,
        challenge="c" * 64,
        journal=journal,
        sequence=sequence,
        head=head,
        policy="d" * 64,
        epoch="",
        freezes="e" * 64,
        lease="",
    )


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (None, hello(sequence=0)),  # heard of for the first time
        (SEEN, hello()),
        (SEEN, hello(sequence=8, head=OTHER_HEAD)),
        (Seen(JOURNAL, 0, "", ""), hello(sequence=0)),  # recovered, not seen yet
    ],
)
def test_a_journal_that_stands_or_goes_on_is_well(seen: Seen | None, said: Hello) -> None:
    assert journal_problem(seen, said) is None


@pytest.mark.parametrize(
    ("seen", "said", "cause", "words"),
    [
        (SEEN, hello(journal=OTHER, sequence=9), Cause.JOURNAL, f"on journal {OTHER}"),
        (SEEN, hello(sequence=6), Cause.ROLLBACK, "from entry 7 to 6"),
        (SEEN, hello(head=OTHER_HEAD), Cause.ROLLBACK, "another entry 7"),
        # Entries that came since do not make up for what was lost.
        (replace(SEEN, lost="it went back"), hello(sequence=9), Cause.ROLLBACK, "it went back"),
    ],
)
def test_a_journal_that_went_back_is_told(
    seen: Seen, said: Hello, cause: Cause, words: str
) -> None:
    problem = journal_problem(seen, said)
    assert problem
    assert problem.cause is cause
    assert words in problem.words


def test_a_lease_when_all_is_well() -> None:
    assert lease_problem(FACTS) is None


@pytest.mark.parametrize(
    ("changes", "cause", "words"),
    [
        ({"policy_known": False}, Cause.POLICY, "look at its log"),
        ({"leases_of": public("mallory")}, Cause.POLICY, "name this key"),
        ({"leases_of": ""}, Cause.POLICY, "of nobody"),
        ({"waiting": ["f" * 64]}, Cause.FREEZE, "f" * 64),
        ({"tighter": ["f" * 64]}, Cause.POLICY, f"policy version {'f' * 64}, which only tightens"),
        ({"theft": public("audit-2")}, Cause.THEFT, f"{public('audit-2')} was proven"),
        ({"unmoved": ["nonce-1", "nonce-2"]}, Cause.NONCES, "2 nonces"),
        ({"chain": "node stands still: look at it"}, Cause.CHAIN, "node stands still: look at it"),
    ],
)
def test_no_lease_while_anything_speaks_against_it(
    changes: dict[str, Any], cause: Cause, words: str
) -> None:
    problem = lease_problem(replace(FACTS, **changes))
    assert problem
    assert problem.cause is cause
    assert words in problem.words
