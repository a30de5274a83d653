"""`custody status`: how custody is doing, and what to do next."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cyclopts import App
from google.protobuf.timestamp_pb2 import Timestamp

from custody.cli.freeze_words import wallet_words
from custody.cli.output import amount_words, print_line, print_record, print_table, utc
from custody.cli.session import check_policy, connect, settings
from custody.client import CustodyRefused, State
from kura.custody.v1 import custody_pb2 as wire

app = App(name="status")


@app.default
def status() -> int:
    """Show what waits and for what, the signers, wallets and nodes, and what to do next.

    The exit code is 0 when nothing is to be done, else 1. For example: custody status
    """
    config = settings()
    with connect(config) as custody:
        shown = custody.get_status()
        try:
            policy = check_policy(custody.get_policy(), config)
        except CustodyRefused:  # no signer yet: amounts stay base units
            policy = None
    now = shown.now.ToDatetime(UTC)
    if shown.queue:
        _print_queue(shown)
    else:
        print_line("no withdrawal is under way")
    for signer in shown.signers:
        print_record(
            (
                ("signer", signer.audit_key),
                ("last contact", _ago(now, signer.seen_time)),
                ("policy", f"version {signer.policy_version}, {signer.policy_digest}"),
                ("address book", f"version {signer.book_version}"),
                *_watched(now, signer),
                *((("locked", f"{signer.locked}: {signer.locked_message}"),) * bool(signer.locked)),
            )
        )
        for proposal in signer.proposals:
            print_record((("policy version", proposal.name), ("waits", _fate(proposal))))
    for wallet in shown.wallets:
        books = wallet.balance
        amounts = [
            amount_words(policy, amount, books.asset) if policy else f"{amount} base units"
            for amount in (books.total, books.available)
        ]
        print_record(
            (
                ("wallet", books.wallet.removeprefix("wallets/")),
                ("holds", f"{amounts[0]}, of which {amounts[1]} is free"),
                ("nonces", f"{wallet.nonces_free} of {wallet.nonces} free"),
            )
        )
    for node in shown.nodes:
        newest = node.problem or _ago(now, node.block_time)
        print_record((("node", node.network), ("newest block", newest)))
    for action in shown.next_actions:
        print_record((("next", action),))
    if not shown.next_actions:
        print_line("nothing to do")
    return 1 if shown.next_actions else 0


def _print_queue(shown: wire.GetStatusResponse) -> None:
    now = shown.now.ToDatetime(UTC)
    print_table(
        ("STATE", "WAITS FOR", "HOW MANY", "OLDEST", "TRIED AGAIN", "WHAT ENDS IT"),
        [
            (
                _state(row.state),
                row.waiting_for,
                str(row.count),
                _ago(now, row.oldest_create_time),
                _at(row.earliest_time) if row.HasField("earliest_time") else "",
                row.next,
            )
            for row in shown.queue
        ],
    )


def _watched(now: datetime, signer: wire.SignerStatus) -> Iterator[tuple[str, str]]:
    lease = signer.lease_expire_time
    if not signer.HasField("lease_expire_time"):
        yield "lease", "none: it signs nothing for hot wallets"
    elif lease.ToDatetime(UTC) < now:
        yield "lease", f"over at {_at(lease)}, as far as custody has heard"
    else:
        left = int((lease.ToDatetime(UTC) - now).total_seconds())
        yield "lease", f"for {left} s more, until {_at(lease)}"
    yield "watchtower", signer.watchtower or "none yet"
    for freeze in signer.freezes:
        yield (
            "frozen",
            f"{wallet_words(freeze.wallet)} by {freeze.person} since {_at(freeze.create_time)}",
        )


def _state(number: int) -> str:
    try:
        return State(wire.WithdrawalState.Name(number).removeprefix("WITHDRAWAL_STATE_"))
    except ValueError:
        return f"state {number}"


def _fate(proposal: wire.PolicyProposal) -> str:
    if proposal.vetoed_by:
        return f"for ever: vetoed by {', '.join(proposal.vetoed_by)}"
    return f"until {_at(proposal.earliest_time)}; any officer may veto it"


def _at(time: Timestamp) -> str:
    return utc(time.ToMilliseconds())


def _ago(now: datetime, time: Timestamp) -> str:
    age = max(now - time.ToDatetime(UTC), timedelta())
    return f"{timedelta(seconds=int(age.total_seconds()))} ago"
