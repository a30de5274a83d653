"""`custody dev`: a whole custody on this machine, for who writes a backend."""

import signal
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from custody.cli.output import print_line, print_note
from custody.cli.session import CommandError
from custody.dev.double import FolderInUseError, double
from custody.dev.genesis import NETWORK
from custody.dev.layout import REQUESTER, WALLET
from custody.dev.processes import ProcessError
from custody.dev.system import IsolationError, System

app = App(name="dev")
_READY = """
custody ready on localhost:{port}

  settings        {settings}
  signing key     {key}
  policy          {policy}
  wallet          {wallet}: {address}, 1,000 SOL of play money
  customers       {customers}

Paste into Python:

    from custody.client import CustodyClient

    with CustodyClient.from_config("{settings}") as custody:
        withdrawal = custody.create_withdrawal(
            request_id="order-1001",
            wallet="{wallet}",
            network="{network}",
            asset="SOL",
            address="{customer}",
            amount=250_000_000,  # lamports
        )
        paid = custody.wait(withdrawal.name)
        print(paid.transaction_id, "fee", paid.fee)

Above 1 SOL officers decide: custody --config {clients}/alice.toml approval list
Ctrl-C stops it and removes {folder}
"""


@app.command
def serve(
    *,
    in_memory_chain: Annotated[
        bool, Parameter(negative="", help="The chain is in memory too; without it, in the folder.")
    ] = False,
    folder: Annotated[
        Path | None, Parameter(help="Where everything goes: new, and removed at the end.")
    ] = None,
) -> int:
    """Run a whole custody with play money, until Ctrl-C; nothing is left of it.

    The same processes and the same protocol as in production, mutual TLS included.
    For example: custody dev serve --in-memory-chain
    """
    try:
        with double(folder, print_note, in_memory_chain=in_memory_chain) as system:
            _show(system)
            try:
                signal.pause()
            except KeyboardInterrupt:
                print_note("stopping ...")
    except (FolderInUseError, IsolationError, ProcessError) as error:
        raise CommandError(str(error)) from error
    return 0


def _show(system: System) -> None:
    layout = system.layout
    text = _READY.format(
        port=layout.port("api"),
        settings=layout.client(REQUESTER),
        key=layout.key(REQUESTER),
        policy=layout.policy,
        wallet=WALLET,
        address=system.wallet_address,
        customers=", ".join(system.customers),
        customer=system.customers[0],
        network=NETWORK,
        clients=layout.clients,
        folder=layout.folder,
    )
    for line in text.splitlines():
        print_line(line)
