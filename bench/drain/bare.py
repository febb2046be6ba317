"""The baseline server, a program: hypercorn's trio worker with the smallest application that sends everybody the same frames.

They are in the file that the argument names. Each is a message of its own; it looks at nothing.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec
import trio

from postroom.transports.native.handshake import SUBPROTOCOL

from ..bare_host import host


class Frames:
    """The application, ASGI 3."""

    def __init__(self, frames: list[bytes]) -> None:
        self._messages = [{"type": "websocket.send", "text": frame.decode()} for frame in frames]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One session."""
        await receive()  # that it connects
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": []})
        for message in self._messages:
            await send(message)
        while (await receive())["type"] == "websocket.receive":
            pass


if __name__ == "__main__":
    trio.run(host, Frames(msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=list[bytes])))
