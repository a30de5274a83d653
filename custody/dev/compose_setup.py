"""Custody's one-off jobs in docker-compose.yml, each of which does nothing once it is done.

    python -m custody.dev.compose_setup files   before anything serves: certificates, settings
    python -m custody.dev.compose_setup book    once all serve: play money, address book

Invariants: a volume holds one process's settings and keys and belongs to that process's user. The
signer's volume is not here: its PINs and keys are made in its own container, and only public keys
and the signed policy pass through the volume `handover`.
"""

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from custody.client import CustodyClient
from custody.dev.genesis import (
    CUSTOMERS,
    Public,
    cold_address,
    fill_policy,
    first_book,
    sign_first,
)
from custody.dev.layout import OFFICERS, REQUESTER, UNIT_LIMIT, UNIT_PRICE, audit_key_lines
from custody.dev.pki import Authority
from custody.identity import Identity, Role
from custody.keys import SigningKey, create_key
from policies.signature_file import parse_signatures
from policies.statements import digest

HOME = Path("/etc/kura")  # where a process finds its own volume
USERS = {  # as in docker-compose.yml; the relay's is also in signer/container/signer.toml
    "api": 10001,
    "worker": 10002,
    "relay": 10003,
    "postgres": 10005,
    "devnet": 10006,
    "clients": 10007,
    "watchtower": 10008,
}
# `custody` and `gateway` are names on one network each, so these servers listen on no other. The
# watchtower is asked from two networks, under one name on both.
API, GATEWAY, NODE = "custody:7001", "gateway:7002", "http://devnet:8899"
WATCHTOWER, WATCHTOWER_LISTEN = "watchtower:7003", "0.0.0.0:7003"
DATABASE = [f'database = "host=postgres user=postgres passfile={HOME}/pgpass"', f'node = "{NODE}"']
FEE = ["[fee]", f"unit_limit = {UNIT_LIMIT}", f"unit_price = {UNIT_PRICE}"]
AIRDROP = 1_000 * 10**9
POLL_SECONDS = 0.1


def files(volumes: Path, users: Mapping[str, int]) -> None:
    """Fill every volume; the policy gets its name last and so says that the rest is there."""
    handover, clients = volumes / "handover", volumes / "clients"
    policy = handover / "policy.toml"
    if policy.exists():
        return
    authority = Authority(volumes / "pki")
    _write_servers(authority, volumes)
    keys = _write_clients(authority, clients)
    made = dict(re.findall(r"(?m)^(audit key|address) +(\S+)", (handover / "keys").read_text()))
    draft = policy.with_suffix(".draft")
    watchtower = _write_watchtower(authority, volumes / "watchtower", made["audit key"])
    cold = cold_address(clients / "cold.json")
    public = Public(made["audit key"], made["address"], watchtower, cold)
    draft.write_bytes(fill_policy(keys, public))
    wanted = digest(draft.read_bytes())
    (handover / "policy.digest").write_text(wanted + "\n")
    for file in clients.glob("*.toml"):
        lines = [f'policy_digest = "{wanted}"', *audit_key_lines(draft.read_bytes())]
        file.write_text("\n".join([file.read_text().rstrip("\n"), *lines]) + "\n")
    (handover / "policy.signatures").write_text(sign_first(keys, "policy", wanted))
    (clients / "book.signatures").write_text(sign_first(keys, "book", digest(first_book())))
    for name, user in users.items():
        _give(volumes / name, user)
    draft.rename(policy)
    print(f"policy {wanted} is signed")


def book() -> None:
    """Ask the faucet, have the address book applied, and wait until it is."""
    with CustodyClient.from_config(HOME / "operator.toml") as custody:
        if custody.get_policy().book_version != "0":
            return
        (wallet,) = custody.list_wallets()
        params = [wallet.address, AIRDROP]
        body = {"jsonrpc": "2.0", "id": 1, "method": "requestAirdrop", "params": params}
        httpx.post(NODE, json=body).raise_for_status()
        changes = parse_signatures((HOME / "book.signatures").read_bytes())
        while custody.create_book_version(first_book(), changes).state != "applied":
            time.sleep(POLL_SECONDS)
    print(f"in the address book: {' '.join(CUSTOMERS)}")


def _write_servers(authority: Authority, volumes: Path) -> None:
    password = secrets.token_hex(32)
    _write(volumes / "postgres" / "password", [password])
    for name, address in (("api", API), ("worker", GATEWAY)):
        volume = volumes / name
        _write(volume / "pgpass", [f"*:*:*:*:{password}"])
        host = address.partition(":")[0]
        tls = _issue(authority, volume, Identity(Role.SERVER, name), [host])
        lines = [f'listen = "{address}"', *DATABASE]
        if name == "worker":
            lines += [f'watchtower = "{WATCHTOWER}"', *FEE]
        _write(volume / "settings.toml", [*lines, "[tls]", *tls])
    volume = volumes / "relay"
    tls = _issue(authority, volume, Identity(Role.RELAY, "hot-1"))
    lines = [
        f'gateways = ["{GATEWAY}", "{WATCHTOWER}"]',
        'socket = "/run/kura/signer.sock"',
        "[tls]",
        *tls,
    ]
    _write(volume / "settings.toml", lines)


def _write_watchtower(authority: Authority, volume: Path, audit_key: str) -> str:
    """Return its public key."""
    key = create_key(volume / "key.pem", None)
    host = WATCHTOWER.partition(":")[0]
    tls = _issue(authority, volume, Identity(Role.SERVER, "watchtower"), [host])
    lines = [
        f'listen = "{WATCHTOWER_LISTEN}"',
        'key = "key.pem"',
        'data = "watchtower.sqlite"',
        f'audit_keys = ["{audit_key}"]',
        f'nodes = ["{NODE}"]',
    ]
    _write(volume / "settings.toml", [*lines, "[tls]", *tls])
    return key.public


def _write_clients(authority: Authority, volume: Path) -> dict[str, SigningKey]:
    """Return the keys of those who sign. One volume for all of them: this is a demonstration."""
    keys = {name: create_key(volume / f"{name}.signing.pem", None) for name in OFFICERS}
    keys[REQUESTER] = create_key(volume / f"{REQUESTER}.signing.pem", None)
    people = [Identity(Role.OFFICER, name) for name in OFFICERS]
    others = [Identity(Role.REQUESTER, REQUESTER), Identity(Role.OPERATOR, "operator")]
    for identity in (*people, *others):
        lines = [f'target = "{API}"', f'name = "{identity.name}"']
        if identity.role is not Role.REQUESTER:
            lines.append(f'watchtower = "{WATCHTOWER}"')
        if identity.name in keys:
            lines.append(f'signing_key = "{identity.name}.signing.pem"')
        lines += _issue(authority, volume, identity)
        _write(volume / f"{identity.name}.toml", lines)
    return keys


def _issue(
    authority: Authority, volume: Path, identity: Identity, hosts: Sequence[str] = ()
) -> list[str]:
    """Put a certificate into a volume and return the settings that name it."""
    tls = authority.issue(identity, hosts)
    for file in (tls.ca, tls.certificate, tls.key):
        shutil.copy(file, volume)
    names = (tls.ca.name, tls.certificate.name, tls.key.name)
    return [f'{k} = "{name}"' for k, name in zip(("ca", "certificate", "key"), names, strict=True)]


def _write(file: Path, lines: Sequence[str]) -> None:
    file.write_text("\n".join(lines) + "\n")


def _give(volume: Path, user: int) -> None:
    """Make a volume and all that is in it this user's alone."""
    for file in volume.iterdir():
        file.chmod(0o600)
        os.chown(file, user, user)
    volume.chmod(0o700)
    os.chown(volume, user, user)


if __name__ == "__main__":
    if sys.argv[1:] == ["book"]:
        book()
    else:
        files(Path("/kura"), USERS)
