"""The real HTTP server on a real socket of this process, and a client for it."""

import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import Any, Final, Literal
from unittest import mock

import httpx
import msgspec
import trio

from postroom.core import Broker, BrokerThread, StorageFailure, open_broker
from postroom.core.ids import MonotonicMs, UnixMs
from postroom.core.ports import Store, Transaction
from postroom.core.runtime.clock import Clock
from postroom.storage.memory import MemoryStore
from postroom.transports.config import AppConfig, Config, ServerConfig, parse_address
from postroom.transports.http.sockets import bind
from postroom.transports.serve import GRACE_S, Bound, Server
from tests.support.web import APP, APP_ID, NO_TLS, NOW_MS, PEER, basic

Host = Literal["hypercorn", "h11"]
HOST: Final[ContextVar[Host]] = ContextVar("HOST", default="hypercorn")
"""What serves where a test does not say which: the fixture `host` of tests/http sets it to one after the other."""

BASE = f"/dev/v2/project/{APP_ID}"


class Served(msgspec.Struct, frozen=True):
    """A running server."""

    broker: Broker
    client: httpx.AsyncClient
    """With the app's Basic credentials."""
    ports: tuple[int, ...]
    """One for each host."""
    stop: trio.Event
    """Set it, and the server gets its SIGTERM."""
    stopped: trio.Event
    """The server has ended."""

    @property
    def port(self) -> int:
        """Of the first host, which is the client's as well."""
        return self.ports[0]

    async def call(self, method: str, path: str, wire: object = None, **more: Any) -> httpx.Response:
        """Any call of the app's; `wire` is the JSON body, or the bytes of one that is not, None for none."""
        content = wire if wire is None or isinstance(wire, bytes) else msgspec.json.encode(wire)
        return await self.client.request(method, f"{BASE}{path}", content=content, **more)

    async def send(self, wire: object = PEER, *, user: str = "userA", query: str = "", **more: Any) -> httpx.Response:
        """One peer message."""
        path = f"/rtm/users/{user}/peer_messages{'?' + query if query else ''}"
        return await self.call("POST", path, wire, **more)


def config_of(*apps: AppConfig, **server: Any) -> Config:
    """A configuration on a free port."""
    return Config(server=ServerConfig(bind=("127.0.0.1:0",), **server), apps=apps or (APP,))


class StoppedClock:
    """Time passes when a test says so: rates, token ends and times in the history are what they should be to the digit."""

    def __init__(self, wall_ms: int = NOW_MS) -> None:
        self._wall_ms = wall_ms
        self._monotonic_ms = 0

    def wall_ms(self) -> UnixMs:
        return UnixMs(self._wall_ms)

    def monotonic_ms(self) -> MonotonicMs:
        return MonotonicMs(self._monotonic_ms)

    def pass_ms(self, by_ms: int) -> None:
        """So much later."""
        self._wall_ms += by_ms
        self._monotonic_ms += by_ms


class DyingStore(MemoryStore):
    """A store whose commits fail once it is told to."""

    dying = False

    def transaction(self) -> AbstractContextManager[Transaction]:
        @contextmanager
        def doomed() -> Any:
            with super(DyingStore, self).transaction() as transaction:
                yield transaction
                if self.dying:
                    raise StorageFailure("the disk is gone")

        return doomed()


def bound_to(config: Config, host: Host) -> Bound:
    """The first address of a configuration, on this host."""
    address = parse_address(config.server.bind[0])
    return Bound(address, bind(address.host, address.port), lean=host == "h11")


def port_of(bound: Bound) -> int:
    """The port that it got."""
    port: int = bound.sockets[0].getsockname()[1]
    return port


@asynccontextmanager
async def serving(
    config: Config | None = None,
    store: Store | None = None,
    headers: Mapping[str, str] | None = None,
    grace_s: float = GRACE_S,
    clock: Clock | None = None,
    hosts: Sequence[Host] | None = None,
) -> AsyncIterator[Served]:
    """Run the server for as long as the block runs, on a store that forgets unless there is another.

    On the host that the test runs on, unless `hosts` says which.

    A `clock` is asked for rates, token ends and times. Waiting is trio's as always.
    """
    config = config or config_of()
    bound = [bound_to(config, host) for host in hosts or (HOST.get(),)]
    stop, stopped, listening = trio.Event(), trio.Event(), trio.Event()

    async def until() -> int:
        await stop.wait()
        return signal.SIGTERM

    async def run(server: Server) -> None:
        await server.run(bound, until=until, announce=lambda urls: listening.set())
        stopped.set()

    opened = open_broker(store or MemoryStore(), rules=config.rules, clock=clock)
    async with opened as broker, trio.open_nursery() as nursery:
        with mock.patch("postroom.transports.serve.SystemClock", return_value=clock) if clock else nullcontext():
            server = Server(config, broker, grace_s)
        nursery.start_soon(run, server)
        await listening.wait()
        ports = tuple(port_of(each) for each in bound)
        auth = {"Authorization": basic()} if headers is None else headers
        url = f"http://127.0.0.1:{ports[0]}"
        async with httpx.AsyncClient(base_url=url, headers=auth, timeout=30, verify=NO_TLS) as client:
            yield Served(broker, client, ports, stop, stopped)
        stop.set()


async def raw(port: int, sent: bytes) -> bytes:
    """All that the server answers to these bytes until it closes the connection, which it must."""
    received = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with trio.fail_after(20), suppress(trio.BrokenResourceError):
            await stream.send_all(sent)
            while chunk := await stream.receive_some():
                received += chunk
    return received


async def as_written(
    served: Served, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> httpx.Response:
    """A call of the app's that goes out byte for byte: clients of ours would escape a quote. With Basic if nothing is given."""
    given = {"Host": "api.example", **({"Authorization": basic()} if headers is None else headers)}
    lines = [f"{method} {BASE}{target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    head, _, content = (await raw(served.port, "\r\n".join(lines).encode() + body)).partition(b"\r\n\r\n")
    status, *fields = head.decode("ascii").split("\r\n")
    return httpx.Response(
        int(status.split()[1]), headers=[tuple(field.split(": ", 1)) for field in fields], content=content
    )


@contextmanager
def serving_in_a_thread(where: Store, config: Config | None = None) -> Iterator[tuple[BrokerThread, httpx.Client]]:
    """The same for synchronous code: the broker of a BrokerThread, served in its loop, and a client."""
    config = config or config_of()
    bound = bound_to(config, HOST.get())
    listening: Future[None] = Future()
    stop = trio.Event()

    with BrokerThread(where, rules=config.rules) as thread:

        async def until() -> int:
            await stop.wait()
            return signal.SIGTERM

        async def run() -> None:
            server = Server(config, thread._broker)
            await server.run([bound], until=until, announce=lambda urls: listening.set_result(None))

        async def end() -> None:
            stop.set()

        ended = thread.call(run)
        listening.result(20)
        url = f"http://127.0.0.1:{port_of(bound)}"
        try:
            with httpx.Client(base_url=url, headers={"Authorization": basic()}, timeout=30, verify=NO_TLS) as client:
                yield thread, client
        finally:  # a server that goes on keeps the thread, and whatever failed untold
            thread.call(end).result(20)
            ended.result(20)
