"""The part of the views that is about users as such: kicks, and who logged in on which day."""

from postroom.core.ids import UnixMs
from postroom.core.rows import DayUsers

from . import keys
from .engine import Engine, Table
from .keys import DAY_ROW, U32, U64, user_key


class UserRows:
    """Rows `K`, `D` and `A`."""

    _engine: Engine
    _rows: Table

    def kicked_ms(self, app: str, user: str) -> UnixMs | None:
        row = self._engine.get(self._rows, keys.KICKED + user_key(app, user))
        return UnixMs(U64.unpack(row)[0]) if row else None

    def put_kicked(self, app: str, user: str, at_ms: UnixMs) -> None:
        self._engine.put(self._rows, keys.KICKED + user_key(app, user), U64.pack(at_ms))

    def login_day(self, app: str, user: str) -> int:
        row = self._engine.get(self._rows, keys.login_day_key(app, user))
        day: int = U32.unpack(row)[0] if row else 0
        return day

    def put_login_day(self, app: str, user: str, day: int) -> None:
        self._engine.put(self._rows, keys.login_day_key(app, user), U32.pack(day))

    def day_users(self, app: str) -> DayUsers:
        row = self._engine.get(self._rows, keys.DAY_USERS + keys.app_digest(app))
        return DayUsers(*DAY_ROW.unpack(row)) if row else DayUsers()

    def put_day_users(self, app: str, row: DayUsers) -> None:
        self._engine.put(self._rows, keys.DAY_USERS + keys.app_digest(app), DAY_ROW.pack(*row))
