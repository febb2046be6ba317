"""Who is online and gets what a stream is given, for the fan-out: so that a message to a hundred thousand subscribers asks the
store for none of them, and costs nothing more if nobody is here."""

from collections.abc import Iterable, Iterator

from ..events import MembersRemoved
from ..ids import MessageId, Position, position_of
from ..model import Conversation


class StreamIndex:
    """Members of groups and subscribers of services who have a session here, as of the last event that was made known."""

    def __init__(self) -> None:
        self._members: dict[tuple[str, Conversation], dict[str, Position]] = {}
        """Each with the position where they came."""
        self._of: dict[tuple[str, str], set[Conversation]] = {}

    def online(self, app: str, user: str, conversations: Iterable[tuple[Conversation, Position]]) -> None:
        """A user is here, and a member of these since then."""
        self._of.setdefault((app, user), set())
        for conversation, since in conversations:
            self._add(app, conversation, user, since)

    def offline(self, app: str, user: str) -> None:
        """They are not here any more."""
        for conversation in self._of.pop((app, user), ()):
            self._remove(app, conversation, user)

    def added(self, app: str, conversation: Conversation, users: Iterable[str], position: Position) -> None:
        """Members, of whom those count who are here."""
        for user in users:
            if (app, user) in self._of:
                self._add(app, conversation, user, position)

    def removed(self, event: MembersRemoved) -> None:
        """They are members no more."""
        for user in event.users:
            of = self._of.get((event.app, user), ())
            if event.conversation in of:
                self._of[event.app, user].remove(event.conversation)
                self._remove(event.app, event.conversation, user)

    def deleted(self, app: str, conversation: Conversation) -> None:
        """Nobody is a member any more."""
        for user in self._members.pop((app, conversation), ()):
            self._of[app, user].remove(conversation)

    def receivers(self, app: str, conversation: Conversation, id: MessageId) -> Iterator[str]:
        """Who is here, of those who were members when this message was sent."""
        sent = position_of(id)
        return (user for user, since in self._members.get((app, conversation), {}).items() if since < sent)

    def _add(self, app: str, conversation: Conversation, user: str, since: Position) -> None:
        self._of[app, user].add(conversation)
        self._members.setdefault((app, conversation), {})[user] = since

    def _remove(self, app: str, conversation: Conversation, user: str) -> None:
        members = self._members[app, conversation]
        del members[user]
        if not members:
            del self._members[app, conversation]
