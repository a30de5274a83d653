"""Whose doing a transaction is, of every version that the chain takes; a stranger may choose it."""

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message, MessageV0, MessageV1
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from custody.watchtower.outflows import signer_place

WALLET, OTHER = Keypair.from_seed(b"\x01" * 32), Keypair.from_seed(b"\x02" * 32)
_RECENT = Hash(b"\x07" * 32)


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
