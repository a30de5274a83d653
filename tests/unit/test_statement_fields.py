"""Every field of a statement has one spelling for each value; everything else names the field."""

import pytest

from policies.statements import (
    BOOK_ENTRIES_MAX,
    INTENT_LIFE_MAX_MS,
    LEASE_MS,
    Book,
    Destination,
    Intent,
    Lease,
    Statement,
    Veto,
    decode,
    digest,
    encode,
)
from tests.factories import (
    NOW,
    make_approval,
    make_book,
    make_change,
    make_dead,
    make_freeze,
    make_hello,
    make_intent,
    make_lease,
    make_policy,
    make_receipt,
    make_recover,
    make_theft,
    make_unfreeze,
    public,
)
from tests.malformed import (
    CYRILLIC_A,
    CYRILLIC_SMALL_A,
    LOW_ORDER,
    fields_of,
    raw,
    refusal,
    with_field,
)

LONG = "x" * 200
NOT_A_NUMBER = [
    "",
    "-1",
    "+1",
    "01",
    "00",
    "1.0",
    "1.5",
    ".5",
    "1e9",
    "1E9",
    "0x10",
    "1_000",
    "1,000",
    " 1",
    "1 ",
    "\u00a01",  # a no-break space
    "\uff11",  # fullwidth 1
    "\u0661",  # Arabic-Indic 1
    "\u0967",  # Devanagari 1
    "1\u0660",  # and a zero after an ASCII 1
    "\u00b2",  # superscript 2
    "\u2460",  # circled 1
    "\u4e00",  # the word one
    "NaN",
    "Infinity",
    "9" * 21,
    "9" * 5000,
    ["1"],
    {"1": "1"},
]
BAD_KEYS: list[object] = [
    "",
    public("alice").upper(),
    public("alice").removeprefix("ed25519:"),
    public("alice")[:-1],
    public("alice") + "0",
    "ecdsa:" + "0" * 64,
    "ed25519:02" + "0" * 62,  # off the curve
    *(f"ed25519:{point}" for point in LOW_ORDER),
    [],
]
BAD: dict[str, list[object]] = {
    "key": BAD_KEYS,
    "requester": ["", "Exchange", "-a", "a-", "a b", "a_b", "a" * 33, "exch" + CYRILLIC_SMALL_A],
    "request_id": ["", "a b", "a/b", "a" * 65, "é", "a\u200bb"],
    "wallet": ["", "HOT", "hot.sol", "a" * 33],
    "network": [
        "",
        "solana",
        "solana:",
        ":devnet",
        "Solana:devnet",
        "solana:devnet:x",
        "a:" + "x" * 33,
    ],
    "asset": ["", "sol", "S OL", "S" * 17, "$SOL", CYRILLIC_A],
    "destination": ["", [], {}, "ri4UZnuh96AsTTzfn6ZXsnc1LTSAQUhzth7vixeQRk4"],
    "destination.address": ["", "a b", " a", "a ", LONG, "a\u200bb", "a\u202eb", "\uff41", {}, []],
    "destination.memo": ["x" * 257, "あ" * 86, "😀" * 65, "a\nb", "a\x00", "\u202egnp", [], {}],
}
APPROVAL = make_approval(make_policy(), make_intent())
CHANGE = make_change("book", digest(b"a book"), "alice")
VETO = Veto(key=public("alice"), person="alice", change=digest(b"a policy"))
RECOVER = make_recover()
DIGEST = digest(b"a freeze")
FREEZE, UNFREEZE = make_freeze(), make_unfreeze("alice", DIGEST)
HELLO = make_hello(make_policy())
LEASE = make_lease(HELLO)
ONE = {"wallet": "hot-sol", "asset": "SOL", "amount": "0"}
DEAD, THEFT = make_dead(make_intent(), "1" * 64), make_theft()
RECEIPT = make_receipt(make_intent())


@pytest.mark.parametrize("field", ["amount", "created", "expires"])
@pytest.mark.parametrize("value", NOT_A_NUMBER, ids=lambda value: ascii(value)[:16])
def test_a_number_has_one_spelling(field: str, value: object) -> None:
    error = refusal(Intent, with_field(make_intent(), field, value))
    assert (error.field, "must be a whole number" in error.reason) == (field, True)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0", "must be at least 1 base unit"),
        ("9223372036854775808", "must be at most 9223372036854775807"),
        ("18446744073709551616", "must be at most 9223372036854775807"),
        ("99999999999999999999", "must be at most 9223372036854775807"),
    ],
)
def test_an_amount_is_1_to_2_to_the_63_less_1(value: str, reason: str) -> None:
    error = refusal(Intent, with_field(make_intent(), "amount", value))
    assert (error.field, error.reason) == ("amount", reason)


@pytest.mark.parametrize("value", ["1", "9223372036854775807"])
def test_the_least_and_the_greatest_amount_are_taken(value: str) -> None:
    assert decode(Intent, with_field(make_intent(), "amount", value)).amount == int(value)


@pytest.mark.parametrize("value", [1, 0, -1, 1.5, 1e300, 2**70, True, False, None])
@pytest.mark.parametrize("path", ["amount", "expires", "destination.memo", "key", "kind"])
def test_numbers_booleans_and_null_are_refused(path: str, value: object) -> None:
    error = refusal(Intent, with_field(make_intent(), path, value))
    assert (error.field, "decimal strings" in error.reason) == (path, True)


@pytest.mark.parametrize(
    ("path", "value"),
    [(path, value) for path, values in BAD.items() for value in values],
    ids=lambda value: ascii(value)[:32],
)
def test_a_malformed_field_of_an_intent_is_named(path: str, value: object) -> None:
    error = refusal(Intent, with_field(make_intent(), path, value))
    missing = path + ".address" if value == {} and path == "destination" else path
    assert (error.field, str(error)) == (missing, f"{missing}: {error.reason}")


def test_a_look_alike_letter_in_an_address_is_refused() -> None:
    address = make_intent().destination.address
    look_alike = address.replace("A", CYRILLIC_A)
    assert look_alike != address
    error = refusal(Intent, with_field(make_intent(), "destination.address", look_alike))
    assert (error.field, "visible ASCII" in error.reason) == ("destination.address", True)


@pytest.mark.parametrize("memo", ["", "x" * 256, "あ" * 85, "😀" * 64, "請求書 7", '"\\/'])
def test_a_memo_of_256_bytes_is_taken(memo: str) -> None:
    intent = make_intent(destination=Destination(address="a", memo=memo))
    assert decode(Intent, encode(intent)).destination.memo == memo


@pytest.mark.parametrize("path", ["destination.memo", "request_id"])
@pytest.mark.parametrize("escape", [r"\ud800", r"\udfff", r"\u0000", r"\u202e", r"\u2028"])
def test_an_escaped_hidden_character_is_refused(path: str, escape: str) -> None:
    data = with_field(make_intent(), path, "HERE").replace(b"HERE", escape.encode())
    error = refusal(Intent, data)
    assert (error.field, "hidden character" in error.reason) == (path, True)


def test_the_bytes_of_a_surrogate_alone_are_refused() -> None:
    data = with_field(make_intent(), "destination.memo", "\ud800")
    assert refusal(Intent, data).reason == "is not JSON in UTF-8"


@pytest.mark.parametrize(
    ("expires", "reason"),
    [
        (NOW, "must be after created"),
        (NOW - 1, "must be after created"),
        (0, "must be after created"),
        (NOW + INTENT_LIFE_MAX_MS + 1, "must be at most 7 days after created"),
        (10**15 - 1, "must be at most 7 days after created"),
        (10**15, "must be at most 999999999999999"),
    ],
)
def test_an_intent_lives_up_to_7_days(expires: int, reason: str) -> None:
    error = refusal(Intent, with_field(make_intent(), "expires", str(expires)))
    assert (error.field, error.reason) == ("expires", reason)


def test_an_intent_of_exactly_7_days_is_taken() -> None:
    intent = make_intent(expires=NOW + INTENT_LIFE_MAX_MS)
    assert decode(Intent, encode(intent)) == intent


@pytest.mark.parametrize(
    ("statement", "path", "value"),
    [
        *((APPROVAL, "key", value) for value in BAD_KEYS),
        *((APPROVAL, "decision", value) for value in ("", "Approve", "approve ", "approved")),
        *((APPROVAL, "intent", value) for value in ("", "0" * 63, "0" * 65, "A" * 64)),
        (APPROVAL, "policy", ""),
        (APPROVAL, "approver", "Alice"),
        (APPROVAL, "expires", "-1"),
        (APPROVAL, "expires", str(10**15)),
        *((make_book(), "version", value) for value in ("0", "1000000001", "1.0", "")),
        (make_book(), "previous", "0"),
        (make_book(), "add", ""),
        (make_book(), "add", {}),
        (make_book(), "add", []),
        (make_book(), "remove", {}),
        *((CHANGE, "subject", value) for value in ("", "Policy", "policies", "intent")),
        (CHANGE, "digest", ""),
        (CHANGE, "previous", "x"),
        (CHANGE, "person", ""),
        *((VETO, "key", value) for value in BAD_KEYS),
        *((VETO, "person", value) for value in ("", "Alice", "a b")),
        *((VETO, "change", value) for value in ("", "0" * 63, "A" * 64)),
        *((RECOVER, "audit_key", value) for value in BAD_KEYS),
        *((RECOVER, "watchtower", value) for value in BAD_KEYS if value != ""),
        *((RECOVER, "old_journal", value) for value in ("0", "0" * 33, "A" * 32, "0" * 64)),
        *((RECOVER, "new_journal", value) for value in ("", "0", "0" * 33, "A" * 32)),
        *((RECOVER, "created", value) for value in ("", "-1", str(10**15))),
        *((FREEZE, "wallet", value) for value in ("", "**", "*hot", "HOT", "a" * 33)),
        (UNFREEZE, "freezes", ""),
        (UNFREEZE, "freezes", []),
        (UNFREEZE, "freezes", [DIGEST, DIGEST]),
        *((HELLO, "question", value) for value in ("", "0" * 63, "0" * 65, "C0" * 32)),
        *((HELLO, "lease", value) for value in ("0" * 63, "C0" * 32)),
        *((HELLO, "freezes", value) for value in ("", "0" * 63, "C0" * 32)),
        *((HELLO, "challenge", value) for value in ("", "0" * 63, "0" * 65, "C0" * 32)),
        *((HELLO, "sequence", value) for value in ("", "-1", "01", str(2**63))),
        (HELLO, "head", ""),
        *((LEASE, "audit_key", value) for value in BAD_KEYS),
        (LEASE, "rejections", {}),
        (LEASE, "resolved", {}),
        (LEASE, "resolved", [ONE, ONE]),
        (LEASE, "time", str(10**15)),
        *((LEASE, "expires", str(value)) for value in (NOW - 1, NOW + LEASE_MS + 1)),
        *((DEAD, "transaction_id", value) for value in ("", "a b", "x" * 129)),
        *((THEFT, "transaction", value) for value in ("", "0", "0g", "AA", "00" * 8193)),
        *((THEFT, "wallet", value) for value in ("", "*", "Hot", "a" * 33)),
        (THEFT, "balance", "-1"),
        *((RECEIPT, "outcome", value) for value in ("", "Signed", "sent")),
        *((RECEIPT, "code", value) for value in ("frozen", "A" * 65, "A B")),
        *((RECEIPT, "amount", value) for value in ("", "-1", str(2**63))),
    ],
    ids=lambda item: ascii(item)[:24],
)
def test_a_malformed_field_of_another_kind_is_named(
    statement: Statement, path: str, value: object
) -> None:
    assert refusal(type(statement), with_field(statement, path, value)).field == path


@pytest.mark.parametrize(
    ("statement", "path", "items", "field"),
    [
        (UNFREEZE, "freezes", [DIGEST, "x"], "freezes[1]"),
        (UNFREEZE, "freezes", [{}], "freezes[0]"),
        (LEASE, "resolved", [ONE, ONE | {"wallet": "X"}], "resolved[1].wallet"),
        (LEASE, "resolved", [ONE | {"amount": "-1"}], "resolved[0].amount"),
        (LEASE, "resolved", [ONE | {"more": ""}], "resolved[0].more"),
        (LEASE, "resolved", ["hot-sol"], "resolved[0]"),
        (LEASE, "rejections", ["0" * 64, "0" * 63], "rejections[1]"),
    ],
)
def test_a_malformed_item_of_a_list_is_named(
    statement: Statement, path: str, items: list[object], field: str
) -> None:
    assert refusal(type(statement), with_field(statement, path, items)).field == field


def test_a_lease_names_a_wallet_once_for_each_asset() -> None:
    two = [ONE, ONE | {"asset": "BTC"}, ONE | {"wallet": "hot-2"}]
    assert len(decode(Lease, with_field(LEASE, "resolved", two)).resolved) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("label", ""), ("label", "x" * 65), ("label", "a\u202eb"), ("network", ""), ("address", "é")],
)
def test_a_malformed_entry_of_a_book_is_named(name: str, value: str) -> None:
    fields = fields_of(make_book(Destination("a", ""), Destination("b", "")))
    fields["add"][1][name] = value
    assert refusal(Book, raw(fields)).field == f"add[1].{name}"


def test_a_book_has_at_most_10000_entries() -> None:
    fields = fields_of(make_book())
    (entry,) = fields["add"]
    fields |= {"add": [entry | {"label": "x"}] * (BOOK_ENTRIES_MAX - 1), "remove": [entry]}
    smaller = raw(fields).replace(entry["address"].encode(), b"a")
    assert len(decode(Book, smaller).add) == BOOK_ENTRIES_MAX - 1
    fields["remove"] *= 2
    assert refusal(Book, raw(fields).replace(entry["address"].encode(), b"a")).field == "add"
