"""A30, the alarm as a weapon: a lying node, a delayed receipt, a false claim of theft.

Who would have signing stopped or money swept gets a pause at most. Nothing is frozen or swept
without a transaction that a wallet's key signed and its signer's journal does not know; such a one
is answered after every lie, and while the lies go on.
"""

import base64
import random
from collections.abc import Callable
from typing import Any

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.transaction import VersionedTransaction

from kura.signer.v1 import signer_pb2 as wire
from policies.codes import Code
from tests.attacks.realm import COLD, Realm, code_of
from tests.factories import SOL, key, make_theft, sign
from tests.node_front import Lie, hiding, honest, inventing
from tests.signing import enveloped, nonce_open
from tests.tower_rig import stranger, until

MakeRealm = Callable[..., Realm]
SEED = 30


@pytest.mark.parametrize("lie", ["altered", "made up", "another id", "withheld"])
async def test_a_lying_node_pauses_at_most(make_realm: MakeRealm, lie: str) -> None:
    """The first of two nodes lies about a lawful withdrawal, whose receipt custody holds back."""
    realm = make_realm(fronts=2)
    async with realm.running():
        await realm.ready("hot-sol")
        lawful = await realm.withdraw()
        realm.fronts[0].lie = lies(realm, lawful)[lie]
        late = realm.pay(nonce=realm.nonce_after())
        realm.send(VersionedTransaction.from_bytes(late.signed.transaction))
        if lie == "withheld":
            await realm.looked()
        else:
            await until(lambda: "node" in realm.tower.problem(realm.host_key))
    raise NotImplementedError
