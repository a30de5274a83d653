"""A whole Kura on one machine: every process real, the signer in a network namespace of its own."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx
import psycopg

from custody.client import CustodyClient
from custody.dev.genesis import (
    CUSTOMERS,
    EXAMPLE,
    Public,
    cold_address,
    fill_policy,
    first_book,
    sign_first,
)
from custody.dev.layout import OFFICERS, REQUESTER, WALLET, Layout, write_settings
from custody.dev.pki import Authority
from custody.dev.processes import ProcessError, Running, running, start, stop
from custody.identity import Identity, Role
from custody.keys import create_key, load_key
from custody.store.database import migrate
from kura.custody.v1 import custody_pb2 as wire
from kura.custody.v1 import custody_pb2_grpc
from policies.signature_file import parse_signatures
from policies.statements import digest

T = TypeVar("T")
BIN = Path(sys.executable).parent
PROCESSES = ("devnet", "signer", "watchtower", "worker", "relay", "api")
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.1


class IsolationError(Exception):
    """The kernel does not let this user make a network namespace."""


class System:
    """One development system below a folder. `say` hears what is happening.

    A chain in memory ends with its process, and with it the use of everything else. `policy` is the
    file that becomes the first policy, with keys and wallet of this system.
    """

    def __init__(
        self,
        folder: Path,
        say: Callable[[str], None],
        *,
        in_memory_chain: bool = False,
        policy: Path = EXAMPLE,
    ) -> None:
        self.layout = Layout(folder.absolute())
        self._say, self._in_memory_chain, self._policy = say, in_memory_chain, policy

    def up(self) -> None:
        """Set up what is missing, start what is not running, wait until it can pay."""
        isolation()  # before anything is made: a kernel that forbids it says so at once
        self.layout.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_settings(self.layout)
        self._say("PostgreSQL")
        self.layout.postgres.start()
        asyncio.run(migrate(self.layout.postgres.dsn))
        if not self.layout.policy.exists():
            self._genesis()
            write_settings(self.layout)
        self._say("Solana devnet, signer, watchtower, worker, relay, api")
        for name in PROCESSES:
            self.start(name)
        self._fund()
        self._first_book()

    def down(self) -> None:
        """Stop every process; data stay."""
        for name in reversed(PROCESSES):
            stop(self.layout.logs, name)
        self.layout.postgres.stop()

    def start(self, name: str) -> None:
        """Start one process, unless it runs."""
        if running(self.layout.logs, name):
            return
        command: list[str | Path]
        match name:
            case "devnet":
                command = [sys.executable, "-m", "custody.dev.devnet"]
                if self._in_memory_chain:
                    command += ["--in-memory"]
                else:
                    command += ["--data", self.layout.folder / "devnet"]
                command += ["--port", str(self.layout.port("devnet"))]
            case "signer":
                command = [*isolation(), BIN / "signer"]
                command += ["--config", self.layout.signer_settings, "serve"]
            case _:
                command = [BIN / "custody", "serve", name]
                command += ["--settings", self.layout.settings(name)]
        self.run(name, command)

    def run(self, name: str, command: Sequence[str | Path]) -> Running:
        """Start one process by another command, under its usual name."""
        return start(self.layout.logs, name, command, self.layout.environment)

    def stop(self, name: str) -> None:
        """Stop one process."""
        stop(self.layout.logs, name)

    def pid(self, name: str) -> int:
        """Return a running process's id."""
        if name == "postgres":
            pid = self.layout.postgres.postmaster_pid
            if pid is None:
                raise ProcessError("postgres does not run")
            return pid
        return int((self.layout.logs / f"{name}.pid").read_text())

    def until(self, what: str, look: Callable[[], T | None]) -> T:
        """Look again and again until something is there; TimeoutError after a minute."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {WAIT_SECONDS:.0f} s for {what}")
            time.sleep(POLL_SECONDS)
        return found

    def client(self, name: str) -> CustodyClient:
        """Return a client with this person's or requester's certificate and key."""
        return CustodyClient.from_config(self.layout.client(name))

    @property
    def wallet_address(self) -> str:
        """The hot wallet's address."""
        match = re.search(r'^address = "(.+)"', self.layout.policy.read_text(), re.MULTILINE)
        if match is None:
            raise ValueError("the policy names no address")
        return match[1]

    @property
    def customers(self) -> Sequence[str]:
        """Two destinations in the address book."""
        return CUSTOMERS

    def rpc(self, method: str, *params: object) -> object:
        """Ask the devnet."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return httpx.post(self.layout.node_url, json=body).json()["result"]

    def balance(self, address: str) -> int:
        """Return the finalised lamports of an address."""
        answer = self.rpc("getBalance", address, {"commitment": "finalized"})
        return int(answer["value"])  # type: ignore[index]

    def _signer(self, *arguments: str | Path, answer: str = "") -> str:
        command = [BIN / "signer", "--config", self.layout.signer_settings, *arguments]
        done = subprocess.run(
            command,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.layout.environment},
        )
        if done.returncode:
            raise ProcessError(done.stderr.strip())
        return done.stdout

    def _genesis(self) -> None:
        self._say("SoftHSM token, keys, policy")
        made = self._signer("init", "--so-pin-file", self.layout.signer / "so-pin")
        audit_key = _word_after("audit key", made)
        address = _word_after("address", self._signer("keygen", WALLET))
        keys = {name: create_key(self.layout.key(name), None) for name in (*OFFICERS, REQUESTER)}
        watchtower = create_key(self.layout.watchtower_key, None).public
        public = Public(audit_key, address, watchtower, cold_address(self.layout.cold))
        text = fill_policy(keys, public, self._policy)
        draft = self.layout.policy.with_suffix(".draft")
        draft.write_bytes(text)
        signatures = draft.with_suffix(".signatures")
        signatures.write_text(sign_first(keys, "policy", digest(text)))
        self._signer("policy", "install", draft, signatures, answer=digest(text) + "\n")
        draft.rename(self.layout.policy)

    def _fund(self) -> None:
        if self.balance(self.wallet_address) == 0:
            self._say("1,000 SOL of play money for the hot wallet")
            self.rpc("requestAirdrop", self.wallet_address, 1_000 * 10**9)

    def _first_book(self) -> None:
        tls = Authority(self.layout.folder / "pki").issue(Identity(Role.OPERATOR, "operator"))
        target = f"localhost:{self.layout.port('api')}"
        with grpc.secure_channel(target, tls.channel_credentials()) as channel:
            custody = custody_pb2_grpc.CustodyStub(channel)
            policy = _patiently(custody.GetPolicy, wire.GetPolicyRequest())
            if policy.book_version != "0":
                return
            self._say("address book")
            keys = {name: load_key(self.layout.key(name), lambda: b"") for name in OFFICERS}
            statement = first_book()
            lines = sign_first(keys, "book", digest(statement))
            changes = [
                wire.SignedStatement(statement=item.statement, signature=item.signature)
                for item in parse_signatures(lines.encode())
            ]
            request = wire.CreateBookVersionRequest(book=statement, changes=changes)
            while _patiently(custody.CreateBookVersion, request).state != "applied":
                time.sleep(POLL_SECONDS)


def _patiently(method: Callable[..., Any], request: Any) -> Any:
    """Call until the signer has been seen; the last error after a minute."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return method(request)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def ready_nonces(dsn: str) -> int:
    """Return how many nonce accounts can be used now."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM nonce WHERE value IS NOT NULL").fetchone()
        return int(row[0]) if row else 0


def isolation() -> list[str]:
    """Return the command that gives a process a network namespace with only `lo`."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user"]
    command = ["unshare", *user, "--net"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise IsolationError(
            "this kernel does not let this user make a network namespace, and the signer does not"
            f" run without one ({tried.stderr.strip()}). Run it as root, or allow it:"
            " sudo sysctl kernel.unprivileged_userns_clone=1"
        )
    return [*command, "--"]


def _word_after(words: str, text: str) -> str:
    match = re.search(rf"^{words}\s+(\S+)", text, re.MULTILINE)
    if match is None:
        raise ProcessError(f"the signer did not print its {words}")
    return match[1]
