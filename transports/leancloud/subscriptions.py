"""Who subscribes to a service conversation, and to which ones a client does (LeanCloud 6.4, 6.8)."""

from collections.abc import Iterable
from typing import Final

from postroom.core.commands import AddMembers, MembersCommand, RemoveMembers
from postroom.core.errors import InvalidCommand
from postroom.core.model import Conversation, Subscription
from postroom.core.queries import CountMembers, FindSubscribers, FindSubscriptions
from postroom.transports.http.dialect import Call, Steps
from postroom.transports.http.types import HttpReply, json_reply

from .ids import check_client
from .known import conversation, known, named
from .parameters import Parameters, arguments_of, body_of

PAGE: Final = 50
"""How many subscriptions a list shows at most, and unless the call says otherwise."""
DIRECTIONS: Final = {"new": False, "old": True}
"""By the word of a call: whether the latest subscription comes first."""


def parse_subscribe(call: Call) -> Steps:
    """Call 55; who subscribes already stays where they are. Raises InvalidCommand."""
    return _change(call.caller.app, AddMembers, named(call, "service"), _client(Parameters(body_of(call.request))))


def parse_unsubscribe(call: Call) -> Steps:
    """Call 56; who does not subscribe need not leave. Raises InvalidCommand."""
    arguments_of(call.request)  # there are none, but what is sent is JSON or nothing
    user = check_client("uid", call.request.param("uid"))
    return _change(call.caller.app, RemoveMembers, named(call, "service"), user)


def _change(app: str, command: type[MembersCommand], service: Conversation, user: str) -> Steps:
    return known(app, service, command(app=app, conversation=service, users=(user,)))


def _client(given: Parameters) -> str:
    return given.client("client_id")


def parse_list(call: Call) -> Steps:
    """Call 57. Raises InvalidCommand."""
    return _subscribers(call.caller.app, named(call, "service"), Parameters(call.request.query()))


def _subscribers(app: str, service: Conversation, given: Parameters) -> Steps:
    after = _client(given) if given.maybe("client_id") is not None else None
    return _list(FindSubscribers(app=app, conversation=service, after=after, limit=given.limit(PAGE, PAGE)))


def _list(find: FindSubscribers) -> Steps:
    """A page. Behind who left meanwhile there is none, which must not look like the end."""
    found = yield from known(find.app, find.conversation, find)
    if not found and find.after is not None and not (yield from _subscribed(find.app, find.conversation, find.after)):
        raise InvalidCommand("client_id: does not subscribe, so nobody comes behind it")
    return found


def render_list(call: Call, found: Iterable[Subscription]) -> HttpReply:
    """A bare array, in the order asked for."""
    shown = [{"timestamp": each.since_ms, "subscriber": each.user, "conv_id": each.conversation.id} for each in found]
    return json_reply(200, shown)


def parse_count(call: Call) -> Steps:
    """Call 58."""
    return _count(call.caller.app, named(call, "service"))


def _count(app: str, service: Conversation) -> Steps:
    return known(app, service, CountMembers(app=app, conversation=service))


def render_count(call: Call, count: int) -> HttpReply:
    """How many they are."""
    return json_reply(200, {"count": count})


def parse_subscriptions(call: Call) -> Steps:
    """Call 70. Raises InvalidCommand."""
    user = check_client("uid", call.request.param("uid"))
    return _subscriptions(call.caller.app, user, Parameters(call.request.query()))


def _subscriptions(app: str, user: str, given: Parameters) -> Steps:
    """The time beside `conv_id` is asked for and not needed: the place of a subscription is kept."""
    direction = given.maybe("direction") or "new"
    if direction not in DIRECTIONS:
        raise InvalidCommand("direction: must be new or old")
    after = None
    if (id := given.maybe("conv_id")) is not None:
        given.time("timestamp")
        after = conversation("service", id)
    newest_first, limit = DIRECTIONS[direction], given.limit(PAGE, PAGE)
    return _list_of(FindSubscriptions(app=app, user=user, after=after, limit=limit, newest_first=newest_first))


def _list_of(find: FindSubscriptions) -> Steps:
    """A page; as above, what ended meanwhile is no place to go on from."""
    if find.after is None:
        return (yield find)
    found = yield from known(find.app, find.after, find)
    if not found and not (yield from _subscribed(find.app, find.after, find.user)):
        raise InvalidCommand("conv_id: the client does not subscribe to it, so nothing comes behind it")
    return found


# The calls of 1.1 (LeanCloud 9).


def parse_old_subscribe(call: Call) -> Steps:
    """`POST rtm/conversation/subscription`. Raises InvalidCommand."""
    given = Parameters(body_of(call.request))
    return _change(call.caller.app, AddMembers, _service(given), _client(given))


def parse_old_unsubscribe(call: Call) -> Steps:
    """`DELETE rtm/conversation/subscription`. Raises InvalidCommand."""
    given = arguments_of(call.request)
    return _change(call.caller.app, RemoveMembers, _service(given), _client(given))


def parse_old_subscriptions(call: Call) -> Steps:
    """`GET rtm/conversation/subscription`: of a client. Raises InvalidCommand."""
    given = Parameters(call.request.query())
    return _subscriptions(call.caller.app, _client(given), given)


def parse_old_list(call: Call) -> Steps:
    """`GET rtm/conversation/subscription/subscribers`. Raises InvalidCommand."""
    given = Parameters(call.request.query())
    return _subscribers(call.caller.app, _service(given), given)


def parse_old_count(call: Call) -> Steps:
    """`GET rtm/conversation/subscription/subscribers/count`. Raises InvalidCommand."""
    return _count(call.caller.app, _service(Parameters(call.request.query())))


def parse_subscribed(call: Call) -> Steps:
    """`GET rtm/conversation/subscription/subscribed`: whether a client does; without one, as the vendor's Android SDK asks,
    how many do. Raises InvalidCommand."""
    given = Parameters(call.request.query())
    service = _service(given)
    if given.maybe("client_id") is None:
        return _count(call.caller.app, service)
    return _subscribed(call.caller.app, service, _client(given))


def _subscribed(app: str, service: Conversation, user: str) -> Steps:
    """Somebody's subscription is the first of theirs, or there is one before it and after it the rest."""
    yield from known(app, service, CountMembers(app=app, conversation=service))
    first = yield FindSubscriptions(app=app, user=user, limit=1)
    if not first or first[0].conversation == service:
        return bool(first)
    before = FindSubscriptions(app=app, user=user, after=service, limit=1, newest_first=True)
    return bool((yield before))


def render_subscribed(call: Call, subscribed: bool | int) -> HttpReply:  # noqa: FBT001  what the steps came to
    """True or false, bare; or a number."""
    return json_reply(200, subscribed) if isinstance(subscribed, bool) else render_count(call, subscribed)


def _service(given: Parameters) -> Conversation:
    return conversation("service", given.text("conv_id"))
