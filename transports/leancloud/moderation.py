"""Who may not talk in a conversation, who may not come into it, and which ones a client does not want (LeanCloud 6.7)."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from postroom.core.commands import (
    BanUsers,
    BlockConversation,
    SilenceUsers,
    UnbanUsers,
    UnblockConversation,
    UnsilenceUsers,
    UsersCommand,
)
from postroom.core.errors import InvalidCommand
from postroom.core.limits import FIND_LISTED_MAX
from postroom.core.model import Blocked, Kind, Listed
from postroom.core.queries import FindBlocked, FindListed
from postroom.transports.http.dialect import Call, Steps, Work
from postroom.transports.http.types import HttpReply, json_reply

from .ids import check_client
from .known import existing, known, named
from .parameters import Parameters, arguments_of, body_of

List = Literal["silenced", "banned"]
TTL_S_MAX: Final = 86_400
PAGE: Final = 10
"""How many a list shows unless the call says otherwise (LeanCloud 5)."""
_NEXT_LISTED: Final = re.compile(r"[0-9a-f]{24}")
_NEXT_BLOCKED: Final = re.compile(r"[0-9a-f]{14}")


# Silences for a while.


def parse_hush(call: Call, kind: Kind) -> Steps:
    """Calls 16 and 39. Raises InvalidCommand."""
    given = Parameters(body_of(call.request))
    app, conversation = call.caller.app, named(call, kind)
    return known(
        app, conversation, SilenceUsers(app=app, conversation=conversation, users=_one(given), ttl_ms=ttl_ms(given))
    )


def parse_unhush(call: Call, kind: Kind) -> Steps:
    """Calls 17 and 40. Raises InvalidCommand."""
    app, conversation = call.caller.app, named(call, kind)
    users = _one(arguments_of(call.request))
    return known(app, conversation, UnsilenceUsers(app=app, conversation=conversation, users=users, temporary=True))


def ttl_ms(given: Parameters) -> int:
    """For how long: `ttl` in seconds. Raises InvalidCommand."""
    ttl = given.integer("ttl")
    if ttl is None:
        raise InvalidCommand("ttl: required")
    if not 1 <= ttl <= TTL_S_MAX:
        raise InvalidCommand(f"ttl: must be 1 to {TTL_S_MAX} seconds")
    return ttl * 1_000


def _one(given: Parameters) -> tuple[str, ...]:
    return (given.client("client_id"),)


# Silences for good, and bans.


def parse_add(call: Call, kind: Kind, of: List) -> Steps:
    """Calls 22, 25, 45 and 48. Raises InvalidCommand."""
    users = Parameters(body_of(call.request)).clients("client_ids")
    about = _about(call, kind, users)
    return _carry_out(SilenceUsers(**about) if of == "silenced" else BanUsers(**about))


def parse_remove(call: Call, kind: Kind, of: List) -> Steps:
    """Calls 23, 26, 46 and 49. Raises InvalidCommand."""
    users = arguments_of(call.request).clients("client_ids")
    about = _about(call, kind, users)
    return _carry_out(UnsilenceUsers(**about, temporary=False) if of == "silenced" else UnbanUsers(**about))


def _about(call: Call, kind: Kind, users: tuple[str, ...]) -> Mapping[str, Any]:
    return {"app": call.caller.app, "conversation": named(call, kind), "users": users}


def _carry_out(command: UsersCommand) -> Steps:
    return known(command.app, command.conversation, command)


def parse_list(call: Call, kind: Kind, of: List) -> Steps:
    """Calls 24, 27, 47 and 50. Raises InvalidCommand."""
    app, conversation = call.caller.app, named(call, kind)
    after, limit = _page(Parameters(call.request.query()), _NEXT_LISTED)
    return known(app, conversation, FindListed(app=app, conversation=conversation, list=of, after=after, limit=limit))


def _page(given: Parameters, form: re.Pattern[str]) -> tuple[str | None, int]:
    """Where a page begins, and how many it shows."""
    after = given.maybe("next")
    if after is not None and not form.fullmatch(after):
        raise InvalidCommand("next: must be what the page before said")
    return after, given.limit(FIND_LISTED_MAX, PAGE)


def render_list(call: Call, page: Listed) -> HttpReply:
    """In the order in which they came onto the list; `next` only if there are more."""
    return json_reply(200, {"client_ids": page.users, **_next(page)})


def _next(page: Listed | Blocked) -> dict[str, str]:
    return {} if page.next is None else {"next": page.next}


def render_done(call: Call, _: object) -> HttpReply:
    """Of everything that says nothing."""
    return json_reply(200, {})


# What a client does not want to be put into.


def parse_block(call: Call) -> Steps:
    """Call 72. Raises InvalidCommand."""
    given = Parameters(body_of(call.request))
    return _block(call.caller.app, _client(call), given.text("conv_id"), blocks=True)


def parse_unblock(call: Call) -> Steps:
    """Call 73. Raises InvalidCommand."""
    given = arguments_of(call.request)
    return _block(call.caller.app, _client(call), given.text("conv_id"), blocks=False)


def _client(call: Call) -> str:
    return check_client("uid", call.request.param("uid"))


def _block(app: str, user: str, id: str, *, blocks: bool) -> Steps:
    conversation = yield from existing(app, id)
    command = BlockConversation if blocks else UnblockConversation
    yield command(app=app, conversation=conversation, user=user)


def parse_blocked(call: Call) -> Work:
    """Call 74. Raises InvalidCommand."""
    after, limit = _page(Parameters(call.request.query()), _NEXT_BLOCKED)
    return FindBlocked(app=call.caller.app, user=_client(call), after=after, limit=limit)


def render_blocked(call: Call, page: Blocked) -> HttpReply:
    """In the order in which they were created."""
    return json_reply(200, {"conv_ids": [conversation.id for conversation in page.conversations], **_next(page)})


# The calls of 1.1, which names the kind of no conversation (LeanCloud 9).


def parse_old_hush(call: Call) -> Steps:
    """`POST rtm/conversation/blacklist`: a silence for a while, whatever its name. Raises InvalidCommand."""
    given = Parameters(body_of(call.request))
    how_long = ttl_ms(given)
    return _hush(call.caller.app, given.text("conv_id"), _one(given), how_long)


def parse_old_unhush(call: Call) -> Steps:
    """`DELETE rtm/conversation/blacklist`. Raises InvalidCommand."""
    given = arguments_of(call.request)
    return _hush(call.caller.app, given.text("conv_id"), _one(given), None)


def _hush(app: str, id: str, users: tuple[str, ...], how_long_ms: int | None) -> Steps:
    conversation = yield from existing(app, id)
    if how_long_ms is None:
        yield UnsilenceUsers(app=app, conversation=conversation, users=users, temporary=True)
    else:
        yield SilenceUsers(app=app, conversation=conversation, users=users, ttl_ms=how_long_ms)
