"""Who is there in a run of `idle`."""

from typing import Final

import msgspec

from ..hosts import Host
from ..rounds import SLICE_S
from ..sessions import app

ROUNDS: Final = 4
"""The sessions open in so many parts, at one server and the other in turn."""
SECONDS: Final = ROUNDS * SLICE_S
"""What makes as many; a part takes as long as it takes."""
WARMUP: Final = 64
"""Sessions that are there before anything is counted: what the first ones need, all others share."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command, and what follows from them."""

    sessions: int
    seed: int
    host: Host

    @property
    def parts(self) -> list[int]:
        """How many open in each slice, the warm-up's first."""
        each, more = divmod(self.sessions, ROUNDS)
        return [WARMUP, *(each + (number < more) for number in range(ROUNDS))]

    def config(self) -> str:
        """The configuration file of the measured server."""
        return app.config(self.host, self.seed)

    def opening(self, number: int) -> bytes:
        """The request that opens a session, for a user of its own."""
        return app.opening(f"user-{number:07}", self.seed)
