"""Opening nonce accounts: no intent asks for it, so its bounds and its count are all there is."""

from typing import Any

from custody.chains.solana_checks import check_nonce_open
from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from signer.guard import NONCE_OPENS_MAX
from tests.factories import HOT_ADDRESS, HOUR
from tests.signing import SignerRig, nonce_open

MAXIMUM_FEE = 1_000_000


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


def test_attempts_are_counted_for_a_day_over_a_restart(rig: SignerRig) -> None:
    jobs = [nonce_open(0, bytes((number,)) * 32) for number in range(NONCE_OPENS_MAX + 1)]
    first = [rig.signed(job).transaction for job in jobs[:-1]]
    rig.restart()
    assert rig.refused(jobs[-1]) is Code.NONCE_OPENS_EXCEEDED
    assert [rig.signed(job).transaction for job in jobs[:-1]] == first  # the same bytes again
    assert rig.refused(jobs[-1]) is Code.NONCE_OPENS_EXCEEDED
    assert rig.signed(nonce_open(1))
    rig.now += 24 * HOUR
    assert rig.signed(jobs[-1])


def test_every_other_message_is_an_attempt(rig: SignerRig) -> None:
    """On one blockhash too: each that fails pays a fee, so custody could burn the wallet."""
    fees = [{"budget": budget(1000 + number)} for number in range(NONCE_OPENS_MAX - 1)]
    changes: list[dict[str, Any]] = [*fees, {"rent": 1_447_681}]
    for change in changes:
        rig.signed(nonce_open(0, **change))
    assert rig.refused(nonce_open(0, budget=budget(1, 1))) is Code.NONCE_OPENS_EXCEEDED
    assert rig.refused(nonce_open(0, rent=1_447_682)) is Code.NONCE_OPENS_EXCEEDED
