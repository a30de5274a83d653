"""Leases: each signer is asked every few seconds, or at once when something changed.

A round: orders that it lacks first, then HELLO and STATUS, then a lease if nothing speaks against
it. What the signer says is untrusted but for HELLO, which its audit key signed in answer to our own
question, and the policy and the freezes, whose digests HELLO names: a relay that holds back a
freeze cannot pretend that it was taken. A fault ends the round: the lease runs out.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from custody.chains.errors import ChainError
from custody.gateway import SignerUnreachableError
from custody.watchtower import freezes, receipts, recoveries, rejections, signers, versions
from custody.watchtower.counters import PAUSES
from custody.watchtower.parts import Chain, Link, Parts
from custody.watchtower.rules import Cause, Facts, Problem, journal_problem, lease_problem
from kura.signer.v1 import signer_pb2 as wire
from policies.advice import NEXT
from policies.codes import Code
from policies.freezes import digest_of
from policies.policy import Policy
from policies.policy_file import parse_policy
from policies.reader import FileError
from policies.statements import (
    LEASE_MS,
    Hello,
    Lease,
    Signed,
    StatementError,
    decode,
    digest,
    verify,
)

ROUND_SECONDS = 5.0
QUESTION_BYTES = 32
KEY_CHARACTERS = len("ed25519:") + 64
log = structlog.get_logger()


async def attend(parts: Parts, chain: Chain, link: Link) -> None:
    """Keep one signer in leases for as long as its relay's stream lives."""
    try:
        while True:
            link.wake.clear()
            _say(link, await _try_round(parts, chain, link))
            try:
                async with asyncio.timeout(ROUND_SECONDS):
                    await link.wake.wait()
            except TimeoutError:
                continue
    finally:
        if link in parts.relays:
            parts.relays.remove(link)
        if parts.links.get(link.audit_key) is link:
            del parts.links[link.audit_key]
        for older in parts.links_of(link.audit_key)[:1]:
            parts.links.setdefault(link.audit_key, older)


async def deliver(parts: Parts, link: Link) -> None:
    """Hand a signer the orders that it lacks; SignerUnreachableError when it does not answer.

    What it answers passes a relay unsigned: only `look` tells what it has taken.
    """
    key = link.audit_key
    for _, job in freezes.pending(parts, key):
        _is_refused(await _ask(link, job), "freeze")
    for epoch, job in freezes.pending_lifts(parts, key):
        if _is_refused(await _ask(link, job), "lift"):
            with parts.database.transaction() as db:
                freezes.forget_lift(db, key, epoch)
    for change, person, job in versions.pending_vetoes(parts, key):
        _is_refused(await _ask(link, job), "veto")
        with parts.database.transaction() as db:
            versions.told(db, key, change, person)
    if waiting := rejections.pending(parts, key):  # before a lease, and also where none is given
        for result in await link.gateway.ask([job for _, job in waiting]):
            _is_refused(result, "rejection")
    for _, job in versions.pending(parts, key):  # after one that is taken no other follows
        if not _is_refused(await _ask(link, job), "policy version"):
            break


async def _try_round(parts: Parts, chain: Chain, link: Link) -> Problem | None:
    try:
        if not link.audit_key:
            await _meet(parts, link)
        return await _round(parts, chain, link)
    except SignerUnreachableError as error:
        return Problem(Cause.UNREACHABLE, str(error))
    except SignerError as error:
        return Problem(Cause.SIGNER, str(error))
    except ChainError as error:
        return Problem(Cause.CHAIN, f"{error}: look at the chain node")
    except Exception:
        log.exception("fault", signer=link.audit_key, next="trying again")
        return Problem(Cause.FAULT, "a fault of the watchtower: tell the operator to read its log")


async def _meet(parts: Parts, link: Link) -> None:
    """Learn which signer the relay speaks for; the newest relay of a signer is its link."""
    question = secrets.token_bytes(QUESTION_BYTES)
    (result,) = await link.gateway.ask([wire.Job(hello=wire.Hello(question=question))])
    link.audit_key = _open_hello(parts, question, result).key
    parts.relays.append(link)
    parts.links[link.audit_key] = link


@dataclass(frozen=True, slots=True)
class Look:
    """What a signer on its right journal said; `policy`: None when it does not show it."""

    hello: Hello
    policy: Policy | None
    leases_of: str


async def look(parts: Parts, link: Link) -> Look | Problem:
    """Ask a signer what it is now, and note it, unless a later look was noted meanwhile.

    Else a relay that keeps an answer back takes back what was seen since.
    """
    key, number = link.audit_key, next(parts.looks)
    before = signers.find(parts.database, key)  # receipts may go further while the signer answers
    question = secrets.token_bytes(QUESTION_BYTES)
    asked = [wire.Job(hello=wire.Hello(question=question)), wire.Job(status=wire.Status())]
    first, second = await link.gateway.ask(asked)
    hello, status = _open_hello(parts, question, first), second.status
    if hello.key != key:
        raise SignerError(f"the relay spoke for {key}, now for {hello.key}: look at the relay")
    if not parts.is_newest(key, number):
        raise SignerError("the answer came after one that was asked for later: look at the relay")
    link.hello, link.heard = hello, parts.clock()
    if problem := journal_problem(before.seen if before else None, hello):
        _note_lost(parts, link, problem)
        return problem
    _check_freezes(hello, status)
    file = status.policy if digest(status.policy) == hello.policy else b""
    policy = _policy(parts, key, hello, file)
    if policy:
        with parts.database.transaction() as db:
            signers.keep_policy(db, policy, file)
            signers.note(db, hello)
            freezes.compare(db, key, hello.epoch, status.freezes)
        parts.policies[key] = policy
    return Look(hello, policy, status.watchtower[:KEY_CHARACTERS])


def freezes_shown(
    parts: Parts, question: bytes, first: wire.Result, second: wire.Result
) -> tuple[str, Sequence[wire.Freeze]]:
    """Return a signer's epoch and what stands, by HELLO and STATUS; SignerError if they differ."""
    hello = _open_hello(parts, question, first)
    _check_freezes(hello, second.status)
    return hello.epoch, second.status.freezes


def _check_freezes(hello: Hello, status: wire.SignerStatus) -> None:
    shown = digest_of((item.digest, item.wallet, item.person) for item in status.freezes)
    if shown != hello.freezes:
        raise SignerError("other freezes were shown than the signer has: look at the relay")


async def _round(parts: Parts, chain: Chain, link: Link) -> Problem | None:
    await deliver(parts, link)
    seen = await look(parts, link)
    if isinstance(seen, Problem):
        return seen
    key, policy = link.audit_key, seen.policy
    if policy:
        await _look_at_nonces(parts, chain, seen.hello, policy)
    facts = Facts(
        key=parts.key.public,
        leases_of=seen.leases_of,
        policy_known=policy is not None,
        waiting=[name for name, _ in freezes.pending(parts, key)],
        tighter=[new.digest for new, _ in versions.pending(parts, key) if not new.vetoed_by],
        theft=freezes.theft_elsewhere(parts, key),
        unmoved=recoveries.unmoved(parts, key),
        chain=chain.problem(key),
    )
    problem = lease_problem(facts)
    if policy and problem is None:
        await _lease(parts, link, seen.hello, policy, life=LEASE_MS)
    elif policy and facts.theft and seen.hello.lease not in {"", parts.taken_back.get(key)}:
        await _lease(parts, link, seen.hello, policy, life=0)  # it takes back the one before
    return problem


async def _look_at_nonces(parts: Parts, chain: Chain, hello: Hello, policy: Policy) -> None:
    if recoveries.unmoved(parts, hello.key):
        values = await chain.nonce_values(policy, hello.key)
        recoveries.look_again(parts, hello.key, hello.journal, values)


async def _lease(parts: Parts, link: Link, hello: Hello, policy: Policy, *, life: int) -> None:
    """Give a lease that names the rejections which the signer was not seen with.

    They come with it once more: some came in since, or are of the policy just heard of.
    """
    now = parts.clock()
    waiting = rejections.pending(parts, hello.key) if life else []
    sequence, head = signers.confirmed(parts.database, hello)
    lease = Lease(
        key=parts.key.public,
        audit_key=hello.key,
        challenge=hello.challenge,
        journal=hello.journal,
        sequence=sequence,
        head=head,
        policy=hello.policy,
        epoch=hello.epoch,
        time=now,
        expires=now + life,
        rejections=tuple(name for name, _ in waiting),
        resolved=receipts.resolved(parts.database, hello.key, hello.journal, policy),
    )
    signed, question = parts.key.sign(lease), secrets.token_bytes(QUESTION_BYTES)
    job = wire.Job(apply=wire.Apply(lease=freezes.enveloped(signed)))
    jobs = [*(order for _, order in waiting), job, wire.Job(hello=wire.Hello(question=question))]
    *_, first, second = await link.gateway.ask(jobs)
    taken = _open_hello(parts, question, second)
    if taken.lease != digest(signed.statement):
        raise SignerError(f"the signer did not take its lease: {_words(first)}")
    with parts.database.transaction() as db:
        signers.confirm(db, taken)
        signers.agree(db, lease.time)
        rejections.told(db, hello.key, lease.rejections)
    link.lease_until = lease.expires
    if not life:
        parts.taken_back[hello.key] = taken.lease
    if len(waiting) == rejections.TOLD_AT_ONCE:
        link.wake.set()  # more may wait


async def _ask(link: Link, job: bytes) -> wire.Result:
    (result,) = await link.gateway.ask([wire.Job.FromString(job)])
    return result


def _is_refused(result: wire.Result, order: str) -> bool:
    if result.WhichOneof("outcome") == "applied":
        return False
    log.warning("the signer refused an order", order=order, reason=_words(result))
    return True


def _open_hello(parts: Parts, question: bytes, result: wire.Result) -> Hello:
    if result.WhichOneof("outcome") != "hello":
        raise SignerError(f"the signer does not say who it is: {_words(result)}")
    signed = Signed(result.hello.statement, result.hello.signature)
    try:
        hello = decode(Hello, signed.statement)
    except StatementError as error:
        raise SignerError(f"the signer's HELLO is none: {error}: compare versions") from error
    if hello.key not in parts.audit_keys:
        words = f"the signer {hello.key} is none of this watchtower's: name it in audit_keys"
        raise SignerError(f"{words}, if it is yours")
    if not verify(hello.key, signed):
        raise SignerError("the signer's HELLO is forged: look at the relay")
    if hello.question != question.hex():
        raise SignerError("the signer's HELLO answers another question: look at the relay")
    return hello


def _policy(parts: Parts, key: str, hello: Hello, file: bytes) -> Policy | None:
    known = parts.policies.get(key)
    if known and known.digest == hello.policy:
        return known
    try:
        return parse_policy(file) if file else None
    except FileError:
        return None


def _note_lost(parts: Parts, link: Link, problem: Problem) -> None:
    """Raise the alarm when it begins; a journal that went back is lost until it is recovered."""
    if problem.cause is Cause.ROLLBACK:
        signers.lose(parts, link.audit_key, problem.words)
    elif link.problem != problem:
        parts.alarm("ROLLBACK", f"{problem.words} ({link.audit_key})", signers.LOST)


def _say(link: Link, problem: Problem | None) -> None:
    before, link.problem = link.problem, problem
    if problem and (before is None or before.cause is not problem.cause):
        PAUSES.labels(link.audit_key, problem.cause).inc()
        log.warning("no lease", signer=link.audit_key, cause=problem.cause, reason=problem.words)
    elif before and problem is None:
        log.info("leases again", signer=link.audit_key)


def _words(result: wire.Result) -> str:
    if result.WhichOneof("outcome") != "refusal":
        return f"it answered with {result.WhichOneof('outcome')}"
    code, words = result.refusal.code, result.refusal.message
    if code not in set(Code):
        return f"it refused with an unknown code: compare versions: {words}"
    return f"{code}: {words}; next: {NEXT[Code(code)]}"


class SignerError(Exception):
    """The signer answered, but not so that it can have a lease."""
