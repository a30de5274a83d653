"""Methods of the devnet's RPC about transactions: sending, simulating, looking them up.

Not recorded and so left out or null, as the RPC allows: inner instructions, token balances, return
data.
"""

import base64

from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from custody.dev.devnet import params
from custody.dev.devnet.chain import Chain
from custody.dev.devnet.landed import Landed
from custody.dev.devnet.params import Options, RpcError
from custody.dev.devnet.reads import Json, at
from custody.dev.devnet.runtime import Executed

# Statuses older than this are looked up only with `searchTransactionHistory` (Agave: the status
# cache holds MAX_RECENT_BLOCKHASHES slots).
_STATUS_SLOTS = 300


def get_signature_statuses(chain: Chain, wanted: list[Signature], options: Options) -> Json:
    newest = chain.slots.newest
    oldest = 0 if options.flag("searchTransactionHistory") else newest - _STATUS_SLOTS
    found = (chain.ledger.transaction(signature) for signature in wanted)
    rows = [row if row is not None and row.slot >= oldest else None for row in found]
    return at(newest, [None if row is None else _status(chain, row) for row in rows])


def _status(chain: Chain, row: Landed) -> Json:
    commitment = chain.slots.commitment(row.slot)
    return {
        "slot": row.slot,
        "confirmations": None if commitment == "finalized" else chain.slots.newest - row.slot,
        "err": row.meta["err"],
        "status": row.meta["status"],
        "confirmationStatus": commitment,
    }


def get_signatures_for_address(chain: Chain, address: Pubkey, options: Options) -> list[Json]:
    before, until = options.signature("before"), options.signature("until")
    limit, slot = options.limit(1000), options.block_slot()
    return [
        {
            "signature": str(row.signature),
            "slot": row.slot,
            "err": row.meta["err"],
            "memo": row.memo,
            "blockTime": row.time,
            "confirmationStatus": chain.slots.commitment(row.slot),
        }
        for row in chain.ledger.of_address(address, slot, before, until, limit)
    ]


def get_transaction(chain: Chain, signature: Signature, options: Options) -> Json | None:
    options.base64()
    row, slot = chain.ledger.transaction(signature), options.block_slot()
    if row is None or row.slot > slot:
        return None
    answer: Json = {
        "slot": row.slot,
        "blockTime": row.time,
        "meta": row.meta,
        "transaction": [base64.b64encode(row.wire).decode(), "base64"],
    }
    return answer | _version(row, options)


def _version(row: Landed, options: Options) -> Json:
    """A caller that names no newest version it understands is served legacy transactions only."""
    legacy = not isinstance(VersionedTransaction.from_bytes(row.wire).message, MessageV0)
    if "maxSupportedTransactionVersion" in options.given:
        params.unsigned(options.given["maxSupportedTransactionVersion"])
        return {"version": "legacy" if legacy else 0}
    if not legacy:
        words = "Transaction version (0) is not supported by the requesting client. Please try the"
        words += (
            ' request again with the configuration parameter "maxSupportedTransactionVersion": 0'
        )
        raise RpcError(params.UNSUPPORTED_VERSION, words, 0)
    return {}


def send_transaction(chain: Chain, tx: VersionedTransaction, options: Options) -> str:
    """As on a real node the answer says only that the transaction was taken: one refused in the
    newest slot is dropped without a word. One that has landed is answered again, and not run.
    """
    options.base64()
    known = chain.ledger.transaction(tx.signatures[0])
    if known is not None and known.wire == bytes(tx):
        return str(known.signature)
    slot = options.slot("preflightCommitment")
    if not options.flag("skipPreflight"):
        _preflight(chain, tx, slot)
    chain.take(tx)
    return str(tx.signatures[0])


def _preflight(chain: Chain, tx: VersionedTransaction, slot: int) -> None:
    done = chain.simulate(tx, slot, verify=True)
    if done.err == "SignatureFailure":
        words = "Transaction signature verification failure"
        raise RpcError(params.SIGNATURE_FAILURE, words)
    if done.err is not None:
        words = f"Transaction simulation failed: {done.err}"
        raise RpcError(params.PREFLIGHT_FAILURE, words, _simulated(done))


def _simulated(done: Executed) -> Json:
    return {
        "err": done.err,
        "logs": done.logs,
        "accounts": None,
        "unitsConsumed": done.units,
        "returnData": None,
    }


def simulate_transaction(chain: Chain, tx: VersionedTransaction, options: Options) -> Json:
    options.base64()
    slot = options.slot()
    done = chain.simulate(tx, slot, verify=options.flag("sigVerify"))
    return at(slot, _simulated(done))


def request_airdrop(chain: Chain, address: Pubkey, lamports: int, _options: Options) -> str:
    tx = chain.airdrop(address, lamports)
    _preflight(chain, tx, chain.slots.newest)
    chain.take(tx)
    return str(tx.signatures[0])
