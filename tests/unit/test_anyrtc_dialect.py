"""The dialect's seven routes, and who may call them (anyRTC 1, 4.3)."""

import msgspec
import pytest

from postroom.transports import anyrtc
from postroom.transports.config import AnyrtcConfig, AppConfig
from postroom.transports.http.dialect import Route
from postroom.transports.http.errors import Unauthorized
from postroom.transports.http.types import HttpRequest
from tests.support.rtm_tokens import NOW, VECTORS
from tests.support.web import APP, APP_ID, RTC, basic, call, request

OTHER_ID = "0123456789abcdef0123456789abcdef"
OTHER = AppConfig(name="other", session_secret="s" * 32, anyrtc=msgspec.structs.replace(RTC, app_id=OTHER_ID))
FOREIGN_ID = "fedcba9876543210fedcba9876543210"
FOREIGN = AppConfig(
    name="foreign",
    session_secret="s" * 32,
    anyrtc=AnyrtcConfig(app_id=FOREIGN_ID, api_key="k2", api_secret="s2"),
)
NONE = AppConfig(name="none", session_secret="s" * 32)
DIALECT = anyrtc.bind([APP, OTHER, FOREIGN, NONE])


BASE = "/dev/v2/project/{appid}/rtm"
HISTORY = f"{BASE}/message/history"


def routes() -> list[Route]:
    found = [route for route in DIALECT.routes if isinstance(route, Route)]
    assert len(found) == len(DIALECT.routes)
    return found


SENDS, OTHERS = routes()[:2], routes()[2:]


def test_the_transport_is_a_value() -> None:
    assert (anyrtc.TRANSPORT.name, anyrtc.TRANSPORT.config) == ("anyrtc", AnyrtcConfig)
    assert [(route.method, route.template, route.limit, route.bucket) for route in routes()] == [
        ("POST", f"{BASE}/users/{{user_id}}/peer_messages", "anyrtc.peer_messages", ""),
        ("POST", f"{BASE}/users/{{user_id}}/channel_messages", "anyrtc.channel_messages", ""),
        ("GET", f"{BASE}/vendor/user_events", "anyrtc.user_events", ""),
        ("GET", f"{BASE}/vendor/channel_events", "anyrtc.channel_events", ""),
        ("POST", f"{HISTORY}/query", "anyrtc.history", "anyrtc.history.query"),
        ("GET", f"{HISTORY}/query/{{handle}}", "anyrtc.history", "anyrtc.history.collect"),
        ("GET", f"{HISTORY}/count", "anyrtc.history", "anyrtc.history.count"),
    ]


def authenticate(route: Route, app_id: str, **headers: str) -> str:
    return route.authenticate(request(headers=headers, params={"appid": app_id})).app


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.template)
def test_the_key_of_the_app_in_the_path(route: Route) -> None:
    assert authenticate(route, APP_ID, Authorization=basic()) == "shop"
    assert authenticate(route, OTHER_ID, authorization=basic()) == "other"  # several apps may share a key
    assert authenticate(route, FOREIGN_ID, Authorization=basic("k2", "s2")) == "foreign"


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.template)
def test_tokens_expire_by_the_time_of_the_request(route: Route) -> None:
    def caller(received_s: int) -> str | None:
        headers = [(b"x-ar-token", VECTORS["P3"].encode()), (b"x-ar-uid", b"userA")]
        asked = HttpRequest(
            method="GET",
            path="/",
            headers=headers,
            params={"appid": APP_ID},
            received_ms=received_s * 1000,  # type: ignore[arg-type]
        )
        return route.authenticate(asked).user

    assert caller(NOW) == "userA"
    assert caller(4_102_444_799) == "userA"
    with pytest.raises(Unauthorized):
        caller(4_102_444_800)


@pytest.mark.parametrize(
    ("app_id", "headers"),
    [
        (APP_ID, {}),
        (APP_ID, {"Authorization": ""}),
        (APP_ID, {"Authorization": basic("k1", "wrong")}),
        (APP_ID, {"Authorization": basic("wrong", "s1")}),
        (APP_ID, {"Authorization": basic("k2", "s2")}),
        (APP_ID, {"Authorization": "azE6czE="}),
        (APP_ID, {"Authorization": "Bearer azE6czE="}),
        (APP_ID.lower(), {"Authorization": basic()}),
        ("unknown", {"Authorization": basic()}),
        ("", {"Authorization": basic()}),
    ],
)
def test_no_or_other_credentials(app_id: str, headers: dict[str, str]) -> None:
    for route in routes():
        with pytest.raises(Unauthorized, match="Invalid authentication credentials"):
            authenticate(route, app_id, **headers)


@pytest.mark.parametrize("route", SENDS, ids=lambda route: route.template)
def test_a_caller_of_one_user_sends_as_that_user(route: Route) -> None:
    asked = request(params={"user_id": "a%20b"})
    route.permit(call(asked))
    route.permit(call(asked, user="a b"))
    with pytest.raises(Unauthorized, match="user_id does not match token"):
        route.permit(call(asked, user="a%20b"))


@pytest.mark.parametrize("route", OTHERS, ids=lambda route: route.template)
def test_what_names_no_sender_is_for_everybody_of_the_app(route: Route) -> None:
    route.permit(call(request()))
    route.permit(call(request(), user="userA"))
