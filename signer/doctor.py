"""`signer doctor`: what keeps this signer from signing, and the way out, one line each.

It looks at isolation, journal, token and policy, in the order in which `signer serve` needs them,
and stops at the first that makes the rest unknowable. It tries the PIN once, and not at all
where the token has only one try left. `signer serve` loads none of this.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from policies.policy import Policy
from policies.policy_file import parse_policy
from signer import anchor, hardening
from signer.chains.solana_address import encode_address
from signer.clock import Clock, look
from signer.governance import Governance
from signer.guard import AUDIT_LABEL
from signer.hsm import Token
from signer.journal import Journal, JournalError
from signer.pin import PinUnreadableError, read_pin
from signer.pkcs11 import HsmError, PinLockedError, TokenMissingError, WrongPinError
from signer.settings import Settings
from signer.setup import read_status

_RUNBOOK = "docs/runbooks/recover.md"
_RECOVER = f"by quorum: signer recover prepare FILE ({_RUNBOOK})"


class UnwellError(ValueError):
    """The signer cannot sign; what was printed says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and what to do next: "" where all is well."""

    what: str
    found: str
    do: str = ""


def doctor(settings: Settings, _: argparse.Namespace) -> None:
    """Print every finding; UnwellError when there is something to do."""
    unwell = False
    for finding in examine(settings):
        print(f"{'PROBLEM' if finding.do else 'ok':8} {finding.what:9} {finding.found}")
        if finding.do:
            print(f"{'':8} {'next':9} {finding.do}")
            unwell = True
    if unwell:
        raise UnwellError("this signer does not sign as it should: see above")


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what is found, in the order in which serving needs it."""
    yield _isolation()
    serving = _serving(settings)
    if serving:
        yield from serving
        return
    journal = _journal(settings)
    if isinstance(journal, Finding):
        yield journal
    token = _token(settings)
    if isinstance(token, Finding):
        yield token
        return
    yield Finding("token", f"{settings.token}, the PIN fits")
    keys = token.keys()
    if AUDIT_LABEL not in keys:
        yield Finding("token", "it holds no audit key", "make a token with signer init")
    elif isinstance(journal, Journal):
        yield from _agreement(token, journal)
    token.close()
    if isinstance(journal, Journal):
        journal.close()


def _isolation() -> Finding:
    try:
        hardening.assert_isolated()
    except hardening.HardeningError as error:
        return Finding("network", "more than lo is seen from here (as serve would)", str(error))
    return Finding("network", "only lo")


def _serving(settings: Settings) -> list[Finding] | None:
    """Ask a signer that serves already; None when there is none."""
    try:
        status = read_status(settings.socket)
    except ValueError:
        return None
    name = f"a signer serves journal {status.journal}, entry {status.sequence}"
    if not status.locked:
        return [Finding("serving", f"{name}, and signs")]
    return [
        Finding(
            "serving", f"{name}: {status.locked}: {status.locked_message}", _way_out(status.locked)
        )
    ]


def _way_out(code: str) -> str:
    ways = {
        "JOURNAL_BEHIND": f"stop it; put the newest journal file back, or recover {_RECOVER}",
        "JOURNAL_FOREIGN": f"stop it; put the token's own journal back, or recover {_RECOVER}",
        "CLOCK_DIFFERS": "set the host's clock right; if the new time is right, restart the host",
    }
    return ways.get(code, "see docs/runbooks/")


def _journal(settings: Settings) -> Journal | Finding:
    try:
        return Journal(settings.journal)
    except JournalError as error:
        if "another signer" in str(error):
            return Finding("journal", str(error), "stop the other process that holds it")
        return Finding("journal", str(error), f"put a copy back, or recover {_RECOVER}")


def _token(settings: Settings) -> Token | Finding:
    try:
        return Token.open(settings.module, settings.token, read_pin(settings.pin_file))
    except PinUnreadableError as error:
        return Finding("pin", str(error), "mend the file; signer serve reads it at each start")
    except WrongPinError as error:
        do = "find the right PIN; or set a new one with the SO PIN's keyholders: signer pin"
        return Finding("pin", str(error), do)
    except PinLockedError as error:
        return Finding("pin", str(error), "with the SO PIN's keyholders: signer pin")
    except TokenMissingError as error:
        return Finding("token", str(error), f"restore the token's backup ({_RUNBOOK})")
    except HsmError as error:
        return Finding("token", str(error), "mend module and token, then look again")


def _agreement(token: Token, journal: Journal) -> Iterator[Finding]:
    lock = anchor.find_lock(journal, token.records())
    if lock:
        yield Finding("journal", f"{lock.code}: {lock.message}", _way_out(lock.code))
    else:
        words = f"{journal.name}, {journal.sequence} entries, the one that the token remembers"
        yield Finding("journal", words)
    clock = Clock(journal.last_moment(), look)
    if differs := clock.refuse(clock.now()):
        yield Finding("clock", differs.message, _way_out(differs.code))
    file = Governance(journal).policy()
    if file is None:
        do = "signer policy install FILE SIGNATURES; in a new instance signer recover"
        yield Finding("policy", "none in force", do)
    else:
        yield from _policy(token, parse_policy(file))


def _policy(token: Token, policy: Policy) -> Iterator[Finding]:
    yield Finding("policy", f"version {policy.version}, {policy.digest}")
    keys = token.keys()
    for wallet in policy.wallets.values():
        held = wallet.name in keys and encode_address(keys[wallet.name]) == wallet.address
        if held:
            yield Finding("wallet", f"{wallet.name} is held")
        elif wallet.name in keys:
            do = "restore the token that holds it, or name this key's address in the policy"
            yield Finding("wallet", f"{wallet.name}'s key has another address", do)
