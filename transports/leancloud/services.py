"""Messages of service conversations: to all who subscribe, or to some clients by name (LeanCloud 6.4)."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec

from postroom.core.commands import ChangeMessage, DeleteMessage, EditMessage, RecallMessage, SendMessage
from postroom.core.errors import InvalidCommand, QuotaExceeded, UnknownMessage
from postroom.core.model import Conversation, Message, Quota
from postroom.transports.config import LeancloudConfig
from postroom.transports.http.dialect import Call, Steps
from postroom.transports.http.types import HttpReply, json_reply

from .errors import SubscriptionQuotaExceeded
from .history import check_signature, find, of_conversation
from .ids import check_client, service_pair_id
from .known import named, record
from .messages import SENDER, VIA, change, find_message, lane_of, push_of, send, text_of, which
from .parameters import Parameters, arguments_of, body_of
from .records import record as shown

CLIENTS_MAX: Final = 20
"""Clients that one message names."""


def parse_publish(call: Call, quota: Quota | None) -> Steps:
    """Call 59: to all who subscribe at this moment. Raises InvalidCommand, MessageTooLong."""
    given = Parameters(body_of(call.request))
    return publish(call.caller.app, named(call, "service"), given, given.client(SENDER), quota)


def publish(app: str, to: Conversation, given: Parameters, sender: str, quota: Quota | None) -> Steps:
    """It waits for whoever is away; the sender, if they subscribe, is a receiver like any other (7.3). Raises
    InvalidCommand, MessageTooLong."""
    message = SendMessage(
        app=app,
        sender=sender,
        to=to,
        body=text_of(given),
        queue=True,
        history=True,
        push=push_of(given, "push", "push_data"),
        via=VIA,
        quota=quota,
    )
    return _counted(send(message))


def parse_send(call: Call) -> Steps:
    """Call 60: to clients by name, whether they subscribe or not. Raises InvalidCommand, MessageTooLong."""
    given = Parameters(body_of(call.request))
    clients = given.maybe_clients("to_clients", CLIENTS_MAX)
    if clients is None:
        raise InvalidCommand("to_clients: required")
    transient = given.flag("transient")
    to = named(call, "service")
    return send(message_of(call.caller.app, to, clients, given, sender=given.client(SENDER), transient=transient))


def message_of(
    app: str, to: Conversation, clients: tuple[str, ...], given: Parameters, *, sender: str, transient: bool
) -> SendMessage:
    """A message to some clients. Raises InvalidCommand, MessageTooLong."""
    lane, no_sync, push = lane_of(given), given.flag("no_sync"), push_of(given, "push_data")
    return SendMessage(
        app=app,
        sender=sender,
        to=to,
        recipients=clients,
        body=text_of(given),
        queue=not transient,
        history=not transient,
        lane=lane if transient else "normal",
        sender_copy="none" if no_sync else "online",
        push=push if not transient else b"",
        via=VIA,
    )


def parse_received(call: Call, settings: LeancloudConfig) -> Steps:
    """Call 61: what a service sent to a client, in either way. Raises InvalidCommand, NotSigned."""
    given = Parameters(call.request.query())
    service, user = named(call, "service"), _client(call)
    if settings.sign_history:
        check_signature(given, settings, service.id, client="client_id")
    query = find(call.caller.app, given, service)
    return of_conversation(msgspec.structs.replace(query, recipient=user))


def render_received(call: Call, messages: Iterable[Message]) -> HttpReply:
    """As a history, with an id that stands for the two as their conversation."""
    user = _client(call)
    records = [shown(message) | {"conv-id": service_pair_id(message.conversation.id, user)} for message in messages]
    return json_reply(200, records)


# What becomes of a message later: of all of it, or of the copies of some.


def names_clients(call: Call) -> bool:
    """Whether a change says whose copies it is of."""
    return Parameters(body_of(call.request)).value("to_clients") is not None


def parse_edit(call: Call, quota: Quota | None) -> Steps:
    """Call 62, of a message. Raises InvalidCommand, MessageTooLong."""
    given = Parameters(body_of(call.request))
    make = partial(EditMessage, body=text_of(given))
    return _change(make, call, given, quota)


def parse_recall(call: Call, quota: Quota | None) -> Steps:
    """Call 63. Raises InvalidCommand."""
    given = Parameters(body_of(call.request))
    return _change(RecallMessage, call, given, quota)


def _which(call: Call, given: Parameters) -> dict[str, Any]:
    sender, sent_ms = given.client(SENDER), given.time("timestamp")
    return which(call.caller.app, named(call, "service"), call.request.param("mid"), sender, sent_ms)


def _change(make: Callable[..., ChangeMessage], call: Call, given: Parameters, quota: Quota | None) -> Steps:
    clients = given.maybe_clients("to_clients", CLIENTS_MAX)
    return change_of(make(**_which(call, given)), call.request.param("mid"), clients, "to_clients", quota)


def change_of(
    work: ChangeMessage, mid: str, clients: tuple[str, ...] | None, parameter: str, quota: Quota | None
) -> Steps:
    """A change of a message of a service, which must name clients if the message did, and only then."""
    message = yield from _existing(work, mid)
    if message.recipients and clients is None:
        raise InvalidCommand(f"{parameter}: required, since the message was sent to clients by name")
    if not message.recipients and clients is not None:
        raise InvalidCommand(f"{parameter}: the message was sent to all who subscribe")
    return (yield from _changed(work, message, clients or (), quota))


def change_of_all(work: ChangeMessage, mid: str, quota: Quota | None) -> Steps:
    """A change of a message of a service for whoever has it, also of one that named them."""
    message = yield from _existing(work, mid)
    return (yield from _changed(work, message, (), quota))


def _existing(work: ChangeMessage, mid: str) -> Steps:
    """The message that a change of a service's means."""
    assert work.conversation is not None
    message = yield from find_message(work, mid)
    if message is None:
        yield from record(work.app, work.conversation)
        raise UnknownMessage("no message has this id")
    return message


def _changed(work: ChangeMessage, message: Message, clients: tuple[str, ...], quota: Quota | None) -> Steps:
    """One of what went to all who subscribe counts by the day."""
    quota = None if message.recipients else quota
    return _counted(change(msgspec.structs.replace(work, id=message.id, recipients=clients, quota=quota)))


def parse_hide(call: Call) -> Steps:
    """Call 64: one client does not see it any more. Raises InvalidCommand."""
    given = arguments_of(call.request)
    work = DeleteMessage(**_which(call, given), recipients=(_client(call),), silent=True)
    return change(work, call.request.param("mid"))


def _client(call: Call) -> str:
    return check_client("uid", call.request.param("uid"))


def _counted(steps: Steps) -> Steps:
    """The steps, whose day's quota is that of messages to subscribers."""
    try:
        return (yield from steps)
    except QuotaExceeded as refusal:
        raise SubscriptionQuotaExceeded(refusal) from refusal
