"""Hypercorn's trio worker, set up as `postroom serve` sets it up: what carries the applications of baselines."""

import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from postroom.transports.config.tables import ServerConfig
from postroom.transports.http.hypercorn_host import (
    BACKLOG,
    KEEP_ALIVE_S,
    MESSAGE_BYTES_MAX,
    QUIET_S,
    REQUESTS_MAX,
)

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""ASGI 3: scope, receive, send. It need not know of the lifespan."""


async def host(application: Application) -> None:
    """Serve on a free port, which is announced on stderr, until SIGTERM."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            stop = partial(anext, signals)
            served = partial(serve, partial(_application, application), config(), shutdown_trigger=stop, mode="asgi")
            for address in await nursery.start(served):
                print(f"listening on {address}", file=sys.stderr, flush=True)


async def _application(application: Application, scope: Any, receive: Any, send: Any) -> None:
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
    await application(scope, receive, send)


def config() -> Config:
    """As `postroom serve` has it."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.backlog = BACKLOG
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = REQUESTS_MAX
    config.read_timeout = QUIET_S
    config.websocket_ping_interval = ServerConfig().heartbeat_s
    config.websocket_max_message_size = MESSAGE_BYTES_MAX
    config.graceful_timeout = 0.1  # when its clients have left, only its own pings hold it up
    return config
