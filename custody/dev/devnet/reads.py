"""Methods of the devnet's RPC that read the node, its slots and its accounts.

Answers have the form of a Solana node's. Prioritization fees are 0: there is no contention,
so none is needed.
"""

import base64
from typing import Any

from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey

from custody.dev.devnet.chain import Chain
from custody.dev.devnet.params import Options, invalid
from custody.dev.devnet.slots import MAX_AGE
from custody.dev.devnet.wire import Body

_AGAVE = "4.1.2"  # the release of the runtime inside solders 0.29
_MAX_ACCOUNT_BYTES = 10 * 1024 * 1024

Json = dict[str, Any]


def at(slot: int, value: object) -> Json:
    return {"context": {"slot": slot, "apiVersion": _AGAVE}, "value": value}


def _account(account: Account | None) -> Json | None:
    if account is None:
        return None
    return {
        "data": [base64.b64encode(account.data).decode(), "base64"],
        "executable": account.executable,
        "lamports": account.lamports,
        "owner": str(account.owner),
        "rentEpoch": account.rent_epoch,
        "space": len(account.data),
    }


def get_health(_chain: Chain, _options: Options) -> str:
    return "ok"


def get_version(_chain: Chain, _options: Options) -> Json:
    return {"solana-core": _AGAVE, "feature-set": 0}


def get_genesis_hash(chain: Chain, _options: Options) -> str:
    return str(chain.genesis)


def get_slot(_chain: Chain, options: Options) -> int:
    return options.slot()


def get_first_available_block(_chain: Chain, _options: Options) -> int:
    return 0


def get_latest_blockhash(chain: Chain, options: Options) -> Json:
    slot = options.slot()
    newest = str(chain.slots.blockhash(slot))
    return at(slot, {"blockhash": newest, "lastValidBlockHeight": slot + MAX_AGE})


def is_blockhash_valid(chain: Chain, blockhash: Hash, options: Options) -> Json:
    slot = options.slot()
    return at(slot, chain.slots.is_recent(blockhash, slot))


def get_balance(chain: Chain, address: Pubkey, options: Options) -> Json:
    slot = options.slot()
    account = chain.account(address, slot)
    return at(slot, 0 if account is None else account.lamports)


def get_account_info(chain: Chain, address: Pubkey, options: Options) -> Json:
    options.base64()
    slot = options.slot()
    return at(slot, _account(chain.account(address, slot)))


def get_multiple_accounts(chain: Chain, addresses: list[Pubkey], options: Options) -> Json:
    options.base64()
    slot = options.slot()
    return at(slot, [_account(chain.account(address, slot)) for address in addresses])


def get_minimum_balance_for_rent_exemption(chain: Chain, size: int, options: Options) -> int:
    options.slot()
    if size > _MAX_ACCOUNT_BYTES:
        raise invalid(f"an account has at most {_MAX_ACCOUNT_BYTES} bytes")
    return chain.runtime.rent_exempt_minimum(size)


def get_fee_for_message(chain: Chain, message: Body, options: Options) -> Json:
    slot = options.slot()
    return at(slot, chain.fee(message, slot))


def get_recent_prioritization_fees(
    chain: Chain, _locked: list[Pubkey] | None, _options: Options
) -> list[Json]:
    newest = chain.slots.newest
    slots = range(max(0, newest - MAX_AGE + 1), newest + 1)
    return [{"slot": slot, "prioritizationFee": 0} for slot in slots]
