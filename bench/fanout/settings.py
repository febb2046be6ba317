"""What a run of `fanout` sends, the same to both servers."""

import json
import random
import string
from typing import Any, Final

import msgspec

from ..hosts import Host
from ..sessions import app

ROOM: Final = "room"
"""Of the sessions, unless there are several rooms at one server."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command, and what follows from them."""

    sessions: int
    in_flight: int
    payload_bytes: int
    history: bool
    rate: float | None
    seed: int
    host: Host = "hypercorn"
    room: str = ROOM

    def config(self) -> str:
        """The configuration file of the measured server."""
        return app.config(self.host, self.seed)

    def names(self) -> list[str]:
        """The users in the room, with a session each."""
        return [f"{self.room}-{number:07}" for number in range(self.sessions)]

    def opening(self, user: str) -> bytes:
        """The request that opens a user's session."""
        return app.opening(user, self.seed)

    def payload(self) -> str:
        """What each message says."""
        return "".join(random.Random(self.seed).choices(string.ascii_letters, k=self.payload_bytes))

    def join(self) -> bytes:
        """The frame that takes a session into the room."""
        return _frame(type="join", ref="j", room=self.room)

    def send(self) -> bytes:
        """The frame that sends a message to the room, each time the same."""
        to = {"kind": "room", "id": self.room}
        return _frame(type="send", ref="s", to=to, payload=self.payload(), history=self.history)


def _frame(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
