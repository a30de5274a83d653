"""How a freeze is spoken of. Pure."""

from kura.custody.v1 import custody_pb2 as wire
from policies.freezes import ALL_WALLETS


def frozen_wallet(freeze: wire.Freeze) -> str:
    """Return whom a freeze stops."""
    return "all wallets" if freeze.wallet == ALL_WALLETS else freeze.wallet.removeprefix("wallets/")
