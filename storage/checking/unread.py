"""What users have read: each row is of a member, or of a guest who is none, and says nothing that cannot be."""

from collections import Counter
from collections.abc import Callable

import msgspec

from postroom.core.rows import ConversationRow, UnreadRow

from .. import keys
from ..engine import Engine
from ..keys import U64
from ..views import StoredViews
from .rows import record_name


class UnreadCheck:
    """Goes through the users of one record after the other; what it finds it adds to what is expected."""

    def __init__(
        self, engine: Engine, live: StoredViews, expected: Counter[bytes], tell: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._views = live
        self._expected = expected
        self._tell = tell

    def record(self, app: str, row: ConversationRow) -> None:
        """Rows `V` of a conversation, by its members and by its rows `W`."""
        for user in self._views.listed(row.number, "members"):
            if self._engine.get("live", keys.unread_key(app, user, row.number)) is not None:
                self._row(app, row, user, guest=False)
        prefix = keys.GUEST + U64.pack(row.number)
        for key, value in self._engine.scan("live", prefix, prefix):
            self._expected[keys.GUEST] += 1
            user = value.decode()
            if key != keys.guest_key(app, user, row.number):
                self._tell(f"{record_name(app, row)}: guest {user!r} is not where they would be looked for")
            self._row(app, row, user, guest=True)

    def _row(self, app: str, row: ConversationRow, user: str, *, guest: bool) -> None:
        value = self._engine.get("live", keys.unread_key(app, user, row.number))
        if value is None:
            self._tell(f"{record_name(app, row)}: of guest {user!r} it is not noted what they have read")
            return
        self._expected[keys.UNREAD] += 1
        unread = msgspec.msgpack.decode(value, type=UnreadRow)
        if (unread.kind, unread.id, unread.guest) != (row.kind, row.id, guest):
            self._tell(
                f"{record_name(app, row)}: what {user!r} has read is of another conversation, or of another kind of user"
            )
        count = self._views.message_count(row.number)
        if min(unread.read, unread.own, unread.extra) < 0 or unread.read + unread.own > count:
            self._tell(f"{record_name(app, row)}: {user!r} has read or sent more than its {count} messages")
        if guest and not unread.extra:
            self._tell(f"{record_name(app, row)}: guest {user!r} has nothing to read")
