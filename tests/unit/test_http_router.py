"""From a path to a route."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.commands import Command
from postroom.core.errors import Refusal
from postroom.transports.http.dialect import LAST, AnyRoute, Call, Caller, Cors, Dialect, LocalRoute, Route, everyone
from postroom.transports.http.errors import MethodNotAllowed, NotFound
from postroom.transports.http.router import Match, NoRoute, Router
from postroom.transports.http.types import HttpReply, HttpRequest


def answer(request: HttpRequest) -> HttpReply:
    return HttpReply(200)


def refuse(refusal: Refusal, id: str) -> HttpReply:
    return HttpReply(400)


def route(method: str, template: str) -> AnyRoute:
    return LocalRoute(method=method, template=template, answer=answer)


def nobody(request: HttpRequest) -> Caller:
    raise AssertionError


def nothing(call: Call) -> Command:
    raise AssertionError


def broker_route(method: str, template: str) -> AnyRoute:
    """One that goes to the broker, which may write for it."""
    return Route(
        method=method,
        template=template,
        limit="",
        authenticate=nobody,
        permit=everyone,
        parse=nothing,
        render=lambda call, outcome: HttpReply(200),
    )


def dialect(name: str, prefix: str, *routes: AnyRoute, cors: Cors | None = None, tier: int = 0) -> Dialect:
    return Dialect(name=name, prefixes=(prefix,), routes=routes, refuse=refuse, cors=cors, tier=tier)


OWN = dialect("own", "", route("GET", "/healthz"))
RTC = dialect(
    "rtc",
    "/dev/",
    route("POST", "/dev/{app}/users/{user}/peer"),
    route("GET", "/dev/{app}/events/{handle}"),
    route("GET", "/dev/{app}/events/count"),
    route("PUT", "/dev/{app}/events/count"),
    route("DELETE", "/dev/{app}/events/{handle}"),
    broker_route("GET", "/dev/{app}/taken"),
    cors=Cors("GET", "x"),
)
EASE = dialect("ease", "/", route("GET", "/{org}/{app}/rooms"), route("POST", "/{org}/{app}/{what}"), tier=LAST)
ROUTER = Router(OWN, [EASE, RTC])


def matched(method: str, path: str) -> tuple[str, str, dict[str, str]]:
    match = ROUTER.match(method, path)
    assert isinstance(match, Match)
    return match.dialect.name, match.route.template, dict(match.params)


def test_segments_are_named_and_left_as_they_came() -> None:
    assert matched("POST", "/dev/1/users/a%2Fb+c/peer") == (
        "rtc",
        "/dev/{app}/users/{user}/peer",
        {"app": "1", "user": "a%2Fb+c"},
    )


def test_a_named_segment_may_be_empty() -> None:
    assert matched("POST", "/dev/1/users//peer")[2] == {"app": "1", "user": ""}


def test_a_literal_goes_before_a_name() -> None:
    assert matched("GET", "/dev/1/events/count")[1] == "/dev/{app}/events/count"
    assert matched("GET", "/dev/1/events/4711")[1] == "/dev/{app}/events/{handle}"


def test_a_name_that_is_also_a_literal_is_one_where_the_literal_has_no_such_method() -> None:
    assert matched("DELETE", "/dev/1/events/count") == (
        "rtc",
        "/dev/{app}/events/{handle}",
        {"app": "1", "handle": "count"},
    )


def test_head_goes_where_get_does() -> None:
    assert matched("HEAD", "/healthz")[1] == "/healthz"


def test_head_does_not_go_where_get_may_take_something_away() -> None:
    assert matched("GET", "/dev/1/taken")[1] == "/dev/{app}/taken"
    found = ROUTER.match("HEAD", "/dev/1/taken")
    assert isinstance(found, NoRoute)
    assert isinstance(found.refusal, MethodNotAllowed)
    assert found.refusal.allowed == ("GET", "OPTIONS")


def test_the_last_tier_gets_what_nobody_else_knows() -> None:
    assert matched("GET", "/org/app/rooms")[0] == "ease"
    assert matched("GET", "/dev/1/rooms")[0] == "ease"


@pytest.mark.parametrize(
    ("method", "path", "owner", "allowed"),
    [
        ("GET", "/dev/1/users/u/peer", "rtc", ("OPTIONS", "POST")),
        ("POST", "/dev/1/events/count", "rtc", ("DELETE", "GET", "HEAD", "OPTIONS", "PUT")),
        ("PUT", "/dev/1/events/4711", "rtc", ("DELETE", "GET", "HEAD", "OPTIONS")),
        ("POST", "/healthz", "own", ("GET", "HEAD")),
        ("GET", "/o/a/x", "ease", ("POST",)),
    ],
)
def test_a_known_path_with_another_method(method: str, path: str, owner: str, allowed: tuple[str, ...]) -> None:
    found = ROUTER.match(method, path)
    assert isinstance(found, NoRoute)
    assert found.dialect.name == owner
    assert isinstance(found.refusal, MethodNotAllowed)
    assert found.refusal.allowed == allowed


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/dev/1/nothing/at/all", "rtc"),
        ("/dev/", "rtc"),
        ("/dev/1/users/u/peer/", "rtc"),
        ("/dev/1/users/u/Peer", "rtc"),
        ("/Healthz", "own"),
        ("*", "own"),
        ("", "own"),
    ],
)
def test_an_unknown_path_belongs_to_whose_prefix_it_has(path: str, owner: str) -> None:
    found = ROUTER.match("GET", path)
    assert isinstance(found, NoRoute)
    assert isinstance(found.refusal, NotFound)
    assert found.dialect.name == owner


def test_a_dialect_may_have_several_prefixes() -> None:
    both = Dialect(name="both", prefixes=("/1.2/rtm", "/1.1"), routes=(), refuse=refuse)
    router = Router(OWN, [both, dialect("longer", "/1.1/x/")])
    owners = {path: router.match("GET", path).dialect.name for path in ("/1.2/rtm/a", "/1.1/b", "/1.1/x/c", "/1.3")}
    assert owners == {"/1.2/rtm/a": "both", "/1.1/b": "both", "/1.1/x/c": "longer", "/1.3": "own"}


def test_two_routes_alike_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="two routes for GET /healthz"):
        Router(OWN, [dialect("other", "/", route("GET", "/healthz"))])
    with pytest.raises(ValueError, match="two routes"):
        Router(OWN, [dialect("other", "/", route("GET", "/{a}/x"), route("GET", "/{b}/x"))])


@given(st.text(), st.text())
def test_any_path_finds_something(method: str, path: str) -> None:
    ROUTER.match(method, path)


@given(st.lists(st.sampled_from(["dev", "users", "events", "count", "", "x", "%2F"]), max_size=12))
def test_paths_made_of_ours_find_something(segments: list[str]) -> None:
    ROUTER.match("GET", "/" + "/".join(segments))
