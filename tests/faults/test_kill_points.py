"""kill -9 of each process at named points of a payment, or of its end: all comes back by itself."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from custody.client import CustodyClient, State, state_of
from custody.dev import processes
from custody.dev.genesis import NETWORK
from custody.dev.layout import WALLET
from custody.dev.system import System, isolation
from kura.custody.v1 import custody_pb2 as wire
from tests.faults.dying import POINTS, VICTIM, last_words

DYING = Path(__file__).with_name("dying.py")
SMALL, LARGE = 1_000_000, 5_000_000_000  # lamports; a large one waits for officers
DEATH_SECONDS = 60.0
PAID = ["CREATED", "RESERVED", "SIGNATURE", "BROADCAST", "SENT", "FINALISED"]
RETURNED = "RETURNED for want of a lease"
CANCELLED = ["CREATED", "CANCEL", "CANCEL_CERTIFIED"]
KILLED = ["CREATED", "RESERVED", "SIGNATURE", "KILL", "FAIL_CERTIFIED"]
KILLS = [name for name, point in POINTS.items() if point.kills]


def start_dying(system: System, point: str) -> processes.Running:
    """Put a process that will die at `point` in the place of the one that runs."""
    name = POINTS[point].process
    os.kill(system.pid(name), signal.SIGKILL)
    system.stop(name)
    command: list[str | Path] = [sys.executable, DYING, point]
    if POINTS[point].takes_postgres:
        command = ["env", f"{VICTIM}={system.pid('postgres')}", *command]
    if name == "signer":
        command = [*isolation(), *command, "--config", system.layout.signer_settings, "serve"]
    else:
        command += ["serve", name, "--settings", system.layout.settings(name)]
    return system.run(name, command)


def until_dead(system: System, dying: processes.Running, point: str) -> None:
    def said() -> bool:
        return last_words(point) in dying.log.read_text().splitlines()

    if POINTS[point].takes_postgres:
        system.until("the end of PostgreSQL", lambda: said() or None)
        system.layout.postgres.start()
    else:
        assert processes._children[dying.pid].wait(DEATH_SECONDS) == -signal.SIGKILL
        assert said()


def create(custody: CustodyClient, system: System, request_id: str, amount: int) -> wire.Withdrawal:
    return custody.create_withdrawal(
        request_id=request_id,
        wallet=WALLET,
        network=NETWORK,
        asset="SOL",
        address=system.customers[0],
        amount=amount,
    )


def pay(system: System, request_id: str, amount: int, *, cancels: bool) -> wire.Withdrawal:
    """Do as a backend does, which sees no error; return the withdrawal at its end."""
    with system.client("exchange") as custody:
        made = create(custody, system, request_id, amount)
        if cancels:
            custody.cancel(made.name)

        def look() -> wire.Withdrawal | None:  # more often than custody.wait does
            seen = custody.get_withdrawal(made.name)
            return seen if state_of(seen).ended else None

        return system.until("its end", look)


def transactions(system: System) -> list[str]:
    found = system.rpc("getSignaturesForAddress", system.customers[0])
    assert isinstance(found, list)
    return [item["signature"] for item in found]


def unused(system: System) -> bool | None:
    """True when every nonce can be used, so that nothing but the payment is sent or signed."""
    with psycopg.connect(system.layout.postgres.dsn) as connection:
        row = connection.execute("SELECT count(value), count(*) FROM nonce").fetchone()
    return True if row and row[0] == row[1] > 0 else None


def steps(system: System, name: str) -> list[str]:
    query = "SELECT event, details->>'code' FROM event WHERE kind = 'WITHDRAWAL' AND subject = %s"
    with psycopg.connect(system.layout.postgres.dsn) as connection:
        rows = connection.execute(query + " ORDER BY sequence", (name,)).fetchall()
    return [RETURNED if row == ("RETURNED", "LEASE_MISSING") else row[0] for row in rows]


def without_returns(seen: list[str]) -> list[str]:
    """Leave out what a signer sent back, and its next reservation: it starts without a lease."""
    while RETURNED in seen:
        place = seen.index(RETURNED)
        assert seen[place - 1 : place + 2] == ["RESERVED", RETURNED, "RESERVED"]
        seen = seen[:place] + seen[place + 2 :]
    return seen


def books(system: System) -> tuple[int, int]:
    """What our books say of the wallet: total, in use."""
    with system.client("auditor") as custody:
        (balance,) = custody.list_balances()
    return int(balance.total), int(balance.in_use)


def kill(system: System, made: wire.Withdrawal) -> wire.Withdrawal:
    """Do as an operator does, who sees no error; return the withdrawal at its end.

    The watchtower comes back once the kill was answered: what one that died with the api did not
    commit may be paid before it is asked again. If the advance is final before it has seen the
    nonce's value, it calls the transfer dead after 300 blocks, which are two minutes.
    """
    with system.client("operator") as operator:
        operator.kill_withdrawal(made.name)
    system.start("watchtower")
    with system.client("exchange") as custody:
        return custody.wait(made.name)


@pytest.mark.parametrize("point", KILLS)
def test_a_kill_outlives_kill_9_at(system: System, point: str) -> None:
    """While the watchtower is gone, what is signed waits; so there is time to kill it."""
    system.until("every nonce", lambda: unused(system))
    before, sent = system.balance(system.customers[0]), transactions(system)
    name = POINTS[point].process
    system.stop("watchtower")
    with system.client("exchange") as custody:
        made = create(custody, system, point, SMALL)
        custody.wait(made.name, until={State.SIGNED})
    dying = start_dying(system, point)
    with ThreadPoolExecutor(1) as backend:
        asked = backend.submit(kill, system, made)
        try:
            until_dead(system, dying, point)
        finally:
            system.stop(name)
            system.start(name)
        ended = asked.result()
    assert (ended.state, ended.refusal.code) == (wire.WITHDRAWAL_STATE_FAILED, "KILLED")
    assert transactions(system) == sent
    assert system.balance(system.customers[0]) == before
    assert steps(system, ended.name) == KILLED
    system.until("every nonce", lambda: unused(system))
    assert books(system) == (system.balance(system.wallet_address), 0)


@pytest.mark.parametrize("point", [name for name in POINTS if name not in KILLS])
def test_a_payment_outlives_kill_9_at(system: System, point: str) -> None:
    system.until("every nonce", lambda: unused(system))
    before, sent = system.balance(system.customers[0]), transactions(system)
    cancels, name = POINTS[point].cancels, POINTS[point].process
    dying = start_dying(system, point)
    with ThreadPoolExecutor(1) as backend:
        asked = backend.submit(pay, system, point, LARGE if cancels else SMALL, cancels=cancels)
        try:
            until_dead(system, dying, point)
        finally:
            system.stop(name)
            system.start(name)
        ended = asked.result()
    new = transactions(system)[: -len(sent) or None]
    if cancels:
        assert ended.state == wire.WITHDRAWAL_STATE_CANCELLED
        assert (new, system.balance(system.customers[0])) == ([], before)
    else:
        assert ended.state == wire.WITHDRAWAL_STATE_COMPLETED
        assert new == [ended.transaction_id]
        assert system.balance(system.customers[0]) == before + SMALL
    seen = steps(system, ended.name)
    assert (without_returns(seen) if name == "signer" else seen) == (CANCELLED if cancels else PAID)
    assert books(system) == (system.balance(system.wallet_address), 0)
