"""The two that are compared for one case: the broker that is asked, and a cursor that walks along as many rows."""

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import lmdb
import trio

from postroom.core import Broker
from postroom.core.queries import FindMessages
from postroom.storage import keys
from postroom.storage.lmdb import LmdbStore

from ..failure import BenchFailure
from ..figures import Slice
from ..together import together
from .settings import Case


class Asking:
    """Implements `rounds.Side`: clients that ask the same again as soon as they are answered."""

    def __init__(self, broker: Broker, case: Case, clients: int) -> None:
        self._broker = broker
        self._case = case
        self._clients = clients

    async def run(self, seconds: float) -> Slice:
        """One slice; an operation is a query."""
        latencies: list[float] = []
        start = time.perf_counter()

        async def client() -> None:
            began = time.perf_counter()
            while began < start + seconds:
                answer = await self._broker.ask(self._case.query)
                ended = time.perf_counter()
                latencies.append((ended - began) * 1000)
                self._check(answer)
                began = ended

        await together(client, self._clients, what="a query")
        return Slice(len(latencies), time.perf_counter() - start, latencies)

    def _check(self, answer: Any) -> None:
        found = answer if isinstance(answer, int) else len(answer)
        if found != self._case.answer:
            raise BenchFailure(f"{self._case.kind}: {found} were found, {self._case.answer} are there")


class RawCursor:
    """Implements `rounds.Side`: keys and values of as many rows of a timeline, and the bodies of messages that are found.

    It decodes nothing. It shares the broker's environment, which a process may open only once.
    """

    def __init__(self, store: LmdbStore, case: Case) -> None:
        self._environment, databases = store._environment, store._databases
        self._live, self._bodies = databases["live"], databases["bodies"]
        self._case = case
        self._bodies_of = case.answer if isinstance(case.query, FindMessages) else 0

    async def run(self, seconds: float) -> Slice:
        """One slice, in a thread of its own as the broker's reading; an operation is a walk."""
        return await trio.to_thread.run_sync(self._run, seconds)

    def _run(self, seconds: float) -> Slice:
        latencies: list[float] = []
        start = began = time.perf_counter()
        while began < start + seconds:
            self._walk()
            ended = time.perf_counter()
            latencies.append((ended - began) * 1000)
            began = ended
        return Slice(len(latencies), began - start, latencies)

    def _walk(self) -> None:
        rows, newest_first = self._case.rows, bool(self._bodies_of)
        with self._environment.begin() as transaction, transaction.cursor(db=self._live) as cursor:
            walk: Iterator[tuple[bytes, bytes]]
            if newest_first:
                _last(cursor, self._case.prefix)
                walk = cursor.iterprev()
            else:
                cursor.set_range(self._case.prefix)
                walk = cursor.iternext()
            passed = rows - self._bodies_of
            count = sum(1 for _ in islice(walk, passed))
            key = cursor.key()
            for key, _ in islice(walk, self._bodies_of):
                count += transaction.get(key[-keys.U64.size :], db=self._bodies) is not None
        if count != rows or not key.startswith(self._case.prefix):
            raise BenchFailure(f"{self._case.kind}: the cursor met {count} rows, {rows} are there")


def _last(cursor: "lmdb.Cursor[bytes]", prefix: bytes) -> None:
    """Go to the last key with a prefix."""
    if cursor.set_range(prefix + b"\xff" * (keys.PAIR.size + 1)):
        cursor.prev()
    else:
        cursor.last()
