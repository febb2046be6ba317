"""`GET …/rtm/vendor/user_events` and `channel_events`: who came and went, told once (anyRTC 6 E3, E4; 9)."""

from collections.abc import Mapping
from typing import Final

from postroom.core.model import Feed, PresenceEvent, PresenceType
from postroom.core.queries import TakePresence
from postroom.transports.http.dialect import Call
from postroom.transports.http.types import HttpReply, json_reply

TYPES: Final[Mapping[PresenceType, str]] = {"login": "Login", "logout": "Logout", "join": "Join", "leave": "Leave"}


def parse(call: Call, feed: Feed) -> TakePresence:
    """There are no parameters; a call takes at most 1,000 events (anyRTC 9)."""
    return TakePresence(app=call.caller.app, feed=feed)


def render(call: Call, events: tuple[PresenceEvent, ...]) -> HttpReply:
    """The events, oldest first."""
    told = [_told(event) for event in events]
    return json_reply(200, {"result": "success", "request_id": call.id, "events": told})


def _told(event: PresenceEvent) -> dict[str, str | int]:
    told: dict[str, str | int] = {"ms": event.at_ms, "type": TYPES[event.type], "user_id": event.user}
    return {"group_id": event.room, **told} if event.room else told
