"""`POST …/rtm/users/{user_id}/channel_messages`: one message to whoever is in a channel (anyRTC 6, E2)."""

from typing import Final

import msgspec

from postroom.core.commands import SendMessage
from postroom.core.model import Receipt, room
from postroom.transports.config import AnyrtcConfig
from postroom.transports.http.decode import decode
from postroom.transports.http.dialect import Call
from postroom.transports.http.types import HttpReply, json_reply

from .ids import check_name, check_path_name
from .payload import check_payload


class ChannelMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The body. An absent or null flag is false; members not listed are ignored."""

    channel_name: str
    payload: str
    enable_historical_messaging: bool | None = None


class LenientChannelMessage(ChannelMessage, frozen=True, kw_only=True):
    """The same for apps with `lenient_ids`, whose clients send numbers where a name is documented."""

    channel_name: str | int  # type: ignore[assignment]


_STRICT: Final = msgspec.json.Decoder(ChannelMessage)
_LENIENT: Final[msgspec.json.Decoder[ChannelMessage]] = msgspec.json.Decoder(LenientChannelMessage)


def parse(call: Call, settings: AnyrtcConfig) -> SendMessage:
    """The request as a command (anyRTC 3, 6 E2). Raises InvalidCommand naming the member that is wrong."""
    sender = check_path_name("user_id", call.request.param("user_id"))
    wire = decode(call.request.body, _LENIENT if settings.lenient_ids else _STRICT)
    return SendMessage(
        app=call.caller.app,
        sender=sender,
        to=room(check_name("channel_name", str(wire.channel_name))),
        body=check_payload(wire.payload),
        history=bool(wire.enable_historical_messaging),
        via="anyrtc",
    )


def render(call: Call, receipt: Receipt) -> HttpReply:
    """The same whether or not anybody is in the channel (anyRTC 6 E2)."""
    return json_reply(200, {"code": "message_sent", "result": "success", "request_id": call.id})
