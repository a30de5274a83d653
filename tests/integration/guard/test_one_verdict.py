"""What custody says early of a request is what the signer says, while nothing was counted."""

import random
from dataclasses import replace

from policies.approvals import open_approvals
from policies.codes import Refusal
from policies.evaluate import early_facts, evaluate, open_intent
from policies.statements import Destination, Intent, Signed, digest, encode
from tests.factories import CUSTOMER, HOT_ADDRESS, HOUR, SOL, STRANGER, key, make_approval, sign
from tests.integration.guard.payments import FEE, intend, job_of
from tests.signing import SignerRig

PEOPLE = ("alice", "bob", "carol")
ASKED = 150


def early(rig: SignerRig, intent: Intent, people: tuple[str, ...]) -> str:
    """Return the code that custody answers with, "" for a yes: its own way through `policies`."""
    signed = sign(key("exchange"), intent)
    opened = open_intent(rig.policy, signed)
    if isinstance(opened, Refusal):
        return opened.code
    made = [make_approval(rig.policy, intent, name, expires=rig.now + HOUR) for name in people]
    given = [Signed(encode(item), sign(key(item.approver), item).signature) for item in made]
    approvals = open_approvals(rig.policy, digest(signed.statement), given, rig.now)
    if isinstance(approvals, Refusal):
        return approvals.code
    listed = intent.destination == CUSTOMER
    facts = early_facts(intent, now=rig.now, in_address_book=listed, approvals=approvals, fee=FEE)
    verdict = evaluate(rig.policy, intent, facts)
    return verdict.code if isinstance(verdict, Refusal) else ""


def test_custody_and_signer_say_the_same(rig: SignerRig) -> None:
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    seen = set[str]()
    for _ in range(ASKED):
        intent = intend(
            rig,
            chance.choice((SOL, SOL + 1, 10 * SOL, 40 * SOL, 40 * SOL + 1, 50 * SOL, 51 * SOL)),
            destination=chance.choice((CUSTOMER, CUSTOMER, STRANGER, Destination(HOT_ADDRESS, ""))),
            wallet=chance.choice(("hot-sol",) * 9 + ("cold-sol",)),
            asset=chance.choice(("SOL",) * 9 + ("XRP",)),
        )
        intent = replace(intent, expires=intent.expires - chance.choice((0,) * 9 + (HOUR - 1,)))
        rig.now += 1  # so that the shortest have expired
        people = tuple(chance.sample(PEOPLE, chance.randint(0, 3)))
        result = rig.ask(job_of(rig, intent, *people))
        said = early(rig, intent, people)
        seen.add(said)
        assert result.refusal.code == said, (seed, intent, people, result)
    assert len(seen) >= 6, (seed, seen)
