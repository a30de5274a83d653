"""A transaction in its block, in the words of the RPC."""

from dataclasses import dataclass
from typing import Any

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from custody.dev.devnet.runtime import Executed
from custody.dev.devnet.wire import Body, body

MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
_FIRST_MEMO_PROGRAM = Pubkey.from_string("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo")
_MEMO_PROGRAMS = (MEMO_PROGRAM, _FIRST_MEMO_PROGRAM)


@dataclass(frozen=True)
class Landed:
    """`message` is the digest of its message, `slot` and `time` (Unix seconds) are its block's,
    `wire` the bytes received, `meta` what getTransaction answers under that name.
    """

    signature: Signature
    message: Hash
    slot: int
    time: int
    wire: bytes
    memo: str | None
    meta: dict[str, Any]


def landed(tx: VersionedTransaction, done: Executed, slot: int, time: int) -> Landed:
    memo = _memo(body(tx))
    return Landed(tx.signatures[0], tx.message.hash(), slot, time, bytes(tx), memo, _meta(done))


def _meta(done: Executed) -> dict[str, Any]:
    """Token balances are left out, inner instructions are null: "not recorded" in the RPC."""
    return {
        "err": done.err,
        "status": {"Ok": None} if done.err is None else {"Err": done.err},
        "fee": done.fee,
        "preBalances": done.pre_balances,
        "postBalances": done.post_balances,
        "innerInstructions": None,
        "logMessages": done.logs,
        "rewards": None,
        "loadedAddresses": {"writable": [], "readonly": []},
        "computeUnitsConsumed": done.units,
    }


def _memo(message: Body) -> str | None:
    """The memos as getSignaturesForAddress shows them: `[length] text; …`."""
    keys = message.account_keys
    memos = [ix.data for ix in message.instructions if keys[ix.program_id_index] in _MEMO_PROGRAMS]
    return "; ".join(f"[{len(memo)}] {_text(memo)}" for memo in memos) or None


def _text(memo: bytes) -> str:
    try:
        return memo.decode()
    except UnicodeDecodeError:
        return "(unparseable)"
