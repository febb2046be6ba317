"""How much a user has not read: of one conversation in one look, of all of theirs slice by slice."""

from itertools import islice

from ..domain.conversations import require
from ..domain.unread import not_read, unread
from ..ids import Position
from ..limits import QUERY_SLICE_ROWS
from ..model import Conversation
from ..ports import ReadViews
from ..queries import CountUnread

SLICE = QUERY_SLICE_ROWS // 4
"""Conversations of a slice: each is looked up in some three rows besides the one that names it."""


class UnreadSearch:
    """The sum over the conversations that a user is a member of, and then of what was sent to them by name elsewhere."""

    def __init__(self, query: CountUnread) -> None:
        self._app, self._user, self._of = query.app, query.user, query.conversation
        self._after = Position(0)
        self._elsewhere = False
        self.count = 0

    def go_on(self, views: ReadViews) -> bool:
        """Another slice; whether anything is left. Raises UnknownConversation."""
        if self._of is not None:
            self.count = self._one(views, self._of)
            return False
        return self._named(views) if self._elsewhere else self._membered(views)

    def _one(self, views: ReadViews, conversation: Conversation) -> int:
        return unread(views, self._app, self._user, require(views, self._app, conversation).number)

    def _membered(self, views: ReadViews) -> bool:
        page = list(islice(views.conversations_of(self._app, self._user, after=self._after), SLICE))
        for number, conversation in page:
            if views.is_deleted(self._app, conversation):
                continue
            self.count += not_read(views, number, views.unread(self._app, self._user, number))
        self._elsewhere = len(page) < SLICE
        self._after = Position(0) if self._elsewhere else page[-1][0]
        return True

    def _named(self, views: ReadViews) -> bool:
        page = list(islice(views.unread_rows(self._app, self._user, after=self._after), SLICE))
        self.count += sum(
            row.extra
            for _, row in page
            if row.guest and not views.is_deleted(self._app, Conversation(row.kind, row.id))
        )
        if page:
            self._after = page[-1][0]
        return len(page) == SLICE
