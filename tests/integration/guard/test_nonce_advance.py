"""Advancing a nonce kills what stands on its value: whenever it is needed, and for a fee alone."""

from collections.abc import Callable

from solders.message import Message
from solders.transaction import Transaction

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.receipts import open_receipt
from signer.chains import solana
from signer.chains.solana_address import encode_address
from tests.factories import (
    WINDOWS,
    key,
    make_dead,
    make_freeze,
    make_intent,
    policy_file,
    public,
)
from tests.integration.guard.orders import freeze_job
from tests.integration.guard.payments import FEE
from tests.signing import SignerRig, enveloped, nonce_advance, nonce_open, transfer

MakeRig = Callable[[bytes], SignerRig]
HOT = bytes(key("hot-sol").verify_key)


def message_of(signed: wire.Signed) -> Message:
    tx = Transaction.from_bytes(signed.transaction)
    tx.verify()
    return tx.message


def test_it_stands_on_the_same_value_as_the_transfer(rig: SignerRig) -> None:
    paid = message_of(rig.signed(transfer(make_intent())))
    advance = message_of(rig.signed(nonce_advance()))
    assert advance.recent_blockhash == paid.recent_blockhash
    assert advance.instructions[0].data == paid.instructions[0].data
    accounts = [advance.account_keys[at] for at in advance.instructions[0].accounts]
    assert bytes(accounts[0]) == solana.nonce_address(HOT, 0)
    programs = [str(advance.account_keys[step.program_id_index]) for step in advance.instructions]
    assert [name[:7] for name in programs] == ["1111111", "Compute", "Compute"], "it pays nobody"


def test_frozen_without_a_lease_and_for_a_disabled_wallet(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(enabled=False))
    assert rig.ask(freeze_job(make_freeze())).HasField("applied")
    rig.restart()
    rig.leased = False
    for index in (0, 4, 63):
        result = rig.ask(nonce_advance(index, bytes((index,)) * 32))
        receipt = open_receipt([public("audit")], result.receipt)
        assert receipt.transaction_id == result.signed.transaction_id
        assert (receipt.outcome, receipt.wallet, receipt.amount) == ("signed", "hot-sol", FEE)
        assert (receipt.intent, receipt.request_id) == ("", "")
        account = encode_address(solana.nonce_address(HOT, index))
        assert (receipt.nonce_account, receipt.nonce_value) == (account, f"{index:02x}" * 32)


def test_what_lies_outside_the_bounds_is_refused(rig: SignerRig) -> None:
    dear = wire.ComputeBudget(unit_limit=1_000_000, unit_price=995_001)
    refused: list[tuple[wire.Job, Code]] = [
        (nonce_advance(64), Code.CHAIN_PARAMETERS_INVALID),
        (nonce_advance(0, b"\x07" * 31), Code.CHAIN_PARAMETERS_INVALID),
        (nonce_advance(budget=None), Code.CHAIN_PARAMETERS_INVALID),
        (nonce_advance(budget=dear), Code.FEE_EXCEEDED),
        (nonce_advance(wallet="absent"), Code.WALLET_UNKNOWN),
        (nonce_advance(wallet="audit"), Code.WALLET_UNKNOWN),
    ]
    for job, code in refused:
        assert rig.refused(job) is code, job


def test_fees_are_counted_with_those_of_opened_nonces(make_rig: MakeRig) -> None:
    """Custody asks for them, so without a bound it could burn the wallet in fees."""
    rig = make_rig(policy_file(windows={**WINDOWS, "upkeep": ["24 hours", "1 SOL", 3]}))
    rig.signed(nonce_open())
    rig.signed(transfer(make_intent()))
    for index in (1, 2):
        rig.signed(nonce_advance(index))  # the transfer stands on the value of another
    rig.restart()
    for job in (nonce_advance(3), nonce_open(1)):
        refusal = rig.ask(job).refusal
        assert refusal.code == Code.WINDOW_EXCEEDED
        assert refusal.rule == "wallets.hot-sol.windows.upkeep"


def test_custody_cannot_use_up_what_kills_a_hoard(make_rig: MakeRig) -> None:
    """It needs nobody for advances on values that no account ever had; then officers freeze."""
    rig = make_rig(policy_file(windows={**WINDOWS, "upkeep": ["24 hours", "1 SOL", 8]}))
    rig.signed(transfer(make_intent()))
    for number in range(8):
        rig.signed(nonce_advance(nonce_value=bytes((number + 50,)) * 32))
    assert rig.ask(freeze_job(make_freeze())).HasField("applied")
    rig.signed(nonce_advance())


def test_one_advance_of_a_transfers_value_is_in_no_window_and_none_counts_twice(
    make_rig: MakeRig,
) -> None:
    """With any number of fees on one value custody could burn the wallet; a reply may be lost."""
    rig = make_rig(policy_file(windows={**WINDOWS, "upkeep": ["24 hours", "1 SOL", 2]}))
    jobs = [nonce_advance(budget=wire.ComputeBudget(unit_limit=n, unit_price=0)) for n in (1, 2, 3)]
    rig.signed(transfer(make_intent()))
    signed = [rig.signed(job) for job in jobs]  # the first in no window
    for _ in range(2):
        assert [rig.signed(job) for job in jobs] == signed
        for job in (nonce_advance(), nonce_advance(1), nonce_open(1)):
            assert rig.refused(job) is Code.WINDOW_EXCEEDED
        rig.restart()


def test_the_same_again_adds_no_entry(rig: SignerRig) -> None:
    """Without a lease no head is let go: a relay alone could fill the disk with them."""
    rig.signed(nonce_open())
    rig.signed(nonce_advance())
    before = rig.journal.sequence
    for job in (nonce_open(), nonce_advance()):
        rig.signed(job)
    assert rig.journal.sequence == before


def test_what_was_ended_is_killed_in_no_window_too(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(windows={**WINDOWS, "upkeep": ["24 hours", "1 SOL", 0]}))
    intent = make_intent()
    signed = rig.signed(transfer(intent))
    dead = enveloped(make_dead(intent, signed.transaction_id))
    ended = rig.ask(wire.Job(end=wire.End(intent=enveloped(intent), dead=dead)))
    assert ended.HasField("ended")
    rig.signed(nonce_advance())
