"""The table of the devnet's RPC methods."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey

from custody.dev.devnet import params, reads, transactions


@dataclass(frozen=True)
class Method:
    """`run(chain, *parameters, options)`: one parser for each positional parameter, and the names
    of the options that it takes.
    """

    run: Callable[..., Any]
    takes: tuple[Callable[[object], Any], ...] = ()
    options: frozenset[str] = frozenset()


def _some_addresses(value: object) -> list[Pubkey] | None:
    return None if value is None else params.addresses(value)


_AT = frozenset({"commitment", "minContextSlot"})
_BYTES = _AT | {"encoding"}
# maxRetries has nothing to count here: a transaction runs at once or never.
_SEND = frozenset(
    {"encoding", "skipPreflight", "preflightCommitment", "maxRetries", "minContextSlot"}
)
_VERSION = "maxSupportedTransactionVersion"

METHODS = {
    "getHealth": Method(reads.get_health),
    "getVersion": Method(reads.get_version),
    "getGenesisHash": Method(reads.get_genesis_hash),
    "getSlot": Method(reads.get_slot, (), _AT),
    "getBlockHeight": Method(reads.get_slot, (), _AT),
    "getFirstAvailableBlock": Method(reads.get_first_available_block),
    "getLatestBlockhash": Method(reads.get_latest_blockhash, (), _AT),
    "isBlockhashValid": Method(reads.is_blockhash_valid, (params.blockhash,), _AT),
    "getBalance": Method(reads.get_balance, (params.address,), _AT),
    "getAccountInfo": Method(reads.get_account_info, (params.address,), _BYTES),
    "getMultipleAccounts": Method(reads.get_multiple_accounts, (params.addresses,), _BYTES),
    "getMinimumBalanceForRentExemption": Method(
        reads.get_minimum_balance_for_rent_exemption, (params.unsigned,), _AT
    ),
    "getFeeForMessage": Method(reads.get_fee_for_message, (params.message,), _AT),
    "getRecentPrioritizationFees": Method(reads.get_recent_prioritization_fees, (_some_addresses,)),
    "getSignatureStatuses": Method(
        transactions.get_signature_statuses,
        (params.signatures,),
        frozenset({"searchTransactionHistory"}),
    ),
    "getSignaturesForAddress": Method(
        transactions.get_signatures_for_address,
        (params.address,),
        _AT | {"limit", "before", "until"},
    ),
    "getTransaction": Method(
        transactions.get_transaction,
        (params.signature,),
        frozenset({"commitment", "encoding", _VERSION}),
    ),
    "sendTransaction": Method(transactions.send_transaction, (params.transaction,), _SEND),
    "simulateTransaction": Method(
        transactions.simulate_transaction, (params.transaction,), _BYTES | {"sigVerify"}
    ),
    "requestAirdrop": Method(
        transactions.request_airdrop, (params.address, params.unsigned), frozenset({"commitment"})
    ),
}
