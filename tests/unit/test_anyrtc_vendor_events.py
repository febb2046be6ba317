"""Events of users and channels in anyRTC's words (anyRTC 6 E3, E4)."""

import pytest

from postroom.core.model import Feed, PresenceEvent
from postroom.core.queries import TakePresence
from postroom.transports.anyrtc import vendor_events
from tests.support.web import NOW_MS, call, request, told


@pytest.mark.parametrize("feed", ["users", "rooms"])
def test_a_call_takes_what_there_is_up_to_a_thousand(feed: Feed) -> None:
    asked = call(request(method="GET", body=b"whatever", query="limit=5&x=%ff"))
    assert vendor_events.parse(asked, feed) == TakePresence(app="shop", feed=feed, limit=1_000)


def test_events_of_users() -> None:
    events = (PresenceEvent("login", NOW_MS, "userA"), PresenceEvent("logout", NOW_MS, "\u7528\u6237"))
    reply = vendor_events.render(call(request()), events)
    assert reply.status == 200
    assert told(reply) == {
        "result": "success",
        "request_id": "4711",
        "events": [
            {"ms": NOW_MS, "type": "Login", "user_id": "userA"},
            {"ms": NOW_MS, "type": "Logout", "user_id": "\u7528\u6237"},
        ],
    }


def test_events_of_channels() -> None:
    events = (PresenceEvent("join", NOW_MS, "userA", "channelA"), PresenceEvent("leave", NOW_MS, "userA", "channelA"))
    assert told(vendor_events.render(call(request()), events))["events"] == [
        {"group_id": "channelA", "ms": NOW_MS, "type": "Join", "user_id": "userA"},
        {"group_id": "channelA", "ms": NOW_MS, "type": "Leave", "user_id": "userA"},
    ]


def test_nothing_happened() -> None:
    assert told(vendor_events.render(call(request()), ())) == {
        "result": "success",
        "request_id": "4711",
        "events": [],
    }
