"""A stolen requester's key, and two stolen officers', against a whole system: every process real.

Custody is honest here and chooses the fee, so the policies allow no other. What is paid when all
the rest waits is what the blast radius says of an hour.
"""

import subprocess
from pathlib import Path

import pytest

from custody.client import CustodyClient
from custody.dev.genesis import EXAMPLE, NETWORK
from custody.dev.layout import WALLET
from custody.dev.system import BIN, System, ready_nonces
from kura.custody.v1 import custody_pb2 as wire
from policies.blast_radius import APPROVED, UNATTENDED, Position, sources
from policies.outflow import most
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.windows import Period
from tests.factories import SOL

FEE = 5_002
LEAST = 890_880  # what opens an account: custody refuses less
TIERS = {UNATTENDED: (LEAST, SOL), APPROVED: (SOL + 1, 50 * SOL)}
OFFICERS = ("alice", "carol")


def window(scope: str, period: str, amount: str, count: int) -> str:
    return (
        f'[[wallets.hot-sol.windows]]\nof = "{scope}"\nperiod = "{period}"\n'
        f'amount = "{amount}"\ncount = {count}\n'
    )


BY_COUNT = [("wallet", "1 hour", "400 SOL", 9), ("wallet", "24 hours", "400 SOL", 5)]
BY_AMOUNT = [("wallet", "1 hour", "4 SOL", 100), ("requester", "7 days", "3.25 SOL", 100)]
BY_PEOPLE = [("wallet", "1 hour", "1.5 SOL", 100), ("approved", "24 hours", "120 SOL", 100)]
NOBODY = ("approved", "24 hours", "0 SOL", 0)
UPKEEP = ("upkeep", "24 hours", "0.2 SOL", 64)


class Thief:
    """Asks for the largest that is left by the windows' amounts, until one must wait."""

    def __init__(self, system: System, policy: Policy, custody: CustodyClient) -> None:
        self.system, self.policy, self.custody = system, policy, custody
        self.paid: list[int] = []

    def drain(self, source: str) -> int:
        """Return what it cost our wallet, fees included."""
        least, largest = TIERS[source]
        scopes = ("approved",) if source == APPROVED else ("wallet", "requester")
        windows = self.policy.wallets[WALLET].windows
        room = min(window.amount for window in windows if window.scope in scopes)
        spent = 0
        while True:
            amount = max(least, min(largest, room - spent - FEE))
            found = self._ask(f"{source[:3]}-{spent}", amount, approved=source == APPROVED)
            if found.waiting_for == "WINDOW":
                return spent
            self.paid.append(amount)
            spent += amount + FEE

    def _ask(self, request_id: str, amount: int, *, approved: bool) -> wire.Withdrawal:
        withdrawal = self.custody.create_withdrawal(
            request_id=request_id,
            wallet=WALLET,
            network=NETWORK,
            asset="SOL",
            address=self.system.customers[0],
            amount=amount,
        )
        for officer in OFFICERS if approved else ():
            config = ("--config", self.system.layout.client(officer))
            command = (BIN / "custody", *config, "approval", "approve", withdrawal.name, "--yes")
            subprocess.run(command, capture_output=True, check=True)
        return self.system.until("paid, or no room", lambda: self._look(withdrawal.name))

    def _look(self, name: str) -> wire.Withdrawal | None:
        found = self.custody.get_withdrawal(name)
        done = found.state == wire.WITHDRAWAL_STATE_COMPLETED or found.waiting_for == "WINDOW"
        return found if done else None


@pytest.mark.parametrize(
    ("windows", "people"),
    [([*BY_COUNT, NOBODY], 0), ([*BY_AMOUNT, NOBODY], 0), (BY_PEOPLE, 2)],
    ids=["count", "amount", "two officers"],
)
def test_what_is_paid_is_what_the_bound_says(
    tmp_path: Path, windows: list[tuple[str, str, str, int]], people: int
) -> None:
    text = EXAMPLE.read_text().replace('"0.001 SOL"', f'"0.00000{FEE} SOL"')
    head, _, rest = text.partition("[[wallets.hot-sol.windows]]")
    rules = rest[rest.index("[[rules]]") :]
    file = tmp_path / "example.toml"
    file.write_text("".join([head, *(window(*item) for item in [*windows, UPKEEP]), rules]))
    system = System(tmp_path / "up", print, in_memory_chain=True, policy=file)
    try:
        system.up()
        system.until("a nonce", lambda: ready_nonces(system.layout.postgres.dsn) or None)
        _check(system, parse_policy(system.layout.policy.read_bytes()), people)
    finally:
        system.down()


def _check(system: System, policy: Policy, people: int) -> None:
    before = system.balance(system.customers[0])
    stolen = Position(frozenset({"exchange"}), frozenset(), people)
    ways = sources(policy, policy.wallets[WALLET], stolen, None)
    with system.client("exchange") as custody:
        thief = Thief(system, policy, custody)
        for way in ways:
            if way.name in (UNATTENDED, APPROVED):
                bound, _ = most([way], Period.HOUR.value)
                spent = thief.drain(way.name)
                assert bound - TIERS[way.name][0] - FEE <= spent <= bound
    assert system.balance(system.customers[0]) - before == sum(thief.paid)
