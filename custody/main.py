"""The command `custody`: noun, then verb. Each noun's module is loaded when it is used.

Exit codes: 0 done, 1 refused or failed (the reason on standard error), 2 not understood.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from custody import __version__
from custody.cli.output import print_problem
from custody.cli.problems import words_of
from custody.cli.session import using_config

INTERRUPTED = 130
NOUNS = {
    "key": "Make signing keys.",
    "withdrawal": "Ask for withdrawals and follow them.",
    "approval": "Decide on withdrawals, as an officer.",
    "freeze": "Stop wallets at once, see what is stopped, lift it by quorum.",
    "wallet": "See the wallets.",
    "balance": "See what the wallets hold.",
    "policy": "Read, check, explain, sign, propose and veto the policy.",
    "book": "Make, check, sign and apply versions of the address book.",
    "recover": "Sign that a signer goes on with a new journal; tell the watchtower.",
    "status": "See how custody is doing and what to do next. For example: custody status",
    "watchtower": "See what the watchtower sees, and why signing pauses.",
    "audit": "Carry off the audit log and check it.",
    "serve": "Run a server process.",
    "db": "Look after custody's database.",
    "dev": "Run a whole custody to develop against.",
}

app = App(
    name="custody",
    help="Kura's custody: ask for withdrawals, approve them, read policy and books.",
    help_format="markdown",
    version=__version__,
    result_action="return_value",
)
for _noun, _help in NOUNS.items():
    app.command(f"custody.cli.{_noun}:app", name=_noun, help=_help)


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[
        Path | None,
        Parameter(
            env_var="KURA_CONFIG",
            help="Where custody is and who asks; ~/.config/kura/custody.toml if left out.",
        ),
    ] = None,
) -> object:
    with using_config(config):
        return app(tokens, exit_on_error=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code = app.meta(arguments, exit_on_error=False)
    except CycloptsError:
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        words = words_of(error)
        if words is None:
            raise
        print_problem(words)
        return 1
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
