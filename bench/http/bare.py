"""The baseline server, a program: hypercorn's trio worker with the smallest application that reads a request and answers.

Hypercorn is set up as the measured server sets it up. The answer is in the file that the argument names.
"""

import logging
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from postroom.transports.http.hypercorn_host import BACKLOG, KEEP_ALIVE_S, QUIET_S, REQUESTS_MAX


class Reply(msgspec.Struct, frozen=True):
    """What to answer. Hypercorn adds the date."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


async def application(reply: Reply, scope: Any, receive: Any, send: Any) -> None:
    """ASGI 3: read the request to its end, then answer."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body", False):
        pass
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


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
    return config


async def main(reply: Reply) -> None:
    """Serve until SIGTERM."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            stop = partial(anext, signals)
            addresses = await nursery.start(
                partial(serve, partial(application, reply), config(), shutdown_trigger=stop, mode="asgi")
            )
            for address in addresses:
                print(f"listening on {address}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    trio.run(main, msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Reply))
