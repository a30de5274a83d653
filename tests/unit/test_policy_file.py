"""Policy files: what they say, and that only readable TOML behind the tag line is one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import policies
from policies.policy import BYTES_MAX, TAG, DestinationClass, KeyOrigin, Policy, Tier, WalletTier
from policies.policy_file import LINE_MAX, parse_policy
from policies.quorum import Seats
from policies.reader import FileError
from policies.statements import digest
from tests.factories import HOT_ADDRESS, SOL, make_policy, policy_file, public
from tests.malformed import file_error
from tests.strategies import PROPERTY

EXAMPLE = Path(policies.__file__).with_name("example.toml")
TEXT = policy_file().decode()


def test_what_a_policy_says() -> None:
    policy = make_policy()
    assert (policy.version, policy.previous) == (1, "")
    assert policy.digest == digest(policy_file())
    assert policy.people["alice"] == {public("alice"), public("alice-2")}
    assert policy.groups == {"operations": {"alice", "bob"}, "risk": {"bob", "carol"}}
    assert policy.requesters == {"exchange": {public("exchange")}}
    assert (policy.assets["SOL"].network, policy.assets["SOL"].decimals) == ("solana:devnet", 9)
    wallet = policy.wallets["hot-sol"]
    assert (wallet.tier, wallet.key_origin) == (WalletTier.HOT, KeyOrigin.TOKEN)
    assert (wallet.asset, wallet.address, wallet.signer) == ("SOL", HOT_ADDRESS, public("audit"))
    assert (wallet.cap, wallet.maximum_fee, wallet.nonce_pool) == (50 * SOL, SOL // 1000, 4)
    (rule,) = policy.rules
    assert (rule.name, rule.wallet, rule.requester) == ("customers", "hot-sol", "exchange")
    assert rule.destination is DestinationClass.ADDRESS_BOOK
    one = Seats(1, "operations")
    both = (one, Seats(1, "risk"))
    assert rule.tiers == (tier(SOL), tier(10 * SOL, (one,)), tier(40 * SOL, both))
    assert policy.policy_quorum == policy.book_quorum == both


def tier(up_to: int, *people: tuple[Seats, ...]) -> Tier:
    return Tier(up_to, frozenset(), people, 0)


def test_the_example_is_a_policy() -> None:
    policy = parse_policy(EXAMPLE.read_bytes())
    assert (policy.version, list(policy.wallets)) == (1, ["hot-sol"])


def test_the_digest_covers_every_byte() -> None:
    assert parse_policy(policy_file() + b"# seen\n").digest != make_policy().digest


@pytest.mark.parametrize(
    "head",
    ["", TAG + " ", "\n" + TAG + "\n", "# kura.policy.v2\n", "\ufeff" + TAG],
)
def test_the_tag_line_is_required(head: str) -> None:
    error = file_error((head + TEXT.removeprefix(TAG)).encode())
    assert (error.line, error.reason) == (1, f"the first line must be exactly {TAG}")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("version = 1", "version = ", "is not TOML: Invalid value (at line 2, column 11)"),
        ("version = 1", "version 1", "is not TOML: Expected '=' after"),
        ("decimals = 9", "decimals = 9\ndecimals = 9", "is not TOML: Cannot overwrite a value"),
        ("[people.bob]", "[people.alice]", "is not TOML: Cannot declare"),
        ("[people.bob]", "[people.bob", "is not TOML: Expected ']'"),
        ("[people.bob]", '["at line x"]\n["at line x"]', "is not TOML: Cannot declare"),
        ("version = 1", "version = [\n" + "[\n" * 2000, "is not TOML: maximum recursion"),
        ("version = 1", "version = " + "1" * 5000, f"has more than {LINE_MAX} characters"),
        ("version = 1", "a" + ".a" * 100_000 + " = 1", f"has more than {LINE_MAX} characters"),
        ("version = 1", "version = 1 # \u202e", "holds the hidden character U+202E"),
        ("version = 1", "version = 1 # \u2028", "holds the hidden character U+2028"),
        ("version = 1", "version = 1 # \u200b", "holds the hidden character U+200B"),
        ("version = 1", "version = 1\r", "holds the hidden character U+000D"),
    ],
)
def test_what_is_not_readable_toml_is_refused(old: str, new: str, reason: str) -> None:
    error = file_error(TEXT.replace(old, new, 1).encode())
    assert error.reason.startswith(reason)
    assert error.entry == ""
    assert error.line >= 2


@pytest.mark.parametrize("data", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80"])
def test_what_is_not_utf8_is_refused(data: bytes) -> None:
    error = file_error(policy_file() + b"# " + data)
    assert (error.line, error.reason) == (TEXT.count("\n") + 1, "is not UTF-8")


def test_an_oversized_file_is_refused_before_it_is_read() -> None:
    data = policy_file().ljust(BYTES_MAX, b"\n")
    assert isinstance(parse_policy(data), Policy)
    assert "at most 262144 are allowed" in file_error(data + b"\n").reason


def test_japanese_comments_and_tabs_are_fine() -> None:
    assert parse_policy(policy_file() + "\t# 上限は取締役会で決めた\u30002026年\n".encode())


@PROPERTY
@given(st.data())
def test_a_spoiled_file_is_refused_in_words_or_still_a_policy(data: st.DataObject) -> None:
    spoiled = bytearray(policy_file())
    start = data.draw(st.integers(0, len(spoiled) - 1))
    length = data.draw(st.integers(0, 60))
    new = data.draw(
        st.binary(max_size=4) | st.sampled_from([b"[", b"]\n", b'"', b"=", b"[[", b"."])
    )
    spoiled[start : start + length] = new
    outcome = parsed(bytes(spoiled))
    if isinstance(outcome, FileError):
        assert 1 <= outcome.line <= spoiled.count(b"\n") + 1
        assert outcome.reason
    else:
        assert outcome.digest == digest(bytes(spoiled))


def parsed(data: bytes) -> Policy | FileError:
    try:
        return parse_policy(data)
    except FileError as error:
        return error
