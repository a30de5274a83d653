"""A wallet on the devnet, for tests: builds, signs and sends over whatever calls the RPC."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import (
    ID as SYSTEM_PROGRAM,
)
from solders.system_program import (
    AdvanceNonceAccountParams,
    CreateAccountParams,
    InitializeNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    create_account,
    initialize_nonce_account,
    transfer,
)
from solders.transaction import VersionedTransaction

SOL = 10**9
PROCESSED = {"commitment": "processed"}
BASE64 = {"encoding": "base64"}


def encoded(tx: VersionedTransaction) -> str:
    return base64.b64encode(bytes(tx)).decode()


def nonce_after(blockhash: Hash) -> Hash:
    return Hash(hashlib.sha256(b"DURABLE_NONCE" + bytes(blockhash)).digest())


class Wallet:
    """`call(method, params)` answers with the result."""

    def __init__(
        self,
        call: Callable[[str, list[Any]], Any],
        lamports: int = 10 * SOL,
        key: Keypair | None = None,
    ) -> None:
        self.call, self.key = call, key or Keypair()
        self.address = self.key.pubkey()
        self.funding: str = call("requestAirdrop", [str(self.address), lamports])

    def newest(self) -> Hash:
        answer = self.call("getLatestBlockhash", [PROCESSED])
        return Hash.from_string(answer["value"]["blockhash"])

    def balance(self, address: Pubkey | None = None, commitment: str = "processed") -> int:
        params = [str(address or self.address), {"commitment": commitment}]
        lamports: int = self.call("getBalance", params)["value"]
        return lamports

    def pay(self, to: Pubkey, lamports: int = SOL) -> Instruction:
        params = TransferParams(from_pubkey=self.address, to_pubkey=to, lamports=lamports)
        return transfer(params)

    def sign(
        self,
        *instructions: Instruction,
        blockhash: Hash | None = None,
        by: tuple[Keypair, ...] = (),
    ) -> VersionedTransaction:
        newest = blockhash or self.newest()
        message = Message.new_with_blockhash(list(instructions), self.address, newest)
        return VersionedTransaction(message, [self.key, *by])

    def send(self, tx: VersionedTransaction, *, preflight: bool = True) -> str:
        options = BASE64 | {"preflightCommitment": "processed", "skipPreflight": not preflight}
        signature: str = self.call("sendTransaction", [encoded(tx), options])
        return signature

    def status(self, signature: str) -> Any:
        options = {"searchTransactionHistory": True}
        return self.call("getSignatureStatuses", [[signature], options])["value"][0]

    def open_nonce(self) -> Pubkey:
        nonce = Keypair()
        rent = self.call("getMinimumBalanceForRentExemption", [80])
        made = CreateAccountParams(
            from_pubkey=self.address,
            to_pubkey=nonce.pubkey(),
            lamports=rent,
            space=80,
            owner=SYSTEM_PROGRAM,
        )
        ready = InitializeNonceAccountParams(nonce_pubkey=nonce.pubkey(), authority=self.address)
        self.send(self.sign(create_account(made), initialize_nonce_account(ready), by=(nonce,)))
        return nonce.pubkey()

    def advance(self, nonce: Pubkey, authority: Pubkey | None = None) -> Instruction:
        params = AdvanceNonceAccountParams(
            nonce_pubkey=nonce, authorized_pubkey=authority or self.address
        )
        return advance_nonce_account(params)

    def nonce(self, nonce: Pubkey) -> Hash:
        answer = self.call("getAccountInfo", [str(nonce), BASE64 | PROCESSED])
        return Hash.from_bytes(base64.b64decode(answer["value"]["data"][0])[40:72])
