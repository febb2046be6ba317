"""Who is in which room, for the fan-out: users with a session here, so that a message finds them without asking the store.

Joins end with the last session, so nobody is in a room who has none; after a start every room is empty.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from ..events import RoomJoined, RoomLeft


class RoomIndex:
    """The members of rooms as of the last event that was made known."""

    def __init__(self) -> None:
        self._members: dict[tuple[str, str], dict[str, None]] = {}
        self._joined: Counter[tuple[str, str]] = Counter()

    def joined(self, event: RoomJoined) -> None:
        """One more."""
        self._members.setdefault((event.app, event.room), {})[event.user] = None
        self._joined[event.app, event.user] += 1

    def left(self, event: RoomLeft) -> None:
        """One less; of a process before this one, nobody was here."""
        members = self._members.get((event.app, event.room), {})
        if event.user not in members:
            return
        del members[event.user]
        if not members:
            del self._members[event.app, event.room]
        self._joined[event.app, event.user] -= 1
        if not self._joined[event.app, event.user]:
            del self._joined[event.app, event.user]

    def receivers(
        self, app: str, room: str, *, among: Iterable[str] = (), other_than: str | None = None
    ) -> Iterator[str]:
        """Its members; if `among` names some, those of them."""
        members = self._members.get((app, room), {})
        chosen = (user for user in dict.fromkeys(among) if user in members) if among else iter(members)
        return (user for user in chosen if user != other_than)

    def rooms_of(self, app: str, user: str) -> int:
        """How many rooms a user is in."""
        return self._joined.get((app, user), 0)

    @property
    def count(self) -> int:
        """Rooms with somebody in them."""
        return len(self._members)
