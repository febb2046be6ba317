"""What goes into `decide` besides the command, and what comes out of it."""

from typing import Literal

import msgspec

from ..events import AnyEvent
from ..ids import ExpiryMs, Position, UnixMs
from ..model import Receipt
from ..rows import Body

Wait = Literal["pending", "offline", "delivered"]


class Now(msgspec.Struct, frozen=True, gc=False):
    """Both clocks, read once a batch, and the position that the command's first event will have."""

    wall_ms: UnixMs
    expiry_ms: ExpiryMs
    position: Position


class Welcome(msgspec.Struct, frozen=True):
    """What a Login is answered with."""

    session: Position
    queued: int
    missed: int


class Collected(msgspec.Struct, frozen=True):
    """What an Ack took out of a queue."""

    positions: tuple[Position, ...]


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The events of a command, in order, with consecutive positions; none means that nothing is to be written."""

    events: tuple[AnyEvent, ...] = ()
    result: Receipt | Welcome | Collected | None = None
    body: Body | None = None
    """What the last event brought, for whoever is online."""
    keeps_body: bool = False
    """Whether it is also kept, under that event's position."""
    wait: Wait = "offline"
    """For a message: how a wait for its recipient's ack stands as of now."""
