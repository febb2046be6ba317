"""What goes into `decide` besides the command, and what comes out of it."""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

import msgspec

from ..events import AnyEvent
from ..ids import ExpiryMs, MessageId, Position, UnixMs
from ..model import Conversation, PresenceEvent, Receipt
from ..rows import Body, Opened

T = TypeVar("T")

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


class Opening(msgspec.Struct, frozen=True):
    """What a login found out of streams."""

    conversations: tuple[tuple[Conversation, Position], ...]
    """Whose streams the user has from here on, and since when."""
    login: Opened
    lost: bool
    """Something in them is passed over, and accounted for when the session acknowledges."""


class Collected(msgspec.Struct, frozen=True):
    """What an Ack took out of a queue."""

    positions: tuple[Position, ...]


class Entered(msgspec.Struct, frozen=True):
    """What a Join is answered with."""

    through: Position
    """The user has been in the room since here, or before."""
    gap: MessageId
    """No replay can give every message up to this one: some were not kept, or are kept no longer."""
    horizon_ms: UnixMs = UnixMs(-1)
    """Messages of this time and before are over, swept or not."""


class Presence(msgspec.Struct, frozen=True):
    """What was taken from a feed."""

    events: tuple[PresenceEvent, ...]


class Found(msgspec.Struct, frozen=True):
    """What a result holds."""

    ids: tuple[MessageId, ...]


Result = Receipt | Welcome | Collected | Entered | Presence | Found
"""What a command is answered with."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The events of a command, in order, with consecutive positions; none means that nothing is to be written."""

    events: tuple[AnyEvent, ...] = ()
    result: Result | None = None
    body: Body | None = None
    """What the last event brought, for whoever is online."""
    keeps_body: bool = False
    """Whether it is also kept, under that event's position."""
    wait: Wait = "offline"
    """For a message: how a wait for its recipient's ack stands as of now."""
    audience: tuple[str, ...] = ()
    """Of a group's message, or of what became of it: users who are told in their sessions open now and get no copy. Of a silent
    deletion: who may have been sent the message, if they are known by name."""
    stream: int = 0
    """Of what stands in a stream: its message's running number there."""
    hidden_from: tuple[str, ...] = ()
    """Of what became of a message to many: members who are told nothing of it."""
    opening: "Opening | None" = None
    """Of a login."""


def parts(things: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Things in their order, so many at a time: for events that must not end too much at once."""
    return (things[first : first + most] for first in range(0, len(things), most))
