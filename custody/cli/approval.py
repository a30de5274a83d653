"""`custody approval`: an officer's decisions. Everything is verified here before it is shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import PositiveInt

from custody.cli.approval_record import print_verified
from custody.cli.output import amount_words, print_line, print_table
from custody.cli.session import (
    CommandError,
    connect,
    hours_from_now,
    own_key,
    own_name,
    settings,
    trusted_policy,
    unix_ms,
    withdrawal_name,
)
from custody.cli.trust import RefusedAnywayError, UntrustedError, Verified, verify_withdrawal
from custody.client import CustodyClient, state_of
from custody.client_config import ClientConfig
from custody.words import digest_words
from kura.custody.v1 import custody_pb2 as wire
from policies.policy import Policy
from policies.statements import Approval

DAY_HOURS = 24
app = App(name="approval")
Name = Annotated[str, Parameter(help="withdrawals/DIGEST, or the digest alone.")]
Hours = Annotated[PositiveInt, Parameter(name="--expires-in", help="Hours until it lapses.")]


@app.command(name="list")
def list_pending() -> None:
    """List the withdrawals that wait for officers, oldest first.

    For example: custody approval list
    """
    config = settings()
    with connect(config) as custody:
        policy = trusted_policy(custody, config)
        rows = [_row(item, policy) for item in custody.list_pending_approvals()]
    print_table(("AMOUNT", "REQUESTER", "TO", "STILL NEEDS", "NAME"), rows)


@app.command
def show(name: Name, /) -> None:
    """Verify one withdrawal on this machine and show what is asked.

    For example: custody approval show 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0…
    """
    with _shown(name):
        pass


@app.command
def approve(
    name: Name,
    /,
    *,
    yes: Annotated[bool, Parameter(negative=(), help="Do not ask for the first word.")] = False,
    expires_in: Hours = DAY_HOURS,
) -> None:
    """Verify one withdrawal on this machine, then sign and send your approval of it.

    For example: custody approval approve 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c1…
    """
    with _shown(name) as case:
        case.check_asked()
        if not yes:
            _confirm(case.verified)
        case.decide("approve", expires_in)


@app.command
def reject(name: Name, /, *, expires_in: Hours = DAY_HOURS) -> None:
    """Verify one withdrawal on this machine, then sign and send your rejection: it ends there.

    For example: custody approval reject 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15…
    """
    with _shown(name) as case:
        case.check_asked()
        case.decide("reject", expires_in)


@dataclass(frozen=True, slots=True)
class _Case:
    """One withdrawal before one officer."""

    custody: CustodyClient
    config: ClientConfig
    policy: Policy
    verified: Verified

    def check_asked(self) -> None:
        """Stop an officer whom the policy does not ask."""
        name = own_name(self.config)
        asked = self.verified.people_asked(self.policy)
        if name not in asked:
            people = ", ".join(sorted(asked)) or "nobody"
            raise CommandError(f"you are {name}, and the policy asks {people}")

    def decide(self, decision: str, hours: int) -> None:
        """Sign the decision, send it, say what became of the withdrawal."""
        key, name = own_key(self.config), own_name(self.config)
        if key.public not in self.policy.people.get(name, ()):
            words = f"the policy does not know {key.public} as a key of {name}"
            raise CommandError(f"{words}: nothing was signed")
        approval = Approval(
            key=key.public,
            decision=decision,
            intent=self.verified.digest,
            approver=name,
            policy=self.policy.digest,
            expires=hours_from_now(hours),
        )
        sent = self.custody.send_approval(self.verified.name, key.sign(approval))
        needs = " and ".join(sent.approvals_missing)
        words = f"{decision} is sent; custody says {state_of(sent)}"
        print_line(f"{words}, still needs {needs}" if needs else words)


@contextmanager
def _shown(name: str) -> Iterator[_Case]:
    config, asked = settings(), withdrawal_name(name)
    with connect(config) as custody:
        policy = trusted_policy(custody, config)
        verified = verify_withdrawal(asked, custody.get_withdrawal(asked), policy, unix_ms())
        print_verified(verified, policy)
        yield _Case(custody, config, policy, verified)


def _confirm(verified: Verified) -> None:
    try:
        typed = input("To approve it, type the first of the six words: ")
    except EOFError:
        typed = ""
    if typed.strip().lower() != digest_words(verified.digest)[0]:
        raise CommandError("that is not the first word: nothing was signed")


def _row(shown: wire.Withdrawal, policy: Policy) -> tuple[str, ...]:
    try:
        verified = verify_withdrawal(shown.name, shown, policy, unix_ms())
    except (UntrustedError, RefusedAnywayError) as error:
        return ("NOT VERIFIED", "", "", str(error), shown.name)
    intent = verified.intent
    needs = " or ".join(" and ".join(map(str, asked.missing)) for asked in verified.asked)
    amount = amount_words(policy, str(intent.amount), intent.asset)
    return (amount, intent.requester, intent.destination.address, needs, shown.name)
