"""Facts of who is in a room."""

from ..ids import UnixMs
from .base import Event


class RoomJoined(Event, frozen=True, kw_only=True, tag="room-joined.1"):
    """A user who was not in the room is."""

    app: str
    room: str
    user: str
    at_ms: UnixMs


class RoomLeft(Event, frozen=True, kw_only=True, tag="room-left.1"):
    """A user is not in the room any more."""

    app: str
    room: str
    user: str
    at_ms: UnixMs


class StaysExpired(Event, frozen=True, kw_only=True, tag="stays-expired.1"):
    """The stays in an app's rooms that ended first, by this time at the latest, are forgotten."""

    app: str
    at_ms: UnixMs
    count: int


class GapsExpired(Event, frozen=True, kw_only=True, tag="gaps-expired.1"):
    """What these rooms lost lies before everything that is kept, and need not be remembered."""

    app: str
    rooms: tuple[str, ...]
