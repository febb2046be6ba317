"""Kicks, the tokens they revoke, and who logged in on which day."""

import pytest

from postroom.core.checks import check
from postroom.core.commands import Kick, Login
from postroom.core.domain.users import users_on
from postroom.core.errors import InvalidCommand, Refusal, TokenRevoked, TooManySessions
from postroom.core.events import LoggedIn, UserKicked
from postroom.core.ids import ExpiryMs, UnixMs
from postroom.core.limits import KICK_REASON_CHARACTERS_MAX, SESSIONS_PER_USER_MAX
from postroom.core.model import Receipt, Rules
from postroom.core.rows import DayUsers

from ..support.desk import Desk
from ..support.machine import START_MS

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
DAY = START_MS // DAY_MS


def kick(desk: Desk, user: str = "bob", reason: str = "", app: str = "demo") -> Receipt:
    """Somebody has to go."""
    return desk.receipt(desk.run(Kick(app=app, user=user, reason=reason)))


def enter(desk: Desk, token_ms: int | None, user: str = "bob", app: str = "demo") -> bool:
    """Whether a token opens a session."""
    try:
        desk.run(Login(app=app, user=user, token_ms=None if token_ms is None else UnixMs(token_ms)))
    except TokenRevoked:
        return False
    return True


def today(desk: Desk, app: str = "demo") -> int:
    """Who logged in on the day that the desk's clock shows."""
    day = desk.rules.day(desk.clock.wall_ms)
    return desk.read(lambda snapshot: users_on(snapshot.views, app, day))


# Kicks.


def test_a_kick_is_an_event_whoever_the_user_is() -> None:
    desk = Desk()
    desk.login()
    for user in ("bob", "nobody"):
        receipt = kick(desk, user, "späm")
        assert desk.events[-1] == UserKicked(app="demo", user=user, at_ms=START_MS, reason="späm")
        assert (receipt.id, receipt.at_ms, receipt.duplicate) == (desk.records[-1].position, START_MS, False)


def test_a_kick_leaves_the_sessions_to_their_owners() -> None:
    desk = Desk()
    session = desk.login().session
    kick(desk)
    assert desk.read(lambda snapshot: [row.session for row in snapshot.views.sessions("demo", "bob")]) == [session]
    assert desk.logout(session).events


def test_tokens_issued_until_the_kick_open_nothing_and_later_ones_do() -> None:
    desk = Desk()
    assert all(enter(desk, token_ms) for token_ms in (0, START_MS, START_MS + DAY_MS, None))
    kick(desk)
    records = len(desk.records)
    assert not any(enter(desk, token_ms) for token_ms in (0, START_MS - 1, START_MS))
    assert len(desk.records) == records
    assert all(enter(desk, token_ms) for token_ms in (START_MS + 1, None))


def test_a_kick_is_of_one_user_of_one_app() -> None:
    desk = Desk()
    kick(desk)
    assert enter(desk, START_MS, "carol")
    assert enter(desk, START_MS, app="other")


def test_the_newest_kick_counts() -> None:
    desk = Desk()
    kick(desk)
    desk.clock.run(1_000)
    assert enter(desk, START_MS + 500)
    assert kick(desk).at_ms == START_MS + 1_000
    assert not enter(desk, START_MS + 500)


def test_a_clock_that_is_set_back_gives_no_token_its_power_again() -> None:
    desk = Desk()
    kick(desk)
    desk.clock.jump(-DAY_MS)
    assert kick(desk).at_ms == START_MS
    assert not enter(desk, START_MS)


def test_a_clock_that_was_ahead_does_not_keep_new_tokens_out() -> None:
    """Messages go on from the newest time of their app; tokens are issued by the wall clock as it stands."""
    desk = Desk()
    desk.clock.jump(8 * DAY_MS)
    desk.send()
    desk.clock.jump(-8 * DAY_MS)
    assert kick(desk).at_ms == START_MS
    desk.clock.run(1)
    assert enter(desk, START_MS + 1)


def test_a_revoked_token_is_told_so_before_anything_else() -> None:
    desk = Desk()
    for _ in range(SESSIONS_PER_USER_MAX):
        desk.login()
    with pytest.raises(TooManySessions):
        desk.run(Login(app="demo", user="bob", token_ms=START_MS))
    kick(desk)
    with pytest.raises(TokenRevoked) as caught:
        desk.run(Login(app="demo", user="bob", token_ms=START_MS))
    assert caught.value.code == "token_revoked"


def test_a_kick_outlives_the_process_and_the_log() -> None:
    desk = Desk()
    kick(desk)
    desk.restart()
    desk.clock.run(1_000)
    desk.trim(ExpiryMs(desk.clock.expiry_ms), 100)
    assert not enter(desk, START_MS)


@pytest.mark.parametrize("reason", ["", "x" * KICK_REASON_CHARACTERS_MAX, "😀" * KICK_REASON_CHARACTERS_MAX])
def test_reasons(reason: str) -> None:
    check(Kick(app="demo", user="bob", reason=reason))


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (Kick(app="demo", user=""), "user"),
        (Kick(app="demo", user="\ud800"), "user"),
        (Kick(app="demo", user="bob", reason="x" * (KICK_REASON_CHARACTERS_MAX + 1)), "reason"),
        (Kick(app="demo", user="bob", reason="\ud800"), "reason"),
    ],
)
def test_what_is_no_kick(command: Kick, field: str) -> None:
    with pytest.raises(InvalidCommand, match=field):
        check(command)


# Days.


def test_a_user_is_counted_once_a_day() -> None:
    desk = Desk()
    assert today(desk) == 0
    for user in ("bob", "bob", "carol"):
        desk.login(user)
    assert today(desk) == 2
    desk.clock.run(DAY_MS)
    assert today(desk) == 0
    desk.login("carol")
    assert today(desk) == 1
    assert today(desk, "other") == 0


def test_who_logs_out_and_in_again_is_not_counted_again() -> None:
    desk = Desk()
    desk.logout(desk.login().session)
    desk.login()
    assert today(desk) == 1


def test_who_was_refused_is_not_counted() -> None:
    desk = Desk()
    kick(desk)
    assert not enter(desk, 0)
    assert today(desk) == 0


@pytest.mark.parametrize(("offset_h", "day"), [(0, DAY), (10, DAY + 1), (9, DAY), (-14, DAY), (-15, DAY - 1)])
def test_where_the_day_begins(offset_h: int, day: int) -> None:
    """It is 14:13 in UTC."""
    desk = Desk(day_offset_ms=offset_h * HOUR_MS)
    desk.login()
    (login,) = (event for event in desk.events if isinstance(event, LoggedIn))
    assert login.day == day
    assert desk.read(lambda snapshot: snapshot.views.day_users("demo")) == DayUsers(day, 1)


def test_days_only_move_on() -> None:
    """The count of a day that the app thinks is over stays, whatever becomes of its offset."""
    desk = Desk(day_offset_ms=12 * HOUR_MS)
    desk.login("bob")
    desk.configure()
    assert desk.rules.day(desk.clock.wall_ms) == DAY
    desk.login("bob")
    desk.login("carol")
    assert desk.read(lambda snapshot: snapshot.views.day_users("demo")) == DayUsers(DAY + 1, 1)
    assert today(desk) == 1
    desk.clock.run(DAY_MS)
    desk.login("carol")
    assert today(desk) == 2


def test_a_time_before_the_first_day_has_the_first() -> None:
    assert Rules(day_offset_ms=-14 * HOUR_MS).day(UnixMs(5)) == 0
    assert Rules().day(UnixMs(DAY_MS - 1)) == 0
    assert Rules().day(UnixMs(DAY_MS)) == 1


def test_a_refusal_says_what_it_is() -> None:
    assert issubclass(TokenRevoked, Refusal)
