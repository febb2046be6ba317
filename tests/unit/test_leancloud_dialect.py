"""The dialect as a whole: its routes, who may call them, what counts against the rate (LeanCloud 1, 8, 9)."""

import msgspec
import pytest

from postroom.transports import leancloud
from postroom.transports.config import AppConfig
from postroom.transports.http.dialect import Call, Caller, Route
from postroom.transports.http.errors import Forbidden
from postroom.transports.leancloud import NORMAL
from tests.support.leancloud import APP, LEANCLOUD
from tests.support.web import request

DIALECT = leancloud.bind([APP])
ROUTES = [route for route in DIALECT.routes if isinstance(route, Route)]
APP_KEY = {
    ("GET", "/1.2/rtm/clients/sign"),
    ("POST", "/1.1/rtm/sign"),
    ("GET", "/1.1/rtm/transient_group/onlines"),
    ("GET", "/1.1/rtm/transient_group/members"),
    ("GET", "/1.2/rtm/clients/{uid}/unread-count"),
    ("GET", "/1.1/rtm/messages/unread/{uid}"),
    ("GET", "/1.1/rtm/messages/unread/{uid}/{cid}"),
}
"""For the app key in any case."""
SENDING = ("/messages", "/messages/{mid}", "/messages/{mid}/recall", "/1.1/rtm/patch/message", "/1.1/rtm/messages/logs")


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
    rows = ("/conversations", "/chatrooms", "/all-conversations", "/_Conversation", "/{cid}", "/mutes")
    for route in ROUTES:
        room_members = route.template.startswith("/1.2/rtm/chatrooms/{cid}/members")
        of_rows = route.template.endswith((*rows, "conversations/{cid}/members"))
        expected = (route.method, route.template) in APP_KEY or (of_rows and not room_members)
        assert may(route, "app") == expected, route.template


def test_what_counts_against_the_rate() -> None:
    for route in ROUTES:
        sends = route.method in ("POST", "PUT") and route.template.endswith(SENDING)
        assert (route.limit == NORMAL) == sends, route.template
        assert route.counted == "successes"


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
