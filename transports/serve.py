"""The composition root of `postroom serve`: builds the real objects, runs them, and ends them in good order."""

import itertools
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
import trio

from postroom.core import Broker, Options, StorageFailure, open_broker
from postroom.core.runtime.clock import SystemClock

from . import anyrtc, leancloud, logs
from .config import Address, Config, parse_address, secret_values
from .development import development_lines
from .http.asgi import AsgiApp
from .http.hypercorn_host import HostSettings, HypercornHost
from .http.lean.host import LeanHost
from .http.limits import Limiter
from .http.metrics import metrics_registry
from .http.router import Router
from .http.serving import Serving, WebSockets
from .http.shell import HttpCounters, Shell
from .http.sockets import bind as bind_sockets
from .http.system import Readiness, system_dialect
from .native.session import NativeService, serve_session

TRANSPORTS: Final = (anyrtc.TRANSPORT, leancloud.TRANSPORT)
CONNECT: Final = "/v1/connect"
GRACE_S: Final = 10
"""How long what is being served may take to end: more than the 5 s that a command waits for its place, and a commit."""

_log = logs.get_logger("postroom.serve")


class Bound(msgspec.Struct, frozen=True):
    """An address that was asked for, with its sockets."""

    address: Address
    sockets: list[socket.socket]
    lean: bool = False
    """The lean host listens there."""

    def url(self, *, tls: bool) -> str:
        """Where clients find it, by the host as it was asked for and the port that it got."""
        port = self.sockets[0].getsockname()[1]
        return f"{'https' if tls and not self.lean else 'http'}://{Address(self.address.host, port)}"


def run(config: Config, *, data: str, bind: Sequence[str] | None, log_format: logs.LogFormat, development: bool) -> int:
    """Serve until SIGTERM or SIGINT, then stop in good order. The exit status: 0, or 1 if the store failed.

    `bind` takes the place of `server.bind`. With `development` the demo credentials are printed. Raises OSError if an
    address cannot be bound.
    """
    logs.setup(log_format, secrets=secret_values(config))
    _allow_open_files()
    bound: list[Bound] = []
    try:
        addresses = [(address, False) for address in map(parse_address, bind or config.server.bind)]
        addresses += [(address, True) for address in config.server.addresses_h11]
        for address, lean in addresses:
            bound.append(Bound(address, bind_sockets(address.host, address.port), lean))
        trio.run(partial(_serve, config, data, bound, development=development))
    except BaseException as error:
        failure = _storage_failure(error)
        if failure is None:
            raise
        print(f"postroom: {failure}", file=sys.stderr, flush=True)
        return 1
    finally:
        for one in bound:
            for each in one.sockets:
                each.close()
    return 0


def _allow_open_files() -> None:
    """Every connection is an open file, and systems allow 1,024 unless a process asks for more of what it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _storage_failure(error: BaseException) -> StorageFailure | None:
    """The store's failure, alone or, as nurseries raise it, in groups that hold nothing else."""
    if isinstance(error, BaseExceptionGroup):
        found = [_storage_failure(each) for each in error.exceptions]
        return found[0] if all(found) else None
    return error if isinstance(error, StorageFailure) else None


async def _serve(config: Config, data: str, bound: list[Bound], *, development: bool) -> None:
    server = config.server
    options = Options(log_retention_ms=server.log_retention_ms, session_buffer_bytes=server.session_buffer_bytes)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_broker(data, rules=config.rules, options=options) as broker:
            await Server(config, broker).run(
                bound,
                until=lambda: anext(signals),
                announce=lambda urls: _announce(config, urls, development=development),
            )


def _announce(config: Config, urls: list[str], *, development: bool) -> None:
    lines = [f"listening on {url}" for url in urls]
    if development:
        lines += development_lines(config.apps[0], urls[0])
    print("\n".join(lines), file=sys.stderr, flush=True)


class Server:
    """The HTTP side of one broker."""

    def __init__(self, config: Config, broker: Broker, grace_s: float = GRACE_S) -> None:
        """Reads the TLS files."""
        self._grace_s = grace_s
        self._broker = broker
        self._stopping = False
        server = config.server
        clock = SystemClock()
        limiter = Limiter(config.rates, clock.monotonic_ms)
        counters = HttpCounters()
        metrics = metrics_registry(broker.statistics, counters, [app.name for app in config.apps])
        own = system_dialect(
            self._readiness,
            metrics,
            public_metrics=server.metrics == "public",
            websockets=[CONNECT],
        )
        router = Router(own, [transport.bind(config.apps) for transport in TRANSPORTS])
        # Twenty digits, as the vendors' request ids; where they begin is random, so a restart does not repeat them.
        ids = itertools.count(10**19 + secrets.randbelow(8 * 10**19))
        native = NativeService(
            broker=broker,
            secrets=config.session_secrets,
            limiter=limiter,
            wall_ms=clock.wall_ms,
            heartbeat_s=server.heartbeat_s,
        )
        self._serving = Serving()
        shell = Shell(router, limiter, broker, ids, counters, clock.wall_ms)
        websockets = WebSockets({CONNECT: partial(serve_session, service=native)})
        self._tls = bool(server.tls_certificate)
        self._hypercorn = HypercornHost(
            AsgiApp(shell, websockets, self._serving),
            HostSettings(
                heartbeat_s=server.heartbeat_s, tls_certificate=server.tls_certificate, tls_key=server.tls_key
            ),
        )
        self._lean = LeanHost(shell, websockets, self._serving, server.h11.settings(server.heartbeat_s))

    async def run(
        self, bound: list[Bound], *, until: Callable[[], Awaitable[int]], announce: Callable[[list[str]], None]
    ) -> None:
        """Serve on bound sockets until `until` returns with a signal; returns when all is answered, on disk and closed.

        `announce` is told the URLs once they are listened on.
        """
        async with trio.open_nursery() as nursery:
            for host, lean in ((self._hypercorn, False), (self._lean, True)):
                sockets = [each for one in bound if one.lean == lean for each in one.sockets]
                if sockets:
                    await nursery.start(host.serve, sockets)
            announce([one.url(tls=self._tls) for one in bound])
            number = await until()
            _log.info("stopping", signal=signal.Signals(number).name, open=self._serving.open)
            self._stopping = True
            for host in (self._hypercorn, self._lean):
                await host.stop_listening()
            self._broker.close_sessions()
            self._broker.stop_waits()
            with trio.move_on_after(self._grace_s):
                await self._serving.wait_idle()
            for host in (self._hypercorn, self._lean):
                host.cut_off()
        await self._broker.drain()

    def _readiness(self) -> Readiness:
        return Readiness(ready=not self._stopping, disk_full=self._broker.full)
