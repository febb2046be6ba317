"""One accepted socket: reading and writing that never blocks the loop, and ends for a peer that takes too long."""

import socket
from contextlib import suppress
from typing import Final

import trio

from .settings import DISCARD_BYTES, DISCARD_S, RECEIVE_BYTES

_WRITE_HIGH: Final = 1 << 16


class Gone(Exception):
    """The peer closed the connection, or takes nothing of what it is sent."""


class Stream:
    """A connected socket. One task reads; writes are whole and in order, whoever makes them."""

    __slots__ = ("_closed", "_socket", "client", "write_s")

    def __init__(self, connected: socket.socket, client: str | None, write_s: float) -> None:
        """Owns the socket from here."""
        self._socket = connected
        self.write_s = write_s
        """How long the peer may take nothing of what it is sent."""
        self._closed = False
        self.client = client
        """The peer's address without its port."""

    def receive_now(self) -> bytes | None:
        """What has come already: b"" once the peer sends no more, None if nothing. Raises Gone if it is closed on this side."""
        if self._closed:
            raise Gone
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError:  # reset, timed out: nothing more comes
            return b""

    async def receive(self) -> bytes:
        """What comes next, at least a byte; b"" once the peer sends no more. Raises Gone if it is closed on this side."""
        data: bytes | None = None
        while data is None:
            if self._closed:
                raise Gone
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                raise Gone from None
            except OSError:
                return b""
            data = self.receive_now()
        return data

    def send_now(self, data: bytes) -> int:
        """How many bytes the system takes at once. Raises Gone."""
        if self._closed:
            raise Gone
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            raise Gone from None

    async def send_rest(self, data: memoryview) -> None:
        """Send what `send_now` did not take. Raises Gone, also if the peer takes nothing for too long."""
        while data:
            if self._closed:
                raise Gone
            with trio.move_on_after(self.write_s) as waiting:
                try:
                    await trio.lowlevel.wait_writable(self._socket)
                except (trio.ClosedResourceError, OSError):
                    raise Gone from None
            if waiting.cancelled_caught:
                raise Gone
            data = data[self.send_now(data[:_WRITE_HIGH]) :]  # type: ignore[arg-type]  # send takes any buffer

    async def send_all(self, data: bytes) -> None:
        """Send it. Raises Gone. With nothing to wait for it does not yield."""
        taken = self.send_now(data)
        if taken < len(data):
            await self.send_rest(memoryview(data)[taken:])

    async def close_gently(self) -> None:
        """Say that nothing more comes, and read on a little: an answer must not be lost to a reset."""
        with suppress(OSError, Gone):
            self._socket.shutdown(socket.SHUT_WR)
            with trio.move_on_after(DISCARD_S):
                left = DISCARD_BYTES
                while left > 0 and (data := await self.receive()):
                    left -= len(data)
        self.close()

    def close(self) -> None:
        """Close it as it is. Whoever waits on it gets Gone. Idempotent."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
