"""Which transfers are signed and what is signed then; which are refused, without a trace."""

from typing import Any

from solders.transaction import Transaction

from custody.chains.solana_checks import check_transfer, nonce_address
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from policies.statements import Destination, Intent
from signer.governance import Governance
from tests.factories import (
    CUSTOMER,
    HOT_ADDRESS,
    HOUR,
    NOW,
    SOL,
    STRANGER,
    make_approval,
    make_book,
    make_intent,
    public,
)
from tests.signing import SignerRig, apply_book, transfer

TAGGED = Destination(STRANGER.address, "タグ 7")
NOT_ALLOWED: list[tuple[dict[str, Any], Code]] = [
    ({"wallet": "hot-sol2"}, Code.WALLET_UNKNOWN),
    ({"network": "solana:mainnet"}, Code.NETWORK_MISMATCH),
    ({"asset": "BTC"}, Code.ASSET_MISMATCH),
    ({"amount": 40 * SOL + 1}, Code.TIERS_EXCEEDED),
    ({"amount": 50 * SOL + 1}, Code.CAP_EXCEEDED),
    ({"amount": 2**63 - 1}, Code.CAP_EXCEEDED),
    ({"created": NOW - HOUR, "expires": NOW}, Code.INTENT_EXPIRED),
    ({"created": NOW + 30_001}, Code.INTENT_EARLY),
    ({"destination": STRANGER}, Code.DESTINATION_NOT_ALLOWED),
    ({"destination": Destination(CUSTOMER.address, "7")}, Code.DESTINATION_NOT_ALLOWED),
    ({"destination": Destination(HOT_ADDRESS, "")}, Code.DESTINATION_INVALID),
    ({"requester": "exchange-2"}, Code.REQUESTER_UNKNOWN),
    ({"requester": "alice", "key": public("alice")}, Code.REQUESTER_UNKNOWN),
    ({"key": public("alice")}, Code.REQUESTER_UNKNOWN),
]
NOBODYS = [
    "11111111111111111111111111111111",
    "ComputeBudget111111111111111111111111111111",
    "SysvarRecentB1ockHashes11111111111111111111",
    "So11111111111111111111111111111111111111112",
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    CUSTOMER.address + "1",
    nonce_address(HOT_ADDRESS, 0),
]


def check(signed: wire.Signed, intent: Intent, **chain: Any) -> None:
    """The chain's own SDK reads the very transaction that the intent asks for."""
    assert bytes(Transaction.from_bytes(signed.transaction)) == signed.transaction
    name = check_transfer(
        signed.transaction,
        source=HOT_ADDRESS,
        nonce_account=nonce_address(HOT_ADDRESS, chain.get("nonce_index", 0)),
        nonce_value=chain.get("nonce_value", b"\x07" * 32),
        destination=intent.destination.address,
        amount=intent.amount,
        memo=intent.destination.memo,
        maximum_fee=1_000_000,
    )
    assert signed.transaction_id == name
    assert not signed.repeated


def test_a_small_transfer_needs_no_one(rig: SignerRig) -> None:
    intent = make_intent(amount=SOL)
    check(rig.signed(transfer(intent)), intent)


def test_the_chains_parameters_are_taken_within_the_policy(rig: SignerRig) -> None:
    chain = {"nonce_index": 3, "nonce_value": b"\xee" * 32}
    job = transfer(make_intent(), unit_limit=1_000_000, unit_price=995_000, **chain)
    check(rig.signed(job), make_intent(), **chain)


def test_a_memo_is_paid_to_where_it_is_listed(rig: SignerRig) -> None:
    rig.ask(apply_book(make_book(TAGGED, version=2, previous=book(rig)), "alice", "carol"))
    intent = make_intent(destination=TAGGED)
    check(rig.signed(transfer(intent)), intent)
    untagged = make_intent(destination=STRANGER, request_id="w-2")
    assert rig.refused(transfer(untagged)) is Code.DESTINATION_NOT_ALLOWED


def test_a_large_transfer_needs_two_people_of_different_groups(rig: SignerRig) -> None:
    intent = make_intent(amount=40 * SOL)
    alice, bob, carol = (
        make_approval(rig.policy, intent, name) for name in ("alice", "bob", "carol")
    )
    for too_few in ((), (alice,), (bob,), (carol,), (bob, bob)):
        assert rig.refused(transfer(intent, *too_few)) is Code.APPROVALS_MISSING
    check(rig.signed(transfer(intent, alice, carol)), intent)
    other = make_intent(amount=40 * SOL, request_id="w-2")
    both = (make_approval(rig.policy, other, name) for name in ("bob", "alice"))
    nonce = b"\x08" * 32
    check(rig.signed(transfer(other, *both, nonce_value=nonce)), other, nonce_value=nonce)


def test_what_the_policy_does_not_allow_is_refused(rig: SignerRig) -> None:
    """Properly signed, and with all the approvals that anybody could ask for."""
    for changes, code in NOT_ALLOWED:
        intent = make_intent(**changes)
        people = ("alice", "bob", "carol")
        approvals = [make_approval(rig.policy, intent, person) for person in people]
        assert rig.refused(transfer(intent, *approvals)) is code, changes


def test_an_intent_older_than_the_journal_is_refused(rig: SignerRig) -> None:
    """Another signer may have paid it: this journal would not know."""
    assert rig.journal.created == NOW - HOUR
    old = make_intent(created=NOW - HOUR - 1)
    assert rig.refused(transfer(old)) is Code.INTENT_BEFORE_JOURNAL
    rig.restart()
    assert rig.refused(transfer(old)) is Code.INTENT_BEFORE_JOURNAL
    check(rig.signed(transfer(make_intent(created=NOW - HOUR))), make_intent())


def test_a_look_alike_address_is_not_in_the_book(rig: SignerRig) -> None:
    real = CUSTOMER.address
    for address in (
        real[:5] + STRANGER.address[6:-5] + real[-5:],
        real[:20] + "z" + real[21:],
        real[:-1] + "a",
        real.swapcase(),
    ):
        assert len(address) == len(real)
        assert address != real
        intent = make_intent(destination=Destination(address, ""))
        assert rig.refused(transfer(intent)) is Code.DESTINATION_NOT_ALLOWED


def test_what_nobody_holds_is_not_paid_though_it_is_listed(rig: SignerRig) -> None:
    """Officers may be mistaken; money sent there would be lost."""
    listed = [Destination(address, "") for address in NOBODYS]
    rig.ask(apply_book(make_book(*listed, version=2, previous=book(rig)), "alice", "carol"))
    for destination in listed:
        assert Governance(rig.journal).listed_at("solana:devnet", destination) is not None
        intent = make_intent(destination=destination)
        assert rig.refused(transfer(intent)) is Code.DESTINATION_INVALID, destination


def test_chain_parameters_out_of_bounds_use_nothing_up(rig: SignerRig) -> None:
    dear = transfer(make_intent(), unit_limit=1_000_000, unit_price=995_001)
    assert rig.refused(dear) is Code.FEE_EXCEEDED
    for chain in ({"nonce_index": 4}, {"nonce_value": b"\x07" * 31}, {"unit_limit": 0}):
        job = transfer(make_intent(), **chain)
        assert rig.refused(job) is Code.CHAIN_PARAMETERS_INVALID, chain
    check(rig.signed(transfer(make_intent())), make_intent())


def book(rig: SignerRig) -> str:
    return Governance(rig.journal).book_version()[1]
