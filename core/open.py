"""Opening a broker: the one place where the core meets a store."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from .errors import StorageFailure
from .model import Rules
from .ports import Store
from .runtime.broker import Broker
from .runtime.clock import Clock, SystemClock
from .runtime.options import Options


@asynccontextmanager
async def open_broker(
    where: str | Path | Store,
    *,
    rules: Mapping[str, Rules] | None = None,
    options: Options | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Broker]:
    """A broker on a data directory (made if there is none) or a store, for as long as the block runs.

    `rules` names the apps it serves and how; None serves any app by the default rules. When the block ends, what was taken is
    carried out, then the store is closed. Raises StoreInUse, UnknownFormat, StorageFailure; if the store fails later, the
    block is cancelled and StorageFailure raised: reopen, and repeat only what carries a `dedup` key.
    """
    options = options or Options()
    store = await _open(where)
    broker: Broker | None = None
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as body:
                try:
                    broker = Broker(store, rules, options, clock or SystemClock(), nursery)
                    await broker.start(body.cancel)
                    yield broker
                except BaseException as raised:  # noqa: BLE001 - not swallowed: it would leave the nursery in a group
                    error = raised
            if broker is not None and broker.failure is None:
                with trio.CancelScope(shield=True), trio.move_on_after(options.drain_deadline_s):
                    broker.close_sessions()
                    broker.stop_waits()
                    await broker.drain()
                broker.end()
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _close(store)
    if broker is not None and broker.failure is not None:
        raise StorageFailure(str(broker.failure)) from broker.failure
    if error is not None:
        raise error


async def _open(where: str | Path | Store) -> Store:
    if not isinstance(where, str | Path):
        return where
    from postroom.storage.lmdb import LmdbStore

    return await trio.to_thread.run_sync(LmdbStore, where)


async def _close(store: Store) -> None:
    """In a thread, if it may wait for its disk."""
    if store.durable:
        await trio.to_thread.run_sync(store.close)
    else:
        store.close()
