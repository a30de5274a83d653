"""The command `signer`: set-up on the isolated host, then `signer serve`."""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from policies import fields
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
        module, _, command = options.run.partition(":")
        if module:
            hardening.harden()  # a PIN is read here too; warnings are for what goes on running
            getattr(import_module(module), command)(settings, options)
        else:
            serve(settings)
    except (HsmError, JournalError, hardening.HardeningError, ValueError, OSError) as error:
        print(f"signer: {_words(error, options.config)}", file=sys.stderr)
        return 1
    return 0


def _words(error: Exception, config: Path) -> str:
    """Return what went wrong; where the settings are missing, how to name others."""
    if not isinstance(error, OSError) or not error.filename:
        return str(error)
    words = f"{error.filename}: {error.strerror}"
    if error.filename == str(config):
        return f"{words}: name the settings: signer --config FILE"
    return words


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
        "--config",
        type=Path,
        default=Path("/etc/kura/signer.toml"),
        help="settings file (default: %(default)s); stands before COMMAND",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    init = _add(commands, "init", "signer.setup:init", "make token, audit key and an empty journal")
    init.add_argument("--so-pin-file", type=Path, help="the SO PIN; asked for when left out")
    keygen = _add(commands, "keygen", "signer.setup:keygen", "make a wallet's key inside the token")
    keygen.add_argument("wallet", help="the wallet's name in the policy")
    policy = commands.add_parser("policy", help="the first policy").add_subparsers(required=True)
    words = "install the first policy, signed by its own quorum"
    install = _add(policy, "install", "signer.setup:install", words)
    install.add_argument("file", type=Path, help="the policy")
    install.add_argument("signatures", type=Path, help="from `custody policy sign`, one a line")
    _add(commands, "serve", "", "answer frames for ever; refuses to run near a network")
    _add(
        commands, "status", "signer.setup:status", "what the serving signer is, holds and waits for"
    )
    _add(commands, "doctor", "signer.doctor:doctor", "what keeps it from signing, and the way out")
    pin = _add(commands, "pin", "signer.setup:pin", "set a new user PIN, with the SO PIN")
    pin.add_argument("--so-pin-file", type=Path, help="the SO PIN; asked for when left out")
    words = "a new journal in place of a lost, older or foreign one, by quorum"
    recover = commands.add_parser("recover", help=words).add_subparsers(required=True)
    words = "make the new journal and the statement that officers sign"
    prepare = _add(recover, "prepare", "signer.recovery:prepare", words)
    prepare.add_argument("file", type=Path, help="the statement to make")
    words = "a new key of the watchtower's (ed25519:...), until a policy version names another"
    prepare.add_argument("--watchtower", type=_key, metavar="KEY", help=words)
    apply = _add(recover, "apply", "signer.recovery:apply", "put the new journal in place")
    apply.add_argument("file", type=Path, help="the statement")
    apply.add_argument("signatures", type=Path, help="from `custody recover sign`, one a line")
    apply.add_argument("policy", type=Path, help="the policy in force when the journal was lost")
    words = "all address-book versions from the first, where the old journal cannot give them"
    apply.add_argument("--book", type=Path, nargs="+", default=[], metavar="FILE", help=words)
    words = "from `custody book sign` of the last one, where the token remembers no address book"
    apply.add_argument("--book-signatures", type=Path, metavar="FILE", help=words)
    return parser


def _key(text: str) -> str:
    try:
        return fields.key(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class _Version(argparse.Action):
    """Loads what knows the version only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(import_module("signer.setup").version())
        parser.exit()


def _add(commands: Any, name: str, run: str, words: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
    command.set_defaults(run=run)
    return command
