"""What a backend relies on: one request_id pays once, whatever is repeated, and a no has a code."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Any_
from google.rpc.status_pb2 import Status

from custody.client import (
    ConfigError,
    CustodyClient,
    CustodyRefused,
    CustodyUnreachableError,
    KeyFileError,
    State,
    UncertifiedError,
    state_of,
)
from custody.client_async import AsyncCustodyClient
from custody.client_config import read_config
from custody.errors import DETAILS_KEY
from custody.keys import create_key
from kura.custody.v1 import custody_pb2 as wire
from policies.codes import Code, Refusal
from policies.policy_file import parse_policy
from policies.statements import Cancel, Intent, Signed, StatementError, decode, digest, verify
from tests.factories import (
    CUSTOMER,
    key,
    make_approval,
    make_intent,
    policy_file,
    public,
    sign,
)
from tests.memory_custody import CallError, MemoryCustody, config_file, ended, refuse, serve, shown

ASK: dict[str, Any] = {
    "request_id": "order-1001",
    "wallet": "hot-sol",
    "network": "solana:devnet",
    "asset": "SOL",
    "address": CUSTOMER.address,
    "amount": 250_000_000,
}
INFO = "type.googleapis.com/google.rpc.ErrorInfo"
GARBAGE = Status(details=[Any_(type_url=INFO, value=b"\xff")]).SerializeToString()
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def custody(monkeypatch: pytest.MonkeyPatch) -> MemoryCustody:
    return serve(monkeypatch, MemoryCustody())


@pytest.fixture
def client(custody: MemoryCustody, tmp_path: Path) -> Iterator[CustodyClient]:
    with CustodyClient.from_config(config_file(tmp_path, "exchange")) as opened:
        yield opened


def error_of(refusal: Refusal) -> CallError:
    with pytest.raises(CallError) as caught:
        refuse(refusal)
    return caught.value


def test_a_withdrawal_is_asked_for_as_the_caller_said(
    client: CustodyClient, custody: MemoryCustody
) -> None:
    made = client.create_withdrawal(**ASK, memo="invoice 7")
    (request,) = custody.sent("CreateWithdrawal")
    intent = decode(Intent, request.intent.statement)
    assert verify(public("exchange"), Signed(request.intent.statement, request.intent.signature))
    assert made.name == f"withdrawals/{digest(request.intent.statement)}"
    assert (intent.requester, intent.request_id, intent.amount) == (
        "exchange",
        "order-1001",
        250_000_000,
    )
    assert (intent.destination.address, intent.destination.memo) == (CUSTOMER.address, "invoice 7")
    assert intent.expires - intent.created == 24 * 3600 * 1000


def test_a_call_without_answer_sends_the_same_bytes_again(
    client: CustodyClient, custody: MemoryCustody
) -> None:
    busy = error_of(Refusal(Code.DATABASE_UNREACHABLE, "the database is away"))
    custody.outages = [CallError(UNAVAILABLE, "connection lost"), busy]
    client.create_withdrawal(**ASK)
    sent = [request.intent.SerializeToString() for request in custody.sent("CreateWithdrawal")]
    assert len(sent) == 3
    assert len(set(sent)) == 1
    assert len(custody.withdrawals) == 1


def test_a_call_repeated_after_a_crash_finds_the_first_withdrawal(
    client: CustodyClient, custody: MemoryCustody
) -> None:
    first = client.create_withdrawal(**ASK, expires_in=timedelta(hours=1))
    again = client.create_withdrawal(**ASK, expires_in=timedelta(hours=2))
    assert again.name == first.name
    assert len(custody.withdrawals) == 1


@pytest.mark.parametrize(
    "other",
    [{"amount": 250_000_001}, {"memo": "7"}, {"wallet": "hot-2"}, {"address": "1" * 32}],
    ids=lambda other: next(iter(other)),
)
def test_a_request_id_never_pays_for_something_else(
    client: CustodyClient, other: dict[str, Any]
) -> None:
    client.create_withdrawal(**ASK)
    with pytest.raises(CustodyRefused) as caught:
        client.create_withdrawal(**{**ASK, **other})
    assert caught.value.refusal.code is Code.REQUEST_ID_REUSED


def _other_bytes(shown: wire.Withdrawal) -> None:
    shown.intent.statement = shown.intent.statement.replace(b"250000000", b"250000001")


def _other_signature(shown: wire.Withdrawal) -> None:
    shown.intent.signature = bytes(64)


def _no_statement(shown: wire.Withdrawal) -> None:
    shown.intent.statement = b"{}"


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (_other_bytes, UncertifiedError),
        (_other_signature, CustodyRefused),
        (_no_statement, UncertifiedError),
    ],
)
def test_an_earlier_withdrawal_is_believed_for_its_signature_only(
    client: CustodyClient, custody: MemoryCustody, lie: Any, error: type[Exception]
) -> None:
    client.create_withdrawal(**ASK, expires_in=timedelta(hours=1))
    custody.lie = lie
    with pytest.raises(error):
        client.create_withdrawal(**ASK, expires_in=timedelta(hours=2))


def test_a_stored_intent_can_be_submitted_again(
    client: CustodyClient, custody: MemoryCustody
) -> None:
    intent = client.build_intent(**ASK)
    assert custody.calls == []
    assert client.submit(intent).name == client.submit(intent).name


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"amount": 0.25}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": 2**63}, "amount"),
        ({"address": "with blank"}, "destination.address"),
        ({"memo": "x" * 257}, "destination.memo"),
        ({"memo": "\u202e1001"}, "memo"),
        ({"request_id": ""}, "request_id"),
        ({"wallet": "Hot"}, "wallet"),
        ({"expires_in": timedelta(days=8)}, "expires"),
        ({"expires_in": timedelta(0)}, "expires"),
    ],
)
def test_a_bad_field_is_named_before_anything_is_sent(
    client: CustodyClient, custody: MemoryCustody, wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValueError, match=f"{field}.*:"):
        client.create_withdrawal(**{**ASK, **wrong})
    assert custody.calls == []


def test_a_refusal_is_a_value_to_match_on(client: CustodyClient, custody: MemoryCustody) -> None:
    no = Refusal(Code.CAP_EXCEEDED, "too much", rule="wallets.hot-sol.cap", field="amount")
    custody.outages = [error_of(no)]
    with pytest.raises(CustodyRefused, match="next: ask for less") as caught:
        client.create_withdrawal(**ASK)
    assert caught.value.refusal == no


@pytest.mark.parametrize(
    "error",
    [
        CallError(grpc.StatusCode.INTERNAL, "broken"),
        CallError(grpc.StatusCode.INTERNAL, "", ((DETAILS_KEY, b"\xff\xff"),)),
        CallError(grpc.StatusCode.INTERNAL, "", ((DETAILS_KEY, GARBAGE),)),
    ],
    ids=["no details", "garbage", "garbage in details"],
)
def test_what_is_no_refusal_of_custody_is_a_fault(
    client: CustodyClient, custody: MemoryCustody, error: CallError
) -> None:
    custody.outages = [error]
    with pytest.raises(CustodyUnreachableError, match=r"custody\.test:443") as caught:
        client.get_withdrawal("withdrawals/" + "ab" * 32)
    assert caught.value.status is grpc.StatusCode.INTERNAL


def test_every_page_is_listed_once(client: CustodyClient, custody: MemoryCustody) -> None:
    made = [client.create_withdrawal(**{**ASK, "request_id": f"w-{n}"}).name for n in range(5)]
    assert [item.name for item in client.list_withdrawals()] == made
    assert len(custody.sent("ListWithdrawals")) == 3


@pytest.mark.parametrize("tokens", [["a", "b", "a"], [str(n) for n in range(9)]])
def test_a_list_that_never_ends_is_a_fault(
    client: CustodyClient, custody: MemoryCustody, monkeypatch: pytest.MonkeyPatch, tokens: Any
) -> None:
    monkeypatch.setattr("custody.calls.PAGES_MAX", 8)
    following = cycle(tokens)

    def endless(_: object) -> wire.ListWithdrawalsResponse:
        assert len(custody.calls) < 20
        return wire.ListWithdrawalsResponse(next_page_token=next(following))

    monkeypatch.setattr(custody, "list_withdrawals", endless)
    with pytest.raises(CustodyUnreachableError, match="ListWithdrawals never ends"):
        list(client.list_withdrawals())
    assert len(custody.calls) == min(len(tokens), 8)


def test_anothers_request_is_not_shown_as_ones_own(
    client: CustodyClient, custody: MemoryCustody
) -> None:
    """It may have the same request_id: a backend would take its own order for cancelled."""
    intent = make_intent(requester="partner", key=public("partner"), request_id="order-1001")
    theirs = shown(sign(key("partner"), intent))
    custody.withdrawals[theirs.name] = theirs
    for _ in range(2):
        with pytest.raises(UncertifiedError, match="partner"):
            list(client.list_withdrawals())
        with pytest.raises(UncertifiedError, match="partner"):
            client.get_withdrawal(theirs.name)
        ended(theirs)


def test_an_approver_with_a_key_is_shown_anybodys_request(
    custody: MemoryCustody, tmp_path: Path
) -> None:
    """A service approves by this client; its own name is no requester's."""
    asked = shown(sign(key("exchange"), make_intent()))
    custody.withdrawals[asked.name] = asked
    policy = parse_policy(policy_file())
    approval = sign(key("alice"), make_approval(policy, make_intent()))
    with CustodyClient.from_config(config_file(tmp_path, "alice")) as approver:
        assert [item.name for item in approver.list_pending_approvals()] == [asked.name]
        assert approver.send_approval(asked.name, approval).name == asked.name
        assert approver.kill_withdrawal(asked.name).name == asked.name


def test_another_order_is_not_listed_for_the_one_that_was_asked_for(
    client: CustodyClient, custody: MemoryCustody
) -> None:
    """A backend that asks by request_id would pay back an order that is paid."""
    other = client.create_withdrawal(**{**ASK, "request_id": "order-1"})
    for _ in range(2):
        for order, wallet in (("order-2", ""), ("", "hot-two"), ("order-1", "hot-two")):
            with pytest.raises(UncertifiedError, match="was asked for"):
                list(client.list_withdrawals(request_id=order, wallet=wallet))
        for order, wallet in (("order-1", ""), ("", "hot-sol"), ("", "")):
            listed = client.list_withdrawals(request_id=order, wallet=wallet)
            assert [item.name for item in listed] == [other.name]
        ended(custody.withdrawals[other.name])


def test_what_is_not_in_a_state_that_was_asked_for_is_not_listed(
    client: CustodyClient, custody: MemoryCustody
) -> None:
    """A backend that pays back what is listed as ended would pay back what is paid, or will be."""
    made = client.create_withdrawal(**ASK)
    unpaid = [state for state in State if state.ended and state is not State.COMPLETED]
    for state in (State.QUEUED, State.COMPLETED):
        custody.withdrawals[made.name] = shown(
            Signed(made.intent.statement, made.intent.signature),
            state=f"WITHDRAWAL_STATE_{state}",
        )
        if state.ended:
            ended(custody.withdrawals[made.name], wire.WITHDRAWAL_STATE_COMPLETED)
        with pytest.raises(UncertifiedError, match=f"{state}.*asked for"):
            list(client.list_withdrawals(states=unpaid))
        assert len(list(client.list_withdrawals(states=[*unpaid, state]))) == 1


def test_a_cancel_names_the_withdrawal_and_is_signed(
    client: CustodyClient, custody: MemoryCustody
) -> None:
    name = client.create_withdrawal(**ASK).name
    assert state_of(client.cancel(name)) is State.CANCELLED
    (request,) = custody.sent("CancelWithdrawal")
    cancel = decode(Cancel, request.cancel.statement)
    assert f"withdrawals/{cancel.intent}" == request.name == name
    assert verify(public("exchange"), Signed(request.cancel.statement, request.cancel.signature))


def test_waiting_ends_at_the_end_whatever_it_is(
    client: CustodyClient, custody: MemoryCustody
) -> None:
    name = client.create_withdrawal(**ASK).name
    states = iter([wire.WITHDRAWAL_STATE_QUEUED, wire.WITHDRAWAL_STATE_BLOCKED])
    custody.lie = lambda shown: ended(shown, next(states))
    assert state_of(client.wait(name, until={State.COMPLETED})) is State.BLOCKED


def test_waiting_ends_at_the_state_that_is_waited_for(client: CustodyClient) -> None:
    name = client.create_withdrawal(**ASK).name
    waited = client.wait(name, until={State.PENDING_APPROVAL}, timeout=timedelta(0))
    assert waited.name == name


def test_waiting_gives_up(client: CustodyClient) -> None:
    name = client.create_withdrawal(**ASK).name
    with pytest.raises(TimeoutError, match="PENDING_APPROVAL"):
        client.wait(name, timeout=timedelta(0))


def test_a_reader_without_key_cannot_sign(custody: MemoryCustody, tmp_path: Path) -> None:
    file = config_file(tmp_path, "exchange")
    lines = [line for line in file.read_text().splitlines() if "signing_key" not in line]
    file.write_text("\n".join(lines))
    with CustodyClient.from_config(file) as client, pytest.raises(ConfigError, match="signing_key"):
        client.create_withdrawal(**ASK)
    assert custody.calls == []


def test_a_requester_without_audit_keys_is_told_at_its_start(
    custody: MemoryCustody, tmp_path: Path
) -> None:
    """Not when the first customer waits to be paid back."""
    file = config_file(tmp_path, "exchange")
    lines = [line for line in file.read_text().splitlines() if "audit_keys" not in line]
    file.write_text("\n".join(lines))
    for client in (CustodyClient, AsyncCustodyClient):
        with pytest.raises(ConfigError, match=r"exchange\.toml: a requester needs .*audit_keys"):
            client.from_config(file)
    file.write_text("\n".join(line for line in lines if "signing_key" not in line))
    CustodyClient.from_config(file).close()  # who only reads


def test_an_encrypted_key_needs_somebody_to_ask(custody: MemoryCustody, tmp_path: Path) -> None:
    file = config_file(tmp_path, "exchange")
    (tmp_path / "exchange.pem").unlink()
    passphrase = b"a passphrase of the backend"
    create_key(tmp_path / "exchange.pem", passphrase)
    with pytest.raises(KeyFileError, match="encrypted"):
        CustodyClient.from_config(file)
    CustodyClient.from_config(file, lambda: passphrase).close()


def test_settings_name_files_beside_them(tmp_path: Path) -> None:
    config = read_config(config_file(tmp_path, "exchange", pinned="cd" * 32))
    assert config.tls.ca == tmp_path / "ca.pem"
    assert config.signing_key == tmp_path / "exchange.pem"
    assert config.policy_digest == "cd" * 32


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('colour = "red"', "line 8: colour: is not known here"),
        ('policy_digest = "CD"', "line 8: policy_digest: must be"),
        ("target = 7", "line 8: is not TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    file = config_file(tmp_path, "exchange")
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(file)
    assert str(file) in str(caught.value)


def test_settings_that_are_not_there_say_how_to_name_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config FILE"):
        read_config(tmp_path / "absent.toml")


def test_an_unknown_state_is_an_error() -> None:
    with pytest.raises(ValueError, match="99"):
        state_of(wire.Withdrawal(state=99))  # type: ignore[arg-type]


def test_a_bad_name_of_the_requester_is_told(custody: MemoryCustody, tmp_path: Path) -> None:
    config = read_config(config_file(tmp_path, "exchange"))
    assert config.signing_key is not None
    key = create_key(tmp_path / "other.pem", None)
    with (
        CustodyClient(config.target, config.tls, key, "No Name") as client,
        pytest.raises(StatementError, match="requester"),
    ):
        client.build_intent(**ASK)
