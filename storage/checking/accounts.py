"""What was counted: accepted = acked + queued + evicted + expired + withdrawn, per recipient and per app, and each app's
users of its newest day."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from postroom.core.domain.queues import lost, next_seq
from postroom.core.rows import QueueEnds, Totals, UserRow

from .. import keys
from ..engine import Engine
from ..keys import DAY_ROW, U32, unpack_entry
from .report import Problems, Progress
from .rows import MISFITS, row_name

_CHUNK: Final = 10_000
_NO_QUEUE: Final = QueueEnds(0, None)
_TERMS: Final = ("accepted", "acked", "queued", "evicted", "expired", "withdrawn")


class AccountCheck:
    """Adds up what recipients' rows and queues say, and holds it against the apps' totals, which events counted up."""

    def __init__(self, engine: Engine, problems: Problems) -> None:
        self._engine = engine
        self._problems = problems
        self._sums: dict[str, Totals] = {}
        self.users = self.apps = 0

    def run(self) -> Iterator[Progress]:
        """Check everything; says how far it is now and then."""
        for key, value in self._engine.scan("live", keys.USER, keys.USER):
            self.users += 1
            self._user(key, value)
            if self.users % _CHUNK == 0:
                yield Progress("accounts", self.users)
        self._queues_without_row()
        for key, value in self._engine.scan("live", keys.APP, keys.APP):
            self.apps += 1
            self._app(key, value)
        for app in self._sums:
            self._problems.add("accounts", f"app {app!r} has recipients and no totals")
        for key, value in self._engine.scan("live", keys.DAY_USERS, keys.DAY_USERS):
            self._day(key, value)

    def _user(self, key: bytes, value: bytes) -> None:
        name = row_name(key, value)
        try:
            row = msgspec.msgpack.decode(value, type=UserRow)
            ends = self._ends(key[1:])
        except MISFITS:
            self._problems.add("accounts", f"{name} cannot be read")
            return
        if key[1:] != keys.digest(row.app, row.user):
            self._problems.add("accounts", f"{name} lies under a key that is not its user's")
        accepted, gone = next_seq(row, ends) - 1, lost(row, ends)
        if gone < row.expired or min(row.acked, row.expired, row.withdrawn) < 0:
            told = f"acked {row.acked}, queued {ends.count}, expired {row.expired}, withdrawn {row.withdrawn}"
            self._problems.add("accounts", f"{name} does not add up: accepted {accepted}, {told}")
        if not 0 <= row.lost_at_ack <= gone:
            self._problems.add("accounts", f"{name}: {row.lost_at_ack} lost by the last ack, {gone} until now")
        sums = self._sums.setdefault(row.app, Totals())
        sums.accepted += accepted
        sums.acked += row.acked
        sums.queued += ends.count
        sums.evicted += gone - row.expired
        sums.expired += row.expired
        sums.withdrawn += row.withdrawn

    def _queues_without_row(self) -> None:
        for key, _ in self._engine.set_firsts("live-queues", b""):
            if self._engine.get("live", keys.USER + key) is None:
                self._problems.add("accounts", f"queue {key.hex()} has no user row")

    def _app(self, key: bytes, value: bytes) -> None:
        name = row_name(key, value)
        try:
            app, totals = msgspec.msgpack.decode(value, type=tuple[str, Totals])
        except MISFITS:
            self._problems.add("accounts", f"{name} cannot be read")
            return
        sums = self._sums.pop(app, Totals())
        for term in _TERMS:
            counted, summed = getattr(totals, term), getattr(sums, term)
            if counted != summed:
                self._problems.add("accounts", f"{name}: {term} is {counted}, its recipients' rows add up to {summed}")
        parts = sum(getattr(totals, term) for term in _TERMS[1:])
        if totals.accepted != parts:
            self._problems.add("accounts", f"{name}: accepted {totals.accepted} is not the sum of the rest, {parts}")

    def _day(self, key: bytes, value: bytes) -> None:
        """Those whose last day is the app's newest are the ones it counted."""
        name, prefix = row_name(key, value), keys.LOGIN_DAY + key[1:]
        try:
            day, count = DAY_ROW.unpack(value)
            days = Counter(U32.unpack(last)[0] for _, last in self._engine.scan("live", prefix, prefix))
        except MISFITS:
            self._problems.add("accounts", f"{name} or one of its users' days cannot be read")
            return
        if days[day] != count:
            self._problems.add(
                "accounts", f"{name}: counts {count} users on day {day}, {days[day]} have it as their last"
            )
        if max(days, default=0) > day:
            self._problems.add("accounts", f"{name}: the newest day is {day}, a user's is {max(days)}")

    def _ends(self, key: bytes) -> QueueEnds:
        ends = self._engine.set_last("live-queues", key)
        return QueueEnds(ends[0], unpack_entry(ends[1])) if ends else _NO_QUEUE
