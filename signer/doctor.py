"""`signer doctor`: what keeps this signer from signing, and the way out, one line each.

It looks at journal, token and policy, in the order in which `signer serve` needs them, and goes on
past what is wrong as far as the rest can be known. It tries the PIN once, and not at all when the
last one tried was wrong or the token has one try left. `signer serve` loads none of this.
"""

import argparse
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import PyKCS11 as P

from kura.signer.v1 import signer_pb2 as wire
from policies.fields import key_text, raw_key
from policies.freezes import ALL_WALLETS
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.spare import spares
from signer import anchor, hardening
from signer.chains.solana_address import encode_address
from signer.clock import Clock, look
from signer.governance import Governance
from signer.hsm import Token
from signer.journal import Journal, JournalError
from signer.keys import AUDIT_LABEL
from signer.pin import PinUnreadableError, read_pin
from signer.pkcs11 import (
    HsmError,
    PinLockedError,
    TokenMissingError,
    WrongPinError,
    find_slot,
    in_words,
    load,
)
from signer.settings import Settings
from signer.setup import lease_words, read_status

_RUNBOOK, _PIN = "docs/runbooks/recover.md", "docs/runbooks/pin.md"
_OFFICERS = "docs/runbooks/officers.md"
_RECOVER = f"by quorum: signer recover prepare FILE ({_RUNBOOK})"
_NEW_PIN = f"set a new one with the SO PIN's keyholders: signer pin ({_PIN})"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class UnwellError(ValueError):
    """The signer cannot sign; what was printed says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and what to do next: "" where all is well.

    `signs`: it signs nevertheless, so what is to be done can wait.
    """

    what: str
    found: str
    do: str = ""
    signs: bool = False


def doctor(settings: Settings, _: argparse.Namespace) -> None:
    """Print every finding; UnwellError when there is something to do."""
    unwell = False
    for finding in examine(settings):
        level = "ok" if not finding.do else "WARNING" if finding.signs else "PROBLEM"
        print(f"{level:8} {finding.what:9} {finding.found}")
        if finding.do:
            print(f"{'':8} {'next':9} {finding.do}")
            unwell |= not finding.signs
    if unwell:
        raise UnwellError("this signer does not sign as it should: see above")


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what is found, in the order in which serving needs it."""
    serving = _serving(settings)
    if serving:
        yield from serving
        return
    fit = True
    for finding in _at_rest(settings):
        yield finding
        fit &= finding.signs or not finding.do
    if fit:
        found = "no signer serves: nothing is signed, though nothing here keeps it from that"
        yield Finding("serving", found, "start signer serve", signs=True)


def _at_rest(settings: Settings) -> Iterator[Finding]:
    yield _isolation()
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
        yield from _agreement(token, journal, settings)
    token.close()
    if isinstance(journal, Journal):
        journal.close()


def _isolation() -> Finding:
    try:
        hardening.assert_isolated()
    except hardening.HardeningError as error:
        found = "this shell sees more than lo; signer serve does not start beside a network"
        return Finding("network", found, str(error), signs=True)
    return Finding("network", "only lo")


def _serving(settings: Settings) -> list[Finding] | None:
    """Ask a signer that serves already; None when there is none."""
    try:
        status = read_status(settings.socket)
    except ValueError:
        return None
    name = f"a signer serves journal {status.journal}, entry {status.sequence}"
    if status.locked:
        found = f"{name}: {status.locked}: {status.locked_message}"
        return [Finding("serving", found, _way_out(status.locked, settings))]
    if not status.policy:
        return [Finding("serving", name), _NO_POLICY]
    policy = parse_policy(status.policy)
    held = {key.wallet: raw_key(key.key) for key in status.keys}
    return [
        Finding("serving", f"{name}, and signs"),
        *_held_back(status, policy),
        *_version(policy),
        *_wallets(policy, status.audit_key, held),
    ]


def _held_back(status: wire.SignerStatus, policy: Policy) -> Iterator[Finding]:
    """What is not the signer's own: a lease comes by itself, a freeze is lifted by people."""
    hot = {wallet.signer for wallet in policy.wallets.values() if wallet.sweep}
    if status.audit_key in hot and not status.lease_until:
        do = "it comes by itself; if not, look at watchtower and relay: custody watchtower status"
        yield Finding("lease", lease_words(0), do, signs=True)
    for freeze in status.freezes:
        what = "all wallets" if freeze.wallet == ALL_WALLETS else freeze.wallet
        found = f"{what} by {freeze.person}, {freeze.digest}"
        do = "when the cause is known, the change quorum lifts it: custody freeze list, then lift"
        yield Finding("freeze", found, do)


def _way_out(code: str, settings: Settings) -> str:
    """Return what to do about a lock, and about a recovery that was begun and not finished."""
    ways = {
        "JOURNAL_BEHIND": f"stop it; put the newest journal file back, or recover {_RECOVER}",
        "JOURNAL_FOREIGN": f"stop it; put the token's own journal back, or recover {_RECOVER}",
        "CLOCK_DIFFERS": "set the host's clock right; if it is right and the journal's time was"
        " wrong: restart the host, and the watchtower's first lease confirms its clock",
    }
    return ways.get(code, f"see {_RUNBOOK}") + _begun(settings)


def _begun(settings: Settings) -> str:
    path = settings.journal.resolve()
    if path.with_name(path.name + ".recovered").exists():
        return ". A recovery was prepared: when its quorum has signed, signer recover apply"
    return ""


def _journal(settings: Settings) -> Journal | Finding:
    path = settings.journal
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        found = f"user {os.geteuid()} may not read and write {path}"
        return Finding("journal", found, "look as the user that signer serve runs as; or chown it")
    try:
        return Journal(path)
    except JournalError as error:
        if "another signer" in str(error):
            do = "if that is signer serve, look as its user; else stop what holds it"
            return Finding("journal", str(error), do)
        found = str(error).removesuffix(": signer doctor says what to do")
        do = f"put the newest copy back, or recover {_RECOVER}{_begun(settings)}"
        return Finding("journal", found, do)


def _token(settings: Settings) -> Token | Finding:
    try:
        if _tried_before(settings):
            found = "the last PIN tried was wrong, so none is tried here: tries are left to you"
            do = "mend the PIN file and start signer serve, which tries it once; or "
            return Finding("pin", found, do + _NEW_PIN)
        return Token.open(settings.module, settings.token, read_pin(settings.pin_file))
    except PinUnreadableError as error:
        return Finding("pin", str(error), "mend the file; signer serve reads it at each start")
    except WrongPinError as error:
        return Finding("pin", str(error), f"find the right PIN; or {_NEW_PIN}")
    except PinLockedError as error:
        return Finding("pin", str(error), _NEW_PIN)
    except TokenMissingError as error:
        return Finding("token", str(error), f"restore the token's backup ({_RUNBOOK})")
    except HsmError as error:
        return Finding("token", str(error), "mend module and token, then look again")


def _tried_before(settings: Settings) -> bool:
    """Tell whether the token has counted a wrong PIN since the last right one, and still asks."""
    with in_words(f"looking at token {settings.token!r}"):
        lib = load(settings.module)
        try:
            flags = lib.getTokenInfo(find_slot(lib, settings.token)).flags
        finally:
            lib.unload()
    spent = P.CKF_USER_PIN_FINAL_TRY | P.CKF_USER_PIN_LOCKED
    return bool(flags & P.CKF_USER_PIN_COUNT_LOW and not flags & spent)


def _agreement(token: Token, journal: Journal, settings: Settings) -> Iterator[Finding]:
    lock = anchor.find_lock(journal, token.records())
    if lock:
        found = f"{lock.code}: {lock.message}"
        yield Finding("journal", found, _way_out(lock.code, settings))
    else:
        words = f"{journal.name}, {journal.sequence} entries, the one that the token remembers"
        yield Finding("journal", words)
    if settings.journal.stat().st_mode & _OTHERS:
        do = f"chmod 600 {settings.journal}"
        yield Finding("journal", "its file is open to group or others", do, signs=True)
    clock = Clock(journal.last_moment(), look)
    if differs := clock.refuse(clock.now()):
        yield Finding("clock", differs.message, _way_out(differs.code, settings))
    file = Governance(journal).policy()
    if file is None:
        yield _NO_POLICY
        return
    keys, policy = token.keys(), parse_policy(file)
    yield from _version(policy)
    yield from _wallets(policy, key_text(keys[AUDIT_LABEL]), keys)


_NO_POLICY = Finding(
    "policy",
    "none in force",
    "the first signer: signer policy install FILE SIGNATURES; a new one beside or in place of"
    f" others: recover {_RECOVER}",
)


def _version(policy: Policy) -> Iterator[Finding]:
    yield Finding("policy", f"version {policy.version}, {policy.digest}")
    for spare in spares(policy):
        if spare.what == "change" and not spare.losses:
            names = " or ".join(name for names in spare.people for name in names)
            found = f"one more loss and no change is possible: {spare.quorum} cannot do without"
            do = f"name more people while that can be done ({_OFFICERS})"
            yield Finding("quorum", f"{found} {names}", do, signs=True)


def _wallets(policy: Policy, audit_key: str, held: Mapping[str, bytes]) -> Iterator[Finding]:
    """Compare what the policy says is here with what the token holds."""
    for wallet in policy.wallets.values():
        if wallet.signer == audit_key and wallet.name in held:
            if encode_address(held[wallet.name]) == wallet.address:
                yield Finding("wallet", f"{wallet.name} is held")
                continue
            do = "restore the token that holds it, or name this key's address in the policy"
            yield Finding("wallet", f"{wallet.name}'s key has another address", do)
        elif wallet.signer == audit_key:
            do = (
                "restore the token that holds it, or make the key (signer keygen) for a new version"
            )
            yield Finding("wallet", f"{wallet.name}'s key is not in this token", do)
        elif wallet.name in held:
            do = f"a policy version names this one, {audit_key}, if it is to sign"
            found = f"{wallet.name} is held, but the policy names another signer for it"
            yield Finding("wallet", found, do, signs=True)
