"""What a run of `drain` queues, and who comes for it."""

import random
import string
from collections.abc import Iterator

import msgspec

from postroom.core import SendMessage
from postroom.core.model import Conversation
from postroom.transports.native.frames import VIA

from ..hosts import Host
from ..rounds import plan
from ..sessions import app
from ..sessions.app import APP, SENDER


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command, and what follows from them."""

    users: int
    queued: int
    payload_bytes: int
    seconds: float
    seed: int
    host: Host

    @property
    def groups(self) -> int:
        """Who came once has nothing more to come for: one group for the rehearsal, the warm-up, and each round."""
        return plan(self.seconds).rounds + 2

    def config(self) -> str:
        """The configuration file of the measured server."""
        return app.config(self.host, self.seed)

    def names(self, group: int) -> list[str]:
        """The users who come at once."""
        return [f"user-{group:05}-{number:05}" for number in range(self.users)]

    def opening(self, user: str) -> bytes:
        """The request that opens a user's session."""
        return app.opening(user, self.seed)

    def payload(self) -> str:
        """What each message says."""
        return "".join(random.Random(self.seed).choices(string.ascii_letters, k=self.payload_bytes))

    def messages(self) -> Iterator[SendMessage]:
        """All of them; everybody's come one by one, with others' in between, as they would."""
        body = self.payload().encode()
        for group in range(self.groups):
            names = self.names(group)
            for _ in range(self.queued):
                for user in names:
                    to = Conversation("peer", user)
                    yield SendMessage(app=APP, sender=SENDER, to=to, body=body, format="text", queue=True, via=VIA)
