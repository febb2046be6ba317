"""The three history calls: `POST …/query`, `GET …/query/{handle}` and `GET …/count` (anyRTC 6 E5-E7; 8)."""

from typing import Annotated, Any, Final, Literal

import msgspec

from postroom.core.errors import InvalidCommand
from postroom.core.ids import UnixMs
from postroom.core.model import Conversation, Message, peer, room
from postroom.core.queries import CollectMessages, CountMessages, FindMessages, ReserveMessages
from postroom.transports.config import AnyrtcConfig
from postroom.transports.http.decode import decode
from postroom.transports.http.dialect import Call
from postroom.transports.http.types import HttpReply, json_reply

from .ids import check_name
from .payload import shown
from .times import parse_range

LOCATION: Final = "~/rtm/message/history/query/"
"""What a location begins with, `~` for the base URL: clients cut at one of its parts or another."""
LIMITS: Final = (20, 50, 100)
LIMIT_DEFAULT: Final = 20
LIMIT_MAX: Final = 100
"""With `lenient_history_limit`, any from 1 to this."""
TYPES: Final = {"peer": "peer_message", "room": "channel_message"}

Order = Literal["asc", "desc"]
Time = int | str


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages. A name that is null or empty is not given."""

    start_time: Time
    end_time: Time
    source: str | None = None
    destination: str | None = None


class LenientFilter(Filter, frozen=True, kw_only=True):
    """The same for apps with `lenient_ids`, whose clients send numbers where a name is documented."""

    source: str | int | None = None  # type: ignore[assignment]
    destination: str | int | None = None  # type: ignore[assignment]


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The body of E5; null is the default, members not listed are ignored."""

    filter: Filter
    offset: Annotated[int, msgspec.Meta(ge=0)] | None = None
    limit: int | None = None
    order: Order | None = None


class LenientHistoryQuery(HistoryQuery, frozen=True, kw_only=True):
    """The same for apps with `lenient_ids`."""

    filter: LenientFilter


_STRICT: Final = msgspec.json.Decoder(HistoryQuery)
_LENIENT: Final[msgspec.json.Decoder[HistoryQuery]] = msgspec.json.Decoder(LenientHistoryQuery)


def parse_query(call: Call, settings: AnyrtcConfig) -> ReserveMessages:
    """E5 as a query (anyRTC 6). Raises InvalidCommand naming the member that is wrong."""
    wire = _read(call, settings)
    find = FindMessages(
        **_matching(call, settings, wire.filter),
        offset=wire.offset or 0,
        limit=_limit(wire.limit, settings),
        newest_first=wire.order == "desc",
    )
    return ReserveMessages(app=call.caller.app, find=find, ttl_ms=settings.handle_ttl_ms)


def render_query(call: Call, handle: str, settings: AnyrtcConfig) -> HttpReply:
    """Where the result waits, and the values that were used."""
    wire = _read(call, settings)
    body = {
        "result": "success",
        "offset": wire.offset or 0,
        "limit": _limit(wire.limit, settings),
        "order": wire.order or "asc",
        "location": LOCATION + handle,
        "request_id": call.id,
    }
    return json_reply(200, body)


def parse_collect(call: Call) -> CollectMessages:
    """E6: any text may be a handle; one that is none, or is used up, is no error of the caller (anyRTC 8.8)."""
    return CollectMessages(app=call.caller.app, handle=call.request.param("handle"))


def render_messages(call: Call, messages: tuple[Message, ...]) -> HttpReply:
    """The messages, each with exactly the documented members."""
    told = [_told(message) for message in messages]
    return json_reply(200, {"code": "ok", "messages": told, "request_id": call.id, "result": "success"})


def not_there(request_id: str) -> HttpReply:
    """A handle that nothing waits under is told in an answer that is none of the errors (anyRTC 6 E6)."""
    body = {"code": "resource not exist", "result": "failed", "messages": [], "request_id": request_id}
    return json_reply(200, body)


def parse_count(call: Call, settings: AnyrtcConfig) -> CountMessages:
    """E7: the filter in the query, where clients put quotes round the values. Raises InvalidCommand."""
    given = {name: _unquoted(value) for name, value in call.request.query().items()}
    for required in ("start_time", "end_time"):
        if not given.get(required):
            raise InvalidCommand(f"{required}: required")
    filter = Filter(
        start_time=given["start_time"],
        end_time=given["end_time"],
        source=given.get("source"),
        destination=given.get("destination"),
    )
    return CountMessages(**_matching(call, settings, filter))


def render_count(call: Call, count: int) -> HttpReply:
    """How many there are in all."""
    return json_reply(200, {"result": "success", "code": "ok", "count": count, "request_id": call.id})


def _read(call: Call, settings: AnyrtcConfig) -> HistoryQuery:
    return decode(call.request.body, _LENIENT if settings.lenient_ids else _STRICT)


def _matching(call: Call, settings: AnyrtcConfig, filter: Filter) -> dict[str, Any]:
    """The filter table (anyRTC 8.5): a source is a user; a destination may be a user, a channel, or both."""
    source, destination = _name("source", filter.source), _name("destination", filter.destination)
    if source is None and destination is None:
        raise InvalidCommand("filter: source or destination must be given")
    start_ms, end_ms = parse_range(filter.start_time, filter.end_time)
    conversations: tuple[Conversation, ...] = ()
    if destination is not None:
        conversations = (peer(destination), room(destination))
    return {
        "app": call.caller.app,
        "sender": source,
        "conversations": conversations,
        # Whoever is asked for alone has also received what was sent to the channels they were in.
        "receiver": destination if source is None else None,
        "start_ms": UnixMs(max(start_ms, call.request.received_ms - settings.history_ms)),
        "end_ms": end_ms,
    }


def _name(member: str, name: str | int | None) -> str | None:
    return None if name is None or name == "" else check_name(member, str(name))


def _limit(limit: int | None, settings: AnyrtcConfig) -> int:
    if limit is None:
        return LIMIT_DEFAULT
    if limit in LIMITS or (settings.lenient_history_limit and 1 <= limit <= LIMIT_MAX):
        return limit
    allowed = f"1 to {LIMIT_MAX}" if settings.lenient_history_limit else "20, 50 or 100"
    raise InvalidCommand(f"limit: must be {allowed}")


def _unquoted(value: str) -> str:
    """Without one pair of double quotes, which no name can have (anyRTC 6 E7)."""
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value


def _told(message: Message) -> dict[str, str | int]:
    return {
        "src": message.sender,
        "dst": message.conversation.id,
        "message_type": TYPES[message.conversation.kind],
        "payload": shown(message),
        "ms": message.at_ms,
    }
