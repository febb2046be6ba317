"""Questions for users: who is there, who came and went."""

from ..checks import check_name
from ..errors import InvalidCommand
from ..limits import FEED_TAKE_MAX, FIND_ONLINE_MAX
from ..model import FEEDS, Feed, PresenceEvent, UserCount
from .base import Query, check_page


class TakePresence(Query[tuple[PresenceEvent, ...]], frozen=True, kw_only=True):
    """The oldest events of a feed, which nobody gets again. They are answered once that is on disk."""

    feed: Feed
    limit: int = FEED_TAKE_MAX
    """At most 1,000."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        if self.feed not in FEEDS:
            raise InvalidCommand(f"feed: must be one of {', '.join(FEEDS)}")
        check_page(self.limit, FEED_TAKE_MAX)


class FindMembers(Query[tuple[str, ...]], frozen=True, kw_only=True):
    """Who is in a room, in no particular order."""

    room: str

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("room", self.room)


class AppUsers(Query[UserCount], frozen=True, kw_only=True):
    """How many users are online, and how many logged in today.

    Who is online is known to the process alone: a crash makes it nobody. The day is the app's own (`Rules.day_offset_ms`).
    """


class FindOnline(Query[tuple[str, ...]], frozen=True, kw_only=True):
    """Those of at most 1,000 users who have a session open, in the order in which they were asked for."""

    users: tuple[str, ...]

    def check(self) -> None:
        """Raises InvalidCommand."""
        if len(self.users) > FIND_ONLINE_MAX:
            raise InvalidCommand(f"users: at most {FIND_ONLINE_MAX}")
        for user in self.users:
            check_name("users", user)
