"""`custody approval`: an officer's decisions. Everything is verified here before it is shown."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from cyclopts import App, Parameter
from cyclopts.types import PositiveInt

from custody.cli.approval_record import print_verified
from custody.cli.both import Taken, deliver
from custody.cli.confirm import confirm
from custody.cli.memory import Words, keep, recall
from custody.cli.output import (
    amount_words,
    clipped,
    print_line,
    print_note,
    print_record,
    print_table,
    spoken,
    utc,
)
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
from custody.cli.tower import Watchtower
from custody.cli.trust import RefusedAnywayError, UntrustedError, Verified, verify_withdrawal
from custody.cli.watch import watch
from custody.cli.withdrawal_record import known_state, state_words
from custody.client import CustodyClient, CustodyRefused, CustodyUnreachableError, State
from custody.client_config import ClientConfig
from custody.keys import SigningKey
from kura.custody.v1 import custody_pb2 as wire
from policies.policy import Policy
from policies.statements import Approval, Signed

DAY_HOURS = 24
REJECTION_HOURS = 7 * 24 + 1  # no intent lives longer, dated 30 s ahead or not
_HEAD = ("NEWS", "AMOUNT", "REQUESTER", "TO", "RULE", "DECIDED", "STILL NEEDS", "YOU", "NAME")
app = App(name="approval")
app.command(watch)
Name = Annotated[str, Parameter(help="withdrawals/DIGEST, or the digest alone.")]
Hours = Annotated[PositiveInt, Parameter(name="--expires-in", help="Hours until it lapses.")]
Yes = Annotated[bool, Parameter(negative=(), help="Do not ask for the first word.")]
_Signing: TypeAlias = Callable[[str], Signed]  # under the policy of this digest


@app.command(name="list")
def list_pending() -> None:
    """List the withdrawals that wait for officers, oldest first, and what changed since last time.

    For example: custody approval list
    """
    config = settings()
    with connect(config) as custody:
        policy = trusted_policy(custody, config)
        shown = list(custody.list_pending_approvals())
    file = config.file.with_suffix(".listed.json")
    past, now = recall(file), dict[str, list[str]]()
    if shown:
        print_table(_HEAD, [_row(item, policy, config.name, past, now) for item in shown])
    else:
        print_line("nothing waits for officers")
    keep(file, now)
    for name in sorted(past.keys() - {item.name for item in shown}):
        print_note(f"no longer waits for officers: {name}; custody withdrawal show tells why")


@app.command
def show(name: Name, /) -> None:
    """Verify one withdrawal on this machine and show what is asked.

    For example: custody approval show 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0…
    """
    with _shown(name):
        pass


@app.command
def approve(name: Name, /, *, yes: Yes = False, expires_in: Hours = DAY_HOURS) -> None:
    """Verify one withdrawal on this machine, then sign and send your approval of it.

    For example: custody approval approve 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c1…
    """
    with _shown(name) as case:
        case.check_worth_approving()
        signed = case.deciding("approve", expires_in, yes=yes)
        sent = case.custody.send_approval(case.verified.name, signed(case.policy.digest))
    needs = " and ".join(sent.approvals_missing)
    words = f"approve is sent; custody says {state_words(sent)}"
    print_line(f"{words}, still needs {needs}" if needs else words)


@app.command
def reject(name: Name, /, *, yes: Yes = False) -> int:
    """Verify one withdrawal on this machine, then sign and send your rejection: it ends there.

    It goes to custody and to the watchtower; one of them is enough. What custody does not show is
    rejected by its digest, under the policy that you pinned. A signer that stands in another
    version is told under that one too.

    For example: custody approval reject 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15…
    """
    config, asked = settings(), withdrawal_name(name)
    try:
        with _shown(name) as case:
            policy, signed = case.policy.digest, case.deciding("reject", REJECTION_HOURS, yes=yes)
    except (CustodyRefused, CustodyUnreachableError, UntrustedError) as error:
        if config.policy_digest is None:
            raise
        policy, signed = config.policy_digest, _reject_unseen(config, asked, error, yes=yes)

    def in_custody(custody: CustodyClient) -> Taken:
        sent = custody.send_approval(asked, signed(policy))
        return Taken(f"rejected; it says {state_words(sent)}")

    def in_watchtower(watchtower: Watchtower) -> Taken:
        told = {signer.policy for signer in watchtower.get_status().signers} - {""} | {policy}
        refusals = list[CustodyRefused]()
        for one in sorted(told):
            try:
                watchtower.create_rejection(signed(one))
            except CustodyRefused as error:  # who rejects may be nobody in that version
                refusals.append(error)
        if len(refusals) == len(told):
            raise refusals[-1]
        words = "a signer that has not heard of it gets no lease; what is signed stays signed"
        return Taken(f"rejected; {words}")

    if deliver(config, in_custody, in_watchtower):
        return 0
    print_note("NOT REJECTED: nobody took it. Try again, and tell the other officers", "bold red")
    return 1


@dataclass(frozen=True, slots=True)
class _Case:
    """One withdrawal before one officer."""

    custody: CustodyClient
    config: ClientConfig
    policy: Policy
    verified: Verified
    state: State | None

    def check_worth_approving(self) -> None:
        """Stop an approval that changes nothing. A rejection is stopped by no word of custody's."""
        if self.state and self.state.ended:
            words = f"it has ended, custody says {self.state}"
            raise CommandError(f"{words}: there is nothing to decide, and nothing was signed")
        name = own_name(self.config)
        valid = [item.approval for item in self.verified.decisions if item.state == "valid"]
        for made in valid:
            if made and (made.approver, made.decision) == (name, "approve"):
                words = f"your approve is there already, until {utc(made.expires)}"
                raise CommandError(f"{words}: nothing more was signed")

    def deciding(self, decision: str, hours: int, *, yes: bool) -> _Signing:
        """Ask, and return what signs the decision; CommandError for who is not asked."""
        name, asked = own_name(self.config), self.verified.asked_people()
        if name not in asked:
            people = ", ".join(sorted(asked)) or "nobody"
            raise CommandError(f"you are {name}, and the policy asks {people}")
        if not yes:
            confirm(f"{decision} it", self.verified.digest)
        key = own_key(self.config)
        if key.public not in self.policy.approver_keys(name):
            words = f"the policy does not know {key.public} as a key of {name}"
            raise CommandError(f"{words}: nothing was signed")
        return _signing(key, decision, self.verified.digest, name, hours)


def _reject_unseen(config: ClientConfig, asked: str, error: Exception, *, yes: bool) -> _Signing:
    """Ask, and return what signs the rejection of what only its digest is known of."""
    name, intent = own_name(config), asked.removeprefix("withdrawals/")
    print_note(str(error), "yellow")
    print_note("only the digest is shown", "yellow")
    print_record((("digest", intent), ("in words", spoken(intent))))
    if not yes:
        confirm("reject it", intent)
    return _signing(own_key(config), "reject", intent, name, REJECTION_HOURS)


def _signing(key: SigningKey, decision: str, intent: str, name: str, hours: int) -> _Signing:
    expires = hours_from_now(hours)

    def sign(policy: str) -> Signed:
        return key.sign(
            Approval(
                key=key.public,
                decision=decision,
                intent=intent,
                approver=name,
                policy=policy,
                expires=expires,
            )
        )

    return sign


@contextmanager
def _shown(name: str) -> Iterator[_Case]:
    config, asked = settings(), withdrawal_name(name)
    with connect(config) as custody:
        policy = trusted_policy(custody, config)
        shown = custody.get_withdrawal(asked)
        verified = verify_withdrawal(asked, shown, policy, unix_ms())
        print_verified(verified, policy)
        yield _Case(custody, config, policy, verified, known_state(shown))


def _row(
    shown: wire.Withdrawal, policy: Policy, person: str | None, past: Words, now: Words
) -> tuple[str, ...]:
    """Return one line, and note in `now` what it says, to compare with next time."""
    try:
        verified = verify_withdrawal(shown.name, shown, policy, unix_ms())
    except (UntrustedError, RefusedAnywayError) as error:
        blanks = [""] * (len(_HEAD) - 2)
        return ("NOT VERIFIED", *blanks, f"{clipped(shown.name)}: {error}")
    intent = verified.intent
    decided = [item.words for item in verified.decisions if item.state == "valid"]
    needs = " or ".join(" and ".join(map(str, asked.missing)) for asked in verified.asked)
    now[verified.name] = sorted(decided)
    return (
        _news(past.get(verified.name), now[verified.name]),
        amount_words(policy, str(intent.amount), intent.asset),
        intent.requester,
        intent.destination.address,
        " or ".join(asked.rule for asked in verified.asked),
        ", ".join(decided) or "nobody yet",
        needs,
        _part(verified, person),
        verified.name,
    )


def _news(before: Sequence[str] | None, now: Sequence[str]) -> str:
    """Return what changed since the last list, "" for nothing."""
    if before is None:
        return "new"
    made = [words for words in now if words not in before]
    lapsed = [f"no more {words}" for words in before if words not in now]
    return f"changed: {', '.join((*made, *lapsed))}" if made or lapsed else ""


def _part(verified: Verified, person: str | None) -> str:
    if person is None:
        return ""
    if verified.decided(person):
        return "decided"
    return "needed" if verified.needs(person) else "not needed"
