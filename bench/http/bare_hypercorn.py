"""The baseline server, a program: hypercorn's trio worker with the smallest application that reads a request and answers.

The answer is in the file that the argument names.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from ..bare_host import host


class Reply(msgspec.Struct, frozen=True):
    """What to answer. Hypercorn adds the date."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


async def application(reply: Reply, scope: Any, receive: Any, send: Any) -> None:
    """ASGI 3: read the request to its end, then answer."""
    while (await receive()).get("more_body", False):
        pass
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


if __name__ == "__main__":
    trio.run(host, partial(application, msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Reply)))
