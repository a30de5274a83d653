"""One (requester, request_id), one message at most, for ever; and when the signer first saw what.

A request is reserved, then signed; or it is ended, and then never signed. Its row stays for ever,
the signed bytes for KEEP_MS. Written before the token signs.
"""

import hashlib
from dataclasses import dataclass, replace
from enum import IntEnum

from policies.evaluate import EARLY_MS
from policies.policy_file import NONCE_POOL_MAX
from policies.statements import Intent
from policies.windows import Counter
from signer.clock import Moment
from signer.counters import charge
from signer.journal import Journal, JournalError

KEEP_MS = 30 * 24 * 3600 * 1000
SIGHTS_MAX = 100_000
_FORGET_EVERY = 60_000  # ticks
_FORGET_TICKS = 60 * 24 * 3600 * 1000
_LOOKED_AT_ONCE = 32
_UNSIGNED = (None, bytes(64))  # of a request that was ended at once; of one that is reserved


class State(IntEnum):
    """What became of a request."""

    RESERVED = 0
    SIGNED = 1
    ENDED = 2


class NonceUsed(Exception):  # noqa: N818 - an answer of the journal, not a fault
    """The value of the nonce account already stands in another message."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the journal holds of a request, its cost in base units.

    `message` is b"" once it is no longer kept; `signature` b"" where there is none.
    """

    number: int
    intent: str
    state: State
    signature: bytes
    message: bytes
    cost: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """A message that will be signed for one request and no other, and what it costs."""

    intent: Intent
    digest: str
    message: bytes
    nonce_index: int
    nonce_value: bytes
    counters: tuple[Counter, ...]
    cost: int


@dataclass(frozen=True, slots=True)
class Sight:
    """Ticks since the signer first saw intent and destination, and what was sent there since."""

    age: int
    destination_age: int
    destination_sent: int


class Requests:
    """The requests in one journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._db = journal.db
        self._sights, self._unpaid = self._count()
        self._forgot = -_FORGET_EVERY

    def find(self, requester: str, request_id: str) -> Past | None:
        """Return what was reserved, signed or ended for this request."""
        key = _key(requester, request_id)
        row = self._db.execute(
            "SELECT number, intent, state, signature, message, cost FROM request"
            " LEFT JOIN message USING (number) WHERE substr(key, 1, 8) = ? AND key = ?",
            (key[:8], key),
        ).fetchone()
        if row is None:
            return None
        number, intent, state, signature, message, cost = row
        signature = b"" if signature in _UNSIGNED else signature
        return Past(number, intent.hex(), State(state), signature, message or b"", cost)

    def find_signed(self, wallet: str, nonce_value: bytes, signature: bytes) -> Past | None:
        """Return what this signature is of, on this value of any of the wallet's nonces."""
        nonces = [_nonce(wallet, index, nonce_value) for index in range(NONCE_POOL_MAX)]
        marks = ", ".join("?" * len(nonces))
        row = self._db.execute(
            f"SELECT number, intent, state, message, cost FROM request LEFT JOIN message"  # noqa: S608
            f" USING (number) WHERE nonce IN ({marks}) AND signature = ?",
            (*nonces, signature),
        ).fetchone()
        if row is None:
            return None
        number, intent, state, message, cost = row
        return Past(number, intent.hex(), State(state), signature, message or b"", cost)

    def find_nonce(self, wallet: str, index: int, value: bytes) -> int | None:
        """Return the name of this value of a nonce, None when nothing was reserved on it."""
        query, name = "SELECT nonce FROM request WHERE nonce = ?", _nonce(wallet, index, value)
        row = self._db.execute(query, (name,)).fetchone()
        return row[0] if row else None

    def reserve(self, reservation: Reservation, at: Moment) -> Past:
        """Remember a message before it is signed, and count it; NonceUsed: its nonce is taken."""
        intent, digest = reservation.intent, bytes.fromhex(reservation.digest)
        place = (intent.wallet, reservation.nonce_index, reservation.nonce_value)
        if self.find_nonce(*place) is not None:
            raise NonceUsed
        message = hashlib.sha256(reservation.message).digest()
        with self._journal.entry(at, "reserve", digest, message, reservation.cost) as db:
            key, nonce = _key(intent.requester, intent.request_id), _nonce(*place)
            values = (key, digest, State.RESERVED, _UNSIGNED[1], nonce, at.wall, reservation.cost)
            done = db.execute("INSERT INTO request VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", values)
            number = int(done.lastrowid or 0)
            kept = (number, reservation.message, at.wall)
            db.execute("INSERT INTO message VALUES (?, ?, ?)", kept)
            db.execute(
                "INSERT INTO destination VALUES (?, ?, ?) ON CONFLICT (key)"
                " DO UPDATE SET sent = min(sent, 9223372036854775807 - excluded.sent)"
                " + excluded.sent",
                (_place(intent), at.tick, intent.amount),
            )
            wallet = (intent.wallet, intent.asset)
            charge(self._journal, wallet, reservation.counters, reservation.cost, at.tick)
            self._commit(wallet, reservation.cost)
            self._prune(at)
        rest = (b"", reservation.message, reservation.cost)
        return Past(number, reservation.digest, State.RESERVED, *rest)

    def committed(self, wallet: str, asset: str) -> int:
        """Return the base units of all that was reserved in this journal and not ended unsigned."""
        query = "SELECT amount FROM committed WHERE (wallet, asset) = (?, ?)"
        row = self._db.execute(query, (wallet, asset)).fetchone()
        return row[0] if row else 0

    def record(self, past: Past, signature: bytes, at: Moment) -> Past:
        """Remember the signature of a reserved message."""
        with self._journal.entry(at, "sign", past.number, signature) as db:
            query = "UPDATE request SET state = ?, signature = ? WHERE (number, state) = (?, ?)"
            values = (State.SIGNED, signature, past.number, State.RESERVED)
            if db.execute(query, values).rowcount != 1:
                raise JournalError(f"intent {past.intent} is not reserved, or signed already")
            self._forget_sight(past.intent)
        return replace(past, state=State.SIGNED, signature=signature)

    def end(self, intent: Intent, digest: str, past: Past | None, at: Moment) -> None:
        """Put a tombstone on a request that was not signed, or that can never land any more.

        One that is there stays, and so does the signature. What never was signed is uncommitted.
        """
        if past and past.state is State.ENDED:
            return
        with self._journal.entry(at, "end", bytes.fromhex(digest)) as db:
            if past:
                db.execute(
                    "UPDATE request SET state = ? WHERE number = ?", (State.ENDED, past.number)
                )
                db.execute("DELETE FROM message WHERE number = ?", (past.number,))
                if past.state is State.RESERVED:
                    self._commit((intent.wallet, intent.asset), -past.cost)
            else:
                key = _key(intent.requester, intent.request_id)
                values = (key, bytes.fromhex(digest), State.ENDED, at.wall)
                query = "INSERT INTO request VALUES (NULL, ?, ?, ?, NULL, NULL, ?, 0)"
                db.execute(query, values)
            self._forget_sight(digest)

    def see(self, intent: Intent, digest: str, listed: int | None, at: Moment) -> Sight:
        """Return since when intent and destination are known, noting both if they are new.

        `listed`: the tick at which the address book took the destination, None when it has not.
        Where no room is left, what is new stays new: it waits for every delay and cooling period.
        What is not valid now takes none: what is dated far ahead would keep it for ever.
        """
        name, place = bytes.fromhex(digest), _place(intent)
        seen = self._db.execute("SELECT tick FROM sight WHERE intent = ?", (name,)).fetchone()
        query = "SELECT tick, sent FROM destination WHERE key = ?"
        known = self._db.execute(query, (place,)).fetchone()
        timely = intent.created - EARLY_MS <= at.wall < intent.expires
        if timely and (seen is None or known is None):
            self._make_room(at)
        intents = timely and seen is None and self._sights < SIGHTS_MAX
        places = timely and known is None and self._unpaid < SIGHTS_MAX
        if intents or places:
            with self._journal.entry(at, "see", name) as db:
                if intents:
                    db.execute(
                        "INSERT INTO sight VALUES (?, ?, ?)", (name, at.tick, intent.expires)
                    )
                if places:
                    db.execute("INSERT INTO destination VALUES (?, ?, 0)", (place, at.tick))
            self._sights += intents
            self._unpaid += places
        since, sent = known or (at.tick, 0)
        return Sight(
            age=at.tick - (seen[0] if seen else at.tick),
            destination_age=at.tick - (since if listed is None else listed),
            destination_sent=sent,
        )

    def _commit(self, wallet: tuple[str, str], cost: int) -> None:
        self._db.execute(
            "INSERT INTO committed VALUES (?, ?, ?) ON CONFLICT (wallet, asset)"
            " DO UPDATE SET amount = min(amount, 9223372036854775807 - max(0, excluded.amount))"
            " + excluded.amount",
            (*wallet, cost),
        )

    def _make_room(self, at: Moment) -> None:
        """Where it is full, forget intents that expired and destinations that were never paid.

        Intents and destinations have room of their own: one requester's flood of destinations must
        not fill the disk, nor keep anybody's delay from being counted.
        """
        full = max(self._sights, self._unpaid) >= SIGHTS_MAX
        if not full or at.tick - self._forgot < _FORGET_EVERY:
            return
        self._forgot = at.tick
        with self._journal.entry(at, "forget") as db:
            db.execute("DELETE FROM sight WHERE expires <= ?", (at.wall,))
            old = at.tick - _FORGET_TICKS
            db.execute("DELETE FROM destination WHERE sent = 0 AND tick < ?", (old,))
        self._sights, self._unpaid = self._count()

    def _count(self) -> tuple[int, int]:
        """Return how many intents and destinations are noted that nothing was signed for yet."""
        (sights,) = self._db.execute("SELECT count(*) FROM sight").fetchone()
        query = "SELECT count(*) FROM destination WHERE sent = 0"
        return sights, self._db.execute(query).fetchone()[0]

    def _forget_sight(self, digest: str) -> None:
        name = bytes.fromhex(digest)
        gone = self._db.execute("DELETE FROM sight WHERE intent = ?", (name,)).rowcount
        self._sights -= gone

    def _prune(self, at: Moment) -> None:
        """Let go of a few messages that were signed long ago; their rows stay."""
        self._db.execute(
            "DELETE FROM message WHERE time < ? AND number IN (SELECT number FROM message"
            " JOIN request USING (number) WHERE state = ? ORDER BY number LIMIT ?)",
            (at.wall - KEEP_MS, State.SIGNED, _LOOKED_AT_ONCE),
        )


def _nonce(wallet: str, index: int, value: bytes) -> int:
    """Name one value of a nonce account in 63 bits."""
    place = repr((wallet, index, value.hex())).encode()
    return int.from_bytes(hashlib.sha256(place).digest()[:8], "big") >> 1


def _place(intent: Intent) -> bytes:
    """Name a wallet's destination in 16 bytes."""
    to = intent.destination
    return hashlib.sha256(f"{intent.wallet} {to.address} {to.memo}".encode()).digest()[:16]


def _key(requester: str, request_id: str) -> bytes:
    """Half of a SHA-256: no requester can find two ids that share it."""
    return hashlib.sha256(f"{requester} {request_id}".encode()).digest()[:16]
