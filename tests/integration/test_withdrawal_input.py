"""Bad input at create: every refusal names its code and field, and leaves no row."""

import json
from typing import Any

from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from custody.chains.solana_checks import nonce_address
from policies.codes import Code, Refusal
from policies.statements import Destination, Intent, Signed, decode
from tests.factories import CUSTOMER, HOUR, SOL, STRANGER, key, public, sign_bytes
from tests.integration import house as houses
from tests.integration.house import House
from tests.malformed import CYRILLIC_A, raw, with_field

house = houses.house
TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
SYSVAR = "SysvarRent111111111111111111111111111111111"
MINT, TOKEN_ACCOUNT = Keypair().pubkey(), Keypair().pubkey()
NOT_WALLETS = {
    "the system program": "1" * 32,
    "the token program": TOKEN_PROGRAM,
    "a sysvar": SYSVAR,
    "a mint": str(MINT),
    "a token account": str(TOKEN_ACCOUNT),
    "not base58": "0" + CUSTOMER.address[1:],
    "31 bytes": CUSTOMER.address[:-2],
    "33 bytes": CUSTOMER.address + "z",
    "not 32 bytes": "z" * 44,
    "an address of another chain": "0x52908400098527886E0F7030069857D2E4169EE7",
}
LOOK_ALIKE = CUSTOMER.address[:10] + "1" + CUSTOMER.address[11:]


async def rows(house: House) -> list[tuple[Any, ...]]:
    return await house.sql(
        "SELECT (SELECT count(*) FROM withdrawal),"
        " (SELECT count(*) FROM event WHERE kind = 'WITHDRAWAL')"
    )


async def refused(house: House, signed: Signed, code: Code, field: str, name: str) -> Refusal:
    answer = await house.submit(signed)
    assert isinstance(answer, Refusal), name
    assert (answer.code, answer.field) == (code, f"intent.{field}".rstrip(".")), (name, answer)
    assert answer.message, name
    assert await rows(house) == [(0, 0)], name
    return answer


def by_exchange(statement: bytes) -> Signed:
    return sign_bytes(key("exchange"), statement)


async def test_bytes_that_are_no_statement(house: House) -> None:
    await house.ready()
    good = house.intent().statement
    fields = json.loads(good)
    twice = good.replace(b'"asset":"SOL",', b'"asset":"SOL","asset":"SOL",')
    assert twice != good
    spoiled = {
        "empty": b"",
        "not JSON": b"{",
        "not UTF-8": good.replace(b"SOL", b"S\xffL"),
        "blanks": json.dumps(fields, sort_keys=True).encode(),
        "unsorted": json.dumps(dict(reversed(fields.items())), separators=(",", ":")).encode(),
        "escaped": good.replace(b"SOL", rb"\u0053OL"),
        "a field twice": twice,
        "a line end": good + b"\n",
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "oversized": with_field(decode(Intent, good), "destination.memo", "m" * 65_536),
        "deep": b"[" * 5_000 + b"]" * 5_000,
    }
    for name, statement in spoiled.items():
        await refused(house, by_exchange(statement), Code.INTENT_MALFORMED, "", name)
    for name, statement in {
        "another kind": raw(fields | {"kind": "kura.cancel.v1"}),
        "no kind": raw({name: value for name, value in fields.items() if name != "kind"}),
        "a list": b"[]",
        "a text": b'"kura.intent.v1"',
    }.items():
        await refused(house, by_exchange(statement), Code.INTENT_MALFORMED, "kind", name)


async def test_fields_that_are_spoiled(house: House) -> None:
    await house.ready()
    intent = decode(Intent, house.intent().statement)
    amounts = (
        "-1",
        "+1",
        "0",
        "00",
        "01",
        "1.0",
        "1e9",
        "0x10",
        "",
        " 1",
        "1_000",
        "\uff11",
        "\u0663",
    )
    spoiled: list[tuple[str, object]] = [
        *(("amount", amount) for amount in amounts),
        *(("amount", str(amount)) for amount in (2**63, 2**64, -(2**63), 10**100)),
        *(("amount", amount) for amount in (1, 1.5, True, None, ["1"])),
        ("destination.address", CUSTOMER.address.replace("A", CYRILLIC_A, 1)),
        ("destination.address", CUSTOMER.address + " "),
        ("destination.address", ""),
        ("destination.memo", "m" * 257),
        ("destination.memo", "蔵" * 86),
        ("destination.memo", "to \u202egro.hcnif"),
        ("destination", CUSTOMER.address),
        ("request_id", ""),
        ("request_id", "a/b"),
        ("request_id", "x" * 65),
        ("wallet", "Hot"),
        ("network", "solana"),
        ("asset", "sol"),
        ("key", "ed25519:" + "0" * 64),
        ("expires", str(intent.created)),
        ("expires", str(intent.created + 7 * 24 * HOUR + 1)),
        ("created", "-1"),
        ("tip", "1"),
    ]
    for field, value in spoiled:
        signed = by_exchange(with_field(intent, field, value))
        await refused(house, signed, Code.INTENT_MALFORMED, field, f"{field} = {value!r}")
    fields = json.loads(house.intent().statement)
    for field in fields.keys() - {"kind"}:
        rest = {name: value for name, value in fields.items() if name != field}
        await refused(house, by_exchange(raw(rest)), Code.INTENT_MALFORMED, field, f"no {field}")


async def test_intents_that_the_policy_does_not_allow(house: House) -> None:
    await house.ready()
    now = house.clock.now()
    for changes, code, field in (
        ({"requester": "other"}, Code.REQUESTER_UNKNOWN, "requester"),
        ({"key": public("alice")}, Code.REQUESTER_UNKNOWN, "key"),
        ({"created": now - HOUR, "expires": now}, Code.INTENT_EXPIRED, "expires"),
        ({"created": now + 60_000}, Code.INTENT_EARLY, "created"),
        ({"wallet": "hot-btc"}, Code.WALLET_UNKNOWN, "wallet"),
        ({"network": "solana:mainnet"}, Code.NETWORK_MISMATCH, "network"),
        ({"asset": "USDC"}, Code.ASSET_MISMATCH, "asset"),
        ({"amount": 50 * SOL + 1}, Code.CAP_EXCEEDED, "amount"),
        ({"amount": 2**63 - 1}, Code.CAP_EXCEEDED, "amount"),
        ({"destination": STRANGER}, Code.DESTINATION_NOT_ALLOWED, "destination.address"),
        (
            {"destination": Destination(LOOK_ALIKE, "")},
            Code.DESTINATION_NOT_ALLOWED,
            "destination.address",
        ),
        (
            {"destination": Destination(CUSTOMER.address, "7")},
            Code.DESTINATION_NOT_ALLOWED,
            "destination.address",
        ),
        (
            {"destination": Destination(house.wallet, "")},
            Code.DESTINATION_INVALID,
            "destination.address",
        ),
    ):
        await refused(house, house.intent(**changes), code, field, str(changes))


async def test_signatures_that_do_not_hold(house: House) -> None:
    await house.ready()
    good = house.intent()
    other = house.intent()
    for name, signature in {
        "none": b"",
        "zeros": bytes(64),
        "of another statement": other.signature,
        "cut": good.signature[:63],
        "with a byte more": good.signature + b"\0",
        "another key's": sign_bytes(key("alice"), good.statement).signature,
    }.items():
        signed = Signed(good.statement, signature)
        await refused(house, signed, Code.SIGNATURE_INVALID, "signature", name)


async def test_destinations_that_nobody_can_hold_though_they_are_in_the_book(house: House) -> None:
    nonce = nonce_address(house.wallet, 0)
    for key_, size in ((MINT, 82), (TOKEN_ACCOUNT, 165)):
        account = Account(10_000_000, bytes(size), Pubkey.from_string(TOKEN_PROGRAM))
        house.chain.runtime.put({key_: account})
    listed = [*NOT_WALLETS.values(), house.wallet, nonce]
    await house.ready(*(Destination(address, "") for address in listed))
    for name, address in {**NOT_WALLETS, "the wallet": house.wallet, "a nonce": nonce}.items():
        signed = house.intent(destination=Destination(address, ""))
        code, field = Code.DESTINATION_INVALID, "destination.address"
        await refused(house, signed, code, field, name)


async def test_a_mistyped_address_is_told_before_the_address_book(house: House) -> None:
    await house.ready()
    for typed in (CUSTOMER.address[:-1], CUSTOMER.address.replace("A", "0"), "x"):
        signed = house.intent(destination=Destination(typed, ""))
        code, field = Code.DESTINATION_INVALID, "destination.address"
        await refused(house, signed, code, field, typed)


async def test_a_used_request_id_names_what_differs(house: House) -> None:
    await house.ready()
    now = house.clock.now()
    first = {"request_id": "order", "created": now, "expires": now + HOUR}
    await house.create(**first)
    for changes, said in (
        ({"amount": 1_000_000, "created": now + 1, "expires": now + HOUR + 1}, "amount"),
        ({"amount": 1_000_000, "destination": STRANGER}, "destination, amount"),
        ({"created": now + 1, "expires": now + HOUR + 1}, "created, expires"),
        ({"expires": now + HOUR + 1}, "expires"),
    ):
        answer = await house.submit(house.intent(**{**first, **changes}))
        assert isinstance(answer, Refusal)
        assert answer.code is Code.REQUEST_ID_REUSED
        assert answer.message == f"request_id order was used with another {said}"


async def test_too_little_for_a_new_account(house: House) -> None:
    await house.ready()
    rent = await house.parts.node.minimum_rent(0)
    signed = house.intent(amount=rent - 1)
    answer = await refused(house, signed, Code.AMOUNT_TOO_SMALL, "amount", "a lamport short")
    assert str(rent) in answer.message
    row = await house.create(amount=rent)
    await house.step()
    assert (await house.row(row)).state == "COMPLETED"


async def test_nothing_is_taken_while_the_node_or_the_signer_is_unknown(house: House) -> None:
    answer = await house.submit(house.intent())
    assert isinstance(answer, Refusal)
    assert answer.code is Code.SIGNER_UNSEEN
    await house.ready()
    house.node_line.cut = True
    answer = await house.submit(house.intent())
    assert isinstance(answer, Refusal)
    assert answer.code is Code.NODE_UNREACHABLE
    assert await rows(house) == [(0, 0)]
    house.node_line.cut = False
