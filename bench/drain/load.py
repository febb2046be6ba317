"""The client: a group of users who open their sessions at once and read all that is there for them."""

import selectors
import time
from typing import Final

import msgspec
import trio

from ..failure import BenchFailure
from ..figures import Slice
from ..servers import Address
from ..sessions.app import SENDER
from ..sessions.session import ANSWER_DEADLINE_S, Session
from .settings import Settings

SETTLE_S: Final = 0.1
"""After a group left: the server tidies up on nobody's time."""


class _Frame(msgspec.Struct):
    """What a frame has to say, whatever else it says. A welcome has no number."""

    type: str
    seq: int = 0
    sender: str = SENDER
    payload: str | None = None


_frame = msgspec.json.Decoder(_Frame)


class Comers:
    """Implements `rounds.Side` for one server; each slice is a group's, however long it takes."""

    def __init__(self, address: Address, settings: Settings) -> None:
        self._address = address
        self._settings = settings
        self._payload = settings.payload()
        self._groups = iter(range(settings.groups))
        self._each: list[float] = []
        self._last: list[float] = []
        self._worked_s = self._elapsed_s = 0.0

    @property
    def busy(self) -> float:
        """The part of the time in which the client was at work: near 1 it would measure itself."""
        return self._worked_s / self._elapsed_s

    def rehearse(self) -> list[bytes]:
        """What the first user of a group got. Raises BenchFailure."""
        heard: list[bytes] = []
        self._run(heard)
        return heard

    async def run(self, seconds: float) -> Slice:
        """One group's coming. An operation is a message that arrived; latency counts from the first connection."""
        return await trio.to_thread.run_sync(self._run)

    def _run(self, heard: list[bytes] | None = None) -> Slice:
        openings = [self._settings.opening(user) for user in self._settings.names(next(self._groups))]
        self._each, self._last = [], []
        sessions: list[Session] = []
        worked, began = time.thread_time(), time.perf_counter()
        try:
            with selectors.DefaultSelector() as selector:
                for opening in openings:
                    sessions.append(Session(self._address))
                    sessions[-1].say(opening)
                    sessions[-1].socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
                    selector.register(sessions[-1].socket, selectors.EVENT_READ, sessions[-1])
                self._receive(selector, began, sessions[0], heard)
            elapsed = time.perf_counter() - began
            self._worked_s += time.thread_time() - worked
            self._elapsed_s += elapsed
        except OSError as error:
            raise BenchFailure(f"a connection failed: {error}") from error
        finally:
            for session in sessions:
                session.socket.close()
        time.sleep(SETTLE_S)
        return Slice(len(self._each), elapsed, self._each, self._last)

    def _receive(
        self, selector: selectors.BaseSelector, began: float, first: Session, heard: list[bytes] | None
    ) -> None:
        """Until everybody has everything."""
        while len(self._last) < self._settings.users:
            ready = selector.select(ANSWER_DEADLINE_S)
            if not ready:
                raise BenchFailure(f"nothing came within {ANSWER_DEADLINE_S:.0f} s")
            for key, _ in ready:
                session: Session = key.data
                frames = session.receive_from_start()
                took_ms = (time.perf_counter() - began) * 1000
                for frame in frames:
                    self._check(session, frame)
                    if session.got:
                        self._each.append(took_ms)
                    if session.got == self._settings.queued:
                        self._last.append(took_ms)
                    session.got += 1
                if heard is not None and session is first:
                    heard += frames

    def _check(self, session: Session, frame: bytes) -> None:
        """A welcome, then each message once, in order."""
        try:
            said = _frame.decode(frame)
        except msgspec.DecodeError as error:
            raise BenchFailure(f"a frame is none: {frame[:200].decode('latin-1')}") from error
        wanted = ("message", self._payload) if session.got else ("welcome", None)
        if (said.type, said.payload, said.seq, said.sender) != (*wanted, session.got, SENDER):
            raise BenchFailure(f"a session got something else: {frame[:200].decode('latin-1')}")
        if session.got > self._settings.queued:
            raise BenchFailure(f"more came than was queued: {frame[:200].decode('latin-1')}")
