"""A WebSocket and a broker that do what a test of the native sessions tells them."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from postroom.core import Delivery, Joined, Receipt, Refusal, SendMessage, Sink
from postroom.core.commands import Command, MarkRead
from postroom.core.domain import Welcome
from postroom.core.errors import UnknownId
from postroom.core.ids import MessageId, Position, UnixMs
from postroom.core.model import peer
from postroom.transports.http.types import HttpReply
from postroom.transports.native.session import NativeService
from postroom.transports.native.tokens import issue

SECRET = "demo-session-secret-demo-session-secret"
NOW = UnixMs(1_790_000_000_000)
WELCOME = {"type": "welcome", "app": "demo", "user": "bob", "session": "9", "queued": 3, "missed": 1}


def token(user: str = "bob", app: str = "demo") -> str:
    """A token that is good for a minute from NOW."""
    return issue(SECRET, app, user, 60, NOW)


def message(number: int, body: bytes = b"hi") -> Delivery:
    """A message from alice to bob."""
    return Delivery(
        type="message",
        id=MessageId(number),
        conversation=peer("alice"),
        sender="alice",
        body=body,
        at_ms=NOW,
        queued=True,
        seq=number,
        via="test",
        position=Position(number),
    )


class FakeSocket:
    """A client's connection. Like the real ones it may be unable to cancel a send, and ends it when it is closed."""

    def __init__(self, headers: dict[str, str] | None = None, query: dict[str, str] | None = None) -> None:
        self.headers = (
            {"authorization": f"Bearer {token()}", "sec-websocket-protocol": "postroom.v1.json"}
            if headers is None
            else headers
        )
        self.query = query or {}
        self.client = "127.0.0.1"
        self.accepted: str | None = None
        self.rejected: HttpReply | None = None
        self.closed: tuple[int, str] | None = None
        self.texts: list[str] = []
        self.reads = True
        """Whether the client reads what it is sent."""
        self.takes_now = False
        """Whether what is handed over without waiting is taken, as the lean host's sockets do while they can."""
        self._reading = trio.Condition()
        self._to_server, self._from_client = trio.open_memory_channel[str | bytes | None](10)

    async def accept(self, subprotocol: str | None) -> None:
        assert self.accepted is None
        assert self.rejected is None
        self.accepted = subprotocol

    async def reject(self, reply: HttpReply) -> None:
        assert self.accepted is None
        assert self.rejected is None
        self.rejected = reply

    async def receive(self) -> str | bytes | None:
        return await self._from_client.receive()

    async def send(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            async with self._reading:
                while not self.reads and self.closed is None:
                    await self._reading.wait()
        if self.closed is None:
            self.texts.append(text)

    def hand_over(self, payload: bytes) -> bool:
        if not self.takes_now or self.closed is not None:
            return False
        self.texts.append(payload.decode())
        return True

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)
        async with self._reading:
            self._reading.notify_all()

    # The client's side.

    async def say(self, *frames: object) -> None:
        """Send frames, one text each."""
        for frame in frames:
            await self._to_server.send(json.dumps(frame))

    async def say_raw(self, text: str | bytes | None) -> None:
        """Send a text as it is; None closes."""
        await self._to_server.send(text)

    def say_nowait(self, frame: object) -> None:
        """Send a frame; trio.WouldBlock if the server has stopped reading."""
        self._to_server.send_nowait(json.dumps(frame))

    async def read(self) -> None:
        """Read from now on."""
        self.reads = True
        async with self._reading:
            self._reading.notify_all()

    def frames(self) -> list[Any]:
        """What came since the last call, arrays taken apart."""
        found: list[Any] = []
        for text in self.texts:
            value = json.loads(text)
            found += value if isinstance(value, list) else [value]
        self.texts.clear()
        return found


class FakeSession:
    """A session that was sent messages 1 to 99."""

    def __init__(self, broker: "FakeBroker", sink: Sink) -> None:
        self.welcome = Welcome(Position(9), 3, 1)
        self.sink = sink
        self.acks: list[tuple[int, int | None]] = []
        self.resumed = 0
        self.kick_reason = ""
        self.moves: list[tuple[str, str, MessageId | None]] = []
        self.missed: list[Delivery] = []
        """What a join with `since` replays, and says that it is everything if there is something."""
        self.refuses: dict[str, Refusal] = {}
        """What a join or leave of a room is refused with."""
        self._broker = broker

    def ack_id_soon(self, id: MessageId, seq: int | None = None) -> None:
        if not 1 <= id <= 99:
            raise UnknownId(f"message {id} was not sent")
        self.acks.append((id, seq))

    def ack_id_now(self, id: MessageId, seq: int | None = None) -> Callable[[], Awaitable[None]]:
        self.ack_id_soon(id, seq)
        return self._broker.disk

    def resume(self) -> None:
        self.resumed += 1

    async def join(
        self, name: str, since: MessageId | None = None, *, answer: Callable[[Joined], None] | None = None
    ) -> Joined:
        await self._move("join", name, since)
        joined = Joined(through=Position(9), recovered=None if since is None else bool(self.missed))
        assert answer is not None
        answer(joined)
        if since is not None:
            assert all(map(self.sink.offer, self.missed))
        return joined

    async def leave(self, name: str) -> None:
        await self._move("leave", name, None)

    async def _move(self, *move: Any) -> None:
        self.moves.append(move)
        await self._broker.disk()
        refusal = self.refuses.get(move[1])
        if refusal is not None:
            raise refusal


class FakeBroker:
    """Commits when it is told to; refuses what it is told to."""

    def __init__(self) -> None:
        self.session: FakeSession | None = None
        self.login_error: Exception | None = None
        self.offered_at_login: list[Delivery] = []
        self.online = False
        self.token_ms: UnixMs | None = None
        """What the last login said of its token."""
        self.batches: list[list[SendMessage]] = []
        self.marks: list[MarkRead] = []
        self.mark_error: Refusal | None = None
        """What a mark is refused with."""
        self.outcomes: dict[bytes, Receipt | Refusal] = {}
        self.failure: Exception | None = None
        self._commit = trio.Event()
        self._commit.set()
        self._last = 100

    def hold(self) -> None:
        """Commit nothing until `commit`."""
        self._commit = trio.Event()

    def commit(self) -> None:
        """Commit what waits and what comes."""
        self._commit.set()

    async def disk(self) -> None:
        """Wait for the commit."""
        await trio.lowlevel.checkpoint()
        await self._commit.wait()
        if self.failure is not None:
            raise self.failure

    @asynccontextmanager
    async def connect(
        self, *, app: str, user: str, sink: Sink | None = None, token_ms: UnixMs | None = None
    ) -> AsyncIterator[FakeSession]:
        assert sink is not None
        if self.login_error is not None:
            raise self.login_error
        self.online = True
        self.token_ms = token_ms
        self.session = FakeSession(self, sink)
        for delivery in self.offered_at_login:
            assert sink.offer(delivery)
        try:
            yield self.session
        finally:
            self.online = False

    async def submit(self, command: Command) -> Receipt:
        assert isinstance(command, MarkRead)
        self.marks.append(command)
        await self.disk()
        if self.mark_error is not None:
            raise self.mark_error
        self._last += 1
        return Receipt(id=MessageId(self._last), at_ms=NOW)

    async def submit_many(self, commands: Sequence[Command]) -> list[Receipt | Refusal]:
        batch = [command for command in commands if isinstance(command, SendMessage)]
        assert len(batch) == len(commands)
        self.batches.append(batch)
        await self.disk()
        return [self._outcome(command) for command in batch]

    def _outcome(self, command: SendMessage) -> Receipt | Refusal:
        self._last += 1
        return self.outcomes.get(command.body) or Receipt(id=MessageId(self._last), at_ms=NOW)


class FakeLimiter:
    """Lets through as many as it is told."""

    def __init__(self, error: Refusal | None = None) -> None:
        self.error = error
        self.taken: list[tuple[str, str]] = []

    def take(self, app: str, operation: str) -> None:
        self.taken.append((app, operation))
        if self.error is not None:
            raise self.error


def service(broker: FakeBroker, limiter: FakeLimiter | None = None) -> NativeService:
    """A service over fakes."""
    return NativeService(
        broker=broker,  # type: ignore[arg-type]  # of the broker it has what a native session calls
        secrets={"demo": SECRET},
        limiter=limiter or FakeLimiter(),
        wall_ms=lambda: NOW,
        heartbeat_s=25,
    )
