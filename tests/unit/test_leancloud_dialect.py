"""The dialect as a whole: its routes, who may call them, what counts against the rate (LeanCloud 1, 8, 9)."""

from collections.abc import Generator

import msgspec
import pytest

from postroom.core.ids import MessageId
from postroom.core.model import Quota
from postroom.transports import leancloud
from postroom.transports.config import AppConfig, Limits
from postroom.transports.http.dialect import Call, Caller, Route
from postroom.transports.http.errors import Forbidden
from postroom.transports.leancloud import BROADCAST, BROADCAST_DAY, NORMAL, SUBSCRIPTION, SUBSCRIPTION_DAY
from postroom.transports.leancloud.ids import broadcast_name, message_name
from tests.support.leancloud import APP, LEANCLOUD
from tests.support.web import request

DIALECT = leancloud.bind([APP])
ROUTES = [route for route in DIALECT.routes if isinstance(route, Route)]
APP_KEY = {
    ("GET", "/1.2/rtm/clients/sign"),
    ("GET", "/1.2/rtm/clients/{uid}/unread-count"),
    ("GET", "/1.1/rtm/messages/unread/{uid}"),
    ("GET", "/1.1/rtm/messages/unread/{uid}/{cid}"),
    ("POST", "/1.1/rtm/sign"),
    ("GET", "/1.1/rtm/transient_group/onlines"),
    ("GET", "/1.1/rtm/transient_group/members"),
    ("GET", "/1.2/rtm/clients/{uid}/unread-count"),
    ("GET", "/1.1/rtm/messages/unread/{uid}"),
    ("GET", "/1.1/rtm/messages/unread/{uid}/{cid}"),
}
"""For the app key in any case."""
SENDING = ("/messages", "/messages/{mid}", "/messages/{mid}/recall", "/1.1/rtm/patch/message", "/1.1/rtm/messages/logs")
TO_SUBSCRIBERS = ("/service-conversations/{cid}/broadcasts", "/1.1/rtm/broadcast/subscriber")
TO_EVERYONE = ("/1.2/rtm/broadcasts", "/1.2/rtm/broadcasts/{mid}", "/1.1/rtm/broadcast")
CHANGES = "/service-conversations/{cid}/messages/{mid}"


def may(route: Route, role: str, app: str = "shop") -> bool:
    """Whether a caller may."""
    try:
        route.permit(Call(request("/", b""), "1", Caller(app, role=role)))
    except Forbidden:
        return False
    return True


def test_the_master_key_may_do_everything() -> None:
    assert all(may(route, "master") for route in ROUTES)


def test_what_the_app_key_may() -> None:
    rows = ("/conversations", "/chatrooms", "/service-conversations", "/all-conversations", "/_Conversation", "/{cid}")
    for route in ROUTES:
        room_members = route.template.startswith("/1.2/rtm/chatrooms/{cid}/members")
        own = route.template == "/1.2/rtm/clients/{uid}/service-conversations"
        of_rows = route.template.endswith((*rows, "/mutes", "conversations/{cid}/members"))
        subscribers = route.template.endswith(("subscribers", "subscribers/count", "subscribed"))
        read = route.method == "GET" and subscribers
        expected = (route.method, route.template) in APP_KEY or read or (of_rows and not room_members and not own)
        assert may(route, "app") == expected, route.template


def test_what_counts_against_the_rate() -> None:
    for route in ROUTES:
        assert route.counted == "successes"
        writes, path = route.method in ("POST", "PUT"), route.template
        if writes and CHANGES in path:
            assert not isinstance(route.limit, str)
            continue
        expected = ""
        if writes and path.endswith(SENDING):
            expected = NORMAL
        if writes and path.endswith(TO_SUBSCRIBERS):
            expected = SUBSCRIPTION
        if writes and path.endswith(TO_EVERYONE):
            expected = BROADCAST
        assert route.limit == expected, path


@pytest.mark.parametrize("path", ["", "/recall"])
def test_what_a_change_of_a_services_message_counts_against(path: str) -> None:
    route = next(each for each in ROUTES if each.method == "PUT" and each.template.endswith(CHANGES + path))
    assert callable(route.limit)
    for mid, wire, expected in (
        (message_name(MessageId(1)), {}, SUBSCRIPTION),
        (message_name(MessageId(1)), {"to_clients": ["a"]}, NORMAL),
        (broadcast_name(MessageId(1)), {}, BROADCAST),
        (broadcast_name(MessageId(1)), {"to_clients": ["a"]}, BROADCAST),
    ):
        asked = request("/", wire, headers={"Content-Type": "application/json"}, params={"cid": "c", "mid": mid})
        assert route.limit(Call(asked, "1", Caller("shop", role="master"))) == expected


def test_the_quotas_of_an_app() -> None:
    """Its own, and none where it has none."""
    off = msgspec.structs.replace(APP, limits=Limits(leancloud_broadcast_day=None, leancloud_subscription_day=None))
    for app, quotas in (
        (APP, (Quota(name=BROADCAST_DAY, per_day=30), Quota(name=SUBSCRIPTION_DAY, per_day=1_000))),
        (off, (None, None)),
    ):
        routes = [route for route in leancloud.bind([app]).routes if isinstance(route, Route)]
        wire = {"from_client": "a", "from_peer": "a", "conv_id": "c", "message": "x", "timestamp": 1}
        for ends, quota in ((TO_EVERYONE, quotas[0]), (TO_SUBSCRIBERS, quotas[1])):
            for route in routes:
                if route.method == "POST" and route.template.endswith(ends):
                    asked = request("/", wire, headers={"Content-Type": "application/json"}, params={"cid": "c"})
                    work = route.parse(Call(asked, "1", Caller("shop", role="master")))
                    assert isinstance(work, Generator)
                    assert next(work).quota == quota


def test_an_app_is_strict_for_itself() -> None:
    strict = msgspec.structs.replace(LEANCLOUD, app_id="other", strict_conversation_acl=True)
    both = leancloud.bind([APP, AppConfig(name="strict", session_secret="s" * 32, leancloud=strict)])
    query = next(route for route in both.routes if route.template.endswith("/all-conversations"))
    assert isinstance(query, Route)
    assert may(query, "app")
    assert not may(query, "app", "strict")
    assert may(query, "master", "strict")


@pytest.mark.parametrize("path", ["/1.2/rtm/x", "/1.2/x", "/1.1/x"])
def test_paths_are_this_dialects(path: str) -> None:
    assert path.startswith(DIALECT.prefixes)


def test_an_app_without_the_table_is_passed_over() -> None:
    assert leancloud.bind([AppConfig(name="a", session_secret="s" * 32)]).routes
