"""docker-compose.yml without Docker: what its one-off job writes is what the processes read."""

import os
import re
import stat
import time
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from solders.keypair import Keypair

from custody.client_config import read_config
from custody.dev.compose_setup import USERS, files
from custody.dev.genesis import first_book
from custody.keys import load_key
from custody.settings import api_settings, read_settings, relay_settings, worker_settings
from custody.watchtower.settings import watchtower_settings
from policies.changes import refuse_unsigned_policy
from policies.fields import key_text
from policies.policy_file import parse_policy
from policies.signature_file import parse_signatures
from policies.statements import Change, decode, digest, verify
from signer.settings import read_settings as read_signer_settings

ROOT = Path(__file__).parents[2]
AUDIT_KEY = key_text(bytes(SigningKey(bytes(32)).verify_key))
ADDRESS = "73e94v5FYMs48SHcHjmspt53EM8W4tSbx8V8kyhKcB6D"


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    for name in (*USERS, "pki", "handover"):
        (tmp_path / name).mkdir()
    keys = f"audit key  {AUDIT_KEY}\nwallet     hot-sol\naddress    {ADDRESS} (Solana)\n"
    (tmp_path / "handover" / "keys").write_text(keys)
    files(tmp_path, dict.fromkeys(USERS, os.getuid()))
    return tmp_path


def test_every_process_can_read_its_settings(volumes: Path) -> None:
    api = read_settings(volumes / "api" / "settings.toml", "api", api_settings)
    worker = read_settings(volumes / "worker" / "settings.toml", "worker", worker_settings)
    relay = read_settings(volumes / "relay" / "settings.toml", "relay", relay_settings)
    tower = read_settings(
        volumes / "watchtower" / "settings.toml", "watchtower", watchtower_settings
    )
    for tls in (api.tls, worker.tls, relay.tls, tower.tls):
        assert tls.server_credentials()
    assert relay.gateways == (worker.listen, worker.watchtower)
    assert tower.audit_keys == (AUDIT_KEY,)
    assert tower.data.parent == tower.key.parent == volumes / "watchtower"
    signer = read_signer_settings(ROOT / "signer" / "container" / "signer.toml")
    assert (signer.socket, signer.peer_uid) == (relay.socket, USERS["relay"])
    client = read_config(volumes / "clients" / "exchange.toml")
    assert (client.target, client.watchtower) == (api.listen, None)
    assert read_config(volumes / "clients" / "alice.toml").watchtower == worker.watchtower
    assert client.policy_digest == (volumes / "handover" / "policy.digest").read_text().strip()


def test_the_policy_and_the_book_are_signed_by_their_quorum(volumes: Path) -> None:
    handover = volumes / "handover"
    policy = parse_policy((handover / "policy.toml").read_bytes())
    assert (handover / "policy.digest").read_text().strip() == policy.digest
    assert policy.wallets["hot-sol"].signer == AUDIT_KEY
    assert policy.wallets["hot-sol"].address == ADDRESS
    tower = load_key(volumes / "watchtower" / "key.pem", lambda: b"")
    assert policy.watchtower == tower.public
    cold = Keypair.from_json((volumes / "clients" / "cold.json").read_text())
    sweep = policy.wallets["hot-sol"].sweep
    assert sweep is not None
    assert sweep.to == str(cold.pubkey())
    changes = parse_signatures((handover / "policy.signatures").read_bytes())
    assert refuse_unsigned_policy(policy, changes, time.time_ns() // 1_000_000) is None
    for signed in parse_signatures((volumes / "clients" / "book.signatures").read_bytes()):
        change = decode(Change, signed.statement)
        assert change.digest == digest(first_book())
        assert verify(change.key, signed)


def test_no_volume_is_open_to_others_or_holds_anothers_key(volumes: Path) -> None:
    for name in USERS:
        volume = volumes / name
        for file in (volume, *volume.iterdir()):
            assert not stat.S_IMODE(file.stat().st_mode) & 0o077, file
    assert [file.name for file in (volumes / "relay").glob("*.key")] == ["relay-hot-1.key"]
    assert [file.parent.name for file in volumes.glob("*/ca.key")] == ["pki"]


def test_a_second_run_changes_nothing(volumes: Path) -> None:
    before = {file: file.read_bytes() for file in volumes.glob("*/*")}
    files(volumes, dict.fromkeys(USERS, os.getuid()))
    assert {file: file.read_bytes() for file in volumes.glob("*/*")} == before


def test_each_container_runs_as_the_user_that_its_volume_belongs_to() -> None:
    blocks = services()
    for name, user in USERS.items():
        service = "client" if name == "clients" else name
        assert f'user: "{user}:' in blocks[service], service


def test_no_container_has_a_port_on_the_host_and_only_the_relay_joins_the_signers_socket() -> None:
    blocks = services()
    assert not [name for name, text in blocks.items() if re.search(r"^ +ports:|privileged", text)]
    joined = {name for name, text in blocks.items() if "socket:/" in text}
    assert joined == {"signer-token", "signer", "relay"}
    assert {name for name, text in blocks.items() if "<<: *signer" in text} == {
        "signer-token",
        "signer-policy",
        "signer",
    }


def services() -> dict[str, str]:
    text = (ROOT / "docker-compose.yml").read_text()
    part = text[text.index("\nservices:") : text.index("\nnetworks:")]
    found = re.split(r"(?m)^  ([a-z-]+):\n", part)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))
