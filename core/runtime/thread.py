"""The broker from synchronous code and from asyncio: trio runs in a thread of its own, answers are futures."""

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import trio

from ..commands import Command
from ..domain import Welcome
from ..errors import Refusal, StorageFailure
from ..ids import MessageId, UnixMs
from ..model import Joined, Receipt, Rules
from ..open import open_broker
from ..ports import Store
from ..queries import Query
from .broker import Broker
from .delivery import Delivery
from .options import Options
from .session import Session
from .statistics import BrokerStatistics

T = TypeVar("T")
A = TypeVar("A")


class BrokerThread:
    """A broker in a thread; enter it to open the store, leave it to drain and close.

    Every method may be called from any thread. Futures are `concurrent.futures` ones: `.result()` in synchronous code,
    `await asyncio.wrap_future(…)` under asyncio. A future raises what the broker's method would; after the block, or once
    the store has failed, StorageFailure.
    """

    def __init__(
        self, where: str | Path | Store, *, rules: Mapping[str, Rules] | None = None, options: Options | None = None
    ) -> None:
        """As `open_broker`. Nothing is opened before the block begins."""
        self._open: Callable[[], AbstractAsyncContextManager[Broker]] = lambda: open_broker(
            where, rules=rules, options=options
        )
        self._opened: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._pending: set[Future[object]] = set()
        self._broker: Broker
        self._token: trio.lowlevel.TrioToken
        self._calls: trio.Nursery
        self._hosted: trio.Nursery
        self._leave: trio.Event
        self._begun = trio.Event()
        """Set when the last call has begun."""
        self._lock = threading.Lock()
        self._accepting = False
        """The broker's loop takes new tasks. Changed and read in that loop alone."""
        self._closed = False

    def __enter__(self) -> Self:
        """Raises StoreInUse, UnknownFormat, StorageFailure."""
        threading.Thread(target=self._run, name="postroom-broker", daemon=True).start()
        self._opened.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits until what was taken is on disk. Raises StorageFailure if the store failed meanwhile."""
        self._soon(self._leave.set)
        if error is None:
            self._ended.result()
        else:
            self._ended.exception()

    def submit(self, command: Command) -> Future[Receipt]:
        """`Broker.submit`. Once it is under way, cancelling the future changes nothing."""
        return self.call(lambda: self._broker.submit(command))

    def submit_many(self, commands: Sequence[Command]) -> Future[list[Receipt | Refusal]]:
        """`Broker.submit_many`."""
        return self.call(lambda: self._broker.submit_many(commands))

    def ask(self, query: Query[A]) -> Future[A]:
        """`Broker.ask`."""
        return self.call(lambda: self._broker.ask(query))

    def statistics(self) -> Future[BrokerStatistics]:
        """`Broker.statistics`."""

        async def statistics() -> BrokerStatistics:
            return self._broker.statistics()

        return self.call(statistics)

    def connect(self, *, app: str, user: str, token_ms: UnixMs | None = None) -> "SessionThread":
        """A session of the user; enter it to log in, iterate it to receive."""
        return SessionThread(self, app, user, token_ms)

    def call(self, work: Callable[[], Awaitable[T]]) -> Future[T]:
        """Run a coroutine function in the broker's loop; its outcome is the future's.

        Calls of one thread begin in their order, so what they submit enters the inbox in it.
        """
        future: Future[T] = Future()

        def begin() -> None:
            before, self._begun = self._begun, trio.Event()
            self._calls.start_soon(_fulfil, work, future, before, self._begun)

        self._start(begin, future)
        return future

    def host(self, task: Callable[[], Awaitable[None]], opened: Future[None]) -> None:
        """Run a task in the broker's loop; it is cancelled when the block ends. `opened` fails if that was before."""
        self._start(lambda: self._hosted.start_soon(task), opened)

    def _start(self, start: Callable[[], None], future: Future[T]) -> None:
        with self._lock:
            if self._closed:
                future.set_exception(StorageFailure("the broker is closed"))
                return
            self._pending.add(future)  # type: ignore[arg-type]  # Future is invariant; only its exception is ever set
        future.add_done_callback(self._pending.discard)

        def begin() -> None:
            if self._accepting:
                start()
            else:
                _fail(future, StorageFailure("the broker is closing"))

        self._soon(begin)

    def _soon(self, work: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):  # closed meanwhile: `_close` fails what waits
            self._token.run_sync_soon(work)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001 - the thread's end is told to whoever waits for it
            self._close(error)
        else:
            self._close(None)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._begun.set()
        self._leave = trio.Event()
        async with (
            self._open() as self._broker,
            trio.open_nursery() as self._calls,
            trio.open_nursery() as self._hosted,
        ):
            self._opened.set_result(None)
            self._accepting = True
            try:
                await self._leave.wait()
            finally:
                self._accepting = False
            self._broker.close_sessions()
            self._broker.stop_waits()
            self._hosted.cancel_scope.cancel()

    def _close(self, error: BaseException | None) -> None:
        with self._lock:
            self._closed = True
        for future in list(self._pending):
            _fail(future, StorageFailure(str(error or "the broker is closed")))
        for end in (self._opened, self._ended):
            if end.done():
                continue
            if error is None:
                end.set_result(None)
            else:
                end.set_exception(error)


class SessionThread:
    """A session from another thread, from `BrokerThread.connect`."""

    def __init__(self, thread: BrokerThread, app: str, user: str, token_ms: UnixMs | None) -> None:
        self._thread = thread
        self._app = app
        self._user = user
        self._token_ms = token_ms
        self._session: Session
        self._leave: trio.Event
        self._left: Future[None] = Future()
        self._next: Future[Delivery] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Raises what `Broker.connect` does."""
        opened: Future[None] = Future()
        self._thread.host(lambda: self._hold(opened), opened)
        opened.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Returns once the session is logged out."""
        self.close().exception()

    @property
    def welcome(self) -> Welcome:
        """What waited at the login."""
        return self._session.welcome

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Delivery:
        """The next frame; ends when the session or the broker is closed. Raises Kicked once the user was."""
        received = self.receive()
        try:
            return received.result()
        except StopAsyncIteration:
            raise StopIteration from None
        finally:
            received.cancel()  # interrupted: the frame is for the next call

    def receive(self) -> Future[Delivery]:
        """The next frame as a future, one at a time; its StopAsyncIteration says that session or broker are closed.

        It may be cancelled, by a timeout of asyncio's say: the frame is then the next call's.
        """
        with self._lock:
            waiting = self._next or self._thread.call(self._session.__anext__)
            self._next = waiting
        received: Future[Delivery] = Future()

        def hand_over(_: object) -> None:
            if not received.set_running_or_notify_cancel():
                return
            self._next = None
            error = waiting.exception()
            if error is None:
                received.set_result(waiting.result())
            else:
                received.set_exception(error)

        waiting.add_done_callback(hand_over)
        return received

    def ack(self, delivery: Delivery) -> Future[None]:
        """`Session.ack`: done once it is on disk."""
        return self._thread.call(lambda: self._session.ack(delivery))

    def ack_id(self, id: MessageId, seq: int | None = None) -> Future[None]:
        """`Session.ack_id`."""
        return self._thread.call(lambda: self._session.ack_id(id, seq))

    def join(self, room: str, since: MessageId | None = None) -> Future[Joined]:
        """`Session.join`."""
        return self._thread.call(lambda: self._session.join(room, since))

    def leave(self, room: str) -> Future[None]:
        """`Session.leave`."""
        return self._thread.call(lambda: self._session.leave(room))

    def close(self) -> Future[None]:
        """Log out; done once that is on disk."""

        async def close() -> None:
            self._leave.set()
            await trio.lowlevel.checkpoint()

        self._thread.call(close).exception()
        return self._left

    async def _hold(self, opened: Future[None]) -> None:
        self._leave = trio.Event()
        try:
            connecting = self._thread._broker.connect(app=self._app, user=self._user, token_ms=self._token_ms)
            async with connecting as self._session:
                opened.set_result(None)
                await self._leave.wait()
        except (Refusal, StorageFailure) as error:
            if not opened.done():
                opened.set_exception(error)
        finally:
            if not opened.done():
                opened.set_exception(StorageFailure("the broker is closed"))
            self._left.set_result(None)


def _fail(future: Future[T], error: Exception) -> None:
    """Unless it has ended, or was cancelled in this moment."""
    with suppress(InvalidStateError):
        future.set_exception(error)


async def _fulfil(work: Callable[[], Awaitable[T]], future: Future[T], before: trio.Event, begun: trio.Event) -> None:
    # trio starts tasks in any order. Whoever is woken here runs after this one's first step, which enters the inbox.
    await before.wait()
    begun.set()
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = await work()
    except Exception as error:  # noqa: BLE001 - it is the future's
        future.set_exception(error)
    else:
        future.set_result(result)
