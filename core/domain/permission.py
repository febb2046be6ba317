"""Who may come into a conversation, be put into it, or talk there. What decides reads; nothing here changes anything."""

from collections.abc import Iterable

from ..errors import Banned, Silenced
from ..model import Conversation
from ..ports import ReadViews
from ..rows import ConversationRow
from .decision import Now


def to_enter(views: ReadViews, app: str, row: ConversationRow | None, user: str) -> None:
    """Raises Banned if the user is banned there. A conversation without a record has banned nobody."""
    if row is not None and row.banned and views.is_listed(app, row.number, "banned", user):
        raise Banned(f"{user!r} is banned from {row.kind} {row.id!r}")


def to_be_added(views: ReadViews, app: str, row: ConversationRow, users: Iterable[str]) -> None:
    """Raises Banned naming the first who is banned there, or who blocks it."""
    for user in users:
        to_enter(views, app, row, user)
        if views.is_blocked(app, user, row.number):
            raise Banned(f"{user!r} does not want to be put into {row.kind} {row.id!r}")


def to_speak(views: ReadViews, app: str, conversation: Conversation, user: str, now: Now) -> None:
    """Raises Banned, or Silenced: for good, or for as long as the refusal says. In a peer conversation everybody may talk, in
    a service nobody: what is sent there goes to all who subscribe, and is the service's alone to say."""
    row = None if conversation.kind == "peer" else views.conversation(app, conversation)
    if row is None:
        return
    to_enter(views, app, row, user)
    if row.kind == "service":
        raise Banned(f"{user!r} does not speak in service {row.id!r}: it does")
    if row.silenced and views.is_listed(app, row.number, "silenced", user):
        raise Silenced(f"{user!r} is silenced in {row.kind} {row.id!r}")
    until_ms = views.silence(app, row.number, user)
    if until_ms is not None and until_ms > now.expiry_ms:
        left_ms = until_ms - now.expiry_ms
        raise Silenced(f"{user!r} is silenced in {row.kind} {row.id!r} for a while", retry_after_ms=left_ms)
