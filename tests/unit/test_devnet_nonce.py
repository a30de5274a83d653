"""Which transactions the devnet lets in by a durable nonce, part by part."""

import pytest
from solders.account import Account
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account

from custody.dev.devnet.nonce import may_use, next_value, nonce_address

OWNER = Keypair.from_seed(bytes(range(32))).pubkey()
NONCE = Pubkey(bytes(range(1, 33)))
STRANGER = Pubkey(bytes(range(2, 34)))
VALUE, NEWEST = Hash(bytes([3]) * 32), Hash(bytes([4]) * 32)
ADVANCE = advance_nonce_account(
    AdvanceNonceAccountParams(nonce_pubkey=NONCE, authorized_pubkey=OWNER)
)


def message(first: Instruction = ADVANCE, value: Hash = VALUE) -> Message:
    return Message.new_with_blockhash([first], OWNER, value)


def account(
    version: int = 1,
    state: int = 1,
    authority: Pubkey = OWNER,
    value: Hash = VALUE,
    owner: Pubkey = SYSTEM_PROGRAM,
) -> Account:
    head = version.to_bytes(4, "little") + state.to_bytes(4, "little")
    data = head + bytes(authority) + bytes(value) + (5000).to_bytes(8, "little")
    return Account(1_447_680, data, owner)


def test_advance_of_an_initialised_account_lets_in() -> None:
    assert nonce_address(message()) == NONCE
    assert may_use(message(), account(), NEWEST)


def test_value_made_from_the_newest_blockhash_does_not_let_in() -> None:
    value = next_value(NEWEST)
    assert not may_use(message(value=value), account(value=value), NEWEST)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        account(version=0),  # the legacy form, whose value could equal a blockhash
        account(state=0),  # not initialised
        account(authority=STRANGER),
        account(value=NEWEST),
        account(owner=STRANGER),
        Account(1_447_680, account().data[:79], SYSTEM_PROGRAM),
    ],
)
def test_unfit_account_does_not_let_in(stored: Account | None) -> None:
    assert not may_use(message(), stored, NEWEST)


def changed(**parts: object) -> Instruction:
    kept = {"program_id": ADVANCE.program_id, "data": ADVANCE.data, "accounts": ADVANCE.accounts}
    return Instruction(**(kept | parts))  # type: ignore[arg-type] # one of each kind


@pytest.mark.parametrize(
    "first",
    [
        changed(program_id=STRANGER),
        changed(data=b"\x05\0\0\0"),
        changed(data=b"\x04\0"),
        changed(accounts=[]),
        changed(accounts=[AccountMeta(NONCE, is_signer=False, is_writable=False)]),
    ],
)
def test_other_first_instruction_is_no_nonce_transaction(first: Instruction) -> None:
    assert nonce_address(message(first)) is None
