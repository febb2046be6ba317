"""One session of the client: a WebSocket on a plain socket."""

import socket
from typing import Final

import msgspec

from ..failure import BenchFailure
from ..servers import Address
from . import wire

ANSWER_DEADLINE_S: Final = 30.0
"""A server that says nothing for so long is stuck."""
RECEIVE_BYTES: Final = 64 * 1024
_HEAD_END: Final = b"\r\n\r\n"

_frames = msgspec.json.Decoder(list[msgspec.Raw])


class Session:
    """Blocks with a deadline while it opens; later its socket does not, and is polled."""

    __slots__ = ("_rest", "got", "open", "socket")

    def __init__(self, address: Address, receive_buffer: int | None = None) -> None:
        """`receive_buffer`: bytes that the system may hold unread. Raises OSError if there is no server."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(ANSWER_DEADLINE_S)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self.open = False
        """The server agreed to the upgrade."""
        self.got = 0
        """Frames that came in this slice."""

    def say(self, data: bytes) -> None:
        """Send; a large one may have to wait until the server takes it. Raises OSError."""
        sent = self.socket.send(data)
        if sent < len(data):
            timeout = self.socket.gettimeout()
            self.socket.settimeout(ANSWER_DEADLINE_S)
            self.socket.sendall(data[sent:])
            self.socket.settimeout(timeout)

    def receive(self) -> list[bytes]:
        """The frames of what has come. Raises BenchFailure if the server closed or sent something else, OSError."""
        return self._taken(self._more())

    def upgraded(self) -> None:
        """Wait until the server agreed to the upgrade. Raises BenchFailure, OSError."""
        while not self._agreed():
            pass

    def receive_from_start(self) -> list[bytes]:
        """As `receive`, for who did not wait for the upgrade."""
        if self.open:
            return self.receive()
        return self._taken(b"") if self._agreed() else []

    def _agreed(self) -> bool:
        """Take what has come of the answer to the upgrade; whether all of it has."""
        self._rest += self._more()
        if _HEAD_END not in self._rest:
            return False
        head, _, self._rest = self._rest.partition(_HEAD_END)
        if not head.startswith(b"HTTP/1.1 101 "):
            status = head.partition(b"\r\n")[0].decode("latin-1")
            raise BenchFailure(f"a session was not opened: {status} {self._rest[:200].decode('latin-1')}")
        self.open = True
        return True

    def answer(self) -> bytes:
        """Wait for the one frame that the server has to say now. Raises BenchFailure, OSError."""
        frames = self._taken(b"")
        while not frames:
            frames = self.receive()
        if len(frames) > 1:
            raise BenchFailure(f"more was said than one frame: {frames[1][:200].decode('latin-1')}")
        return frames[0]

    def _more(self) -> bytes:
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise BenchFailure("the server closed a connection")
        return data

    def _taken(self, data: bytes) -> list[bytes]:
        messages, self._rest = wire.split(self._rest + data if self._rest else data)
        frames: list[bytes] = []
        for opcode, payload in messages:
            if opcode == wire.TEXT:
                if payload.startswith(b"["):  # what had gathered
                    frames += map(bytes, _frames.decode(payload))
                else:
                    frames.append(payload)
            elif opcode == wire.PING:
                self.say(wire.message(payload, wire.PONG))
            elif opcode == wire.CLOSE:
                raise BenchFailure(f"the server closed a session: {wire.reason(payload)}")
        return frames
