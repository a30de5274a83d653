"""`custody balance`: what custody's books say."""

from cyclopts import App

from custody.cli.output import amount_words, print_table
from custody.cli.session import connect, settings, shown_policy

app = App(name="balance")


@app.command(name="list")
def list_balances() -> None:
    """List what each wallet holds, what withdrawals under way use of it, and what is left.

    For example: custody balance list
    """
    config = settings()
    with connect(config) as custody:
        policy = shown_policy(custody, config)
        rows = [
            (
                item.wallet.removeprefix("wallets/"),
                *(
                    amount_words(policy, units, item.asset)
                    for units in (item.total, item.in_use, item.available)
                ),
            )
            for item in custody.list_balances()
        ]
    print_table(("WALLET", "TOTAL", "IN USE", "AVAILABLE"), rows)
