"""The third act: four things that are refused, the last two by the signer alone.

For those custody runs as an attacker would run it, from tests/attacks/unchecked_custody.py: its own
checks are off, and its database is edited by hand.
"""

import sys
import time
from pathlib import Path

import psycopg
from nacl.signing import SigningKey
from solders.keypair import Keypair

from custody.cli.session import connect
from custody.client import CustodyRefused
from custody.client_config import read_config
from custody.dev.stage import Stage
from custody.keys import load_key
from kura.custody.v1 import custody_pb2 as wire
from policies.advice import NEXT
from policies.statements import Approval, Signed, digest, encode

UNCHECKED = Path(__file__).parents[2] / "tests" / "attacks" / "unchecked_custody.py"
LAMPORTS = 10**9
HOUR_MS = 3600 * 1000


def refused_by_custody(stage: Stage) -> None:
    """Over the cap, and to a destination that nobody put into the address book."""
    (known, _), stranger = stage.system.customers, str(Keypair().pubkey())
    tries = (
        ("60 SOL, over the cap of 50", known, 60 * LAMPORTS, "CAP_EXCEEDED"),
        ("0.1 SOL to a stranger's address", stranger, LAMPORTS // 10, "DESTINATION_NOT_ALLOWED"),
    )
    with stage.system.client("exchange") as custody:
        for number, (tried, to, amount, code) in enumerate(tries):
            try:
                stage.create(custody, f"refused-{number}", to, amount)
                stage.expect(f"{tried}: refused", kept=False)
            except CustodyRefused as error:
                said = wire.Refusal(
                    by="custody",
                    code=error.refusal.code,
                    message=error.refusal.message,
                    next=NEXT[error.refusal.code],
                )
                stage.refused(tried, ("custody", code), said)


def refused_by_signer(stage: Stage) -> None:
    """Approvals that nobody gave, and a destination changed after people approved another."""
    with stage.system.client("exchange") as custody:
        stage.system.stop("worker")
        changed = stage.create(custody, "changed", stage.system.customers[0], 30 * LAMPORTS)
        for officer in ("bob", "carol"):
            stage.command(officer, "approval", "approve", changed.name, "--yes")
        _edit_database(stage, changed)
        _start_unchecked(stage, "worker")
        tried = "30 SOL, approved by two officers, then sent elsewhere in the database"
        stage.refused(tried, ("signer", "SIGNATURE_INVALID"), _ended(stage, changed.name))

        stage.system.stop("api")
        _start_unchecked(stage, "api")
        forged = stage.create(custody, "forged", stage.system.customers[0], 30 * LAMPORTS)
        _forge_approval(stage, forged)
        tried = "30 SOL with a forged approval, which custody took unchecked"
        stage.refused(tried, ("signer", "APPROVAL_INVALID"), _ended(stage, forged.name))


def _start_unchecked(stage: Stage, name: str) -> None:
    command: list[str | Path] = [sys.executable, UNCHECKED, "serve", name]
    command += ["--settings", stage.system.layout.settings(name)]
    stage.system.run(name, command)


def _forge_approval(stage: Stage, withdrawal: wire.Withdrawal) -> None:
    """Send an approval that names an officer and her key, signed by somebody else."""
    layout, officer = stage.system.layout, "carol"
    approval = Approval(
        key=load_key(layout.key(officer), lambda: b"").public,
        decision="approve",
        intent=withdrawal.name.removeprefix("withdrawals/"),
        approver=officer,
        policy=digest(layout.policy.read_bytes()),
        expires=time.time_ns() // 1_000_000 + HOUR_MS,
    )
    statement = encode(approval)
    signed = Signed(statement, SigningKey.generate().sign(statement).signature)
    with stage.system.client(officer) as custody:
        custody.send_approval(withdrawal.name, signed)


def _edit_database(stage: Stage, withdrawal: wire.Withdrawal) -> None:
    """Send approved money to a thief, with a superuser's connection."""
    thief, mine = str(Keypair().pubkey()), withdrawal.destination.address
    statement = withdrawal.intent.statement.replace(mine.encode(), thief.encode())
    with psycopg.connect(stage.system.layout.postgres.dsn) as connection:
        connection.execute(
            "UPDATE withdrawal SET address = %s, statement = %s WHERE digest = %s",
            (thief, statement, withdrawal.name.removeprefix("withdrawals/")),
        )


def _ended(stage: Stage, name: str) -> wire.Refusal:
    config = read_config(stage.system.layout.client("auditor"))

    def look() -> wire.Refusal | None:
        with connect(config) as custody:  # as people see it: a backend's client shows no forgery
            withdrawal = custody.get_withdrawal(name)
        # What was edited in the database stays ENDING: no signer certifies the end of forged bytes.
        blocked = wire.WITHDRAWAL_STATE_BLOCKED in {withdrawal.state, withdrawal.ending}
        return withdrawal.refusal if blocked else None

    return stage.system.until("the signer's refusal", look)
