"""The baseline server, a program: hypercorn's trio worker with the smallest application that sends a frame to many sessions.

What it says is in the file that the argument names. It looks at nothing, keeps nothing, and sends to one session after the
other, from the task that read the message: no queue, no other task, no disk.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec
import trio

from postroom.transports.native.handshake import SUBPROTOCOL

from ..bare_host import host


class Script(msgspec.Struct, frozen=True):
    """What is said when, as the measured server said it."""

    welcome: bytes
    join: bytes
    """What a client says to be in the room."""
    joined: bytes
    sent: bytes
    """The answer to a message, and, before that, what everyone in the room is sent."""
    frame: bytes


class Room:
    """The application, ASGI 3."""

    def __init__(self, script: Script) -> None:
        self._welcome, self._joined, self._sent, self._frame = (
            {"type": "websocket.send", "text": text.decode()}
            for text in (script.welcome, script.joined, script.sent, script.frame)
        )
        self._join = script.join.decode()
        self._members: dict[int, Any] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One session."""
        await receive()  # that it connects
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": []})
        await send(self._welcome)
        try:
            while (message := await receive())["type"] == "websocket.receive":
                if message["text"] == self._join:
                    self._members[id(send)] = send
                    await send(self._joined)
                    continue
                for to_member in tuple(self._members.values()):
                    await to_member(self._frame)
                await send(self._sent)
        finally:
            self._members.pop(id(send), None)


if __name__ == "__main__":
    trio.run(host, Room(msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Script)))
