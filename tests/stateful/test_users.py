"""Whatever happens to users, clocks and days, in whatever order: who may enter, and who is counted, is what a plain model says,
and replay gives the same state."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from postroom.core.commands import Kick, Login, Logout, StartEpoch
from postroom.core.domain import Welcome
from postroom.core.domain.users import users_on
from postroom.core.errors import TokenRevoked, TooManySessions
from postroom.core.events import AnyEvent, LoggedIn, LoggedOut
from postroom.core.ids import ExpiryMs, Position, UnixMs
from postroom.core.model import Receipt, Rules
from postroom.storage.checking.accounts import AccountCheck
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from postroom.storage.memory import MemoryStore
from tests.support.thorough import examples

from ..support.machine import Machine
from ..support.rows import engine_of, replayed, rows

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

apps = st.sampled_from(["one", "one", "two"])
users = st.sampled_from(["ann", "bob", "cy"])
tokens = st.sampled_from([None, -DAY_MS, -1_000, -1, 0, 1, 5_000])
"""How much later than now a token was issued."""
spells_ms = st.sampled_from([1, 1_000, HOUR_MS, 11 * HOUR_MS, DAY_MS])
offsets_ms = st.sampled_from([0, 0, 8 * HOUR_MS, -14 * HOUR_MS, 14 * HOUR_MS])


class Door(RuleBasedStateMachine):
    """Two apps and three users."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(MemoryStore(), Rules())
        self.kicked: dict[tuple[str, str], int] = {}
        self.last_day: dict[tuple[str, str], int] = {}
        self.open: list[tuple[str, str, Position]] = []
        self.newest_ms: dict[str, int] = {}

    @initialize()
    def begin(self) -> None:
        """The first process."""
        self.machine.run(StartEpoch())

    @property
    def now_ms(self) -> int:
        """The wall clock."""
        return self.machine.clock.wall_ms

    @rule(app=apps, user=users, later_ms=tokens)
    def enter(self, app: str, user: str, later_ms: int | None) -> None:
        """Somebody comes, with a token or without."""
        token_ms = None if later_ms is None else UnixMs(self.now_ms + later_ms)
        of = app, user
        revoked = token_ms is not None and of in self.kicked and token_ms <= self.kicked[of]
        before = len(self.machine.records)
        try:
            result = self.machine.run(Login(app=app, user=user, token_ms=token_ms)).result
        except TokenRevoked:
            assert revoked
            assert len(self.machine.records) == before
            return
        except TooManySessions:
            return
        assert not revoked
        assert isinstance(result, Welcome)
        self.open.append((app, user, result.session))
        newest = max(self.newest_ms.get(app, 0), self.now_ms)
        for event in self.machine.events[before:]:
            self.note(event)
        day = self.machine.rules.day(UnixMs(newest))
        if day >= max((last for (other, _), last in self.last_day.items() if other == app), default=0):
            self.last_day[of] = max(self.last_day.get(of, 0), day)

    def note(self, event: AnyEvent) -> None:
        """The app's time moves on with who is the first to come, or the last to go, of a user's sessions."""
        if (isinstance(event, LoggedIn) and event.first) or (isinstance(event, LoggedOut) and event.last):
            self.newest_ms[event.app] = event.at_ms

    @rule(pick=st.integers(0, 5))
    def leave(self, pick: int) -> None:
        """Somebody goes."""
        if self.open:
            app, user, session = self.open.pop(pick % len(self.open))
            for event in self.machine.run(Logout(app=app, user=user, session=session)).events:
                self.note(event)

    @rule(app=apps, user=users)
    def kick(self, app: str, user: str) -> None:
        """Somebody has to go."""
        receipt = self.machine.run(Kick(app=app, user=user)).result
        assert isinstance(receipt, Receipt)
        self.kicked[app, user] = max(self.now_ms, self.kicked.get((app, user), 0))
        assert receipt.at_ms == self.kicked[app, user]

    @rule(spell_ms=spells_ms)
    def wait(self, spell_ms: int) -> None:
        """Time passes."""
        self.machine.clock.run(spell_ms)

    @rule(by_ms=spells_ms, back=st.booleans())
    def set_clock(self, by_ms: int, back: bool) -> None:
        """Somebody sets the wall clock."""
        self.machine.clock.jump(-by_ms if back else by_ms)

    @rule(offset_ms=offsets_ms)
    def configure(self, offset_ms: int) -> None:
        """The app's day begins elsewhere."""
        self.machine.rules = Rules(day_offset_ms=offset_ms)

    @rule()
    def restart(self) -> None:
        """A new process."""
        self.machine.run(StartEpoch())

    @rule(limit=st.integers(1, 20))
    def trim(self, limit: int) -> None:
        """The oldest events become base."""
        self.machine.trim(ExpiryMs(1 << 60), limit)

    @invariant()
    def counts(self) -> None:
        """Everybody whose last day is the app's newest is counted on it; the checks and replay agree."""
        told: list[Problem] = []
        with self.machine.store.snapshot() as snapshot:
            views = snapshot.views
            for app in ("one", "two"):
                days = [last for (other, _), last in self.last_day.items() if other == app]
                newest = max(days, default=0)
                assert views.day_users(app) == (newest, days.count(newest))
                assert users_on(views, app, newest + 1) == 0
            for (app, user), at_ms in self.kicked.items():
                assert views.kicked_ms(app, user) == at_ms
            for _ in AccountCheck(engine_of(snapshot), Problems(told.append)).run():
                pass
            assert told == []
            assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)


TestDoor = Door.TestCase
TestDoor.settings = settings(max_examples=examples(30), stateful_step_count=40, deadline=None)
