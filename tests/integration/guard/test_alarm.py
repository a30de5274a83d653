"""A theft is what the signer proves itself; then all is frozen, and what is left is swept."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from nacl import bindings as b
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams
from solders.system_program import transfer as transfer_of
from solders.transaction import Transaction

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.freezes import epoch_after
from policies.receipts import open_receipt
from policies.statements import Receipt, Signed, Theft, digest, encode
from signer import requests as requests_module
from signer.freezes import Freezes
from signer.hsm import Token
from signer.journal import Journal
from signer.requests import KEEP_MS
from tests.factories import (
    COLD_ADDRESS,
    HOT_ADDRESS,
    HOUR,
    SOL,
    key,
    make_dead,
    make_freeze,
    make_intent,
    make_theft,
    make_unfreeze,
    policy_file,
    public,
    sign,
    wallet_text,
)
from tests.integration.guard.orders import freeze_job, unfreeze_job
from tests.integration.guard.payments import FEE, ask, code_of, pay
from tests.integration.guard.versions import DAY, QUORUM, apply, following
from tests.integration.mischief import Crash, crash_in
from tests.signing import (
    STATUS,
    SignerRig,
    alarm,
    enveloped,
    hold_keys,
    nonce_advance,
    nonce_open,
    transfer,
)
from tests.softhsm import SoftHsm

MakeRig = Callable[[bytes], SignerRig]
THIEF = Pubkey.from_string("2FQjTDy4kSSJG5ALLj7kWDqbe5Ujc5g1M8aibftErrCz")


def stolen(*signers: str, lamports: int = SOL, fee_payer: str = "") -> bytes:
    """Return a transaction of the thief's, which has these wallets' keys."""
    pairs = [Keypair.from_seed(bytes(key(name))) for name in signers or ("hot-sol",)]
    pays = [
        transfer_of(TransferParams(from_pubkey=pair.pubkey(), to_pubkey=THIEF, lamports=lamports))
        for pair in pairs
    ]
    payer = Keypair.from_seed(bytes(key(fee_payer))) if fee_payer else pairs[0]
    recent = Hash(b"\x0d" * 32)
    message = Message.new_with_blockhash(pays, payer.pubkey(), recent)
    return bytes(Transaction([payer, *[p for p in pairs if p != payer]], message, recent))


def swept(rig: SignerRig, theft: Theft | Signed) -> list[wire.Signed]:
    """Return the transactions of the ladder; each must have a receipt and go to cold-sol."""
    result = rig.ask(alarm(theft))
    assert result.WhichOneof("outcome") == "swept", result
    assert len(result.swept.receipts) == len(result.swept.transactions)
    for signed, data in zip(result.swept.transactions, result.swept.receipts, strict=True):
        receipt = open_receipt([public("audit")], data)
        assert (receipt.outcome, receipt.wallet) == ("signed", "hot-sol")
        assert receipt.transaction_id == signed.transaction_id
        assert receipt.amount == lamports_of(signed) + SOL // 100
    return list(result.swept.transactions)


def lamports_of(signed: wire.Signed) -> int:
    tx = Transaction.from_bytes(signed.transaction)
    tx.verify()
    *budget, pays = tx.message.instructions
    assert {tx.message.account_keys[step.program_id_index] for step in budget} == {
        Pubkey.from_string("ComputeBudget111111111111111111111111111111")
    }
    accounts = [str(tx.message.account_keys[at]) for at in pays.accounts]
    assert accounts == [HOT_ADDRESS, COLD_ADDRESS]
    return int.from_bytes(bytes(pays.data)[4:], "little")


def unproven(rig: SignerRig, theft: Theft | Signed) -> wire.Result:
    result = rig.ask(alarm(theft))
    assert code_of(result) is Code.THEFT_UNPROVEN
    assert not rig.ask(STATUS).status.freezes, "nothing is frozen by a claim"
    return result


def fresh(number: int) -> str:
    """Return another recent blockhash, as the watchtower names with each ask."""
    return f"{number:064x}"


def test_a_theft_freezes_all_and_sweeps_without_officer_or_lease(rig: SignerRig) -> None:
    rig.restart()
    rig.leased = False
    ladder = swept(rig, make_theft(stolen()))
    assert len(ladder) == 8
    assert lamports_of(ladder[0]) == 7 * SOL - SOL // 100
    assert lamports_of(ladder[1]) < lamports_of(ladder[0]) // 2
    (freeze,) = rig.ask(STATUS).status.freezes
    assert (freeze.wallet, freeze.person) == ("*", "watchtower")
    assert freeze.digest == digest(stolen())
    rig.restart()
    rig.leased = True
    assert code_of(ask(rig)) is Code.FROZEN
    lifted = [make_unfreeze(p, freeze.digest, expires=rig.now + HOUR) for p in QUORUM]
    assert rig.ask(unfreeze_job(*lifted)).applied.digest == epoch_after("", [freeze.digest])
    pay(rig)


@pytest.mark.parametrize("balance", [0, 1, SOL // 100, SOL // 50 - 1])
def test_an_emptied_wallet_is_frozen_all_the_same(rig: SignerRig, balance: int) -> None:
    assert swept(rig, make_theft(stolen(), balance=balance)) == []
    assert code_of(ask(rig)) is Code.FROZEN


def test_whichever_of_its_signers_the_wallet_is(rig: SignerRig) -> None:
    assert swept(rig, make_theft(stolen("cold-sol", "hot-sol", fee_payer="mallory")))


def test_a_disabled_or_frozen_wallet_and_a_wrong_clock(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(enabled=False))
    assert rig.ask(freeze_job(make_freeze())).HasField("applied")
    rig.now += 30 * HOUR
    rig.set_clock(rig.now + 24 * HOUR)
    assert swept(rig, make_theft(stolen()))
    for _ in range(2):
        assert rig.ask(STATUS).status.locked == Code.CLOCK_DIFFERS, (
            "it is believed no more for that"
        )
        rig.restart()


def test_whose_claim_it_is_matters_before_anything(rig: SignerRig) -> None:
    theft = make_theft(stolen())
    for wrong in (
        replace(theft, key=public("alice")),
        replace(theft, key=public("audit")),
        sign(key("mallory"), theft),
        Signed(encode(theft), bytes(64)),
        Signed(b"", b""),
    ):
        job = alarm(wrong) if isinstance(wrong, Signed) else alarm(sign(key("alice"), wrong))
        assert code_of(rig.ask(job)) is Code.THEFT_UNPROVEN
    pay(rig)


def test_bytes_that_prove_nothing_freeze_nothing(rig: SignerRig) -> None:
    """The watchtower may lie: it cannot make the signer freeze or sweep."""
    good = stolen()
    flipped = bytes((good[0], good[1] ^ 1)) + good[2:]
    for wrong in (
        b"\0",
        good[:-1],
        good + b"\0",
        flipped,
        stolen("mallory"),
        stolen("cold-sol"),
        good[:70] + bytes((good[70] ^ 1,)) + good[71:],
    ):
        unproven(rig, make_theft(wrong))
    pay(rig)


def test_a_cold_wallet_is_not_swept(softhsm: SoftHsm, make_rig: MakeRig) -> None:
    hold_keys(softhsm, "cold-sol")
    rig = make_rig(policy_file(more=wallet_text("cold-sol", signer=public("audit"))))
    told = unproven(rig, make_theft(stolen("cold-sol"), wallet="cold-sol")).refusal
    assert told.message == "cold-sol is no hot wallet"


def test_the_proof_is_asked_for_the_wallet_that_is_named(
    softhsm: SoftHsm, make_rig: MakeRig
) -> None:
    """A signature of another hot wallet's key proves nothing of this one."""
    hold_keys(softhsm, "warm-sol")
    address = str(Keypair.from_seed(bytes(key("warm-sol"))).pubkey())
    text = wallet_text("warm-sol", address=address, signer=public("audit"), tier="hot")
    rig = make_rig(policy_file(more=text))
    told = [
        unproven(rig, make_theft(stolen(), wallet=name)).refusal
        for name in ("warm-sol", "absent", "audit")
    ]
    assert [item.field for item in told] == ["", "wallet", "wallet"]
    assert [item.message for item in told] == [
        "the wallet is none of the transaction's signers",
        "no wallet is called absent",
        "no wallet is called audit",
    ]
    assert swept(rig, make_theft(stolen()))


# --- what the signer signed itself


def own(rig: SignerRig, transaction: bytes, name: str) -> Receipt:
    """Return the receipt that a claim about the signer's own transaction is answered with."""
    receipt = open_receipt([public("audit")], unproven(rig, make_theft(transaction)).receipt)
    assert (receipt.outcome, receipt.wallet) == ("signed", "hot-sol")
    assert receipt.transaction_id == name
    return receipt


def test_what_the_journal_knows_is_answered_with_its_receipt(rig: SignerRig) -> None:
    intent = make_intent()
    jobs = (transfer(intent, nonce_index=3), nonce_open(), nonce_advance())
    signed = [rig.signed(job) for job in jobs]
    rig.restart()
    paid, opened, advanced = (own(rig, item.transaction, item.transaction_id) for item in signed)
    assert (paid.intent, paid.amount) == (digest(encode(intent)), intent.amount + FEE)
    assert paid.nonce_value == advanced.nonce_value == "07" * 32
    assert (opened.amount, opened.nonce_value) == (1_452_680, "")
    assert (advanced.amount, advanced.intent) == (FEE, "")
    pay(rig)


@pytest.mark.parametrize("now", ["cold", "removed"])
def test_also_of_a_wallet_that_is_not_hot_any_more(
    softhsm: SoftHsm, make_rig: MakeRig, now: str
) -> None:
    """Custody sends it without its receipt: with no answer every signer would pause for ever."""
    hold_keys(softhsm, "warm-sol")
    address = str(Keypair.from_seed(bytes(key("warm-sol"))).pubkey())
    changes = {"address": address, "signer": public("audit")}
    text = wallet_text("warm-sol", **changes, tier="hot")
    rig = make_rig(policy_file(more=text))
    opened = rig.signed(nonce_open(wallet="warm-sol"))
    text = wallet_text("warm-sol", **changes, tier="cold") if now == "cold" else ""
    file = following(rig, more=text)
    apply(rig, file, *QUORUM)
    rig.now += 3 * DAY
    assert apply(rig, file, *QUORUM, elapsed=True).HasField("applied")
    told = unproven(rig, make_theft(opened.transaction, wallet="warm-sol"))
    receipt = open_receipt([public("audit")], told.receipt)
    assert (receipt.wallet, receipt.transaction_id) == ("warm-sol", opened.transaction_id)


def test_also_what_was_signed_long_ago_or_ended(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, dead = make_intent(), make_intent(request_id="w-2")
    first, second = rig.signed(transfer(old)), rig.signed(transfer(dead, nonce_value=b"\x08" * 32))
    end = wire.End(intent=enveloped(dead), dead=enveloped(make_dead(dead, second.transaction_id)))
    assert rig.ask(wire.Job(end=end)).HasField("ended")
    monkeypatch.setattr(requests_module, "_LOOKED_AT_ONCE", 9)
    rig.now += KEEP_MS + 1
    pay(rig)
    assert rig.signed(transfer(old)).transaction == b""
    receipt = own(rig, first.transaction, first.transaction_id)
    assert receipt.intent == digest(encode(old))
    assert receipt.amount == old.amount + FEE, "or the limit beyond recall never gets it back"
    assert own(rig, second.transaction, second.transaction_id).intent == digest(encode(dead))


def test_the_sweeps_themselves_are_no_theft(rig: SignerRig) -> None:
    ladder = swept(rig, make_theft(stolen()))
    for signed in ladder:
        result = rig.ask(alarm(make_theft(signed.transaction)))
        assert code_of(result) is Code.THEFT_UNPROVEN
        receipt = open_receipt([public("audit")], result.receipt)
        assert receipt.transaction_id == signed.transaction_id


def test_the_same_message_under_another_signature_is_a_theft(rig: SignerRig) -> None:
    """A signature that this signer never gave, over bytes that it reserved: the key is out."""
    signed = rig.signed(transfer(make_intent()))
    nonce = b"\x01" * 32  # any r but the one that RFC 8032 derives
    forged = other_signature(bytes(key("hot-sol")), signed.transaction[65:], nonce)
    assert swept(rig, make_theft(b"\x01" + forged + signed.transaction[65:]))


def other_signature(seed: bytes, message: bytes, nonce: bytes) -> bytes:
    """Sign as RFC 8032, but with a nonce of our choice."""
    prefix = bytearray(hashlib.sha512(seed).digest()[:32])
    prefix[0] &= 248
    prefix[31] = prefix[31] & 127 | 64
    secret = b.crypto_core_ed25519_scalar_reduce(bytes(prefix) + bytes(32))
    r = b.crypto_core_ed25519_scalar_reduce(nonce + bytes(32))
    point = b.crypto_scalarmult_ed25519_base_noclamp(r)
    public_key = bytes(key("hot-sol").verify_key)
    h = b.crypto_core_ed25519_scalar_reduce(hashlib.sha512(point + public_key + message).digest())
    s = b.crypto_core_ed25519_scalar_add(r, b.crypto_core_ed25519_scalar_mul(h, secret))
    return bytes(point + s)


# --- how much is signed


def test_at_most_the_policys_count_until_the_freeze_is_lifted(make_rig: MakeRig) -> None:
    rig = make_rig(policy_file(sweep_count=12))
    theft = make_theft(stolen())
    assert len(swept(rig, theft)) == 8
    assert len(swept(rig, theft)) == 8, "asked again after a lost answer: the same, counted once"
    last = swept(rig, replace(theft, blockhash=fresh(1)))
    assert len(last) == 4
    assert lamports_of(last[0]) == 7 * SOL - SOL // 100, "the largest first"
    rig.restart()
    for number in (2, 3):
        result = rig.ask(alarm(make_theft(stolen(lamports=number), blockhash=fresh(number))))
        assert code_of(result) is Code.LIMIT_EXCEEDED
        assert result.refusal.rule == "wallets.hot-sol.sweep.count"
    (freeze,) = rig.ask(STATUS).status.freezes
    assert freeze.digest == digest(stolen()), "one for each epoch is enough"
    orders = [make_unfreeze(p, freeze.digest, expires=rig.now + HOUR) for p in QUORUM]
    epoch = rig.ask(unfreeze_job(*orders)).applied.digest
    again = rig.ask(alarm(theft))
    assert code_of(again) is Code.EPOCH_PASSED, "else a relay freezes after every lift"
    assert not rig.ask(STATUS).status.freezes
    theft = replace(theft, blockhash=fresh(4), epoch=epoch)
    assert len(swept(rig, theft)) == 8, "and all is frozen again"
    assert code_of(ask(rig)) is Code.FROZEN


@pytest.mark.parametrize(
    ("where", "effect", "frozen"),
    [(Freezes, "freeze_all", True), (Token, "sign", True), (Journal, "issued", True)],
)
def test_a_crash_on_the_way_ends_frozen_and_the_same_is_signed_again(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, where: type, effect: str, *, frozen: bool
) -> None:
    rig = make_rig(policy_file(sweep_count=8))
    theft = make_theft(stolen())
    with monkeypatch.context() as patch:
        crash_in(where, effect, patch)
        with pytest.raises(Crash):
            rig.ask_unleased(alarm(theft))
    rig.restart()
    assert (code_of(ask(rig)) is Code.FROZEN) == frozen
    assert len(swept(rig, theft)) == 8
    assert code_of(rig.ask(alarm(replace(theft, blockhash=fresh(1))))) is Code.LIMIT_EXCEEDED


def test_each_wallet_is_swept_by_its_own_count(softhsm: SoftHsm, make_rig: MakeRig) -> None:
    hold_keys(softhsm, "warm-sol")
    more: dict[str, Any] = {"signer": public("audit"), "tier": "hot"}
    address = str(Keypair.from_seed(bytes(key("warm-sol"))).pubkey())
    rig = make_rig(
        policy_file(sweep_count=8, more=wallet_text("warm-sol", address=address, **more))
    )
    assert len(swept(rig, make_theft(stolen()))) == 8
    result = rig.ask(alarm(make_theft(stolen("warm-sol"), wallet="warm-sol")))
    assert len(result.swept.transactions) == 8
    assert {open_receipt([public("audit")], r).wallet for r in result.swept.receipts} == {
        "warm-sol"
    }


def test_each_of_two_wallets_that_one_theft_drains_is_swept(
    softhsm: SoftHsm, make_rig: MakeRig
) -> None:
    """The thief of both keys has both sign everything: neither shields the other from its sweep."""
    hold_keys(softhsm, "warm-sol")
    more: dict[str, Any] = {"signer": public("audit"), "tier": "hot"}
    address = str(Keypair.from_seed(bytes(key("warm-sol"))).pubkey())
    rig = make_rig(policy_file(more=wallet_text("warm-sol", address=address, **more)))
    both = stolen("hot-sol", "warm-sol")
    asked = [
        make_theft(both, wallet=wallet, balance=balance * SOL, blockhash=fresh(balance))
        for wallet, balance in (("hot-sol", 7), ("warm-sol", 9))
    ]
    answers = [rig.ask(alarm(theft)).swept for theft in asked]
    opened = [[open_receipt([public("audit")], data) for data in a.receipts] for a in answers]
    assert [{receipt.wallet for receipt in ladder} for ladder in opened] == [
        {"hot-sol"},
        {"warm-sol"},
    ]
    assert [ladder[0].amount for ladder in opened] == [7 * SOL, 9 * SOL]
    assert len(rig.ask(STATUS).status.freezes) == 1
