"""The command `signer`: set-up on the isolated host, then `signer serve`."""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from signer import frames, hardening
from signer.guard import Guard
from signer.hsm import Token
from signer.journal import Journal, JournalError
from signer.pin import read_pin
from signer.pkcs11 import HsmError
from signer.settings import Settings, read_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when done, 1 with the reason on standard error."""
    options = _parser().parse_args(arguments)
    try:
        settings = read_settings(options.config)
        if options.run == "serve":
            serve(settings)
        else:
            getattr(import_module("signer.setup"), options.run)(settings, options)
    except (HsmError, JournalError, hardening.HardeningError, ValueError, OSError) as error:
        print(f"signer: {error}", file=sys.stderr)
        return 1
    return 0


def serve(settings: Settings) -> None:
    """Answer frames for ever. Close everything that leaks before a PIN is read."""
    hardening.assert_isolated()
    for warning in hardening.harden():
        print(f"signer: warning: {warning}", file=sys.stderr, flush=True)
    token = Token.open(settings.module, settings.token, read_pin(settings.pin_file))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    guard = Guard(token, Journal(settings.journal))
    frames.serve(settings.socket, settings.peer_uid, guard.answer)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="signer",
        description="Kura's isolated signer. First init, then keygen, policy install, serve.",
    )
    parser.add_argument(
        "--config", type=Path, default=Path("/etc/kura/signer.toml"), help="settings file"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="make the token, the audit key and an empty journal")
    init.add_argument("--so-pin-file", type=Path, help="the SO PIN; asked for when left out")
    init.set_defaults(run="init")
    keygen = commands.add_parser("keygen", help="make a wallet's key inside the token")
    keygen.add_argument("wallet", help="the wallet's name in the policy")
    keygen.set_defaults(run="keygen")
    policy = commands.add_parser("policy", help="genesis").add_subparsers(required=True)
    install = policy.add_parser("install", help="install the first policy, signed by its quorum")
    install.add_argument("file", type=Path, help="the policy")
    install.add_argument("signatures", type=Path, help="from `custody policy sign`, one a line")
    install.set_defaults(run="install")
    serving = commands.add_parser("serve", help="answer frames; refuses to run near a network")
    serving.set_defaults(run="serve")
    status = commands.add_parser("status", help="what the serving signer is and holds")
    status.set_defaults(run="status")
    return parser
