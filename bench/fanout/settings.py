"""What a run of `fanout` sends, the same to both servers."""

import hashlib
import json
import random
import string
import time
from typing import Any, Final

import msgspec

from postroom.core.ids import UnixMs
from postroom.transports.native.handshake import SUBPROTOCOL
from postroom.transports.native.tokens import issue
from postroom.transports.serve import CONNECT

from . import wire

APP: Final = "bench"
ROOM: Final = "room"
SENDER: Final = "sender"
TOKEN_TTL_S: Final = 86_400
"""Only looked at when a session opens."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command, and what follows from them."""

    sessions: int
    in_flight: int
    payload_bytes: int
    history: bool
    rate: float | None
    seed: int

    @property
    def secret(self) -> str:
        """Of the session tokens. It opens a server on loopback for as long as the run lasts."""
        return hashlib.blake2b(f"{self.seed} sessions".encode(), digest_size=16).hexdigest()

    def config(self) -> str:
        """The configuration file of the measured server: one app, and nothing that would hold it back."""
        return (
            '[server]\nbind = ["127.0.0.1:0"]\n\n'
            f'[[apps]]\nname = "{APP}"\nsession_secret = "{self.secret}"\n\n'
            '[apps.limits]\n"native.messages" = "off"\n'
        )

    def names(self) -> list[str]:
        """The users in the room, with a session each."""
        return [f"user-{number:07}" for number in range(self.sessions)]

    def opening(self, user: str) -> bytes:
        """The request that opens a user's session."""
        now_ms = UnixMs(time.time_ns() // 1_000_000)
        return wire.opening(CONNECT, issue(self.secret, APP, user, TOKEN_TTL_S, now_ms), SUBPROTOCOL)

    def payload(self) -> str:
        """What each message says."""
        return "".join(random.Random(self.seed).choices(string.ascii_letters, k=self.payload_bytes))

    def join(self) -> bytes:
        """The frame that takes a session into the room."""
        return _frame(type="join", ref="j", room=ROOM)

    def send(self) -> bytes:
        """The frame that sends a message to the room, each time the same."""
        to = {"kind": "room", "id": ROOM}
        return _frame(type="send", ref="s", to=to, payload=self.payload(), history=self.history)


def _frame(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
