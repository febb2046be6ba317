"""Reading from a snapshot without holding up the loop."""

from collections.abc import Callable
from typing import TypeVar

import trio

from ..ports import Snapshot, Store

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
