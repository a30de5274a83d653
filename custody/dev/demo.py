"""`make demo`: the main job for real, told to a security officer, and checked as it goes.

Writes build/demo.json. Exits non-zero when anything is not as promised.
"""

import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

from custody.client import (
    CustodyClient,
    CustodyRefused,
    CustodyUnreachableError,
    State,
    state_of,
)
from custody.dev.demo_refusals import refused_by_custody, refused_by_signer
from custody.dev.layout import WALLET
from custody.dev.processes import ProcessError, seen
from custody.dev.stage import Stage
from custody.dev.system import PROCESSES, IsolationError, System, ready_nonces
from kura.custody.v1 import custody_pb2 as wire
from policies.policy_file import parse_policy
from policies.units import format_units

BUILD = Path("build")
LAMPORTS = 10**9
SMALL, LARGE = 250_000_000, 20 * LAMPORTS


def main() -> int:
    """Run the demonstration; 0 when everything was as promised."""
    began = time.monotonic()
    print("Kura: a withdrawal from request to chain, and what is refused on the way.\n")
    system = System(BUILD / "demo", lambda words: print(f"  {words} ...", flush=True))
    system.down()
    shutil.rmtree(system.layout.folder, ignore_errors=True)
    stage = Stage(system)
    try:
        print("1. The system starts, each part a process of its own.")
        system.up()
        _show_processes(stage)
        _pay(stage)
        _freeze(stage)
        print("\n4. Refused, and by whom.")
        refused_by_custody(stage)
        refused_by_signer(stage)
    except (
        CustodyRefused,
        CustodyUnreachableError,
        IsolationError,
        ProcessError,
        TimeoutError,
    ) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    finally:
        system.down()
    (BUILD / "demo.json").write_text(json.dumps(stage.report, indent=2) + "\n")
    print(f"\nWritten to build/demo.json after {time.monotonic() - began:.0f} s.")
    for failure in stage.failures:
        print(f"NOT AS PROMISED: {failure}", file=sys.stderr)
    return 1 if stage.failures else 0


def _show_processes(stage: Stage) -> None:
    print()
    for name in ("postgres", *PROCESSES):
        process = seen(name, stage.system.pid(name))
        stage.report["processes"].append(asdict(process))
        ports = ", ".join(map(str, process.ports)) or "none"
        networks = ", ".join(process.interfaces)
        print(f"  {name:10} pid {process.pid:<7} sees {networks:12} listens on TCP {ports}")
        if name == "signer":
            kept = (process.interfaces, process.ports) == (["lo"], [])
            stage.expect("the signer sees only lo and listens on no port", kept=kept)


def _pay(stage: Stage) -> None:
    system, (first, second) = stage.system, stage.system.customers
    pool = parse_policy(system.layout.policy.read_bytes()).wallets[WALLET].nonce_pool
    dsn = system.layout.postgres.dsn
    stage.system.until("the nonce accounts", lambda: ready_nonces(dsn) == pool or None)
    addresses = [system.wallet_address, first, second]
    before = [system.balance(address) for address in addresses]
    with system.client("exchange") as custody:
        print(f"\n2. The exchange asks for {_sol(SMALL)}: the policy alone allows it.")
        small = custody.wait(stage.create(custody, "order-1001", first, SMALL).name)
        _show_paid(stage, small, [])
        print(f"\n   It asks for {_sol(LARGE)}: two officers of different groups must agree.")
        name = stage.create(custody, "order-1002", second, LARGE).name
        for officer in ("alice", "carol"):
            stage.command(officer, "approval", "approve", name, "--yes")
        _show_paid(stage, custody.wait(name), ["alice", "carol"])
    fees = int(small.fee) + int(stage.report["withdrawals"][1].pop("fee"))
    stage.report["withdrawals"][0].pop("fee")
    after = [system.balance(address) for address in addresses]
    print("\n   Balances on the chain, in lamports:")
    expected = (-SMALL - LARGE - fees, SMALL, LARGE)
    for address, was, now, change in zip(addresses, before, after, expected, strict=True):
        fee = fees if change < 0 else 0
        entry = {"address": address, "before": str(was), "after": str(now), "fee": str(fee)}
        stage.report["balances"].append(entry)
        print(f"     {address:44}  {was:>14,} → {now:>14,}  fees {fee:,}")
        stage.expect(f"the balance of {address} is right to the lamport", kept=now - was == change)


def _freeze(stage: Stage) -> None:
    """One officer stops everything; two let it go on."""
    system, lift = stage.system, str(stage.system.layout.folder / "lift.signatures")
    print("\n3. One officer freezes every wallet; a quorum of two lifts that.")
    stage.command("bob", "freeze", "create", "all")
    with system.client("exchange") as custody:
        made = stage.create(custody, "order-1003", system.customers[0], SMALL)
        waits = system.until("FROZEN", lambda: _waiting(custody, made.name, "FROZEN"))
        stage.command("alice", "freeze", "list")
        for officer in ("alice", "carol"):
            stage.command(officer, "freeze", "sign", "--signatures", lift, "--yes")
        stage.expect("nothing is signed while frozen", kept=not waits.transaction_id)
        stage.command("alice", "freeze", "lift", "--signatures", lift, "--yes")
        paid = custody.wait(made.name)
    state = state_of(paid)
    print(f"\n   {state}: {_sol(int(paid.amount))}, which had waited for {waits.waiting_for}")
    stage.expect("what waited under the freeze is paid", kept=state is State.COMPLETED)
    stage.report["freezes"].append(
        {"wallet": "*", "by": "bob", "lifted_by": ["alice", "carol"], "then": state}
    )


def _waiting(custody: CustodyClient, name: str, what: str) -> wire.Withdrawal | None:
    withdrawal = custody.get_withdrawal(name)
    return withdrawal if withdrawal.waiting_for == what else None


def _show_paid(stage: Stage, paid: wire.Withdrawal, approvals: list[str]) -> None:
    state = wire.WithdrawalState.Name(paid.state).removeprefix("WITHDRAWAL_STATE_")
    print(f"\n   {state}: {_sol(int(paid.amount))} to {paid.destination.address}")
    print(f"   transaction {paid.transaction_id}, fee {int(paid.fee or 0):,} lamports")
    stage.expect(f"{paid.request_id} is paid", kept=state == "COMPLETED")
    stage.report["withdrawals"].append(
        {
            "id": paid.name,
            "amount": paid.amount,
            "state": state,
            "transaction_id": paid.transaction_id,
            "approvals": approvals,
            "fee": paid.fee,
        }
    )


def _sol(lamports: int) -> str:
    return format_units(lamports, "SOL", 9)


if __name__ == "__main__":
    sys.exit(main())
