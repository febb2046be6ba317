"""What is asked about clients, and done to them (LeanCloud 6.8, 6.9)."""

from collections.abc import Sequence
from typing import Final, NoReturn

from postroom.core.commands import Kick
from postroom.core.errors import InvalidCommand
from postroom.core.model import Receipt, UserCount
from postroom.core.queries import AppUsers, FindOnline
from postroom.transports.http.dialect import Call
from postroom.transports.http.types import HttpReply, json_reply

from .errors import NoSuchUser
from .ids import check_client
from .parameters import Parameters, body_of

ONLINE_MAX: Final = 20
"""Clients that one call asks about."""
REASON_CHARACTERS_MAX: Final = 20


def parse_online(call: Call, parameter: str = "client_ids") -> FindOnline:
    """Call 68. Raises InvalidCommand."""
    users = Parameters(body_of(call.request)).clients(parameter, ONLINE_MAX)
    return FindOnline(app=call.caller.app, users=tuple(dict.fromkeys(users)))


def render_online(call: Call, users: Sequence[str]) -> HttpReply:
    """Those who are."""
    return json_reply(200, {"results": users})


def parse_kick(call: Call) -> Kick:
    """Call 69. Raises InvalidCommand, NameTooLong."""
    user = check_client("uid", call.request.param("uid"))
    return kick(call.caller.app, user, Parameters(body_of(call.request)))


def kick(app: str, user: str, given: Parameters) -> Kick:
    """With the reason that was given, if any. Raises InvalidCommand."""
    reason = given.maybe("reason") or ""
    if len(reason) > REASON_CHARACTERS_MAX:
        raise InvalidCommand(f"reason: at most {REASON_CHARACTERS_MAX} characters")
    return Kick(app=app, user=user, reason=reason)


def render_kick(call: Call, receipt: Receipt) -> HttpReply:
    """Whether or not anybody was there."""
    return json_reply(200, {})


def parse_stats(call: Call) -> AppUsers:
    """Call 82."""
    return AppUsers(app=call.caller.app)


def render_stats(call: Call, users: UserCount) -> HttpReply:
    """Both numbers."""
    return json_reply(200, {"result": {"online_user_count": users.online, "user_count_today": users.today}})


def parse_sign(call: Call) -> NoReturn:
    """Call 75: there are no users here, so no session token is anybody's. Raises InvalidCommand, NoSuchUser."""
    refuse_token(Parameters(call.request.query()))


def refuse_token(given: Parameters) -> NoReturn:
    """Raises InvalidCommand if there is no session token, else NoSuchUser."""
    given.text("session_token")
    raise NoSuchUser
