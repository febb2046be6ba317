"""Who is where in a run of `deaf`."""

from typing import Final, Literal

import msgspec

from ..fanout.settings import Settings as Messages
from ..hosts import Host
from ..sessions import app

Room = Literal["deaf", "reading", "alone"]

HEARTBEAT_S: Final = 3_600
"""Nobody who does not read is given up before the run is over."""
FILLING_BYTES: Final = 20_000
"""Of each message that fills what a deaf session may hold."""
FILLING_MAX: Final = 1_000
"""Of these: 20 MB to a session, which none holds."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command, and what follows from them."""

    listeners: int
    crowd: int
    payload_bytes: int
    seed: int
    host: Host

    def config(self) -> str:
        """The configuration file of the measured server."""
        return app.config(self.host, self.seed, heartbeat_s=HEARTBEAT_S)

    def messages(self, room: Room) -> Messages:
        """What is sent to a room, one message at a time, and who listens there."""
        return Messages(
            sessions=self.listeners,
            in_flight=1,
            payload_bytes=self.payload_bytes,
            history=False,
            rate=None,
            seed=self.seed,
            host=self.host,
            room=room,
        )
