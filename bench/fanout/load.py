"""The client: one sender and many sessions over one poll loop, in a process without a server."""

import selectors
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

import msgspec
import trio

from ..failure import BenchFailure
from ..figures import Slice
from ..servers import Address
from ..sessions import wire
from ..sessions.app import SENDER
from ..sessions.session import ANSWER_DEADLINE_S, Session
from .bare import Script
from .settings import Settings

BEHIND_MAX_S: Final = 5.0
"""How far a fixed rate may run ahead of the server before the run is given up."""
OPENING_TOGETHER: Final = 64
"""Sessions whose logins, and then joins, may share commits."""


class _Message(msgspec.Struct):
    """What a frame has to say, whatever else it says."""

    type: str
    conversation: dict[str, str]
    sender: str
    payload: str


class _Ok(msgspec.Struct):
    type: str
    ref: str


class _UnderWay:
    """A message that was sent, until everybody has it and the sender its answer."""

    __slots__ = ("answered", "frame", "left", "since")

    def __init__(self, since: float, left: int) -> None:
        self.since = since
        self.left = left
        self.answered = False
        self.frame = b""
        """As the first session got it; the others have to get the same."""


_message = msgspec.json.Decoder(_Message)
_ok = msgspec.json.Decoder(_Ok)


@contextmanager
def audience(address: Address, settings: Settings) -> Iterator["Audience"]:
    """Everybody's session at a server, in the room, and a sender's outside of it. Raises BenchFailure."""
    opened: list[Session] = []
    try:
        try:
            yield _opened(address, settings, opened)
        except OSError as error:
            raise BenchFailure(f"a connection failed: {error}") from error
    finally:
        for session in opened:
            session.socket.close()


def _opened(address: Address, settings: Settings, opened: list[Session]) -> "Audience":
    names = iter([SENDER, *settings.names()])
    welcome = joined = b""
    while together := list(islice(names, OPENING_TOGETHER)):
        first = len(opened)
        for user in together:
            opened.append(Session(address))
            opened[-1].say(settings.opening(user))
        for session in opened[first:]:
            session.upgraded()
        for session in opened[first:]:
            welcome = session.answer()
            if session is not opened[0]:
                session.say(wire.message(settings.join()))
        for session in opened[max(first, 1) :]:
            joined = session.answer()
            if _ok.decode(joined).type != "ok":
                raise BenchFailure(f"a session could not join: {joined.decode('latin-1')}")
    return Audience(opened[0], opened[1:], settings, welcome, joined)


class Audience:
    """Implements `rounds.Side` for one server; its sessions stay open from slice to slice."""

    def __init__(
        self, sender: Session, sessions: Sequence[Session], settings: Settings, welcome: bytes, joined: bytes
    ) -> None:
        self._sender = sender
        self._sessions = sessions
        self._settings = settings
        self._payload = settings.payload()
        self._message = wire.message(settings.send())
        self._said = Script(welcome=welcome, join=settings.join(), joined=joined, sent=b"", frame=b"")
        self._selector = selectors.DefaultSelector()
        for session in (sender, *sessions):
            session.socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
            self._selector.register(session.socket, selectors.EVENT_READ, session)
        self._messages: list[_UnderWay] = []
        self._open = 0
        self._each: list[float] = []
        self._last: list[float] = []
        self._worked_s = self._elapsed_s = 0.0

    @property
    def busy(self) -> float:
        """The part of the time in which the client was at work: near 1 it would measure itself."""
        return self._worked_s / self._elapsed_s

    def rehearse(self) -> Script:
        """Send one message, and say what the server said. Raises BenchFailure."""
        self._run(0.0, once=True)
        return msgspec.structs.replace(self._said, frame=self._messages[0].frame)

    async def run(self, seconds: float) -> Slice:
        """One slice: with a rate, what was due in it; else message after message. An operation is a frame that arrived."""
        return await trio.to_thread.run_sync(self._run, seconds)

    def _run(self, seconds: float, *, once: bool = False) -> Slice:
        self._messages, self._each, self._last = [], [], []
        for session in (self._sender, *self._sessions):
            session.got = 0
        worked, began = time.thread_time(), time.perf_counter()
        try:
            if once:
                self._send(began)
                while self._open:
                    self._poll(ANSWER_DEADLINE_S)
            elif self._settings.rate is None:
                self._closed(began + seconds)
            else:
                self._fixed(began, began + seconds, 1 / self._settings.rate)
        except OSError as error:
            raise BenchFailure(f"a connection failed: {error}") from error
        elapsed = time.perf_counter() - began
        self._worked_s += time.thread_time() - worked
        self._elapsed_s += elapsed
        return Slice(len(self._each), elapsed, self._each, self._last)

    def _closed(self, end: float) -> None:
        while (now := time.perf_counter()) < end or self._open:
            while self._open < self._settings.in_flight and now < end:
                self._send(now)
                now = time.perf_counter()
            self._poll(ANSWER_DEADLINE_S)

    def _fixed(self, due: float, end: float, every: float) -> None:
        while due < end or self._open:
            now = time.perf_counter()
            if now - due > BEHIND_MAX_S:
                raise BenchFailure(f"{now - due:.0f} s behind the schedule: --rate is more than this machine does")
            while due <= now and due < end and self._open < self._settings.in_flight:
                self._send(due)
                due += every
            waits = due >= end or self._open == self._settings.in_flight
            if not waits and not self._open:
                time.sleep(max(0.0, due - time.perf_counter()))
            elif self._open:
                self._poll(ANSWER_DEADLINE_S if waits else max(0.0, due - time.perf_counter()))

    def _send(self, since: float) -> None:
        self._messages.append(_UnderWay(since, len(self._sessions)))
        self._open += 1
        self._sender.say(self._message)

    def _poll(self, timeout: float) -> None:
        """Take what has come within this time."""
        ready = self._selector.select(timeout)
        if not ready and timeout == ANSWER_DEADLINE_S:
            raise BenchFailure(f"nothing came within {ANSWER_DEADLINE_S:.0f} s")
        messages, sender = self._messages, self._sender
        for key, _ in ready:
            session: Session = key.data
            frames = session.receive()
            now = time.perf_counter()
            for frame in frames:
                if session.got == len(messages):
                    raise BenchFailure(f"more came than was sent: {frame[:200].decode('latin-1')}")
                message = messages[session.got]
                session.got += 1
                if session is sender:
                    self._answered(message, frame)
                elif frame == message.frame:
                    self._delivered(message, now)
                else:
                    self._check(message, frame)
                    self._delivered(message, now)

    def _delivered(self, message: _UnderWay, now: float) -> None:
        took_ms = (now - message.since) * 1000
        self._each.append(took_ms)
        message.left -= 1
        if not message.left:
            self._last.append(took_ms)
            self._open -= message.answered

    def _answered(self, message: _UnderWay, frame: bytes) -> None:
        if _ok.decode(frame).type != "ok":
            raise BenchFailure(f"a message was answered {frame[:200].decode('latin-1')}")
        message.answered = True
        self._said = msgspec.structs.replace(self._said, sent=frame)
        self._open -= not message.left

    def _check(self, message: _UnderWay, frame: bytes) -> None:
        """The first session's frame is what was sent, and every other's the same."""
        if message.frame:
            raise BenchFailure(f"two sessions got different frames: {frame[:200].decode('latin-1')}")
        try:
            said = _message.decode(frame)
        except msgspec.DecodeError as error:
            raise BenchFailure(f"a frame is no message: {frame[:200].decode('latin-1')}") from error
        if (said.type, said.conversation, said.sender, said.payload) != (
            "message",
            {"kind": "room", "id": self._settings.room},
            SENDER,
            self._payload,
        ):
            raise BenchFailure(f"a session got another message: {frame[:200].decode('latin-1')}")
        message.frame = frame
