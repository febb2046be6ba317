"""A store around another one whose disk fails, or stands still, where a test says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from postroom.core.ports import Snapshot, Transaction

Place = Literal["room", "begin", "put", "before", "after", "snapshot", "close"]
"""Where: "before" the commit is durable, or right "after"."""
_WRITES = frozenset({"put", "append", "delete", "set_add", "set_remove"})


class DiskError(Exception):
    """The machine's, as lmdb.Error is."""


class FaultyStore:
    """Everything goes to the store inside; faults are lit with `fail`, and each goes off once."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.closed = False
        self.hooks: dict[Place, Callable[[], object]] = {}
        self._faults: dict[Place, tuple[int, BaseException]] = {}

    def fail(self, place: Place, error: BaseException | None = None, *, passing: int = 0) -> None:
        """Raise at this place, after letting it pass so many times."""
        self._faults[place] = passing, error or DiskError(f"the disk failed: {place}")

    def reach(self, place: Place) -> None:
        """Something gets to this place."""
        if place in self.hooks:
            self.hooks[place]()
        if place in self._faults:
            passing, error = self._faults[place]
            if passing:
                self._faults[place] = passing - 1, error
            else:
                del self._faults[place]
                raise error

    @property
    def lit(self) -> set[Place]:
        """Faults that have not gone off."""
        return set(self._faults)

    @property
    def durable(self) -> bool:
        return bool(self.inner.durable)

    @property
    def failures(self) -> tuple[type[BaseException], ...]:
        return (*self.inner.failures, DiskError)

    @property
    def reserve_bytes(self) -> int:
        return int(self.inner.reserve_bytes)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self.reach("begin")
        with self.inner.transaction() as transaction:
            engine = _Engine(transaction._engine, self)
            transaction._engine = transaction.views._engine = transaction.bodies._engine = engine
            yield transaction
            self.reach("before")
        self.reach("after")

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        self.reach("snapshot")
        with self.inner.snapshot() as snapshot:
            yield snapshot

    def room(self, wanted_bytes: int) -> int:
        self.reach("room")
        return int(self.inner.room(wanted_bytes))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def close(self) -> None:
        self.closed = True
        self.reach("close")
        self.inner.close()


class _Engine:
    """An engine whose writes pass by the store's faults."""

    def __init__(self, inner: Any, store: FaultyStore) -> None:
        self._inner = inner
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name in _WRITES:
            self._store.reach("put")
        return getattr(self._inner, name)
