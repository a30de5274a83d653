"""The policy: one TOML file that officers read, sign and the signer obeys.

Deny by default: what the file does not say is refused, and so is a file that says anything unknown,
names one key twice or asks for a quorum that its own people cannot reach. The digest covers
the exact bytes, tag line included.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from policies.quorum import Seats

TAG = "# kura.policy.v1"
BYTES_MAX = 256 * 1024


class WalletTier(StrEnum):
    """Where a wallet's signer stands: online, or in a safe."""

    HOT = "hot"
    COLD = "cold"


class KeyOrigin(StrEnum):
    """How the key came into the token."""

    TOKEN = "token"  # noqa: S105 - a place, not a secret
    IMPORT = "import"


class DestinationClass(StrEnum):
    """Which destinations a rule takes."""

    ADDRESS_BOOK = "address-book"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Asset:
    """What is counted: `decimals` digits stand after the point of one whole unit."""

    name: str
    network: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Wallet:
    """One key and the limits that stand above all rules. Amounts in base units."""

    name: str
    tier: WalletTier
    asset: str
    address: str
    signer: str
    key_origin: KeyOrigin
    cap: int
    maximum_fee: int
    nonce_pool: int


@dataclass(frozen=True, slots=True)
class Tier:
    """Up to this amount, these people."""

    up_to: int
    approvals: tuple[Seats, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one requester may send from one wallet to one class of destination."""

    name: str
    wallet: str
    requester: str
    destination: DestinationClass
    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the policy, as parsed; `digest` is of the exact bytes."""

    digest: str
    version: int
    previous: str
    assets: Mapping[str, Asset]
    people: Mapping[str, frozenset[str]]
    groups: Mapping[str, frozenset[str]]
    requesters: Mapping[str, frozenset[str]]
    wallets: Mapping[str, Wallet]
    rules: tuple[Rule, ...]
    policy_quorum: tuple[Seats, ...]
    book_quorum: tuple[Seats, ...]
