"""Reading from a snapshot without holding up the loop."""

from collections.abc import Callable
from typing import Final, TypeVar

import trio

from ..ports import Snapshot, Store

try:
    import resource
except ImportError:  # not a POSIX system
    _THREAD: int | None = None
else:
    _THREAD = getattr(resource, "RUSAGE_THREAD", None)

WARM_READS: Final = 64
"""After a read that waited for the disk, so many that did not before the loop reads for itself again."""

T = TypeVar("T")


async def read_snapshot(store: Store, read: Callable[[Snapshot], T], limiter: trio.CapacityLimiter) -> T:
    """What `read` makes of the state as of now, in a thread if the store may wait for its disk; what a thread has begun it
    ends, also if it is cancelled."""

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
    met a page which was not in memory shows as a major fault of its thread. (One that is just being read ahead does not; any
    other major fault of the thread does. Either costs a page's time.) Where the system does not count faults, threads read.
    """

    def __init__(self, store: Store, limiter: trio.CapacityLimiter) -> None:
        self._store = store
        self._limiter = limiter
        self._turn = trio.Lock()
        self._warm = 0 if store.durable else WARM_READS

    async def read(self, read: Callable[[Snapshot], T]) -> T:
        """What `read` makes of the state as of now."""
        if self._warm >= WARM_READS:
            async with self._turn:
                await trio.lowlevel.checkpoint()
                if self._warm >= WARM_READS:  # who waited for the turn may have met the disk
                    with self._store.snapshot() as snapshot:
                        return self._watched(read, snapshot)
        return await read_snapshot(self._store, lambda snapshot: self._watched(read, snapshot), self._limiter)

    def _watched(self, read: Callable[[Snapshot], T], snapshot: Snapshot) -> T:
        before = _waits_for_disk()
        found = read(snapshot)
        if self._store.durable:
            warm = _THREAD is not None and _waits_for_disk() == before
            self._warm = self._warm + 1 if warm else 0
        return found


def _waits_for_disk() -> int:
    """How often this thread has waited for a page of memory to be read."""
    return resource.getrusage(_THREAD).ru_majflt if _THREAD is not None else 0
