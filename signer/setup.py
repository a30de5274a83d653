"""What an operator does on the isolated host besides `serve`, which loads none of this."""

import argparse
import socket
import sqlite3
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from kura.signer.v1 import signer_pb2 as wire
from policies import fields
from policies.advice import NEXT
from policies.changes import refuse_unsigned_policy
from policies.codes import Code
from policies.fields import key_text
from policies.freezes import ALL_WALLETS
from policies.policy_file import parse_policy
from policies.signature_file import parse_signatures
from signer import anchor, frames
from signer.chains.solana_address import encode_address
from signer.chains.solana_sweep import refuse_sweeps
from signer.clock import look
from signer.governance import Governance
from signer.hsm import Token
from signer.journal import Journal
from signer.keys import AUDIT_LABEL
from signer.pin import read_pin
from signer.settings import Settings
from signer.token_init import init_token, reset_pin

ANSWER_SECONDS = 20.0
DIGEST_PROMPT = "Type the policy's digest as its officers told you: "


class UsageError(ValueError):
    """The operator asked for something that cannot be done; the message says what to do."""


def init(settings: Settings, options: argparse.Namespace) -> None:
    so_pin = read_pin(options.so_pin_file, "SO PIN: ")
    pin = read_pin(settings.pin_file)
    folder = settings.journal.parent
    if not folder.is_dir():
        raise UsageError(f"{folder} is no directory: make it for the journal, then init again")
    try:
        journal = Journal.create(settings.journal, look())
    except sqlite3.Error as error:
        raise UsageError(f"the journal's disk: {error}: make room, then init again") from error
    try:  # a journal of which no token is known would keep init from running again
        init_token(settings.module, settings.token, so_pin, pin)
        token = Token.open(settings.module, settings.token, pin)
        key = token.generate(AUDIT_LABEL)
        anchor.begin(token, journal)
        token.close()
    except BaseException:
        journal.close()
        settings.journal.unlink()
        raise
    print(f"audit key  {key_text(key)}")
    print(f"journal    {journal.name}")
    journal.close()


def keygen(settings: Settings, options: argparse.Namespace) -> None:
    fields.name(options.wallet)
    if options.wallet == AUDIT_LABEL:
        raise UsageError(f"{AUDIT_LABEL} is the name of the signer's own key")
    token = Token.open(settings.module, settings.token, read_pin(settings.pin_file))
    key = token.generate(options.wallet)
    token.close()
    print(f"wallet     {options.wallet}")
    print(f"key        {key_text(key)}")
    print(f"address    {encode_address(key)} (Solana)")


def install(settings: Settings, options: argparse.Namespace) -> None:
    file = options.file.read_bytes()
    policy = parse_policy(file)
    if policy.previous or policy.version != 1:
        raise UsageError("this is no first policy; genesis takes version 1 without previous")
    changes = parse_signatures(options.signatures.read_bytes())
    now = time.time_ns() // 1_000_000
    refusal = refuse_unsigned_policy(policy, changes, now) or refuse_sweeps(policy)
    if refusal:
        raise UsageError(f"{refusal.code}: {refusal.message}; next: {NEXT[refusal.code]}")
    print(DIGEST_PROMPT, end="", flush=True)
    if sys.stdin.readline().strip() != policy.digest:
        raise UsageError("the digest typed is not this file's: compare the file with the officers")
    journal = Journal(settings.journal)
    Governance(journal).install(policy, file, look())
    journal.close()
    print(f"policy {policy.version} is in force: {policy.digest}")


def pin(settings: Settings, options: argparse.Namespace) -> None:
    so_pin = read_pin(options.so_pin_file, "SO PIN: ")
    new = read_pin(settings.pin_file, "new PIN: ")
    if settings.pin_file is None and read_pin(None, "new PIN again: ") != new:
        raise UsageError("the new PINs typed differ: nothing was changed")
    reset_pin(settings.module, settings.token, so_pin, new)
    print(f"token {settings.token} has a new user PIN; start signer serve")


def status(settings: Settings, _: argparse.Namespace) -> None:
    report = read_status(settings.socket)
    signs = f"no: {report.locked}: {report.locked_message}" if report.locked else "yes"
    print(f"signs         {signs}")
    if report.locked:
        print(f"next          {NEXT[Code(report.locked)]}")
    print(f"audit key     {report.audit_key}")
    print(f"journal       {report.journal}, {report.sequence} entries, head {report.head}")
    digest = parse_policy(report.policy).digest if report.policy else "none: signer policy install"
    print(f"policy        {digest}")
    print(f"address book  version {report.book_version} {report.book_digest}")
    print(f"watchtower    {report.watchtower or 'none: signer policy install'}")
    print(f"lease         {lease_words(report.lease_until)}")
    print(f"epoch         {report.epoch or 'none: nothing was ever unfrozen'}")
    for freeze in report.freezes:
        what = "all wallets" if freeze.wallet == ALL_WALLETS else freeze.wallet
        print(f"FROZEN        {what} by {freeze.person}, {freeze.digest}")
    for item in report.proposals:
        vetoed = f", vetoed by {', '.join(item.vetoed_by)}" if item.vetoed_by else ""
        print(f"waiting       policy {item.digest} until {utc(item.earliest_time)}{vetoed}")
    for key in report.keys:
        print(f"wallet        {key.wallet} {key.key}")


def version() -> str:
    """Return which signer this is."""
    return f"signer {metadata.version('kura')}"


def lease_words(until: int) -> str:
    """Return until when a signer signs for hot wallets, or what it waits for."""
    return f"until {utc(until)}" if until else "none: hot wallets wait for the watchtower's"


def utc(time: int) -> str:
    """Return a time in Unix ms as people read it."""
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def read_status(path: Path) -> wire.SignerStatus:
    """Return what the signer that serves at this socket says of itself; UsageError for none."""
    request = wire.Request(id=1, jobs=[wire.Job(status=wire.Status())])
    return _call(path, request).results[0].status


def _call(path: Path, request: wire.Request) -> wire.Reply:
    words = f"no answer at {path}: is `signer serve` running, and is this user its relay's?"
    words += " signer doctor says more"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(path))
            frames.write_frame(connection, request.SerializeToString())
            frame = frames.read_frame(connection)
    except (frames.FrameError, OSError) as error:
        raise UsageError(f"{words} ({error})") from error
    if frame is None:
        raise UsageError(words)
    return wire.Reply.FromString(frame)
