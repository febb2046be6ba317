"""`POST …/rtm/users/{user_id}/peer_messages`: one message to one user (anyRTC 6, E1)."""

from typing import Final

import msgspec

from postroom.core.commands import SendMessage
from postroom.core.errors import InvalidCommand
from postroom.core.model import Receipt, peer
from postroom.transports.config import AnyrtcConfig
from postroom.transports.http.decode import decode
from postroom.transports.http.dialect import Call
from postroom.transports.http.types import HttpReply, json_reply

from .errors import failed
from .ids import check_name, check_path_name
from .payload import check_payload

_TRUE: Final = ("true", "1")
_FALSE: Final = ("false", "0", "")
"""A PHP client writes false as the empty string."""


class PeerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The body. Absent or null flags are false; members not listed are ignored."""

    destination: str
    payload: str
    enable_offline_messaging: bool | None = None
    enable_historical_messaging: bool | None = None


class LenientPeerMessage(PeerMessage, frozen=True, kw_only=True):
    """The same for apps with `lenient_ids`, whose clients send numbers where a name is documented."""

    destination: str | int  # type: ignore[assignment]


_STRICT: Final = msgspec.json.Decoder(PeerMessage)
_LENIENT: Final[msgspec.json.Decoder[PeerMessage]] = msgspec.json.Decoder(LenientPeerMessage)


def parse(call: Call, settings: AnyrtcConfig) -> SendMessage:
    """The request as a command (anyRTC 3, 6 E1). Raises InvalidCommand naming the member that is wrong."""
    sender = check_path_name("user_id", call.request.param("user_id"))
    wait = _wait_for_ack(call.request.query().get("wait_for_ack", ""))
    wire = decode(call.request.body, _LENIENT if settings.lenient_ids else _STRICT)
    return SendMessage(
        app=call.caller.app,
        sender=sender,
        to=peer(check_name("destination", str(wire.destination))),
        body=check_payload(wire.payload),
        queue=bool(wire.enable_offline_messaging),
        history=bool(wire.enable_historical_messaging),
        wait_ack_ms=settings.ack_timeout_ms if wait else None,
        via="anyrtc",
    )


def render(call: Call, receipt: Receipt, settings: AnyrtcConfig) -> HttpReply:
    """What became of the message (anyRTC 7.1); 408 if the recipient is online and did not acknowledge in time."""
    if receipt.confirmation == "timeout":
        return failed(408, "timeout", "no acknowledgement from receiver", call.id)
    code = {None: "message_sent", "delivered": "message_delivered", "offline": "message_offline"}[receipt.confirmation]
    if code == "message_offline" and settings.omit_result_when_offline:
        return json_reply(200, {"code": code, "request_id": call.id})
    return json_reply(200, {"code": code, "result": "success", "request_id": call.id})


def _wait_for_ack(value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise InvalidCommand("wait_for_ack: must be true or false")
