"""Who is in which room, for the fan-out: users with a session here, so that a message finds them without asking the store.

Joins end with the last session, so nobody is in a room who has none; after a start every room is empty.
"""

from collections.abc import Iterable, Iterator

from ..events import RoomJoined, RoomLeft


class RoomIndex:
    """The members of rooms as of the last event that was made known."""

    def __init__(self) -> None:
        self._members: dict[tuple[str, str], dict[str, None]] = {}

    def joined(self, event: RoomJoined) -> None:
        """One more."""
        self._members.setdefault((event.app, event.room), {})[event.user] = None

    def left(self, event: RoomLeft) -> None:
        """One less; of a process before this one, nobody was here."""
        members = self._members.get((event.app, event.room))
        if members is not None:
            members.pop(event.user, None)
            if not members:
                del self._members[event.app, event.room]

    def receivers(
        self, app: str, room: str, *, among: Iterable[str] = (), other_than: str | None = None
    ) -> Iterator[str]:
        """Its members; if `among` names some, those of them."""
        members = self._members.get((app, room), {})
        chosen = (user for user in dict.fromkeys(among) if user in members) if among else iter(members)
        return (user for user in chosen if user != other_than)

    @property
    def count(self) -> int:
        """Rooms with somebody in them."""
        return len(self._members)
