"""`custody freeze`: stop wallets at once, and lift that by quorum.

Every order goes to custody and straight to the watchtower, so that custody cannot hide one.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from custody.cli.both import Taken, ask_both, deliver
from custody.cli.changes import Signature, keep_signature, read_signatures
from custody.cli.confirm import confirm
from custody.cli.freeze_words import (
    Known,
    epochs,
    epochs_of,
    known_freezes,
    lift_rows,
    wallet_words,
)
from custody.cli.output import print_line, print_note, print_record, print_table
from custody.cli.session import CommandError, hours_from_now, own_key, own_name, settings
from custody.cli.tower import Watchtower
from custody.client import Code, CustodyClient, CustodyRefused
from kura.custody.v1 import custody_pb2 as wire
from kura.watchtower.v1 import watchtower_pb2 as tower
from policies import fields
from policies.freezes import ALL_WALLETS, epoch_after
from policies.statements import Freeze, Signed, Unfreeze, decode

WAIT_SECONDS, POLL_SECONDS = 15.0, 0.2
_HEAD = ("FROZEN", "BY", "SINCE", "CUSTODY SAYS", "WATCHTOWER SAYS", "DIGEST")
app = App(name="freeze")
Said = tuple[wire.ListFreezesResponse | None, tower.GetStatusResponse | None]
Signatures = Annotated[Path, Parameter(help="The file of signatures.")]
Yes = Annotated[bool, Parameter(negative=(), help="Do not ask for the first word.")]


@app.command
def create(
    wallet: Annotated[str, Parameter(help="The wallet's name, or `all`.")],
    /,
) -> int:
    """Stop a wallet or all of them at once, alone, without a question. A quorum lifts it again.

    In doubt freeze all: nothing is lost by it but time.

    For example: custody freeze create all
    """
    config = settings()
    person, key = own_name(config), own_key(config)
    stopped = ALL_WALLETS if wallet == "all" else wallet

    def order(epoch: str) -> Signed:
        signed = key.sign(Freeze(key=key.public, person=person, wallet=stopped, epoch=epoch))
        decode(Freeze, signed.statement)
        return signed

    order("")  # what cannot be a wallet's name is said before anybody is asked

    def in_custody(custody: CustodyClient) -> Taken:
        signed = order(custody.list_freezes().epoch)
        _until(lambda: custody.create_freeze(signed).applied, "freeze")
        return Taken(f"FROZEN: {wallet_words(stopped)}; the signer has it")

    def in_watchtower(watchtower: Watchtower) -> Taken:
        applied, refused = list[bool](), None
        for epoch in sorted(epochs(watchtower.get_status()) or {""}):
            try:
                applied.append(watchtower.create_freeze(order(epoch)))
            except CustodyRefused as error:  # its signer is in another epoch
                refused = error
        if refused and (not applied or refused.refusal.code != Code.EPOCH_PASSED):
            raise refused
        return Taken(f"FROZEN: {wallet_words(stopped)}; {_reached(all(applied))}")

    if deliver(config, in_custody, in_watchtower):
        print_line("what is frozen: custody freeze list")
        return 0
    words = "NOT FROZEN: nobody took it. Try again, tell the other officers, and have the operator"
    print_note(f"{words} of the signer's host stop the relay: then nothing is signed", "bold red")
    return 1


@app.command(name="list")
def list_freezes() -> None:
    """List what is frozen, as custody and the watchtower say it.

    For example: custody freeze list
    """
    _, known, only = _known()
    if known:
        print_table(_HEAD, [item.row for item in known])
    else:
        print_line(f"nothing is frozen, as {only} alone says" if only else "nothing is frozen")


@app.command
def sign(
    freezes: Annotated[tuple[str, ...], Parameter(help="Their digests; all if left out.")] = (),
    /,
    *,
    signatures: Annotated[Path, Parameter(help="Append the signature to this file.")],
    yes: Yes = False,
    by: Signature | None = None,
) -> None:
    """Sign, as one of the quorum that changes the policy, that freezes are lifted.

    Ask each officer first why they froze, by another way than custody; a proven theft first needs
    its cause found. All of the quorum sign the same list.

    For example: custody freeze sign --signatures lift.signatures
    """
    said, known, _ = _known()
    named = tuple(sorted({*map(_digest, freezes)} or {item.digest for item in known}))
    if not named:
        raise CommandError("nothing is frozen: nothing was signed")
    if unknown := {*named} - {item.digest for item in known}:
        words = f"neither custody nor the watchtower knows a freeze {min(unknown)}"
        raise CommandError(f"{words}: nothing was signed")
    epoch = _epoch(said, named)
    others = _read(signatures) if signatures.exists() else []
    if others and (others[0].epoch, others[0].freezes) != (epoch, named):
        words = f"{signatures} holds signatures for other freezes, or of before an unfreeze"
        raise CommandError(f"{words}: nothing was signed; name another file")
    print_record(lift_rows(epoch, named, known))
    if not yes:
        confirm("sign it", epoch_after(epoch, named))
    signature = by or Signature()
    person, key = signature.by()
    expires = hours_from_now(signature.expires_in)
    keep_signature(
        key.sign(
            Unfreeze(key=key.public, person=person, epoch=epoch, freezes=named, expires=expires)
        ),
        signatures,
    )


@app.command
def lift(*, signatures: Signatures, yes: Yes = False) -> int:
    """Hand over what the quorum signed with `custody freeze sign`: the freezes are lifted at once.

    For example: custody freeze lift --signatures lift.signatures
    """
    config, orders, signed = settings(), _read(signatures), read_signatures(signatures)
    first = orders[0]
    people = dict.fromkeys(order.person for order in orders)
    print_record((("signed by", ", ".join(people)),))
    _, known, only = _known()
    if not only and not {item.digest for item in known} & {*first.freezes}:
        print_line("none of these freezes is in force any more: nothing was sent")
        return 0
    print_record(lift_rows(first.epoch, first.freezes, known))
    if not yes:
        confirm("lift them", epoch_after(first.epoch, first.freezes), otherwise="nothing was sent")

    def in_custody(custody: CustodyClient) -> Taken:
        _until(lambda: custody.lift_freezes(signed).applied, "order")
        return Taken("lifted; the signer has it")

    def in_watchtower(watchtower: Watchtower) -> Taken:
        return Taken(f"lifted; {_reached(watchtower.lift_freezes(signed))}")

    return 0 if deliver(config, in_custody, in_watchtower) else 1


def _known() -> tuple[Said, list[Known], str]:
    """Return what both said, every freeze that either knows, and who alone answered."""
    said = ask_both(settings(), CustodyClient.list_freezes, Watchtower.get_status)
    if not any(said):
        raise CommandError("neither custody nor the watchtower answered")
    custody, watchtower = said
    only = "the watchtower" if custody is None else "custody" if watchtower is None else ""
    return said, known_freezes(*said), only


def _epoch(said: Said, freezes: Sequence[str]) -> str:
    """Return the epoch in which these are lifted; CommandError unless it is one."""
    named = epochs_of(freezes, *said)
    if len(named) > 1:
        words = "custody and the watchtower name different epochs for these: nothing was signed;"
        words += " ask again in a moment, and of several signers sign for each one's by themselves."
        raise CommandError(f"{words} If it stays so, tell the other officers, not through custody")
    return named.pop() if named else ""


def _until(applied: Callable[[], bool], what: str) -> None:
    """Ask until the signer has it; CommandError when it does not in time."""
    end = time.monotonic() + WAIT_SECONDS
    while not applied():
        if time.monotonic() > end:
            words = f"custody has your {what}, but the signer has not answered: ask again, and"
            raise CommandError(f"{words} tell the other officers by another way than custody")
        time.sleep(POLL_SECONDS)


def _reached(applied: bool) -> str:  # noqa: FBT001 - what a call said
    if applied:
        return "every signer that is connected has it"
    return "a signer that has not heard of it gets no lease"


def _read(file: Path) -> Sequence[Unfreeze]:
    """Return the orders in a file; CommandError unless all lift the same freezes."""
    orders = []
    for item in read_signatures(file):
        try:
            orders.append(decode(Unfreeze, item.statement))
        except ValueError as error:
            raise CommandError(f"{file}: holds another signature: {error}") from error
    if not orders:
        raise CommandError(f"{file} holds no signatures")
    if len({(order.epoch, order.freezes) for order in orders}) > 1:
        raise CommandError(f"{file} holds signatures for different freezes")
    return orders


def _digest(text: str) -> str:
    try:
        return fields.digest(text.removeprefix("freezes/"))
    except ValueError as error:
        words = f"{text} is no freeze's digest: {error}"
        raise CommandError(f"{words}; custody freeze list shows them") from error
