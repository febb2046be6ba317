"""The baseline: the rows of the same messages put straight into LMDB, in one loop, with nothing decided or awaited.

It takes from `storage` which rows a queued message writes and how long they are, and keeps in plain lists what the broker
has to read: the next number and the length of each queue. It puts row by row, as the messages come.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import lmdb
import msgspec
import trio

from postroom.core import peer
from postroom.core.domain import Now, decide
from postroom.core.events import MessageSent, Record
from postroom.core.ids import ExpiryMs, Place, Position, UnixMs, message_at, next_position
from postroom.core.rows import Kept, Totals, UserRow
from postroom.storage import keys
from postroom.storage.history_views import kept_rows
from postroom.storage.lmdb.environment import open_databases, open_environment
from postroom.storage.memory import MemoryStore
from postroom.storage.records import encode_body, encode_record

from ..failure import BenchFailure
from ..figures import Slice
from .settings import APP, SENDER, Settings

PRELOAD_BATCH: Final = 10_000


class Sample(msgspec.Struct, frozen=True):
    """The values of one queued message, as the broker would write them; only their lengths matter here."""

    at_ms: UnixMs
    position: Position
    expiry: int
    """The last four bytes of a queue entry."""
    log: bytes
    body: bytes
    user: bytes
    totals: bytes
    clock: bytes
    kept: bytes
    """Of the message's own row in the history; the next three of its rows in timelines."""
    to: bytes
    to_from: bytes
    sent: bytes


def sample(settings: Settings, name: str) -> Sample:
    """Made by the broker's own functions, so that it changes with them."""
    wall_ms = UnixMs(time.time_ns() // 1_000_000)
    expiry_ms = ExpiryMs(wall_ms)
    position = next_position(Position(0), wall_ms)
    with MemoryStore().transaction() as transaction:
        command = settings.message(name, settings.body())
        now = Now(wall_ms, expiry_ms, position)
        decision = decide(command, transaction.views, transaction.bodies, now, settings.rules)
        event = decision.events[0]
        assert isinstance(event, MessageSent)
        assert decision.body is not None  # of a queued message it is kept
        kept = Kept(event.conversation, event.sender, queued=True)
        of_kept, to, to_from, sent = (value for _, value in kept_rows(APP, Place(event.at_ms, event.id), kept))
        return Sample(
            at_ms=event.at_ms,
            position=position,
            expiry=event.queued[0].expires_s,
            log=encode_record(Record(position, expiry_ms, event))[1],
            body=encode_body(position, decision.body)[1],
            user=msgspec.msgpack.encode(UserRow(APP, name)),
            totals=msgspec.msgpack.encode((APP, Totals(wall_ms, 1_000_000, 0, 1_000_000))),
            clock=keys.CLOCK_ROW.pack(position, expiry_ms, 1, position),
            kept=of_kept,
            to=to,
            to_from=to_from,
            sent=sent,
        )


class RawLmdb:
    """Implements `rounds.Side` in an environment of its own, opened as the broker opens its own.

    A slice ends when it has put as many messages as `sent` gives, the number that the broker took so far. So both
    environments always hold the same: the rate of either falls as data grows.
    """

    def __init__(self, directory: Path, settings: Settings, sent: Callable[[], int]) -> None:
        directory.mkdir()
        self._sent = sent
        self._settings = settings
        names = settings.names()
        self._sample = sample(settings, names[0])
        self._position: int = self._sample.position
        self._picks = settings.picks()
        self._queue_keys = [keys.user_key(APP, name) for name in names]
        kept = [Kept(peer(name), SENDER) for name in names] if settings.history else []
        self._timelines = [keys.timeline_keys(APP, each) for each in kept]
        self._seqs = [0] * len(names)
        self._lengths = [0] * len(names)
        self._put = 0
        self._environment = open_environment(directory)
        self._databases = open_databases(self._environment, create=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.close()

    async def preload(self) -> None:
        """Put messages into every queue."""
        everybody = range(len(self._queue_keys))
        recipients = (number for _ in range(self._settings.queued_per_recipient) for number in everybody)
        while chunk := list(islice(recipients, PRELOAD_BATCH)):
            await trio.to_thread.run_sync(self._commit, chunk)

    async def run(self, seconds: float) -> Slice:
        """One slice, however long it takes to catch up; a call is one commit."""
        return await trio.to_thread.run_sync(self._catch_up, self._sent())

    def _catch_up(self, sent: int) -> Slice:
        batch = self._settings.raw_batch
        latencies: list[float] = []
        start = began = time.perf_counter()
        while self._put < sent or not latencies:
            self._commit(islice(self._picks, batch))
            ended = time.perf_counter()
            latencies.append((ended - began) * 1000)
            began = ended
        self._check()
        return Slice(batch * len(latencies), began - start, latencies)

    def _commit(self, recipients: Iterable[int]) -> None:
        """One transaction with a message to each."""
        databases, shape, pack_entry = self._databases, self._sample, keys.ENTRY.pack
        log, bodies, live, queues = (databases[name] for name in ("log", "bodies", "live", "live-queues"))
        cap, history = self._settings.rules.queue_messages, self._settings.history
        kept = keys.KEPT + keys.app_digest(APP)
        with _failing(), self._environment.begin(write=True) as transaction:
            put = transaction.put
            for number in recipients:
                self._position = position = self._position + 1
                key, queue = keys.U64.pack(position), self._queue_keys[number]
                put(key, shape.log, db=log, append=True)
                put(key, shape.body, db=bodies, append=True)
                self._seqs[number] = seq = self._seqs[number] + 1
                if seq == 1:
                    put(keys.USER + queue, shape.user, db=live)
                if self._lengths[number] == cap:
                    _drop_oldest(transaction, queues, queue, None if history else bodies)
                else:
                    self._lengths[number] += 1
                put(queue, pack_entry(position, seq, shape.expiry), db=queues)
                if history:
                    place = keys.PAIR.pack(shape.at_ms, message_at(Position(position)))
                    to, to_from, sent = self._timelines[number]
                    put(kept + place, shape.kept, db=live)
                    put(to + place, shape.to, db=live)
                    put(to_from + place, shape.to_from, db=live)
                    put(sent + place, shape.sent, db=live)
                self._put += 1
            put(keys.CLOCK, shape.clock, db=live)
            put(keys.app_key(APP), shape.totals, db=live)

    def _check(self) -> None:
        """Raises BenchFailure if a put did nothing: a row that is already there is not an error to LMDB."""
        with self._environment.begin() as transaction:
            entries = transaction.stat(self._databases["log"])["entries"]
        if entries != self._put:
            raise BenchFailure(f"the raw loop put {self._put} records, LMDB has {entries}")


@contextmanager
def _failing() -> Iterator[None]:
    """Raises BenchFailure for what LMDB raises, a full disk for example."""
    try:
        yield
    except lmdb.Error as error:
        raise BenchFailure(f"the raw loop: {error}") from error


def _drop_oldest(transaction: "lmdb.Transaction[bytes]", queues: Any, queue: bytes, bodies: Any) -> None:
    """Make room in a full queue as the broker does: the oldest entry goes, and with it its body if that is its own."""
    with transaction.cursor(db=queues) as cursor:
        cursor.set_key(queue)
        key = cursor.value()[: keys.U64.size]
        cursor.delete()
    if bodies is not None:
        transaction.delete(key, db=bodies)
