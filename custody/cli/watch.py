"""`custody approval watch`: tells an officer of each withdrawal that needs them, once, by a hook.

Invariant: what is told as a request was verified here. What custody shows and no signed bytes say
is told as NOT VERIFIED.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from custody.cli.approval_record import verified_rows
from custody.cli.memory import keep, recall
from custody.cli.output import amount_words, clipped, plain, print_line, print_note, utc
from custody.cli.session import (
    CommandError,
    connect,
    own_name,
    settings,
    shown_policy,
    trusted_policy,
    unix_ms,
)
from custody.cli.trust import RefusedAnywayError, UntrustedError, Verified, verify_withdrawal
from custody.client import CustodyClient, CustodyUnreachableError
from custody.client_config import ClientConfig
from policies.policy import Policy

LOOK_SECONDS = 10.0
HOOK_SECONDS = 30.0
HOUR_MS = 3_600_000
_UNSAFE = re.compile(r"[^\w .,:/+-]", re.ASCII)  # in a shell, a mail's head or a JSON string

Hook = Annotated[Path | None, Parameter(help="A program to run for each; see docs/officers.md.")]
Remind = Annotated[PositiveInt, Parameter(help="Hours before it expires to be told again.")]
Once = Annotated[bool, Parameter(negative=(), help="Look once and end: for cron or a timer.")]


@dataclass(frozen=True, slots=True)
class News:
    """One thing to tell: `event` is pending, reminder or unverified; `about` what it is about."""

    event: str
    about: str
    subject: str
    text: str

    @property
    def mark(self) -> str:
        """What is remembered as told; of lies each, or one would hide another."""
        return f"{self.event}: {self.text}" if self.event == "unverified" else self.event


def watch(*, hook: Hook = None, remind: Remind = 1, once: Once = False) -> None:
    """Tell of each withdrawal that needs your decision, once, and again before it expires.

    The hook gets the verified record on standard input, and KURA_EVENT (pending, reminder,
    unverified), KURA_SUBJECT and KURA_WITHDRAWAL in its environment. One that fails is run again at
    the next look.

    For example: custody approval watch --hook ./mail.sh
    """
    config = settings()
    own_name(config)
    if hook and not os.access(hook, os.X_OK):  # now, not when somebody has to be told
        raise CommandError(f"{hook} is no program that can be run here")
    with connect(config) as custody:
        if config.policy_digest is None:
            trusted_policy(custody, config)  # warns
        while True:
            try:
                failed = _look(custody, config, hook, remind * HOUR_MS)
            except CustodyUnreachableError as error:
                if once:
                    raise
                print_note(f"{error}; looking again")
            else:
                if once and failed:
                    raise CommandError(f"{failed} could not be told: the next look tries again")
            if once:
                return
            time.sleep(LOOK_SECONDS)


def _look(custody: CustodyClient, config: ClientConfig, hook: Path | None, remind: int) -> int:
    """Tell what was not told before; return how much could not be."""
    file = config.file.with_suffix(".watched.json")
    past, failed = recall(file), 0
    now: dict[str, list[str]] = {}
    for news in _news(custody, config, remind):
        told = now.setdefault(news.about, past.get(news.about, []))
        if news.mark in told:
            continue
        problem = _tell(hook, news)
        if problem:
            failed += 1
            print_note(f"not told: {news.event}: {news.subject}: {problem}", "bold red")
        else:
            told.append(news.mark)
            keep(file, {**past, **now})
    keep(file, now)
    return failed


def _news(custody: CustodyClient, config: ClientConfig, remind: int) -> Iterator[News]:
    try:
        policy = shown_policy(custody, config)
    except UntrustedError as error:
        subject = "NOT VERIFIED: custody shows another policy than the one you pinned"
        yield News("unverified", "policy", subject, str(error))
        return
    for shown in custody.list_pending_approvals():
        try:
            verified = verify_withdrawal(shown.name, shown, policy, unix_ms())
        except UntrustedError as error:
            subject = "NOT VERIFIED: custody shows a withdrawal that nobody signed so"
            yield News("unverified", clipped(shown.name), subject, str(error))
        except RefusedAnywayError:
            continue  # nothing that an officer decides would let it through
        else:
            if verified.needs(own_name(config)):
                yield _needed(verified, policy, remind)


def _needed(verified: Verified, policy: Policy, remind: int) -> News:
    intent = verified.intent
    amount = amount_words(policy, str(intent.amount), intent.asset)
    subject = f"{amount} from {intent.wallet} to {intent.destination.address}"
    subject += f", asked by {intent.requester}: decide until {utc(intent.expires)}"
    text = "".join(
        f"{label:16}{plain(value)}\n" for label, value in verified_rows(verified, policy)
    )
    text += f"\ncustody approval show {verified.digest}\n"
    event = "reminder" if intent.expires - unix_ms() <= remind else "pending"
    return News(event, verified.name, subject, text)


def _tell(hook: Path | None, news: News) -> str:
    """Run the hook, or print; return what went wrong, nothing when it was told."""
    subject = _UNSAFE.sub("?", plain(news.subject))
    if hook:
        facts = {"KURA_EVENT": news.event, "KURA_SUBJECT": subject}
        facts["KURA_WITHDRAWAL"] = _UNSAFE.sub("?", plain(news.about))
        try:
            done = subprocess.run(
                [hook.absolute()],
                input=news.text,
                text=True,
                timeout=HOOK_SECONDS,
                check=False,
                env={**os.environ, **facts},
            )
        except subprocess.TimeoutExpired:
            return f"{hook} did not end within {HOOK_SECONDS:.0f} s"
        except OSError as error:
            return f"{hook}: {error.strerror}"
        if done.returncode:
            return f"{hook} ended with exit code {done.returncode}"
    print_line(f"{news.event}: {subject}")
    return ""
