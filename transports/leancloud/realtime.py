"""The calls of `/1.1/rtm`, which the SDKs use: the same as those of 1.2, under other names (LeanCloud 9).

Those of silences, subscriptions and broadcasts are beside their counterparts."""

from collections.abc import Callable

from postroom.core.commands import DeleteMessage, EditMessage, Kick, RecallMessage, SendMessage
from postroom.core.errors import InvalidCommand, UnknownConversation
from postroom.core.model import Conversation, Kind, Quota, Receipt
from postroom.core.queries import FindMessages, FindOnline
from postroom.transports.config import LeancloudConfig
from postroom.transports.http.dialect import Call, Steps, Work
from postroom.transports.http.types import HttpReply, HttpRequest, json_reply

from . import people, services
from .clients import kick, refuse_token
from .clients import parse_online as parse_online_of
from .history import check_signature, find, of_conversation
from .known import conversation, existing, nowhere, of_any_kind, target
from .messages import change, message_of, sent, text_in, text_of, which
from .parameters import Parameters, arguments_of, body_of
from .times import date

SENDER = "from_peer"


def parse_send(call: Call) -> Steps:
    """`POST rtm/messages`: transient unless it says otherwise. Raises InvalidCommand."""
    given = Parameters(body_of(call.request))
    sender, id = given.client(SENDER), given.text("conv_id")
    transient = given.flag("transient", default="true")

    def to(kind: Kind) -> SendMessage:
        return message_of(call.caller.app, target(kind, id), given, sender=sender, transient=transient)

    def to_clients() -> SendMessage:
        clients = given.maybe_clients("to_peers", services.CLIENTS_MAX)
        if not clients:
            raise InvalidCommand(
                "to_peers: required of a service conversation; rtm/broadcast/subscriber sends to subscribers"
            )
        service = conversation("service", id)
        return services.message_of(call.caller.app, service, clients, given, sender=sender, transient=transient)

    return _send(to("group"), to("room"), to_clients)


def _send(to_group: SendMessage, to_room: SendMessage, to_clients: Callable[[], SendMessage]) -> Steps:
    """`to_peers` says nothing unless it is a service conversation (LeanCloud 9): until then it is not looked at."""
    try:
        return (yield to_group)
    except UnknownConversation:
        info = yield from of_any_kind(to_group.app, to_group.to.id)
    if info is None:
        nowhere(target=True)
    if info.conversation.kind == "room":
        return (yield to_room)
    return (yield to_clients())


def parse_publish(call: Call, quota: Quota | None) -> Steps:
    """`POST rtm/broadcast/subscriber`. Raises InvalidCommand, MessageTooLong."""
    given = Parameters(body_of(call.request))
    sender, id = given.client(SENDER), given.text("conv_id")
    return services.publish(call.caller.app, target("service", id), given, sender, quota)


def render_send(call: Call, receipt: Receipt) -> HttpReply:
    """In the one shape that 1.1 has."""
    return json_reply(200, {"result": sent(receipt)})


def parse_history(call: Call, settings: LeancloudConfig) -> Work:
    """`GET rtm/messages/history`: of a conversation, of a sender, or all. Raises InvalidCommand, NotSigned."""
    given = Parameters(call.request.query())
    id, sender = given.maybe("convid"), given.maybe("from")
    if sender is not None:
        sender = given.client("from")
    if id is None:
        return find(call.caller.app, given, sender=sender)
    if settings.sign_history:
        check_signature(given, settings, id, client="peerid")
    in_room = find(call.caller.app, given, conversation("room", id), sender)
    return _history(call.caller.app, given, in_room, sender)


def _history(app: str, given: Parameters, in_room: FindMessages, sender: str | None) -> Steps:
    info = yield from of_any_kind(app, in_room.conversations[0].id)
    query = in_room if info is None else find(app, given, info.conversation, sender)
    return (yield from of_conversation(query))


def parse_delete(call: Call) -> Steps:
    """`DELETE rtm/messages/logs`. Raises InvalidCommand."""
    given = arguments_of(call.request)
    sender, mid, sent_ms = given.client("from"), given.text("msgid"), given.time("timestamp")
    return _delete(call.caller.app, given.text("convid"), mid, sender, sent_ms)


def _delete(app: str, id: str, mid: str, sender: str, sent_ms: int) -> Steps:
    target = yield from existing(app, id)
    return (yield from change(DeleteMessage(**which(app, target, mid, sender, sent_ms), silent=True), mid))


def parse_put(call: Call, quota: Quota | None) -> Steps:
    """`PUT rtm/messages/logs`: a record of the history with another text. Raises InvalidCommand, MessageTooLong."""
    given = Parameters(body_of(call.request))
    sender, mid, sent_ms = given.client("from"), given.text("msg-id"), given.time("timestamp")
    id, body = given.text("conv-id"), text_in("data", given.value("data"))
    return _put(call.caller.app, id, mid, sender, sent_ms, body, quota)


def _put(app: str, id: str, mid: str, sender: str, sent_ms: int, body: bytes, quota: Quota | None) -> Steps:
    target = yield from existing(app, id)
    work = EditMessage(**which(app, target, mid, sender, sent_ms), body=body)
    return (yield from services.change_of_all(work, mid, quota) if target.kind == "service" else change(work, mid))


def parse_patch(call: Call, quota: Quota | None) -> Steps:
    """`POST rtm/patch/message`: an edit, or with `recall` a recall. Raises InvalidCommand, MessageTooLong."""
    given = Parameters(body_of(call.request))
    body = None if given.flag("recall") else text_of(given)
    sender, mid, sent_ms = given.client(SENDER), given.text("msg_id"), given.time("timestamp")
    id = given.text("conv_id")

    def work(target: Conversation) -> Steps:
        named = which(call.caller.app, target, mid, sender, sent_ms)
        work = RecallMessage(**named) if body is None else EditMessage(**named, body=body)
        if target.kind != "service":
            return change(work, mid)
        clients = given.maybe_clients("to_peers")
        if clients is not None:
            clients = clients[: services.CLIENTS_MAX]  # the others are passed over, as at the vendor (LeanCloud 6.4)
        return services.change_of(work, mid, clients, "to_peers", quota)

    return _patch(call.caller.app, id, work)


def _patch(app: str, id: str, work: Callable[[Conversation], Steps]) -> Steps:
    """As in a send, `to_peers` is looked at in a service conversation alone."""
    target = yield from existing(app, id)
    return (yield from work(target))


def parse_online(call: Call) -> FindOnline:
    """`POST rtm/online`. Raises InvalidCommand."""
    return parse_online_of(call, "peers")


def parse_kick(call: Call) -> Kick:
    """`POST rtm/client/kick`. Raises InvalidCommand, NameTooLong."""
    given = Parameters(body_of(call.request))
    return kick(call.caller.app, given.client("client_id"), given)


def parse_room(call: Call) -> Steps:
    """`GET rtm/transient_group/onlines` and `…/members`. Raises InvalidCommand."""
    id = Parameters(call.request.query()).text("gid")
    return people.online(call.caller.app, conversation("room", id))


def parse_sign(call: Call) -> Steps:
    """`POST rtm/sign`. Raises InvalidCommand, NoSuchUser."""
    refuse_token(Parameters(body_of(call.request)))


def answer_date(request: HttpRequest) -> HttpReply:
    """`GET date`: the server's time, to anybody. The Python SDK asks without credentials."""
    return json_reply(200, date(request.received_ms))
