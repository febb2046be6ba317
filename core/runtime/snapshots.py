"""Reading from a snapshot without holding up the loop."""

import resource
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from ..ports import Snapshot, Store

WARM_READS: Final = 64
"""After a read that waited for the disk, so many that did not before the loop reads for itself again."""
_THREAD: Final[int | None] = getattr(resource, "RUSAGE_THREAD", None)

T = TypeVar("T")


async def read_snapshot(store: Store, read: Callable[[Snapshot], T], limiter: trio.CapacityLimiter) -> T:
    """What `read` makes of the state as of now, in a thread if the store may wait for its disk. Cancelled, it ends first."""

    def work() -> T:
        with store.snapshot() as snapshot:
            return read(snapshot)

    if not store.durable:
        await trio.lowlevel.checkpoint()
        return work()
    return await trio.to_thread.run_sync(work, limiter=limiter)


class PageReads:
    """Reads of a page each: by the loop itself, one a turn, as long as the store lies in memory; else in threads.

    Threads would take turns with the loop at every row, since LMDB's calls each let go of the interpreter. A read that
    met a page which was not in memory shows as a major fault of its thread.
    """

    def __init__(self, store: Store, limiter: trio.CapacityLimiter) -> None:
        self._store = store
        self._limiter = limiter
        self._turn = trio.Lock()
        self._warm = WARM_READS

    async def read(self, read: Callable[[Snapshot], T]) -> T:
        """What `read` makes of the state as of now. Cancelled, it ends first."""
        if self._warm < WARM_READS or (_THREAD is None and self._store.durable):
            return await read_snapshot(self._store, lambda snapshot: self._watched(read, snapshot), self._limiter)
        async with self._turn:
            await trio.lowlevel.checkpoint()
            with self._store.snapshot() as snapshot:
                return self._watched(read, snapshot)

    def _watched(self, read: Callable[[Snapshot], T], snapshot: Snapshot) -> T:
        before = _waits_for_disk()
        found = read(snapshot)
        self._warm = self._warm + 1 if _waits_for_disk() == before else 0
        return found


def _waits_for_disk() -> int:
    """How often this thread has waited for a page of memory to be read."""
    return resource.getrusage(_THREAD).ru_majflt if _THREAD is not None else 0
