"""Whose doing a transaction is, of every version that the chain takes; a stranger may choose it."""

import hashlib

import pytest
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
)
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, MessageV1
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from custody.watchtower.outflows import LyingNodeError, signer_place

WALLET, OTHER = Keypair.from_seed(b"\x01" * 32), Keypair.from_seed(b"\x02" * 32)
_RECENT = Hash(b"\x07" * 32)
_ORDER = 2**252 + 27742317777372353535851937790883648493
_TORSION = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
_NONE = bytes((1, *bytes(31)))
_QUARTER = bytes((*bytes(31), 0x80))
_NONE_AGAIN = b"\xee" + b"\xff" * 30 + b"\x7f"  # the same point, spelled p + 1


def paid(payer: Keypair, to: Pubkey, version: int | None) -> VersionedTransaction:
    steps = [transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=1))]
    message: Message | MessageV0 | MessageV1
    match version:
        case 0:
            message = MessageV0.try_compile(payer.pubkey(), steps, [], _RECENT)
        case 1:
            message = MessageV1.try_compile(payer.pubkey(), steps, _RECENT)
        case _:
            message = Message.new_with_blockhash(steps, payer.pubkey(), _RECENT)
    return VersionedTransaction(message, [payer])


@pytest.mark.parametrize("version", [None, 0, 1])
def test_a_transaction_of_any_version_is_read(version: int | None) -> None:
    """One that is not would stop the watchtower: a stranger pays the wallet one lamport with it."""
    address = str(WALLET.pubkey())
    outflow = paid(WALLET, OTHER.pubkey(), version)
    assert signer_place(bytes(outflow), str(outflow.signatures[0]), address) == 0
    inflow = paid(OTHER, WALLET.pubkey(), version)
    assert signer_place(bytes(inflow), str(inflow.signatures[0]), address) is None


def test_what_is_longer_than_any_transaction_is_not_read() -> None:
    """A node could show half a megabyte with 120 valid signatures, again and again: for seconds."""
    steps = [Instruction(OTHER.pubkey(), bytes(4096), [])]
    message = Message.new_with_blockhash(steps, WALLET.pubkey(), _RECENT)
    tx = VersionedTransaction(message, [WALLET])
    with pytest.raises(LyingNodeError, match="longer"):
        signer_place(bytes(tx), str(tx.signatures[0]), str(WALLET.pubkey()))


def mixed(scalar: int, torsion: bytes) -> bytes:
    """Return a point whose holder knows `scalar`, with a part of small order."""
    point = crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))
    return crypto_core_ed25519_add(point, torsion)


def signature_of(secret: int, key: bytes, message: bytes, torsion: bytes) -> Signature:
    point = mixed(77, torsion)
    hashed = crypto_core_ed25519_scalar_reduce(hashlib.sha512(point + key + message).digest())
    scalar = (77 + int.from_bytes(hashed, "little") * secret) % _ORDER
    return Signature.from_bytes(point + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("in_payer", [_NONE, _TORSION])
@pytest.mark.parametrize("in_point", [_NONE, _TORSION])
def test_a_thief_who_signs_as_only_the_cofactored_check_takes_is_seen(
    in_payer: bytes, in_point: bytes
) -> None:
    """From SIMD-0376 on the chain takes it; as a lie of the node it would only pause."""
    payer, wallet = Pubkey(mixed(5, in_payer)), Pubkey(mixed(6, _NONE))
    take = TransferParams(from_pubkey=wallet, to_pubkey=payer, lamports=1)
    message = Message.new_with_blockhash([transfer(take)], payer, _RECENT)
    names = [
        signature_of(secret, bytes(key), bytes(message), in_point)
        for secret, key in ((5, payer), (6, wallet))
    ]
    tx = VersionedTransaction.populate(message, names)
    assert signer_place(bytes(tx), str(names[0]), str(wallet)) == 1
    assert signer_place(bytes(tx), str(names[0]), str(WALLET.pubkey())) is None
    for place in (0, 1):
        scalar = int.from_bytes(bytes(names[place])[32:], "little")
        for other in (scalar + 1, scalar + _ORDER):
            forged = Signature.from_bytes(bytes(names[place])[:32] + other.to_bytes(32, "little"))
            several = [*names[:place], forged, *names[place + 1 :]]
            lie = VersionedTransaction.populate(message, several)
            with pytest.raises(LyingNodeError, match="does not verify"):
                signer_place(bytes(lie), str(several[0]), str(wallet))


@pytest.mark.parametrize("payer", [_NONE, _NONE_AGAIN, _TORSION, _QUARTER], ids=bytes.hex)
@pytest.mark.parametrize("point", [_NONE, _TORSION], ids=bytes.hex)
def test_a_thief_whose_payer_is_nobodys_key_is_seen(payer: bytes, point: bytes) -> None:
    """For a key of small order anybody signs: ZIP-215, which SIMD-0376 takes over, allows it."""
    wallet = Pubkey(mixed(6, _NONE))
    take = TransferParams(from_pubkey=wallet, to_pubkey=OTHER.pubkey(), lamports=1)
    message = Message.new_with_blockhash([transfer(take)], Pubkey(payer), _RECENT)
    of_payer = Signature.from_bytes(point + bytes(32))
    of_wallet = signature_of(6, bytes(wallet), bytes(message), _NONE)
    tx = VersionedTransaction.populate(message, [of_payer, of_wallet])
    assert signer_place(bytes(tx), str(of_payer), str(wallet)) == 1
    for forged in ([of_wallet, of_wallet], [of_payer, of_payer]):
        lie = VersionedTransaction.populate(message, forged)
        with pytest.raises(LyingNodeError, match="does not verify"):
            signer_place(bytes(lie), str(forged[0]), str(wallet))
