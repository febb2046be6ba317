"""Users as such: who was kicked, so that older tokens open nothing, and who logged in on a day."""

from ..commands import Kick
from ..errors import TokenRevoked
from ..events import UserKicked
from ..ids import UnixMs, message_at
from ..model import Receipt, Rules
from ..ports import Headers, ReadViews, Views
from ..rows import DayUsers
from .decision import Decision, Now


def decide_kick(command: Kick, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Always an event, whoever the user is.

    The time is compared with those of tokens, which are raw wall time: it does not wait for an app's newest message, which
    may be ahead of the clock. A later kick takes no token back into favour, whatever became of the clock.
    """
    app, user = command.app, command.user
    at_ms = max(now.wall_ms, views.kicked_ms(app, user) or UnixMs(0))
    event = UserKicked(app=app, user=user, at_ms=at_ms, reason=command.reason)
    return Decision((event,), Receipt(id=message_at(now.position), at_ms=at_ms))


def check_token(views: ReadViews, app: str, user: str, token_ms: UnixMs | None) -> None:
    """Raises TokenRevoked if the token was issued before the user was last kicked, or in that millisecond."""
    if token_ms is None:
        return
    kicked_ms = views.kicked_ms(app, user)
    if kicked_ms is not None and token_ms <= kicked_ms:
        raise TokenRevoked("the user was kicked since this token was issued")


def apply_kicked(views: Views, event: UserKicked) -> None:
    """The tokens are refused. Sessions end by their logouts."""
    views.put_kicked(event.app, event.user, event.at_ms)


def count_login(views: Views, app: str, user: str, day: int) -> None:
    """Count a user once a day. Days only move on: of a day that is over (`Rules.day_offset_ms` became smaller) nobody is.

    So exactly those are counted whose last day is the app's newest, which `verify` relies on.
    """
    newest = views.day_users(app)
    if day < newest.day or day <= views.login_day(app, user):
        return
    views.put_login_day(app, user, day)
    views.put_day_users(app, DayUsers(day, newest.users + 1 if day == newest.day else 1))


def users_on(views: ReadViews, app: str, day: int) -> int:
    """How many logged in on this day, if it is the app's newest or will be."""
    newest = views.day_users(app)
    return newest.users if newest.day >= day else 0
