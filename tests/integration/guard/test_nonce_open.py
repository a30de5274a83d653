"""Opening nonce accounts: no intent asks for it, so its bounds and its count are all there is."""

import itertools
from collections.abc import Callable

from custody.chains.solana_checks import check_nonce_open
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from tests.factories import HOT_ADDRESS, WINDOWS, policy_file
from tests.signing import SignerRig, nonce_open

MakeRig = Callable[[bytes], SignerRig]
MAXIMUM_FEE = 1_000_000
_blockhashes = (number.to_bytes(32, "big") for number in itertools.count())


def budget(unit_limit: int, unit_price: int = 0) -> wire.ComputeBudget:
    return wire.ComputeBudget(unit_limit=unit_limit, unit_price=unit_price)


def check(signed: wire.Signed, index: int, blockhash: bytes, rent: int = 1_447_680) -> None:
    name = check_nonce_open(
        signed.transaction,
        wallet=HOT_ADDRESS,
        index=index,
        blockhash=blockhash,
        rent=rent,
        maximum_fee=MAXIMUM_FEE,
    )
    assert (signed.transaction_id, signed.repeated) == (name, False)


def test_a_nonce_of_the_pool_is_opened_on_any_blockhash(rig: SignerRig) -> None:
    check(rig.signed(nonce_open(0)), 0, b"\x09" * 32)
    check(rig.signed(nonce_open(3, b"\x0a" * 32, rent=2_000_000)), 3, b"\x0a" * 32, 2_000_000)
    check(rig.signed(nonce_open(0, b"\x0b" * 32)), 0, b"\x0b" * 32)


def test_what_lies_outside_the_bounds_is_refused(rig: SignerRig) -> None:
    refused: list[tuple[wire.Job, Code]] = [
        (nonce_open(4), Code.CHAIN_PARAMETERS_INVALID),
        (nonce_open(0, b"\x09" * 31), Code.CHAIN_PARAMETERS_INVALID),
        (nonce_open(rent=1_447_679), Code.CHAIN_PARAMETERS_INVALID),
        (nonce_open(rent=2_000_001), Code.CHAIN_PARAMETERS_INVALID),
        (nonce_open(budget=None), Code.CHAIN_PARAMETERS_INVALID),
        (nonce_open(budget=budget(1_000_000, 995_001)), Code.FEE_EXCEEDED),
        (nonce_open(wallet="absent"), Code.WALLET_UNKNOWN),
        (nonce_open(wallet=""), Code.WALLET_UNKNOWN),
        (nonce_open(wallet="audit"), Code.WALLET_UNKNOWN),
    ]
    for job, code in refused:
        assert rig.refused(job) is code, job


def opens_left(rig: SignerRig) -> int:
    """Try until it is refused; return how many were signed."""
    signed = 0
    while (result := rig.ask(nonce_open(0, next(_blockhashes)))).HasField("signed"):
        signed += 1
    assert result.refusal.code == Code.WINDOW_EXCEEDED
    assert result.refusal.rule == "wallets.hot-sol.windows.upkeep"
    return signed


def test_attempts_are_counted_in_the_upkeep_window_over_a_restart(make_rig: MakeRig) -> None:
    upkeep = {"upkeep": ["24 hours", "1 SOL", 5]}
    rig = make_rig(policy_file(windows={**WINDOWS, **upkeep}))
    assert opens_left(rig) == 5
    rig.restart()
    assert opens_left(rig) == 0
    again = nonce_open(2)
    earliest = rig.ask(again).refusal.earliest_time
    rig.now = earliest - 1
    assert opens_left(rig) == 0
    rig.now = earliest
    signed = rig.signed(again)
    assert opens_left(rig) == 4
    assert rig.signed(again) == signed, "the same bytes land once, so they count once"


def test_rent_and_fees_are_counted(make_rig: MakeRig) -> None:
    """Each attempt that fails pays a fee, so custody could burn the wallet."""
    cost = 1_447_680 + 5_000
    upkeep = {"upkeep": ["24 hours", f"0.00{3 * cost - 1} SOL", 100]}
    rig = make_rig(policy_file(windows={**WINDOWS, **upkeep}))
    assert opens_left(rig) == 2


def test_a_disabled_wallet_opens_nothing(make_rig: MakeRig) -> None:
    assert make_rig(policy_file(enabled=False)).refused(nonce_open()) is Code.WALLET_DISABLED
