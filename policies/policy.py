"""The policy: one TOML file that officers read, sign and the signer obeys.

Deny by default: what the file does not say is refused, and so is a file that says anything unknown,
names one key twice or asks for a quorum that its own people cannot reach. The digest covers
the exact bytes, tag line included.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from policies.hours import Hours
from policies.quorum import Seats
from policies.windows import Window

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
    OWN_WALLET = "own-wallet"  # the address of another wallet of this policy, on the same network
    ATTESTED = "attested"  # any that the rule's service approves
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Asset:
    """What is counted: `decimals` digits stand after the point of one whole unit."""

    name: str
    network: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Where a hot wallet's money goes after a proven theft: to `to`, and nowhere else.

    At most `count` transactions until a quorum lifts the freeze, each with exactly `fee` base
    units, so that they are not outbid for less.
    """

    to: str
    fee: int
    count: int


@dataclass(frozen=True, slots=True)
class Wallet:
    """One key and the limits that stand above all rules. Amounts in base units.

    `beyond_recall`: the most that may be signed and not yet known to have landed or to be dead.
    `sweep`: None for a cold wallet, and for no other.
    """

    name: str
    enabled: bool
    tier: WalletTier
    asset: str
    address: str
    signer: str
    key_origin: KeyOrigin
    cap: int
    maximum_fee: int
    nonce_pool: int
    beyond_recall: int
    sweep: Sweep | None
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Tier:
    """Up to this amount: each of `services`, and people who fill one of the paths, if there are.

    `delay` in ms, from the moment the signer first saw the intent.
    """

    up_to: int
    services: frozenset[str]
    people: tuple[tuple[Seats, ...], ...]
    delay: int


@dataclass(frozen=True, slots=True)
class Rule:
    """What one requester may send from one wallet to one class of destination.

    `service` attests destinations, "" unless the class is ATTESTED. `hours`: None for always. While
    a destination is younger than `cooling_period` (ms), it gets `cooling_amount` in all.
    """

    name: str
    wallet: str
    requester: str
    destination: DestinationClass
    service: str
    hours: Hours | None
    cooling_period: int
    cooling_amount: int
    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the policy, as parsed; `digest` is of the exact bytes.

    `change_delay` in ms: how long a version waits that does more than tighten. `watchtower`: the
    key of the leases without which no hot wallet signs.
    """

    digest: str
    version: int
    previous: str
    watchtower: str
    assets: Mapping[str, Asset]
    people: Mapping[str, frozenset[str]]
    groups: Mapping[str, frozenset[str]]
    services: Mapping[str, frozenset[str]]
    requesters: Mapping[str, frozenset[str]]
    wallets: Mapping[str, Wallet]
    rules: tuple[Rule, ...]
    policy_quorum: tuple[Seats, ...]
    book_quorum: tuple[Seats, ...]
    change_delay: int

    def approver_keys(self, name: str) -> frozenset[str]:
        """Return the keys of a person or service; none for a name that is neither."""
        return self.people.get(name) or self.services.get(name) or frozenset()
