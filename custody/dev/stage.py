"""What the demonstration works with: the system, the people's own commands, and the report."""

import subprocess
from dataclasses import dataclass, field
from typing import Any

from custody.client import CustodyClient
from custody.dev.genesis import NETWORK
from custody.dev.layout import WALLET
from custody.dev.system import BIN, System
from kura.custody.v1 import custody_pb2 as wire


@dataclass
class Stage:
    """A running system and what was seen of it."""

    system: System
    failures: list[str] = field(default_factory=list)
    report: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {
            "withdrawals": [],
            "balances": [],
            "freezes": [],
            "refusals": [],
            "processes": [],
        }
    )

    def expect(self, promise: str, *, kept: bool) -> None:
        """Note a promise that was not kept."""
        if not kept:
            self.failures.append(promise)

    def create(self, custody: CustodyClient, name: str, to: str, amount: int) -> wire.Withdrawal:
        """Ask for a withdrawal as the exchange's backend does."""
        return custody.create_withdrawal(
            request_id=name,
            wallet=WALLET,
            network=NETWORK,
            asset="SOL",
            address=to,
            amount=amount,
        )

    def command(self, person: str, *arguments: str) -> str:
        """Run a person's own `custody` command and show what they see."""
        config = str(self.system.layout.client(person))
        print(f"\n  {person}$ custody {' '.join(arguments)}", flush=True)
        done = subprocess.run(
            [str(BIN / "custody"), "--config", config, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        for line in (done.stdout + done.stderr).splitlines():
            print(f"    {line}")
        self.expect(f"{person}'s command {' '.join(arguments[:2])} works", kept=not done.returncode)
        return done.stdout

    def refused(self, tried: str, expected: tuple[str, str], said: wire.Refusal) -> None:
        """Show a refusal and note it."""
        print(f"\n  {tried}\n    refused by {said.by}: {said.code}\n    {said.message}")
        print(f"    next: {said.next}", flush=True)
        self.report["refusals"].append({"tried": tried, "by": said.by, "code": said.code})
        self.expect(f"{tried}: refused by {expected}", kept=(said.by, said.code) == expected)
