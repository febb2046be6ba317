"""The client: sessions that are opened and left alone, and a look at their server's memory."""

import re
import selectors
import time
from pathlib import Path
from typing import Final, Self

import trio

from ..failure import BenchFailure
from ..figures import Slice
from ..servers import Server
from ..sessions.session import Session
from .settings import Settings

TOGETHER: Final = 32
"""Sessions whose logins may share a commit."""
SETTLE_S: Final = 0.3
"""Before memory is looked at."""
_RSS: Final = re.compile(r"^VmRSS:\s+([0-9]+) kB$", re.M)


class Crowd:
    """Implements `rounds.Side` for one server; its sessions stay open. An operation is a session that opened."""

    def __init__(self, server: Server, settings: Settings) -> None:
        self._server = server
        self._settings = settings
        self._parts = iter(settings.parts)
        self._sessions: list[Session] = []
        self._selector = selectors.DefaultSelector()
        self.before = self.after = 0
        """Bytes of memory: after the warm-up, and at last."""

    @property
    def session_bytes(self) -> int:
        """What a session takes."""
        return round((self.after - self.before) / self._settings.sessions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for session in self._sessions:
            session.socket.close()

    async def run(self, seconds: float) -> Slice:
        """Open the next part of the sessions."""
        return await trio.to_thread.run_sync(self._run)

    def _run(self) -> Slice:
        left = next(self._parts)
        latencies: list[float] = []
        began = time.perf_counter()
        try:
            while left:
                opened = min(left, TOGETHER)
                self._open(opened, latencies)
                self._keep_up()
                left -= opened
        except OSError as error:
            raise BenchFailure(f"a connection failed: {error}") from error
        elapsed = time.perf_counter() - began
        time.sleep(SETTLE_S)
        self.after = resident(self._server.pid)
        self.before = self.before or self.after
        return Slice(len(latencies), elapsed, latencies)

    def _open(self, count: int, latencies: list[float]) -> None:
        opened: list[tuple[Session, float]] = []
        for _ in range(count):
            session = Session(self._server.address)
            self._sessions.append(session)
            opened.append((session, time.perf_counter()))
            session.say(self._settings.opening(len(self._sessions)))
        for session, since in opened:
            session.upgraded()
            session.answer()  # the welcome
            latencies.append((time.perf_counter() - since) * 1000)
            session.socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
            self._selector.register(session.socket, selectors.EVENT_READ, session)

    def _keep_up(self) -> None:
        """Answer pings; nothing else may come."""
        for key, _ in self._selector.select(0):
            session: Session = key.data
            if frames := session.receive():
                raise BenchFailure(f"an idle session was told {frames[0][:200].decode('latin-1')}")


def resident(pid: int) -> int:
    """The memory that a process has, in bytes. Raises BenchFailure where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError as error:
        raise BenchFailure(f"the memory of a process is not told here: {error}") from error
    found = _RSS.search(status)
    if found is None:
        raise BenchFailure(f"process {pid} has no memory")
    return int(found[1]) * 1024
