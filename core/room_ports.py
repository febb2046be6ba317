"""The part of the views that is about who is in a room, and what it lost; `core.ports` has the whole."""

from collections.abc import Iterator
from typing import Protocol

from .ids import UnixMs
from .rows import Gap, Stay


class ReadRooms(Protocol):
    """Who is where, since when, and what no replay can give."""

    def open_stay(self, app: str, room: str, user: str) -> Stay | None:
        """The user's stay in a room, if one is open; it may be of an earlier epoch."""

    def members(self, app: str, room: str) -> Iterator[str]:
        """Users whose stay in the room is open and of this epoch, in no particular order."""

    def open_stays(self, app: str, user: str) -> list[Stay]:
        """The rooms a user is in."""

    def stays(self, app: str, user: str, *, since_ms: UnixMs = UnixMs(0)) -> Iterator[Stay]:
        """The user's stays that had not ended by a time, in the order of their ends, open ones last.

        A stay that ended without a kept message in it is not known any more.
        """

    def ended_stays(self, app: str) -> Iterator[UnixMs]:
        """When the app's ended stays ended, in order."""

    def gap(self, app: str, room: str) -> Gap | None:
        """What a room has lost."""

    def gaps(self, *, after: bytes = b"") -> Iterator[tuple[bytes, Gap]]:
        """Every room that has one: a place to resume after, and the gap."""


class Rooms(ReadRooms, Protocol):
    """The same, to be changed by `apply` alone."""

    def put_stay(self, app: str, user: str, stay: Stay) -> None:
        """A stay, open or ended."""

    def remove_open_stay(self, app: str, user: str, stay: Stay) -> None:
        """It is not open any more."""

    def remove_oldest_stays(self, app: str, count: int) -> None:
        """Forget the stays that ended first."""

    def put_gap(self, gap: Gap) -> None:
        """A room has lost this."""

    def remove_gap(self, app: str, room: str) -> None:
        """Nothing more is known of what the room lost."""
