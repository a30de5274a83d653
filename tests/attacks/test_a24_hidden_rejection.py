"""A24, silenced alarm: custody never stores an officer's rejection, and has the rest signed.

The requester's intent and the approvals of a whole quorum are there. The officer's word has a way
of its own to the signer, by the watchtower, and no new lease passes it by.
"""

from collections.abc import Callable

import grpc
import pytest

from custody.errors import refusal_of
from custody.identity import Role
from kura.signer.v1 import signer_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower_wire
from policies.codes import Code
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.statements import LEASE_MS, Intent, Signed, decode
from tests.attacks.realm import CALL, Realm, code_of, fresh
from tests.factories import HOUR, SOL, key, make_approval, make_intent, sign
from tests.signer_host import now
from tests.signing import transfer
from tests.tower_rig import AUDIT, until
from tests.watched import Watched, leased, watched
from tests.watched import until as until_async

LARGE = 20 * SOL  # 1 of operations (alice, bob) and 1 of risk (bob, carol)


def said(policy: Policy, signed: Signed, person: str, decision: str) -> Signed:
    """Return a person's decision on an intent, for an hour from when that was made."""
    intent = decode(Intent, signed.statement)
    until_then = intent.created + HOUR
    approval = make_approval(policy, intent, person, decision=decision, expires=until_then)
    return sign(key(person), approval)


def approved(policy: Policy, intent: Signed) -> wire.Job:
    """Return the job that custody makes of it, the rejection left out."""
    quorum = [said(policy, intent, person, "approve") for person in ("alice", "carol")]
    return transfer(intent, *quorum, nonce_value=fresh())


def request_of(rejection: Signed) -> tower_wire.CreateRejectionRequest:
    sealed = tower_wire.SignedStatement(
        statement=rejection.statement, signature=rejection.signature
    )
    return tower_wire.CreateRejectionRequest(rejection=sealed)


async def reject(realm: Realm, intent: Signed, person: str = "bob") -> None:
    """An officer hands a rejection to the watchtower; custody was handed it too, and dropped it."""
    request = request_of(said(realm.policy, intent, person, "reject"))
    assert await realm.service.CreateRejection(request, CALL) is not None


async def test_what_an_officer_rejected_is_not_signed_whoever_approved(
    make_realm: Callable[..., Realm],
) -> None:
    realm = make_realm()
    async with realm.running():
        await realm.ready("hot-sol")
        asked, other = realm.intend(amount=LARGE), realm.intend(amount=LARGE)
        await reject(realm, asked)
        assert code_of(realm.ask(approved(realm.policy, asked))) is Code.APPROVAL_REJECTED
        assert realm.ask(approved(realm.policy, other)).HasField("signed")
        realm.signers[AUDIT].restart()
        await realm.leased()
        assert code_of(realm.ask(approved(realm.policy, asked))) is Code.APPROVAL_REJECTED


async def test_who_is_not_asked_stops_nobody(make_realm: Callable[..., Realm]) -> None:
    """A bribed officer has no say in what the policy lets through without people."""
    realm = make_realm()
    async with realm.running():
        await realm.ready("hot-sol")
        small = realm.intend()
        await reject(realm, small)
        await until(lambda: realm.parts.database.rows("SELECT 1 FROM rejection_told"))
        assert realm.ask(transfer(small, nonce_value=fresh())).HasField("signed")


async def test_whoever_holds_the_relay_gains_no_lease_by_holding_it_back(
    make_realm: Callable[..., Realm],
) -> None:
    realm = make_realm()
    async with realm.running():
        await realm.ready("hot-sol")
        realm.lines[AUDIT].drops = lambda job: job.apply.HasField("rejection")
        asked = realm.intend(amount=LARGE)
        await reject(realm, asked)
        realm.pass_time(LEASE_MS)
        assert code_of(realm.ask(approved(realm.policy, asked))) is Code.LEASE_MISSING
        realm.lines[AUDIT].drops = lambda _job: False
        await realm.leased()
        assert code_of(realm.ask(approved(realm.policy, asked))) is Code.APPROVAL_REJECTED


async def policy_of(ground: Watched) -> Policy:
    return parse_policy((await ground.status()).policy)


def intend() -> Signed:
    made = now()
    intent = make_intent(amount=LARGE, created=made, expires=made + HOUR)
    return sign(key("exchange"), intent)


async def test_a_rejection_outlives_every_process() -> None:
    """Real processes. It is on the watchtower's disk before anybody is told that it has it."""
    async with watched() as ground:
        policy, asked = await policy_of(ground), intend()
        ground.kill("relay")  # as root of its host, so that the signer hears of nothing
        order = said(policy, asked, "bob", "reject")
        officer = ground.tower(Role.OFFICER, "bob")
        await officer.CreateRejection(request_of(order), timeout=10)
        ground.kill("watchtower")
        ground.start("watchtower")
        ground.kill("signer")  # its lease was of before
        ground.start("signer")
        ground.start("relay")
        await until_async("a lease", lambda: leased(ground))
        (result,) = await ground.ask(approved(policy, asked))
        assert code_of(result) is Code.APPROVAL_REJECTED
        ground.kill("signer")
        ground.start("signer")
        await until_async("a lease", lambda: leased(ground))
        (result,) = await ground.ask(approved(policy, asked))
        assert code_of(result) is Code.APPROVAL_REJECTED
        flipped = Signed(order.statement.replace(b"bob", b"bab"), order.signature)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await officer.CreateRejection(request_of(flipped), timeout=10)
        refusal = refusal_of(raised.value)
        assert refusal
        assert refusal.code is Code.APPROVAL_INVALID
        for role in (Role.SERVER, Role.RELAY, Role.REQUESTER, Role.OPERATOR):
            with pytest.raises(grpc.aio.AioRpcError, match="ROLE_DENIED"):
                await ground.tower(role, "bob").CreateRejection(request_of(order), timeout=10)
