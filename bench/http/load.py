"""The client: many keep-alive connections over one poll loop, plain sockets, in a process without a server."""

import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator
from typing import Final, Self

import trio

from ..failure import BenchFailure
from ..figures import Slice
from ..servers import Address
from . import wire

ANSWER_DEADLINE_S: Final = 30.0
"""A server that says nothing for so long is stuck."""
BEHIND_MAX_S: Final = 5.0
"""How far a fixed rate may run ahead of the server before the run is given up."""
_RECEIVE_BYTES: Final = 64 * 1024


class _Connection:
    """One socket, with at most one request under way."""

    __slots__ = ("answer", "since", "socket")

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address, timeout=ANSWER_DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self.answer = bytearray()
        self.since = 0.0
        """When the request under way was due."""

    def send(self, request: bytes, since: float) -> None:
        self.since = since
        sent = self.socket.send(request)
        if sent < len(request):  # a large one, seldom; its connection is idle otherwise
            self.socket.settimeout(ANSWER_DEADLINE_S)
            self.socket.sendall(request[sent:])
            self.socket.setblocking(False)  # noqa: FBT003

    def receive(self) -> bool:
        """Take what has come; whether the answer is complete."""
        data = self.socket.recv(_RECEIVE_BYTES)
        if not data:
            raise BenchFailure("the server closed a connection")
        self.answer += data
        return wire.complete(self.answer)


class Load:
    """Implements `rounds.Side` for one server; its connections stay open from slice to slice."""

    def __init__(
        self, address: Address, requests: Iterator[bytes], mark: bytes, connections: int, rate: float | None
    ) -> None:
        """`rate` is requests a second; None is a closed loop. Raises OSError if there is no server."""
        self._requests = requests
        self._mark = mark
        self._rate = rate
        self._selector = selectors.DefaultSelector()
        self._idle: deque[_Connection] = deque()
        for _ in range(connections):
            connection = _Connection(address)
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            self._idle.append(connection)
        self._all = tuple(self._idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for connection in self._all:
            connection.socket.close()

    async def run(self, seconds: float) -> Slice:
        """One slice: with a rate, what was due in it; else what every connection managed, one request after the other."""
        return await trio.to_thread.run_sync(self._run, seconds)

    def _run(self, seconds: float) -> Slice:
        latencies: list[float] = []
        began = time.perf_counter()
        end = began + seconds
        try:
            if self._rate is None:
                self._closed(end, latencies)
            else:
                self._fixed(began, end, 1 / self._rate, latencies)
        except OSError as error:
            raise BenchFailure(f"a connection failed: {error}") from error
        return Slice(len(latencies), time.perf_counter() - began, latencies)

    def _closed(self, end: float, latencies: list[float]) -> None:
        while True:
            now = time.perf_counter()
            if now < end:
                while self._idle:
                    self._idle.popleft().send(next(self._requests), time.perf_counter())
            elif len(self._idle) == len(self._all):
                return
            self._poll(ANSWER_DEADLINE_S, latencies)

    def _fixed(self, due: float, end: float, every: float, latencies: list[float]) -> None:
        while True:
            now = time.perf_counter()
            if now - due > BEHIND_MAX_S:
                raise BenchFailure(f"{now - due:.0f} s behind the schedule: --rate is more than this machine does")
            while self._idle and due <= now and due < end:
                self._idle.popleft().send(next(self._requests), due)
                due += every
            waiting = len(self._idle) < len(self._all)
            if due >= end:
                if not waiting:
                    return
                self._poll(ANSWER_DEADLINE_S, latencies)
            elif waiting or not self._idle:
                self._poll(max(0.0, due - now) if self._idle else ANSWER_DEADLINE_S, latencies)
            else:
                time.sleep(max(0.0, due - now))

    def _poll(self, timeout: float, latencies: list[float]) -> None:
        """Take what has come within this time."""
        ready = self._selector.select(timeout)
        if not ready and timeout == ANSWER_DEADLINE_S:
            raise BenchFailure(f"no answer within {ANSWER_DEADLINE_S:.0f} s")
        for key, _ in ready:
            connection: _Connection = key.data
            if connection.receive():
                latencies.append((time.perf_counter() - connection.since) * 1000)
                wire.check(connection.answer, self._mark)
                connection.answer.clear()
                self._idle.append(connection)


def exchange(address: Address, request: bytes) -> bytes:
    """One request on a connection of its own, and its answer. Raises BenchFailure, OSError."""
    connection = _Connection(address)
    try:
        connection.socket.settimeout(ANSWER_DEADLINE_S)
        connection.socket.sendall(request)
        while not connection.receive():
            pass
        return bytes(connection.answer)
    finally:
        connection.socket.close()
