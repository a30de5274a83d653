"""The command `signer` as an operator and the relay meet it: real processes, a real token."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.chains.solana_checks import check_transfer, nonce_address
from policies.policy_file import parse_policy
from policies.statements import Book, Change, digest, encode
from tests import frame_server
from tests.factories import CUSTOMER, HOUR, make_book, make_change, make_intent, policy_file
from tests.signer_host import Host, now, signatures, temporary_host
from tests.signing import apply_statement, transfer

PEOPLE = ("alice", "carol")


@pytest.fixture(scope="module")
def initialised() -> Iterator[tuple[Host, bytes]]:
    """A host after `init` and `keygen`, and the policy that its officers would write for it."""
    with temporary_host() as host:
        init = host.done("init", "--so-pin-file", host.directory / "so-pin").split()
        keygen = host.done("keygen", "hot-sol").split()
        assert (init[:2], init[3]) == (["audit", "key"], "journal")
        assert keygen[:2] == ["wallet", "hot-sol"]
        yield host, policy_file(signer=init[2], address=keygen[keygen.index("address") + 1])


@pytest.fixture
def host(initialised: tuple[Host, bytes]) -> Iterator[Host]:
    """A copy of that host."""
    with temporary_host(initialised[0]) as copy:
        yield copy


@pytest.fixture
def policy(initialised: tuple[Host, bytes]) -> bytes:
    return initialised[1]


def install(host: Host, policy: bytes, signed: bytes) -> tuple[str, str, Path, Path]:
    """The arguments of `signer policy install`."""
    files = (host.file("policy.toml", policy), host.file("signatures", signed))
    return ("policy", "install", *files)


def genesis(host: Host, policy: bytes) -> None:
    arguments = install(host, policy, signatures(policy, *PEOPLE))
    printed = host.done(*arguments, typed=digest(policy) + "\n")
    assert printed.endswith(f"policy 1 is in force: {digest(policy)}\n")


def signed_changes(book: Book) -> list[Change]:
    of_book = digest(encode(book))
    return [make_change("book", of_book, person, expires=now() + HOUR) for person in PEOPLE]


def test_a_signer_is_set_up_serves_and_outlives_kill_9(host: Host, policy: bytes) -> None:
    genesis(host, policy)
    book = make_book()
    created = now()
    intent = make_intent(created=created, expires=created + HOUR)
    with host.serving() as process:
        assert host.ask(apply_statement(encode(book), signed_changes(book))).applied.digest
        first = host.ask(transfer(intent)).signed
        status = host.done("status").split()
        process.kill()
    address = parse_policy(policy).wallets["hot-sol"].address
    assert digest(policy) in status
    assert status[status.index("book") + 1 :][:3] == ["version", "1", digest(encode(book))]
    check_transfer(
        first.transaction,
        source=address,
        nonce_account=nonce_address(address, 0),
        nonce_value=b"\x07" * 32,
        destination=CUSTOMER.address,
        amount=intent.amount,
        memo="",
        maximum_fee=5_000,
    )
    with host.serving():
        again = host.ask(transfer(intent, nonce_index=1, nonce_value=b"\x08" * 32)).signed
    assert (again.transaction, again.repeated) == (first.transaction, True)


def test_a_serving_signer_is_closed_and_alone(host: Host, policy: bytes) -> None:
    with host.serving() as process:
        proc = Path(f"/proc/{process.pid}")
        assert "NoNewPrivs:\t1" in (proc / "status").read_text()
        assert "Max core file size        0 " in (proc / "limits").read_text()
        assert (proc / "net" / "dev").read_text().count(":") == 1  # lo
        assert "none: signer policy install" in host.done("status")
        words = "is another signer serving from it?"
        arguments = install(host, policy, signatures(policy, *PEOPLE))
        assert words in host.refused(*arguments, typed=digest(policy) + "\n")
        assert words in host.refused("serve", isolated=True)
        assert "none: signer policy install" in host.done("status")
    assert "is `signer serve` running" in host.refused("status")


def test_a_user_whom_the_signer_does_not_know_is_told_so(host: Host) -> None:
    with frame_server.serving(4243, before="os.getuid = lambda: 4242") as server:
        host.set(socket=server.path)
        assert "is this user its relay's?" in host.refused("status")


def test_serving_beside_a_network_is_refused_before_a_pin_is_read(host: Host) -> None:
    (host.directory / "pin").chmod(0o644)  # which reading it would find
    words = host.refused("serve")
    assert "start it in a network namespace of its own with only lo" in words
    assert "PIN" not in words
    assert not (host.directory / "socket").exists()


def test_a_pin_must_be_closed_right_and_there(host: Host) -> None:
    pin = host.directory / "pin"
    pin.chmod(0o644)
    for arguments, isolated in ((("serve",), True), (("keygen", "hot-2"), False)):
        assert "chmod 0400" in host.refused(*arguments, isolated=isolated)
    pin.chmod(0o400)
    host.set(pin_file=host.directory / "so-pin")
    assert "wrong PIN, not tried again" in host.refused("serve", isolated=True)
    host.set(pin_file="")
    assert "no terminal to ask for the PIN" in host.refused("serve", isolated=True)
    host.set(pin_file=host.directory / "absent")
    assert "No such file" in host.refused("keygen", "hot-2")


def test_keys_and_token_are_made_once(host: Host) -> None:
    so_pin = ("--so-pin-file", host.directory / "so-pin")
    assert "exists already" in host.refused("init", *so_pin)
    assert "no terminal to ask for the PIN" in host.refused("init")
    assert "already holds 'hot-sol'" in host.refused("keygen", "hot-sol")
    assert "the signer's own key" in host.refused("keygen", "audit")
    assert "must be 1 to 32 of a-z" in host.refused("keygen", "Hot SOL")


def test_init_makes_both_token_and_journal_or_neither(host: Host) -> None:
    so_pin, tokens = ("--so-pin-file", host.directory / "so-pin"), host.directory / "tokens"
    before = sorted(tokens.iterdir())
    host.set(token="second")
    assert "signer init runs once" in host.refused("init", *so_pin)
    host.set(token="second", journal=host.directory / "absent" / "journal")
    assert "is no directory: make it" in host.refused("init", *so_pin)
    assert sorted(tokens.iterdir()) == before
    host.set(journal=host.directory / "other")
    assert "a token 'kura' exists already" in host.refused("init", *so_pin)
    assert not (host.directory / "other").exists()
    host.set(token="second", journal=host.directory / "other")
    assert "audit key" in host.done("init", *so_pin)


def test_genesis_happens_once(host: Host, policy: bytes) -> None:
    genesis(host, policy)
    other = policy.replace(b'cap = "50 SOL"', b'cap = "51 SOL"')
    arguments = install(host, other, signatures(other, *PEOPLE))
    assert "genesis happens once" in host.refused(*arguments, typed=digest(other) + "\n")
    with host.serving():
        assert digest(policy) in host.done("status")


def test_a_policy_without_its_whole_quorum_is_refused(host: Host, policy: bytes) -> None:
    other = policy.replace(b'cap = "50 SOL"', b'cap = "51 SOL"')
    for signed, words in (
        (b"", "QUORUM_MISSING: still needs 1 of operations and 1 of risk; next: let those missing"),
        (signatures(policy, "alice"), "QUORUM_MISSING: still needs 1 of risk"),
        (signatures(policy, "alice", "carol", by="mallory"), "the signature is not alice's"),
        (signatures(other, *PEOPLE), "alice signed something else"),
        (b"a signature\n", "line 1 is not a signature"),
    ):
        arguments = install(host, policy, signed)
        assert words in host.refused(*arguments, typed=digest(policy) + "\n")
    genesis(host, policy)  # nothing had been installed


def test_a_digest_typed_wrong_installs_nothing(host: Host, policy: bytes) -> None:
    arguments = install(host, policy, signatures(policy, *PEOPLE))
    fullwidth = "".join(chr(ord(character) + 0xFEE0) for character in digest(policy))
    for typed in ("", "\n", digest(policy)[:-1], digest(policy).upper(), fullwidth, "0" * 64):
        assert "the digest typed is not this file's" in host.refused(*arguments, typed=typed)
    genesis(host, policy)


def test_what_is_no_first_policy_is_refused(host: Host, policy: bytes) -> None:
    second = policy.replace(b"version = 1", b"version = 2")
    follower = policy.replace(b'previous = ""', b'previous = "' + b"0" * 64 + b'"')
    for file, words in (
        (follower, "genesis takes version 1 without previous"),
        (second, "genesis takes version 1 without previous"),
        (policy.replace(b'tier = "hot"', b'tier = "warm"'), "wallets.hot-sol.tier: must be one of"),
        (policy[1:], "the first line must be exactly # kura.policy.v1"),
    ):
        arguments = install(host, file, signatures(file, *PEOPLE))
        assert words in host.refused(*arguments, typed=digest(file) + "\n")


def test_wrong_settings_are_named(host: Host) -> None:
    host.set(peer_uid="relay")
    assert "signer: line 6: peer_uid: must be the number" in host.refused("serve", isolated=True)
    (host.directory / "signer.toml").unlink()
    assert "No such file or directory" in host.refused("status")
