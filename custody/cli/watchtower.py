"""`custody watchtower`: what the watchtower sees, and why signing pauses or is frozen."""

import json
from typing import Annotated

from cyclopts import App, Parameter
from google.protobuf.json_format import MessageToDict

from custody.cli.output import print_line, print_record, print_table, utc
from custody.cli.session import settings
from custody.cli.tower import open_watchtower
from kura.watchtower.v1 import watchtower_pb2 as wire
from policies.freezes import ALL_WALLETS

app = App(name="watchtower")
RUNNING = "RUNNING"


@app.command
def status(
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="As JSON.")] = False,
) -> int:
    """Show its state, signers, nodes, wallets, freezes, alarms, and what to do next.

    The exit code is 0 when it runs, 1 when it is PAUSED or FROZEN. Alarms stay after their cause.

    For example: custody watchtower status
    """
    with open_watchtower(settings()) as tower:
        shown = tower.get_status()
    if as_json:
        print_line(json.dumps(MessageToDict(shown, always_print_fields_with_no_presence=True)))
    else:
        _print(shown)
    return 0 if shown.state == RUNNING else 1


def _print(shown: wire.GetStatusResponse) -> None:
    print_record((("state", shown.state), *((("why", shown.reason),) * bool(shown.reason))))
    for signer in shown.signers:
        print_record(
            (
                ("signer", signer.audit_key),
                ("journal", _journal(signer)),
                ("policy", signer.policy or "none heard of"),
                ("epoch", signer.epoch or "the first"),
                ("lease", _lease(signer)),
            )
        )
    for node in shown.nodes:
        print_record((("node", node.address), ("sees", node.problem or f"slot {node.slot}")))
    print_table(
        ("WALLET", "BASE UNITS HELD", "SIGNED", "OF THAT FINAL OR DEAD", "SEEN UNTIL", "ADDRESS"),
        [
            (
                wallet.name,
                wallet.balance,
                wallet.signed,
                wallet.resolved,
                utc(wallet.seen_until) if wallet.seen_until else "never",
                wallet.address,
            )
            for wallet in shown.wallets
        ],
    )
    for freeze in shown.freezes:
        what = "all wallets" if freeze.wallet == ALL_WALLETS else freeze.wallet
        reached = "" if freeze.applied else ", not at every signer yet"
        print_record((("frozen", f"{what} by {freeze.person}{reached}"), ("freeze", freeze.digest)))
    for proposal in shown.proposals:
        print_record((("policy version", proposal.digest), ("waits", _fate(proposal))))
    for alarm in shown.alarms:
        print_record(
            (
                ("alarm", f"{alarm.kind} at {utc(alarm.time)}: {alarm.message}"),
                *((("wallet", alarm.wallet),) * bool(alarm.wallet)),
                *((("transaction", alarm.transaction_id),) * bool(alarm.transaction_id)),
                *((("amount", f"{alarm.amount} base units"),) * bool(alarm.amount)),
                ("next", alarm.next),
            )
        )


def _journal(signer: wire.Signer) -> str:
    place = f"seen up to entry {signer.sequence}"
    return f"{signer.journal}, {place}" if signer.journal else f"not heard of; {place}"


def _lease(signer: wire.Signer) -> str:
    until = f"until {utc(signer.lease_until)}" if signer.lease_until else "none"
    return f"{until}; no other: {signer.problem}" if signer.problem else until


def _fate(proposal: wire.Proposal) -> str:
    if proposal.vetoed_by:
        return f"for ever: vetoed by {', '.join(proposal.vetoed_by)}"
    return f"until {utc(proposal.earliest_time)}; any officer may veto it"
