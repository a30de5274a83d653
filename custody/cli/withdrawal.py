"""`custody withdrawal`: ask for one, follow it, take it back, kill it."""

from datetime import timedelta
from itertools import islice
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import PositiveInt
from cyclopts.validators import Number

from custody.cli.changes import WEEK_HOURS
from custody.cli.output import amount_words, clipped, print_line, print_table
from custody.cli.session import (
    CommandError,
    certified,
    connect,
    own_key,
    require_pin,
    settings,
    shown_policy,
    withdrawal_name,
)
from custody.cli.trust import UntrustedError, read_intent
from custody.cli.withdrawal_record import heading_words, print_withdrawal, state_words
from custody.client import State, UncertifiedError, state_of
from custody.client_config import ClientConfig
from custody.filters import WAITING
from kura.custody.v1 import custody_pb2 as wire
from policies.policy import Policy
from policies.units import parse_units

app = App(name="withdrawal")
Name = Annotated[str, Parameter(help="withdrawals/DIGEST, or the digest alone.")]


@app.command
def create(  # noqa: PLR0913 - the fields of an intent
    *,
    request_id: Annotated[str, Parameter(help="Your own id; it pays once, for ever.")],
    wallet: Annotated[str, Parameter(help="The wallet's name in the policy.")],
    to: Annotated[str, Parameter(help="The whole address.")],
    amount: Annotated[str, Parameter(help='Amount and asset, for example "1.5 SOL".')],
    memo: Annotated[str, Parameter(help="Memo or tag, when the receiver asks for one.")] = "",
    expires_in: Annotated[
        int,
        Parameter(
            help="Hours until it lapses unsigned; it must outlive delays and cooling.",
            validator=Number(gte=1, lte=WEEK_HOURS),
        ),
    ] = 24,
) -> None:
    """Ask for a withdrawal. Asking again for the same gives the same one, which lapses as it did.

    For example: custody withdrawal create --request-id order-1001 --wallet hot-sol
    --to CSRWyb7Bkw2E8dEqYyjvbAm2svuNTTHoTCuhtHSV3BKg --amount "1.5 SOL"
    """
    config = settings()
    require_pin(config)
    with connect(config, own_key(config)) as custody:
        policy = shown_policy(custody, config)
        source = policy.wallets.get(wallet)
        if source is None:
            raise CommandError(f"no wallet is called {wallet}; next: custody wallet list")
        asset = policy.assets[source.asset]
        try:
            units = parse_units(amount, asset.name, asset.decimals)
        except ValueError as error:
            raise CommandError(f"--amount {error}") from error
        made = custody.create_withdrawal(
            request_id=request_id,
            wallet=wallet,
            network=asset.network,
            asset=asset.name,
            address=to,
            amount=units,
            memo=memo,
            expires_in=timedelta(hours=expires_in),
        )
    print_withdrawal(made.name, certified(made, policy, config), policy)


@app.command
def show(name: Name, /) -> None:
    """Show one withdrawal and what it waits for.

    For example: custody withdrawal show 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15…
    """
    config, asked = settings(), withdrawal_name(name)
    with connect(config) as custody:
        shown, policy = custody.get_withdrawal(asked), shown_policy(custody, config)
    print_withdrawal(asked, certified(shown, policy, config), policy)


@app.command(name="list")
def list_withdrawals(
    *,
    state: Annotated[
        tuple[State, ...], Parameter(negative="", help="Only in this state; may be repeated.")
    ] = (),
    wallet: Annotated[str, Parameter(help="Only from this wallet.")] = "",
    waiting_for: Annotated[
        str,
        Parameter(help=f"Only what waits for one of {', '.join(sorted(WAITING - {''}))}."),
    ] = "",
    request_id: Annotated[str, Parameter(help="Only what was asked for under this id.")] = "",
    limit: Annotated[PositiveInt, Parameter(help="How many at most.")] = 100,
) -> None:
    """List withdrawals, newest first; a requester sees its own.

    For example: custody withdrawal list --state queued --waiting-for FUNDS
    """
    config = settings()
    with connect(config) as custody:
        policy = shown_policy(custody, config)
        found = custody.list_withdrawals(
            states=state, wallet=wallet, waiting_for=waiting_for, request_id=request_id
        )
        rows = [_row(item, policy, config) for item in islice(found, limit)]
    print_table(("STATE", "WAITS FOR", "AMOUNT", "REQUEST ID", "TO", "NAME"), rows)


@app.command
def cancel(name: Name, /) -> None:
    """Take a withdrawal back, before it is being signed.

    For example: custody withdrawal cancel 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c…
    """
    config, asked = settings(), withdrawal_name(name)
    with connect(config, own_key(config)) as custody:
        cancelled, policy = custody.cancel(asked), shown_policy(custody, config)
    print_line(heading_words(certified(cancelled, policy, config)))


@app.command
def kill(name: Name, /) -> None:
    """Make a signed withdrawal that has not landed unable to land; works under freeze.

    It is paid all the same when the chain has it by now: see what becomes of it.

    For example: custody withdrawal kill 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15…
    """
    config, asked = settings(), withdrawal_name(name)
    with connect(config) as custody:
        killed, policy = custody.kill_withdrawal(asked), shown_policy(custody, config)
    print_line(heading_words(certified(killed, policy, config)))


@app.command
def wait(
    name: Name,
    /,
    *,
    timeout: Annotated[PositiveInt, Parameter(help="Seconds to wait at most.")] = 300,
) -> int:
    """Wait for a withdrawal's end; the exit code is 0 when it was paid.

    For example: custody withdrawal wait 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15…
    """
    config, asked = settings(), withdrawal_name(name)
    with connect(config) as custody:
        ended = custody.wait(asked, timeout=timedelta(seconds=timeout))
        policy = shown_policy(custody, config)
    print_withdrawal(asked, certified(ended, policy, config), policy)
    return 0 if state_of(ended) is State.COMPLETED else 1


def _row(shown: wire.Withdrawal, policy: Policy, config: ClientConfig) -> tuple[str, ...]:
    try:
        intent = read_intent(shown.name, certified(shown, policy, config))
    except (UntrustedError, UncertifiedError) as error:
        return ("NOT VERIFIED", "", "", "", "", f"{clipped(shown.name)}: {error}")
    amount = amount_words(policy, str(intent.amount), intent.asset)
    to = intent.destination.address
    return (state_words(shown), shown.waiting_for, amount, intent.request_id, to, shown.name)
