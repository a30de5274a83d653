"""`custody wallet`: what the policy calls by name."""

from cyclopts import App

from custody.cli.output import print_table
from custody.cli.session import connect, settings, trusted_policy

app = App(name="wallet")


@app.command(name="list")
def list_wallets() -> None:
    """List the wallets of the policy in force, as your own `policy_digest` pins it.

    For example: custody wallet list
    """
    config = settings()
    with connect(config) as custody:
        policy = trusted_policy(custody, config)
    rows = [
        (item.name, item.tier, policy.assets[item.asset].network, item.asset, item.address)
        for item in policy.wallets.values()
    ]
    print_table(("WALLET", "TIER", "NETWORK", "ASSET", "ADDRESS"), rows)
