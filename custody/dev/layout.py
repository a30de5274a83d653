"""Where a development system keeps its files, and what stands in its settings."""

import json
import os
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path

from custody.dev.pki import Authority
from custody.dev.postgres import EmbeddedPostgres
from custody.dev.processes import free_port
from custody.identity import Identity, Role
from custody.tls import TlsFiles
from policies.policy_file import parse_policy
from policies.statements import digest

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
HOSTS = ("localhost", "127.0.0.1")
OFFICERS = ("alice", "bob", "carol")
REQUESTER = "exchange"
WALLET = "hot-sol"
WATCHTOWER = "watchtower"
UNIT_LIMIT, UNIT_PRICE = 2_000, 1_000


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one system below `folder`."""

    folder: Path

    @property
    def logs(self) -> Path:
        return self.folder / "run"

    @property
    def clients(self) -> Path:
        return self.folder / "clients"

    @property
    def signer(self) -> Path:
        return self.folder / "signer"

    @property
    def cold(self) -> Path:
        """The private half of the cold wallet's address."""
        return self.folder / "cold.json"

    @property
    def watchtower(self) -> Path:
        return self.folder / WATCHTOWER

    @property
    def watchtower_key(self) -> Path:
        return self.watchtower / "key.pem"

    @property
    def signer_settings(self) -> Path:
        return self.signer / "signer.toml"

    @property
    def policy(self) -> Path:
        return self.folder / "policy.toml"

    @property
    def postgres(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(self.folder / "postgres")

    def settings(self, process: str) -> Path:
        return self.folder / f"{process}.toml"

    def client(self, name: str) -> Path:
        return self.clients / f"{name}.toml"

    def key(self, name: str) -> Path:
        return self.clients / f"{name}.signing.pem"

    def port(self, process: str) -> int:
        """The process's TCP port, chosen once."""
        file = self.folder / "ports.json"
        ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
        if process not in ports:
            ports[process] = free_port()
            file.write_text(json.dumps(ports))
        return ports[process]

    @property
    def node_url(self) -> str:
        return f"http://127.0.0.1:{self.port('devnet')}"

    @property
    def environment(self) -> dict[str, str]:
        """Where SoftHSM finds its settings; no secret."""
        return {"SOFTHSM2_CONF": str(self.signer / "softhsm2.conf")}


def write_settings(layout: Layout) -> None:
    """Write every process's settings and issue every certificate."""
    authority = Authority(layout.folder / "pki")
    folders = (layout.logs, layout.clients, layout.watchtower, layout.signer)
    for folder in (*folders, layout.signer / "tokens"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write_servers(layout, authority)
    _write_signer(layout)
    if layout.policy.exists():
        _write_watchtower(layout, authority)
    target = f"localhost:{layout.port('api')}"
    people = [Identity(Role.OFFICER, name) for name in OFFICERS]
    others = [Identity(Role.REQUESTER, REQUESTER), Identity(Role.AUDITOR, "auditor")]
    for identity in (*people, *others, Identity(Role.OPERATOR, "operator")):
        lines = [f'target = "{target}"', f'name = "{identity.name}"']
        if identity.role is not Role.REQUESTER:
            lines.append(f'watchtower = "localhost:{layout.port(WATCHTOWER)}"')
        if identity.role in {Role.OFFICER, Role.REQUESTER}:
            lines.append(f'signing_key = "{layout.key(identity.name)}"')
        if layout.policy.exists():
            lines.append(f'policy_digest = "{_pinned(layout, identity.name)}"')
        lines += _tls_lines(authority.issue(identity))
        if layout.policy.exists():
            lines += audit_key_lines(layout.policy.read_bytes())
        layout.client(identity.name).write_text("\n".join(lines) + "\n")


def audit_key_lines(policy: bytes) -> list[str]:
    """Return the settings by which a client checks the receipts of each wallet's signer."""
    wallets = parse_policy(policy).wallets.values()
    return ["[audit_keys]", *(f'{wallet.name} = ["{wallet.signer}"]' for wallet in wallets)]


def _pinned(layout: Layout, name: str) -> str:
    """Return what `custody policy pin` left in the settings; the first version when nothing is."""
    file = layout.client(name)
    kept = tomllib.loads(file.read_text()).get("policy_digest") if file.exists() else None
    return str(kept or digest(layout.policy.read_bytes()))


def _write_servers(layout: Layout, authority: Authority) -> None:
    database = ['database = """' + layout.postgres.dsn + '"""', f'node = "{layout.node_url}"']
    fee = ["[fee]", f"unit_limit = {UNIT_LIMIT}", f"unit_price = {UNIT_PRICE}"]
    for process in ("api", "worker"):
        tls = authority.issue(Identity(Role.SERVER, process), HOSTS)
        lines = [f'listen = "127.0.0.1:{layout.port(process)}"', *database]
        if process == "worker":
            lines.append(f'watchtower = "localhost:{layout.port(WATCHTOWER)}"')
        lines += ["[tls]", *_tls_lines(tls), *(fee if process == "worker" else [])]
        layout.settings(process).write_text("\n".join(lines) + "\n")
    tls = authority.issue(Identity(Role.RELAY, "hot-1"))
    dialled = [f"localhost:{layout.port(name)}" for name in ("worker", WATCHTOWER)]
    lines = [
        f"gateways = {json.dumps(dialled)}",
        f'socket = "{layout.signer / "signer.sock"}"',
        "[tls]",
        *_tls_lines(tls),
    ]
    layout.settings("relay").write_text("\n".join(lines) + "\n")


def _write_watchtower(layout: Layout, authority: Authority) -> None:
    policy = parse_policy(layout.policy.read_bytes())
    signers = sorted({wallet.signer for wallet in policy.wallets.values()})
    tls = authority.issue(Identity(Role.SERVER, WATCHTOWER), HOSTS)
    lines = [
        f'listen = "127.0.0.1:{layout.port(WATCHTOWER)}"',
        f'key = "{layout.watchtower_key}"',
        f'data = "{layout.watchtower / "watchtower.sqlite"}"',
        f"audit_keys = {json.dumps(signers)}",
        f"nodes = {json.dumps([layout.node_url])}",
        "[tls]",
    ]
    layout.settings(WATCHTOWER).write_text("\n".join([*lines, *_tls_lines(tls)]) + "\n")


def _write_signer(layout: Layout) -> None:
    (layout.signer / "softhsm2.conf").write_text(
        f"directories.tokendir = {layout.signer / 'tokens'}\n"
        "objectstore.backend = file\n"
        "log.level = ERROR\n"
        "slots.removable = false\n"
        "library.reset_on_fork = true\n"
    )
    for name in ("pin", "so-pin"):
        file = layout.signer / name
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(32) + "\n")
    layout.signer_settings.write_text(
        f'module = "{SOFTHSM}"\n'
        'token = "kura-hot"\n'
        f'pin_file = "{layout.signer / "pin"}"\n'
        f'journal = "{layout.signer / "journal.db"}"\n'
        f'socket = "{layout.signer / "signer.sock"}"\n'
        f"peer_uid = {os.getuid()}\n"
    )


def _tls_lines(tls: TlsFiles) -> list[str]:
    return [f'ca = "{tls.ca}"', f'certificate = "{tls.certificate}"', f'key = "{tls.key}"']
