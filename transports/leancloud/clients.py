"""What is asked about clients (LeanCloud 6.8)."""

from collections.abc import Sequence
from typing import Final, NoReturn

from postroom.core.queries import FindOnline
from postroom.transports.http.dialect import Call
from postroom.transports.http.types import HttpReply, json_reply

from .errors import NoSuchUser
from .parameters import Parameters, body_of

ONLINE_MAX: Final = 20
"""Clients that one call asks about."""


def parse_online(call: Call, parameter: str = "client_ids") -> FindOnline:
    """Call 68. Raises InvalidCommand."""
    users = Parameters(body_of(call.request)).clients(parameter, ONLINE_MAX)
    return FindOnline(app=call.caller.app, users=tuple(dict.fromkeys(users)))


def render_online(call: Call, users: Sequence[str]) -> HttpReply:
    """Those who are."""
    return json_reply(200, {"results": users})


def parse_sign(call: Call) -> NoReturn:
    """Call 75: there are no users here, so no session token is anybody's. Raises InvalidCommand, NoSuchUser."""
    refuse_token(Parameters(call.request.query()))


def refuse_token(given: Parameters) -> NoReturn:
    """Raises InvalidCommand if there is no session token, else NoSuchUser."""
    given.text("session_token")
    raise NoSuchUser
