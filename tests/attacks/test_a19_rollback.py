"""A19, rollback: yesterday's journal, alone or with yesterday's token; yesterday's custody.

Whoever restores both has a custody that forgot today's withdrawals and a signer that could pay them
again: the signer's token and the watchtower remember.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from custody.store.withdrawals import Row
from policies.codes import Code
from policies.statements import Signed
from signer.anchor import begin
from tests.factories import CUSTOMER, SOL, WINDOWS, policy_file
from tests.integration import house as houses
from tests.integration.guard.payments import FEE, ask, code_of, full, intend, job_of, pay
from tests.integration.guard.test_end import end, ended
from tests.integration.house import House
from tests.signing import HELLO, STATUS, SignerRig

TIGHT = policy_file(windows={**WINDOWS, "wallet": ["24 hours", "2 SOL", 100]})
MakeRig = Callable[[bytes], SignerRig]
house = houses.house


def test_a_custody_that_forgot_gets_the_same_bytes(make_rig: MakeRig) -> None:
    """It asks anew for everything, with other nonces and fees: the limits stand, nothing twice."""
    rig = make_rig(TIGHT)
    intents = [intend(rig, SOL - FEE) for _ in range(2)]
    sent = [rig.signed(job_of(rig, intent)).transaction for intent in intents]
    full(ask(rig))
    for number in range(10):
        chain = {"nonce_value": bytes([number]) * 32, "nonce_index": number % 4}
        again = [rig.signed(job_of(rig, intent, **chain)) for intent in intents]
        assert [item.transaction for item in again] == sent
        assert all(item.repeated for item in again)
    full(ask(rig))
    rig.now += 26 * 3_600_000
    pay(rig)


def test_yesterdays_journal_is_named_and_signs_nothing(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig(TIGHT)
    pay(rig, SOL - FEE)
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "yesterday")
    rig.start()
    pay(rig, SOL - FEE)
    full(ask(rig))
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "today")
    shutil.copyfile(tmp_path / "yesterday", rig.path)
    rig.start()
    status = rig.ask(STATUS).status
    assert status.locked == Code.JOURNAL_BEHIND
    assert "older copy" in status.locked_message
    assert code_of(ask(rig)) is Code.JOURNAL_BEHIND
    assert rig.ask(HELLO).refusal.code == Code.JOURNAL_BEHIND  # so no lease can be made
    rig.stop()
    shutil.copyfile(tmp_path / "today", rig.path)
    rig.start()
    full(ask(rig))
    rig.now += 26 * 3_600_000
    pay(rig)


def test_yesterdays_journal_with_yesterdays_token(make_rig: MakeRig, tmp_path: Path) -> None:
    """Nothing on the signer's host remembers the day; the watchtower does."""
    rig = make_rig(TIGHT)
    rig.leased = False
    assert rig.lease().applied.digest
    pay(rig, SOL - FEE)
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "yesterday")
    rig.start()
    assert rig.lease().applied.digest
    pay(rig, SOL - FEE)
    seen = rig.ask(STATUS).status
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "today")
    shutil.copyfile(tmp_path / "yesterday", rig.path)
    rig.start()
    begin(rig.token, rig.journal)  # as root, who puts the old token's files back
    rig.restart()
    assert not rig.ask(STATUS).status.locked
    refusal = rig.lease(sequence=seen.sequence, head=seen.head).refusal
    assert (refusal.code, refusal.field) == (Code.LEASE_INVALID, "sequence")
    assert "older copy" in refusal.message
    assert code_of(ask(rig)) is Code.LEASE_MISSING
    rig.stop()
    shutil.copyfile(tmp_path / "today", rig.path)
    rig.start()
    begin(rig.token, rig.journal)
    rig.restart()
    assert rig.lease().applied.digest
    full(ask(rig))
    rig.now += 26 * 3_600_000
    assert rig.lease().applied.digest
    pay(rig)


def test_yesterdays_journal_ends_nothing_that_was_paid_today(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """Refund and pay: what was forgotten would be ended, and what was signed for it still pays."""
    rig = make_rig(TIGHT)
    rig.stop()
    shutil.copyfile(rig.path, tmp_path / "yesterday")
    rig.start()
    paid, never = intend(rig), intend(rig)
    rig.signed(job_of(rig, paid))
    rig.stop()
    shutil.copyfile(tmp_path / "yesterday", rig.path)
    rig.start()
    begin(rig.token, rig.journal)  # as root, who puts the old token's files back
    rig.restart()
    rig.leased = False  # the watchtower has seen a later entry
    for intent in (paid, never):
        assert code_of(rig.ask(end(intent))) is Code.LEASE_MISSING
    rig.leased = True  # it lost its memory too, or the journal is the newest after all
    ended(rig, never)
    rig.restart()
    rig.leased = False
    ended(rig, never)


async def test_yesterdays_custody_and_then_yesterdays_journal_too(
    house: House, tmp_path: Path
) -> None:
    await house.ready()
    await house.stop()
    copy_database(house, "yesterday")
    shutil.copyfile(house._journal_path, tmp_path / "yesterday")
    await house.start()
    intents = [house.intent() for _ in range(3)]
    paid = [await payment(house, intent) for intent in intents]
    landed = await house.on_chain(CUSTOMER.address)

    await house.stop()
    put_back_database(house, "yesterday")
    await house.start()
    assert await house.sql("SELECT count(*) FROM withdrawal") == [(0,)], "custody has forgotten"
    assert [await payment(house, intent) for intent in intents] == paid
    assert await house.on_chain(CUSTOMER.address) == landed

    await house.stop()
    shutil.copyfile(house._journal_path, tmp_path / "today")
    shutil.copyfile(tmp_path / "yesterday", house._journal_path)
    await house.start()
    waiting = await house.create()
    await house.step()
    assert (await house.row(waiting)).state != "COMPLETED"
    [(locked, words)] = await house.sql("SELECT locked, locked_message FROM signer")
    assert locked == Code.JOURNAL_BEHIND
    assert "the journal is an older copy" in words
    assert await house.on_chain(CUSTOMER.address) == landed

    await house.stop()
    shutil.copyfile(tmp_path / "today", house._journal_path)
    await house.start()
    await house.step()
    assert (await house.row(waiting)).state == "COMPLETED"
    assert await house.on_chain(CUSTOMER.address) == landed + waiting.amount


async def payment(house: House, intent: Signed) -> str | None:
    """Hand the intent over, as the backend does again when custody does not know it."""
    row = await house.submit(intent)
    assert isinstance(row, Row), row
    await house.step()
    done = await house.row(row)
    assert done.state == "COMPLETED", done
    return done.transaction_id


def copy_database(house: House, name: str) -> None:
    """Copy custody's database, as a superuser does; nobody is connected to it."""
    own = sql.Identifier(str(conninfo_to_dict(house.dsn)["dbname"]))
    with psycopg.connect(make_conninfo(house.dsn, dbname="postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), own))


def put_back_database(house: House, name: str) -> None:
    own = sql.Identifier(str(conninfo_to_dict(house.dsn)["dbname"]))
    with psycopg.connect(make_conninfo(house.dsn, dbname="postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(own))
        admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), own))
