"""The signer's host of `tests.watched`: a token with keys of known seeds, and a policy for them."""

import os

from policies.statements import digest
from signer.chains.solana_address import encode_address
from signer.hsm import Token
from tests import softhsm
from tests.factories import key, policy_file, public, rule_text, wallet_text
from tests.signer_host import Host, signatures

WALLETS = ("hot-sol", "hot-two")
QUORUM = ("alice", "carol")
REQUESTER_KEYS = [public("exchange"), public("exchange-2")]
POOL = 64  # nonce accounts of each wallet
SWEEPS = 96  # twelve ladders; the wallet that is stolen is the first
SWEEP_FEE = 10_000_000  # lamports


def address_of(wallet: str) -> str:
    return encode_address(bytes(key(wallet).verify_key))


def genesis(host: Host, watchtower: str) -> str:
    """Make the token with both wallets' keys and install the policy; return the audit key."""
    audit_key = host.done("init", "--so-pin-file", host.directory / "so-pin").split()[2]
    _import_keys(host)
    two = wallet_text(
        WALLETS[1],
        tier="hot",
        address=address_of(WALLETS[1]),
        signer=audit_key,
        key_origin="import",
        nonce_pool=POOL,
        beyond_recall="1000000 SOL",
    )
    policy = policy_file(
        signer=audit_key,
        key_origin="import",
        nonce_pool=POOL,
        watchtower=watchtower,
        exchange=REQUESTER_KEYS,
        sweep_fee="0.01 SOL",
        sweep_count=SWEEPS,
        more=two + rule_text("customers-two", wallet=WALLETS[1]),
    )
    files = host.file("policy", policy), host.file("signed", signatures(policy, *QUORUM))
    host.done("policy", "install", *files, typed=digest(policy) + "\n")
    return audit_key


def _import_keys(host: Host) -> None:
    """By this process, which must have no other token open."""
    softhsm._finalise()
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(host.directory / "softhsm2.conf")
    try:
        token = Token.open(softhsm.MODULE, "kura", host.pin)
        for wallet in WALLETS:
            softhsm.import_key(token._session, wallet, bytes(key(wallet)))
        token.close()
    finally:
        softhsm._finalise()
        del os.environ["SOFTHSM2_CONF"]
        if before is not None:
            os.environ["SOFTHSM2_CONF"] = before
