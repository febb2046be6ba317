"""A session: a cursor over its user's queue, and a sink for everything else the user should see now.

It gets the unexpired entries from before its login, oldest first, then every event after it: no gap, nothing twice, no
reordering. What it is too slow for in memory it reads on from disk.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, Self

import trio

from ..domain import Entered, Welcome
from ..errors import Corruption, Kicked, StorageFailure
from ..ids import MessageId, Position
from ..limits import PAGE_BYTES
from ..model import Conversation, Joined, room
from ..rows import Opened
from .buffer import FrameBuffer
from .delivery import NO_MESSAGE, Delivery
from .handover import Handover
from .reading import Missed, Page
from .window import Sent, SentWindow

CloseReason = Literal["shutdown", "failure", "kicked"]

_log = logging.getLogger("postroom.core.session")


class Sink(Protocol):
    """Where a session's frames go."""

    def offer(self, delivery: Delivery) -> bool:
        """Take a frame without blocking; False if there is no room now. Nothing is offered then until `Session.resume` is
        called, which must not happen within `offer`."""

    def close(self, reason: CloseReason) -> None:
        """The broker ends the session; leave its `connect` block soon. Of a kick, `Session.kick_reason` says more."""


class Host(Protocol):
    """What a session asks of its broker."""

    async def read_page(self, app: str, user: str, after: Position, login: Opened) -> Page:
        """A page of what waits for the user."""

    async def read_missed(
        self, app: str, user: str, room: str, since: MessageId, entered: Entered, size: int
    ) -> Missed:
        """What a join replays, up to so many bytes."""

    async def join(self, session: "Session", room: str, *, replays: bool) -> Entered:
        """Enter a room. With `replays`, the session is told `entered` before anything else of the room."""

    async def leave(self, session: "Session", room: str) -> None:
        """Leave a room."""

    def start(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task for as long as the broker is open."""

    def delivered(self, app: str) -> None:
        """A message was handed to a sink."""

    def dropped(self, app: str) -> None:
        """A frame was dropped for a session."""

    def acknowledge(self, session: "Session", through: Position, handled: list[Sent], opened: Opened | None) -> None:
        """Put an ack in the session's slot; `opened` if it accounts for something of streams."""

    def acknowledged(self, session: "Session") -> Callable[[], Awaitable[None]]:
        """Wait until what is in the session's slot now is on disk."""


class Session:
    """One session of a user, from `Broker.connect`. Iterate it, unless it was given a sink."""

    def __init__(self, host: Host, app: str, user: str, budget_bytes: int, sink: Sink | None) -> None:
        self.app = app
        self.user = user
        self.welcome = Welcome(Position(0), 0, 0)
        self._host = host
        self._sink: Sink = sink or Handover(self)
        self._buffer = FrameBuffer(budget_bytes, lambda: host.dropped(app))
        self._budget = budget_bytes
        self._window = SentWindow()
        self._cursor = Position(0)
        self._newest = Position(0)
        self._acked = Position(0)
        self._login = Opened()
        self._streamed = Position(0)
        """The newest it was sent of a stream, to be accounted for."""
        self._streams_due = False
        """Something of streams was sent, or passed over at the login, that no ack accounted for."""
        self._changes: list[Delivery] | None = None
        self._deleted: list[tuple[Conversation, Position]] = []
        """Conversations that were deleted while a page is on its way."""
        self._sink_full = False
        """It refused a frame, and has not said since that it has room."""
        self._room = trio.Event()
        self._joining = trio.Lock()
        self._closed: CloseReason | None = None
        self._error: Exception | None = None

    @property
    def id(self) -> Position:
        """The session's number: the position of its login; 0 before that."""
        return self.welcome.session

    @property
    def kick_reason(self) -> str:
        """What a kick that ended the session said; nothing if none did."""
        return self._error.reason if isinstance(self._error, Kicked) else ""

    # Receiving.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        """The next frame. Ends when the broker closes.

        Raises Kicked once the user was, StorageFailure if the store failed, Corruption if a body did.
        """
        assert isinstance(self._sink, Handover)  # frames of a session with a sink of its own go there
        return await self._sink.take()

    def resume(self) -> None:
        """The sink has room: hand it what waits."""
        self._sink_full = False
        self._hand_out()

    def _hand_out(self) -> None:
        while self._closed is None and not self._sink_full:
            frame = self._buffer.peek()
            if frame is None or not self._takes(frame):
                break
            self._buffer.pop()
            self._note(frame)
        if self._buffer.reading and self._has_room():
            self._room.set()

    def _takes(self, frame: Delivery) -> bool:
        taken = self._sink.offer(frame)
        self._sink_full = not taken
        return taken

    # Acknowledging.

    async def ack(self, delivery: Delivery) -> None:
        """Acknowledge this frame and all sent before it; returns once that is on disk.

        Raises UnknownId if it is not among the last 4,096 frames. Cancelled, it may still be carried out.
        """
        self.ack_soon(delivery)
        await self._host.acknowledged(self)()

    def ack_soon(self, delivery: Delivery) -> None:
        """The same, not waiting for the disk: what a crash forgets comes again."""
        if delivery.type not in NO_MESSAGE:
            self._acknowledge(*self._window.ack_frame(delivery))

    async def ack_id(self, id: MessageId, seq: int | None = None) -> None:
        """`ack` by a message's id; with `seq` it names exactly that frame, else the id's oldest unacknowledged one."""
        await self.ack_id_now(id, seq)()

    def ack_id_now(self, id: MessageId, seq: int | None = None) -> Callable[[], Awaitable[None]]:
        """`ack_id` in the order of the calls. What it returns waits until that is on disk; call it at once or later."""
        self.ack_id_soon(id, seq)
        return self._host.acknowledged(self)

    def ack_id_soon(self, id: MessageId, seq: int | None = None) -> None:
        """`ack_soon` by a message's id."""
        self._acknowledge(*self._window.ack(id, seq))

    def _acknowledge(self, through: Position, handled: list[Sent]) -> None:
        opened = self._login if self._streams_due else None
        if self._streams_due and through >= self._streamed:
            self._streams_due = False
        self._host.acknowledge(self, through, handled, opened)

    # Rooms.

    async def join(
        self, name: str, since: MessageId | None = None, *, answer: Callable[[Joined], None] | None = None
    ) -> Joined:
        """Put the user into a room; returns once that is on disk. All of the user's sessions get what is sent there.

        With `since`, this session is first given what was kept of the room after that message (the user's own excepted, at
        most 1,000), and `recovered` says whether that is all that was sent since: it is not if something was not kept, is
        kept no longer, or found no room.
        `answer` is called with the outcome before the first of these is handed out. The user stays until `leave`, or until
        their last session ends. Raises TooManyRooms, SessionEnded, InvalidCommand, NoSpace, Overloaded.
        """
        async with self._joining:  # replays of one room must not mix
            return await self._join(name, since, answer)

    async def _join(self, name: str, since: MessageId | None, answer: Callable[[Joined], None] | None) -> Joined:
        entered = await self._host.join(self, name, replays=since is not None)
        if since is None:
            joined = Joined(through=entered.through)
            if answer is not None:
                answer(joined)
            return joined
        conversation = room(name)
        try:
            missed = await self._host.read_missed(self.app, self.user, name, since, entered, self._budget // 2)
            frames, fits = self._buffer.fitting(conversation, missed.deliveries)
            joined = Joined(through=entered.through, recovered=missed.complete and fits)
            if answer is not None:
                answer(joined)
        except BaseException:
            self._buffer.release(conversation, [])
            self._hand_out()
            raise
        self._buffer.release(conversation, frames)
        self._hand_out()
        return joined

    async def leave(self, name: str) -> None:
        """Take the user out of a room; returns once that is on disk. Raises SessionEnded, InvalidCommand, NoSpace."""
        await self._host.leave(self, name)

    # What the broker tells it, in the order of the log.

    def opened(self, welcome: Welcome, login: Opened, *, lost: bool) -> None:
        """Its login is on disk: read what waits, if anything does. `lost`: something in streams is passed over."""
        self.welcome = welcome
        self._login = login
        self._streams_due = lost
        if lost:
            self._streamed = welcome.session
        self._newest = welcome.session
        if welcome.queued:
            self._read_on()
        else:
            self._cursor = welcome.session

    def entered(self, conversation: Conversation) -> None:
        """It is in a room, and what came before is on its way."""
        self._buffer.hold_back(conversation)

    def offer(self, frame: Delivery) -> None:
        """A new message or change; called as its commit is made known."""
        if frame.type != "message":
            self.revise(frame)
        if not frame.queued:
            if self._buffer.idle and not self._sink_full and self._closed is None and self._takes(frame):
                self._note(frame)
                return
            self._buffer.push(frame)
        elif frame.position <= self._cursor:
            pass  # read from disk already: a snapshot may know of a commit before it is made known
        elif self._buffer.reading:
            self._newest = frame.position
        elif not self._buffer.push_queued(frame):
            self._newest = frame.position
            self._read_on()
        else:
            self._cursor = frame.position
        self._hand_out()

    def forget(self, conversation: Conversation, position: Position) -> None:
        """A conversation was deleted, by the event at this position."""
        if self._buffer.idle and self._changes is None:
            return  # as nearly all are
        self._buffer.forget(conversation, position)
        if self._changes is not None:
            self._deleted.append((conversation, position))
        self._hand_out()

    def revise(self, change: Delivery) -> None:
        """A message changed: what was not handed out shows it, and nothing else tells of it."""
        if self._buffer.idle and self._changes is None:
            return  # as nearly all are
        self._buffer.revise(change)
        if self._changes is not None:
            self._changes.append(change)

    def acked_elsewhere(self, frame: Delivery) -> None:
        """Another session of the user acknowledged a prefix of the queue."""
        self._acked = max(self._acked, frame.position)
        self._buffer.tell_acked(frame)
        self._hand_out()

    def close(self, reason: CloseReason) -> None:
        """The broker ends it."""
        if self._closed is None:
            self.detach(reason)
            try:
                self._sink.close(reason)
            except Exception:  # noqa: BLE001 - it is closed all the same
                _log.exception("a sink of %s/%s could not be closed", self.app, self.user)

    def fail(self, error: Exception) -> None:
        """The broker ends it because of this, unless it has ended already."""
        if self._closed is None:
            self._error = error
            self.close("failure")

    def kick(self, reason: str) -> None:
        """Its user was kicked. What it has not handed out stays in the queue, if it is queued."""
        if self._closed is None:
            self._error = Kicked(reason)
            self.close("kicked")

    def detach(self, reason: CloseReason = "shutdown") -> None:
        """Nothing more goes to its sink; whoever iterates it stops."""
        self._closed = self._closed or reason
        self._room.set()
        if isinstance(self._sink, Handover):
            self._sink.close(reason)

    def raise_if_closed(self) -> None:
        """Raises what ended it: StopAsyncIteration in good order, else the error."""
        if self._error is not None:
            raise self._error
        if self._closed is not None:
            raise StopAsyncIteration

    # Reading on from disk.

    def _read_on(self) -> None:
        self._buffer.reading = True
        self._buffer.covered = self._cursor
        self._room = trio.Event()
        self._host.start(self._read)

    async def _read(self) -> None:
        try:
            await self._read_pages()
        except (Corruption, StorageFailure) as error:
            _log.error("reading the queue of %s/%s failed: %s", self.app, self.user, error)
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - as in the fan-out: what a sink raises costs its session only
            _log.exception("handing out the queue of %s/%s failed; its session is closed", self.app, self.user)
            self.fail(error)

    async def _read_pages(self) -> None:
        while self._closed is None:
            if not self._has_room():
                await self._room.wait()
                self._room = trio.Event()
                continue
            self._changes, self._deleted = [], []
            page = await self._host.read_page(self.app, self.user, self._cursor, self._login)
            changes, self._changes = self._changes, None
            self._take(page, changes)
            if page.complete and page.as_of >= self._newest:
                self._buffer.reading = False
                self._cursor = page.as_of
                self._hand_out()
                return
            self._hand_out()

    def _has_room(self) -> bool:
        """For a page. What is not queued does not count: it waits for the pages, and makes room for them."""
        return self._buffer.queued_bytes <= self._budget - PAGE_BYTES

    def _take(self, page: Page, changes: list[Delivery]) -> None:
        for frame in page.deliveries:
            if frame.position > self._acked:
                self._buffer.hold(frame)
        # What changed while the page was on its way.
        for change in changes:
            if change.position > page.as_of:
                self._buffer.revise(change)
        for conversation, position in self._deleted:
            if position > page.as_of:
                self._buffer.forget(conversation, position)
        self._cursor = self._buffer.covered = page.through
        if not self._buffer.cover(page.through):
            self._window.cover(page.through)

    def _note(self, frame: Delivery) -> None:
        if frame.type not in NO_MESSAGE:
            self._window.note(frame)
            if frame.queued and frame.seq is None:
                self._streamed = max(self._streamed, frame.position)
                self._streams_due = True
            if frame.type == "message":
                self._host.delivered(self.app)
