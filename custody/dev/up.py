"""`make up`: a development system that stays, and commands to paste."""

import sys
from pathlib import Path

from custody.dev.processes import ProcessError
from custody.dev.system import IsolationError, System

FOLDER = Path("build/up")
COMMANDS = """
Running below {folder}; its data survive `make down`. Paste, for example:

  # the exchange asks; below 1 SOL the policy alone decides
  .venv/bin/custody --config {clients}/exchange.toml withdrawal create \\
    --request-id first --wallet hot-sol --amount "0.25 SOL" \\
    --to {address}
  .venv/bin/custody --config {clients}/exchange.toml withdrawal list

  # above it two officers of different groups decide
  .venv/bin/custody --config {clients}/exchange.toml withdrawal create \\
    --request-id second --wallet hot-sol --amount "5 SOL" \\
    --to {address}
  .venv/bin/custody --config {clients}/alice.toml approval list
  .venv/bin/custody --config {clients}/alice.toml approval approve WITHDRAWAL
  .venv/bin/custody --config {clients}/carol.toml approval approve WITHDRAWAL

  # one officer stops everything, two let it go on
  .venv/bin/custody --config {clients}/bob.toml freeze create all
  .venv/bin/custody --config {clients}/alice.toml freeze sign --signatures {folder}/lift.signatures
  .venv/bin/custody --config {clients}/carol.toml freeze sign --signatures {folder}/lift.signatures
  .venv/bin/custody --config {clients}/carol.toml freeze lift --signatures {folder}/lift.signatures

  # what the watchtower sees, what the books and the policy say
  .venv/bin/custody --config {clients}/auditor.toml watchtower status
  .venv/bin/custody --config {clients}/auditor.toml balance list
  .venv/bin/custody policy explain {folder}/policy.toml

Stop it: make down"""


def main() -> int:
    """Start the system and print what can be done with it."""
    system = System(FOLDER, lambda words: print(f"  {words} ...", flush=True))
    try:
        system.up()
    except (IsolationError, ProcessError) as error:
        print(f"up: {error}", file=sys.stderr)
        return 1
    clients = FOLDER / "clients"
    print(COMMANDS.format(folder=FOLDER, clients=clients, address=system.customers[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
