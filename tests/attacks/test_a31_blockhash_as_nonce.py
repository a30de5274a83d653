"""A31, blockhash as nonce: custody passes a recent blockhash as nonce, then asks with another.

The runtime tries a recent blockhash first, so both would land if both were signed.
"""

import pytest

from policies.codes import Code
from tests.integration.guard.payments import intend, job_of, pay
from tests.signing import SignerRig


def hash_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_one_request_is_one_transaction_whatever_nonce_is_named(rig: SignerRig) -> None:
    intent = intend(rig)
    first = rig.signed(job_of(rig, intent, nonce_value=hash_of(1)))
    for number in range(2, 60):
        chain = {"nonce_value": hash_of(number), "nonce_index": number % 4, "unit_price": number}
        again = rig.signed(job_of(rig, intent, **chain))
        assert (again.transaction, again.repeated) == (first.transaction, True)
    rig.restart()
    assert rig.signed(job_of(rig, intent, nonce_value=hash_of(99))).transaction == first.transaction
    pay(rig)


@pytest.mark.parametrize("index", range(4))
def test_a_crash_between_reserving_and_signing_keeps_the_first_hash(
    rig: SignerRig, monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    intent = intend(rig)
    job = job_of(rig, intent, nonce_value=hash_of(1), nonce_index=index)

    def dies(*_: object) -> bytes:
        raise KeyboardInterrupt

    rig.renew()
    with monkeypatch.context() as patch:
        patch.setattr(rig.token, "sign", dies)
        with pytest.raises(KeyboardInterrupt):
            rig.ask_unleased(job)
    rig.restart()
    other = rig.signed(job_of(rig, intent, nonce_value=hash_of(2), nonce_index=3 - index))
    assert hash_of(1) in other.transaction
    assert hash_of(2) not in other.transaction
    pay(rig)


def test_one_hash_stands_in_one_transaction_of_an_account(rig: SignerRig) -> None:
    """Custody cannot let two requests share a nonce either: one would be lost."""
    first, second = intend(rig), intend(rig)
    rig.signed(job_of(rig, first, nonce_value=hash_of(7)))
    result = rig.ask(job_of(rig, second, nonce_value=hash_of(7)))
    assert result.refusal.code == Code.NONCE_USED
    rig.signed(job_of(rig, second, nonce_value=hash_of(8)))
    pay(rig)
