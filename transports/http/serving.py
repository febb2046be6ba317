"""What the hosts share: what is being served now, and the WebSockets by their path."""

from collections.abc import Mapping
from typing import Protocol

import trio

from postroom.core.errors import StorageFailure
from postroom.transports.logs import get_logger

from .types import HttpReply, json_reply
from .websocket import Serve, Socket

_log = get_logger("postroom.http")


class Serving:
    """Counts requests and WebSockets being served, by whichever host."""

    def __init__(self) -> None:
        self._open = 0
        self._idle = trio.Event()

    @property
    def open(self) -> int:
        """Requests and WebSockets being served."""
        return self._open

    def begin(self) -> None:
        """One more."""
        self._open += 1

    def end(self) -> None:
        """One less."""
        self._open -= 1
        if not self._open:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until nothing is being served; what comes in the meantime is waited for as well."""
        while self._open:
            self._idle = trio.Event()
            await self._idle.wait()


class EndedSocket(Socket, Protocol):
    """A socket whose host ends what its session left open."""

    async def finish(self) -> None:
        """The session is over."""


class WebSockets:
    """Who serves a WebSocket, by its path."""

    def __init__(self, by_path: Mapping[str, Serve]) -> None:
        self._by_path = by_path

    async def serve(self, socket: EndedSocket, path: str) -> None:
        """Carry one to its end. Raises StorageFailure: nothing may be said then."""
        serve = self._by_path.get(path)
        if serve is None:
            await socket.reject(problem(404, "not_found", "no route"))
            return
        try:
            await serve(socket)
        except StorageFailure:
            raise
        except Exception:  # noqa: BLE001  a fault of ours costs its session, and nobody else anything
            _log.exception("incident", path=path)
        await socket.finish()


def problem(status: int, code: str, message: str) -> HttpReply:
    """An answer of no dialect."""
    return json_reply(status, {"code": code, "message": message})
