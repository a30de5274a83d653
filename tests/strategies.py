"""Hypothesis strategies of statements, and how many examples a property gets."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from policies.canonical import INVISIBLE
from policies.codes import Code
from policies.fields import AMOUNT_MAX
from policies.statements import (
    INTENT_LIFE_MAX_MS,
    LEASE_MS,
    Ack,
    Approval,
    Batch,
    Book,
    BookEntry,
    Cancel,
    Change,
    Dead,
    Destination,
    Elapsed,
    Freeze,
    Hello,
    Intent,
    Lease,
    Receipt,
    Recover,
    Resolved,
    Statement,
    Theft,
    Unfreeze,
    Veto,
)
from tests.factories import public

# A failure prints its blob, so that it can be run again; no deadline, since the machine is shared.
PROPERTY = settings(
    max_examples=120,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)

_TIME_MAX = 10**15 - 1
visible = st.characters(
    exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"], exclude_characters=INVISIBLE
)
keys = st.sampled_from([public(name) for name in ("alice", "bob", "carol", "exchange")])
names = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
networks = st.from_regex(r"[a-z0-9]{1,16}:[a-z0-9-]{1,32}", fullmatch=True)
addresses = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)
memos = st.text(visible, max_size=64)  # at most 256 bytes: a character has at most 4
times = st.integers(0, _TIME_MAX)
destinations = st.builds(Destination, address=addresses, memo=memos)
entries = st.builds(
    BookEntry,
    network=networks,
    address=addresses,
    memo=memos,
    label=st.text(visible, min_size=1, max_size=64),
)


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    created = draw(st.integers(0, _TIME_MAX - INTENT_LIFE_MAX_MS))
    return Intent(
        key=draw(keys),
        requester=draw(names),
        request_id=draw(st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True)),
        wallet=draw(names),
        network=draw(networks),
        asset=draw(st.from_regex(r"[A-Z0-9]{1,16}", fullmatch=True)),
        destination=draw(destinations),
        amount=draw(st.integers(1, AMOUNT_MAX)),
        created=created,
        expires=created + draw(st.integers(1, INTENT_LIFE_MAX_MS)),
    )


approvals = st.builds(
    Approval,
    key=keys,
    decision=st.sampled_from(["approve", "reject"]),
    intent=digests,
    approver=names,
    policy=digests,
    expires=times,
)
cancels = st.builds(Cancel, key=keys, intent=digests)
changes = st.builds(
    Change,
    key=keys,
    person=names,
    subject=st.sampled_from(["policy", "book", "recover"]),
    digest=digests,
    previous=st.just("") | digests,
    expires=times,
)
books = st.builds(
    Book,
    version=st.integers(1, 10**9),
    previous=st.just("") | digests,
    add=st.lists(entries, min_size=1, max_size=3).map(tuple),
    remove=st.lists(entries, max_size=3).map(tuple),
)
journals = st.binary(min_size=16, max_size=16).map(bytes.hex)
vetoes = st.builds(Veto, key=keys, person=names, change=digests)
recoveries = st.builds(
    Recover,
    audit_key=keys,
    old_journal=st.just("") | journals,
    new_journal=journals,
    watchtower=st.just("") | keys,
    created=times,
)
totals = st.integers(0, AMOUNT_MAX)
freezes = st.builds(
    Freeze, key=keys, person=names, wallet=st.just("*") | names, epoch=st.just("") | digests
)
unfreezes = st.builds(
    Unfreeze,
    key=keys,
    person=names,
    epoch=st.just("") | digests,
    freezes=st.sets(digests, min_size=1, max_size=3).map(lambda found: tuple(sorted(found))),
    expires=times,
)
hellos = st.builds(
    Hello,
    key=keys,
    question=digests,
    challenge=digests,
    journal=journals,
    sequence=totals,
    head=digests,
    policy=digests,
    epoch=st.just("") | digests,
    freezes=digests,
    lease=st.just("") | digests,
)
resolved = st.builds(
    Resolved, wallet=names, asset=st.from_regex(r"[A-Z0-9]{1,16}", fullmatch=True), amount=totals
)


def _leases(time: int) -> st.SearchStrategy[Lease]:
    return st.builds(
        Lease,
        key=keys,
        audit_key=keys,
        challenge=digests,
        journal=journals,
        sequence=totals,
        head=digests,
        policy=digests,
        epoch=st.just("") | digests,
        time=st.just(time),
        expires=st.integers(time, time + LEASE_MS),
        rejections=st.lists(digests, max_size=3).map(tuple),
        resolved=st.lists(
            resolved, max_size=3, unique_by=lambda item: (item.wallet, item.asset)
        ).map(tuple),
    )


leases = st.integers(0, 10**15 - 1 - LEASE_MS).flatmap(_leases)
acks = st.builds(Ack, key=keys, receipt=digests)
deads = st.builds(Dead, key=keys, intent=digests, transaction_id=addresses)
elapses = st.builds(Elapsed, key=keys, change=digests, time=times)
thefts = st.builds(
    Theft,
    key=keys,
    wallet=names,
    transaction=st.binary(min_size=1, max_size=64).map(bytes.hex),
    epoch=st.just("") | digests,
    blockhash=digests,
    balance=totals,
)
receipts = st.builds(
    Receipt,
    key=keys,
    outcome=st.sampled_from(["signed", "ended", "refused"]),
    code=st.just("") | st.sampled_from([*Code]).map(str),
    requester=st.just("") | names,
    request_id=st.just("") | st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True),
    wallet=st.just("") | names,
    intent=st.just("") | digests,
    transaction_id=st.just("") | addresses,
    amount=totals,
    nonce_account=st.just("") | addresses,
    nonce_value=st.just("") | addresses,
    journal=journals,
    sequence=totals,
    head=digests,
    log_head=st.just("") | digests,
    time=times,
)
batches = st.builds(Batch, key=keys, size=totals, root=digests)
orders: st.SearchStrategy[Statement] = st.one_of(
    intents(), approvals, cancels, changes, vetoes, recoveries, books, freezes, unfreezes
)
words: st.SearchStrategy[Statement] = st.one_of(
    hellos, leases, acks, deads, elapses, thefts, receipts, batches
)
statements = orders | words
