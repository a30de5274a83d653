"""`custody wallet`: what the policy calls by name."""

from cyclopts import App

from custody.cli.output import print_table
from custody.cli.session import connect, settings

app = App(name="wallet")


@app.command(name="list")
def list_wallets() -> None:
    """List the wallets of the policy in force.

    For example: custody wallet list
    """
    with connect(settings()) as custody:
        rows = [
            (item.name.removeprefix("wallets/"), item.tier, item.network, item.asset, item.address)
            for item in custody.list_wallets()
        ]
    print_table(("WALLET", "TIER", "NETWORK", "ASSET", "ADDRESS"), rows)
