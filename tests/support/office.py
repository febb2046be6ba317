"""Short words for tests that run a whole broker."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from postroom.core import Broker, Delivery, Receipt, SendMessage, Session, open_broker, peer
from postroom.core.events import AnyEvent
from postroom.core.ids import MonotonicMs, UnixMs
from postroom.core.runtime.reading import Missed, Page, resolve
from postroom.storage.engine import LIVE
from postroom.storage.memory import MemoryStore

from .machine import START_MS
from .rows import engine_of, replayed, rows

APP = "demo"


class HandClock:
    """Monotonic time is trio's (a MockClock's, if there is one); the wall follows it, and a test may move it."""

    def __init__(self, wall_ms: UnixMs = START_MS) -> None:
        self._start_ms = wall_ms

    def monotonic_ms(self) -> MonotonicMs:
        return MonotonicMs(int(trio.current_time() * 1000))

    def wall_ms(self) -> UnixMs:
        return UnixMs(self._start_ms + self.monotonic_ms())

    def jump(self, by_ms: int) -> None:
        """Somebody sets the wall clock; no time passes."""
        self._start_ms = UnixMs(self._start_ms + by_ms)


class Tray:
    """A sink with room for so many frames; empty it with `clear`."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.frames: list[Delivery] = []
        self.closed: list[str] = []
        self.session: Session | None = None

    def offer(self, delivery: Delivery) -> bool:
        if self.room <= 0:
            return False
        self.room -= 1
        self.frames.append(delivery)
        return True

    def close(self, reason: str) -> None:
        self.closed.append(reason)

    def texts(self) -> list[str]:
        """The bodies of what came, frames without a body by their type."""
        return texts(self.frames)


class Pages:
    """Stops pages on their way from the disk to their session."""

    def __init__(self, broker: Broker) -> None:
        self._read = broker._host.read_page
        self.asked = 0
        self.gate: trio.Event | None = None
        broker._host.read_page = self._read_page  # type: ignore[method-assign]

    async def _read_page(self, *of: Any) -> Page:
        page = await self._read(*of)
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        return page

    def stop(self) -> None:
        """From now on, what is read stays under way."""
        self.gate = trio.Event()

    def go(self) -> None:
        """It arrives."""
        assert self.gate is not None
        self.gate.set()
        self.gate = None


class Replays:
    """Stops what a join replays on its way from the disk."""

    def __init__(self, broker: Broker) -> None:
        self._read = broker._host.read_missed
        self.asked = 0
        self.gate: trio.Event | None = None
        broker._host.read_missed = self._read_missed  # type: ignore[method-assign]

    async def _read_missed(self, *of: Any) -> Missed:
        missed = await self._read(*of)
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        return missed

    stop = Pages.stop
    go = Pages.go


class Commits:
    """Stops commits between the disk and everybody who is to be told."""

    def __init__(self, broker: Broker) -> None:
        self._in_thread: Callable[[Any], Awaitable[Any]] = broker._writer.in_thread
        self.gate: trio.Event | None = None
        broker._writer.in_thread = self._stopped  # type: ignore[method-assign, assignment]

    async def _stopped(self, work: Any) -> Any:
        result = await self._in_thread(work)
        if self.gate is not None:
            await self.gate.wait()
        return result

    stop = Pages.stop
    go = Pages.go


def message(text: str = "hi", to: str = "bob", *, app: str = APP, sender: str = "alice", **fields: Any) -> SendMessage:
    """Queued unless said otherwise."""
    return SendMessage(**{"app": app, "sender": sender, "to": peer(to), "body": text.encode(), "queue": True, **fields})


async def send(broker: Broker, text: str = "hi", to: str = "bob", **fields: Any) -> Receipt:
    """Submit one."""
    return await broker.submit(message(text, to, **fields))


async def send_all(broker: Broker, texts: list[str], to: str = "bob", **fields: Any) -> list[Any]:
    """Submit many, in order."""
    return await broker.submit_many([message(text, to, **fields) for text in texts])


async def take(session: Session, count: int) -> list[Delivery]:
    """The next so many frames."""
    return [await anext(session) for _ in range(count)]


def texts(frames: list[Delivery]) -> list[str]:
    """The bodies, frames without a body by their type."""
    return [frame.body.decode() if frame.body else frame.type for frame in frames]


def events(store: Any) -> list[AnyEvent]:
    """What the store's log says."""
    with store.snapshot() as snapshot:
        return [record.event for record in snapshot.log()]


def queue(store: Any, user: str = "bob", app: str = APP) -> list[str]:
    """The texts that wait for a user."""
    with store.snapshot() as snapshot:
        waiting = (resolve(snapshot, app, user, entry) for entry in snapshot.views.entries(app, user))
        return [body.payload.decode() or "-" for body, _ in waiting]


def assert_sound(store: Any) -> None:
    """Base and log tell what live says, and the accounts are even."""
    with store.snapshot() as snapshot:
        assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)
        for totals in snapshot.views.all_totals().values():
            lost = totals.evicted + totals.expired + totals.withdrawn
            assert totals.accepted == totals.acked + totals.queued + lost


@asynccontextmanager
async def open_office(store: Any = None, **how: Any) -> AsyncIterator[tuple[Broker, Any]]:
    """A broker on a memory store, and the store; at the end the store must be sound."""
    store = MemoryStore() if store is None else store
    async with open_broker(store, **how) as broker:
        if not store.durable:
            await settle_down()  # the sweeper's first round is over, and in nobody's way
        yield broker, store
    assert_sound(store)


async def settle_down() -> None:
    """Let every other task go as far as it can. Not for stores with threads."""
    await trio.testing.wait_all_tasks_blocked()


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until something holds; for stores with threads."""
    with trio.fail_after(20):
        while not condition():
            await trio.lowlevel.checkpoint()


async def run(store: Any, body: Callable[[Broker], Awaitable[object]], **how: Any) -> None:
    """A broker for as long as `body` takes."""
    async with open_broker(store, **how) as broker:
        await body(broker)
