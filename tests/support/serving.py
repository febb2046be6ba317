"""The real HTTP server on a real socket of this process, and a client for it."""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any

import httpx
import msgspec
import trio

from postroom.core import Broker, StorageFailure, open_broker
from postroom.core.ports import Store, Transaction
from postroom.storage.memory import MemoryStore
from postroom.transports.config import AppConfig, Config, ServerConfig, parse_address
from postroom.transports.http.sockets import bind
from postroom.transports.serve import GRACE_S, Bound, Server
from tests.support.web import APP, APP_ID, PEER, basic

BASE = f"/dev/v2/project/{APP_ID}"


class Served(msgspec.Struct, frozen=True):
    """A running server."""

    broker: Broker
    client: httpx.AsyncClient
    """With the app's Basic credentials."""
    port: int
    stop: trio.Event
    """Set it, and the server gets its SIGTERM."""
    stopped: trio.Event
    """The server has ended."""

    async def send(self, wire: object = PEER, *, user: str = "userA", query: str = "", **more: Any) -> httpx.Response:
        """One peer message; `wire` is the JSON body, or the bytes of one that is not."""
        content = wire if isinstance(wire, bytes) else msgspec.json.encode(wire)
        url = f"{BASE}/rtm/users/{user}/peer_messages{'?' + query if query else ''}"
        return await self.client.post(url, content=content, **more)


def config_of(*apps: AppConfig, **server: Any) -> Config:
    """A configuration on a free port."""
    return Config(server=ServerConfig(bind=("127.0.0.1:0",), **server), apps=apps or (APP,))


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


@asynccontextmanager
async def serving(
    config: Config | None = None,
    store: Store | None = None,
    headers: Mapping[str, str] | None = None,
    grace_s: float = GRACE_S,
) -> AsyncIterator[Served]:
    """Run the server for as long as the block runs, on a store that forgets unless there is another."""
    config = config or config_of()
    address = parse_address(config.server.bind[0])
    sockets = bind(address.host, address.port)
    stop, stopped, listening = trio.Event(), trio.Event(), trio.Event()

    async def until() -> int:
        await stop.wait()
        return signal.SIGTERM

    async def run(server: Server) -> None:
        await server.run([Bound(address, sockets)], until=until, announce=lambda urls: listening.set())
        stopped.set()

    async with open_broker(store or MemoryStore(), rules=config.rules) as broker, trio.open_nursery() as nursery:
        nursery.start_soon(run, Server(config, broker, grace_s))
        await listening.wait()
        port = sockets[0].getsockname()[1]
        auth = {"Authorization": basic()} if headers is None else headers
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=auth, timeout=30) as client:
            yield Served(broker, client, port, stop, stopped)
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
