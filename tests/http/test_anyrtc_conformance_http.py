"""What is the same for all seven calls of anyRTC's API (anyRTC 2, 3, 10): the order of checks, CORS, ids, refusals."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from postroom.core.buckets import Rate
from tests.support.anyrtc import BAD, CHANNEL, DEAD, HISTORY, SENT, UNAUTHORIZED, check, code, receiving, say
from tests.support.rtm_tokens import VECTORS
from tests.support.serving import BASE, Served, StoppedClock, config_of, raw, serving
from tests.support.web import APP, APP_ID, PEER, basic

pytestmark = pytest.mark.usefixtures("host")

FILTER = {"source": "userA", "start_time": 1, "end_time": 2}
CALLS: dict[str, tuple[str, str, object]] = {
    "E1": ("POST", "/rtm/users/userA/peer_messages", PEER),
    "E2": ("POST", "/rtm/users/userA/channel_messages", CHANNEL),
    "E3": ("GET", "/rtm/vendor/user_events", None),
    "E4": ("GET", "/rtm/vendor/channel_events", None),
    "E5": ("POST", f"{HISTORY}/query", {"filter": FILTER}),
    "E6": ("GET", f"{HISTORY}/query/4711", None),
    "E7": ("GET", f"{HISTORY}/count?source=userA&start_time=1&end_time=2", None),
}
SENDS, POSTS, GETS = ("E1", "E2"), ("E1", "E2", "E5"), ("E3", "E4", "E6", "E7")
EACH = pytest.mark.parametrize("name", CALLS)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server."""
    async with serving() as server:
        yield server


async def ask(served: Served, name: str, **more: Any) -> httpx.Response:
    """A call that is as it should be."""
    method, path, wire = CALLS[name]
    return await served.call(method, path, wire, **more)


@EACH
async def test_a_call_that_is_good(served: Served, name: str) -> None:
    reply = await ask(served, name)
    check(reply)
    assert reply.status_code == 200
    ids = {(await ask(served, name)).json()["request_id"] for _ in range(3)}
    assert len(ids) == 3


@EACH
async def test_the_order_of_checks(name: str) -> None:
    """Each refusal before the ones below it, though all of them would be right (anyRTC 2)."""
    rates = {
        f"anyrtc_{each}": Rate(1, 1_000)
        for each in ("peer_messages", "channel_messages", "user_events", "channel_events", "history")
    }
    app = msgspec.structs.replace(APP, limits=msgspec.structs.replace(APP.limits, **rates))
    method, path, wire = CALLS[name]
    async with serving(config_of(app), headers={}, clock=StoppedClock()) as served:

        async def status(method: str, path: str, wire: object, **headers: str) -> int:
            reply = await served.call(method, path, wire, headers=headers)
            check(reply)
            return reply.status_code

        path, _, query = path.partition("?")
        bad = b"{" if wire is not None else None
        token = {"x-ar-token": VECTORS["N4"], "x-ar-uid": "userB"}
        other = "GET" if method == "POST" else "POST"
        assert (await served.call("DELETE", f"{path}x/y", bad)).status_code == 404
        assert await status(other, path, bad) == 405
        assert await status("DELETE", path, bad) == 405
        assert await status(method, path, bad) == 401
        assert await status(method, path, bad, Authorization=basic(password="wrong")) == 401
        if name in SENDS:
            assert await status(method, path, bad, **token) == 401
        # All that was refused so far has used nothing of the rate; what is wrong in its parameters does.
        good_answer = 200 if name in ("E3", "E4", "E6") else 400
        assert await status(method, path, bad, Authorization=basic()) == good_answer
        assert await status(method, path, bad, Authorization=basic()) == 429
        assert await status(method, f"{path}?{query}", wire, Authorization=basic()) == 429
        if name in SENDS:
            assert await status(method, path, bad, **token) == 401


@EACH
async def test_a_wrong_method_says_which_is_right(served: Served, name: str) -> None:
    method, path, _ = CALLS[name]
    for other in {"GET", "POST", "PUT", "DELETE", "PATCH", "BREW"} - {method}:
        reply = await served.call(other, path)
        assert code(reply) == (405, "method_not_allowed")
        assert reply.headers["allow"] == f"{method}, OPTIONS" if method == "GET" else "OPTIONS, POST"
    head = await served.call("HEAD", path)
    assert (head.status_code, head.content) == (405, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/rtm/nothing",
        "/rtm/users/userA/peer_message",
        "/rtm/users/userA/peer_messages/",
        "/rtm/users/userA/Peer_messages",
        "/rtm/users/user/A/peer_messages",
        "/rtm/users/peer_messages",
        "/rtm/hook/channel_events",
        "/rtm/vendor",
        "/rtm/vendor/user_events/",
        "/RTM/vendor/user_events",
        "/rtm/vendor/%75ser_events",
        "/rtm/message/history",
        "/rtm/message/history/query/4711/",
        "/rtm/message/history/query/4711/5",
        "/rtm/message%2Fhistory/query",
        "",
        "/",
    ],
)
async def test_paths_that_nobody_knows(served: Served, path: str) -> None:
    for method in ("GET", "POST"):
        assert code(await served.call(method, path)) == (404, "not_found")


@EACH
async def test_preflight_from_a_page(served: Served, name: str) -> None:
    _, path, _ = CALLS[name]
    headers = {"Origin": "http://page", "Access-Control-Request-Method": "POST", "Authorization": ""}
    reply = await served.call("OPTIONS", path, headers=headers)
    assert (reply.status_code, reply.content) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    wanted = {"authorization", "content-type", "x-ar-token", "x-ar-uid", "x-agora-token", "x-agora-uid"}
    assert wanted <= set(reply.headers["access-control-allow-headers"].split(", "))


@EACH
async def test_an_app_that_nobody_has(served: Served, name: str) -> None:
    method, path, wire = CALLS[name]
    for appid in ("0" * 32, APP_ID.lower(), "", "%2F", "x" * 2_000):
        reply = await served.client.request(method, BASE.replace(APP_ID, appid) + path, json=wire)
        assert code(reply) == UNAUTHORIZED
        assert reply.json()["message"] == "Invalid authentication credentials"
        assert reply.headers["www-authenticate"] == 'Basic realm="rtm"'


@EACH
async def test_credentials_that_are_none(name: str) -> None:
    async with serving(headers={}) as served:
        assert code(await ask(served, name)) == UNAUTHORIZED
        for value in ("", "Basic", basic(password=""), basic("k2"), basic(password="wrong"), "azE6czE=", "Bearer x"):
            reply = await ask(served, name, headers={"Authorization": value})
            assert code(reply) == UNAUTHORIZED
            assert reply.json()["message"] == "Invalid authentication credentials"


@EACH
async def test_a_bad_token_is_not_made_good_by_a_key(served: Served, name: str) -> None:
    for header in ("x-ar-token", "x-agora-token", "X-AR-Token"):
        reply = await ask(served, name, headers={header: VECTORS["P6"], "x-ar-uid": "userA"})
        assert code(reply) == UNAUTHORIZED
        assert reply.json()["message"] == "invalid token"


@pytest.mark.parametrize("name", POSTS)
async def test_any_content_type(served: Served, name: str) -> None:
    for kind in ("text/plain", "application/json;charset=utf-8", "application/x-www-form-urlencoded", "x"):
        assert (await ask(served, name, headers={"Content-Type": kind})).status_code == 200


NO_BODY = (
    b"",
    b" ",
    b"not json",
    b"[]",
    b"null",
    b"5",
    b'"x"',
    b"\xff\xfe",
    b"{}",
    b'{"payload":"\\ud800"}',
    b"[" * 90_000,
)


@pytest.mark.parametrize("name", POSTS)
async def test_what_is_no_body(served: Served, name: str) -> None:
    method, path, _ = CALLS[name]
    for body in NO_BODY:
        assert code(await served.call(method, path, body)) == BAD


@pytest.mark.parametrize("name", POSTS)
async def test_a_body_that_is_too_large(served: Served, name: str) -> None:
    method, path, wire = CALLS[name]
    reply = await served.call(method, path, msgspec.json.encode(wire) + b" " * 400_000)
    assert code(reply) == BAD
    assert reply.json()["message"] == "body: too large"
    assert (await served.call(method, path, msgspec.json.encode(wire) + b" " * 260_000)).status_code == 200


@pytest.mark.parametrize("name", GETS)
async def test_a_get_may_have_a_body_and_a_type(served: Served, name: str) -> None:
    method, path, _ = CALLS[name]
    for body in (b"not json", b"{}", b"\xff" * 1_000, b""):
        reply = await served.call(method, path, body, headers={"Content-Type": "application/json"})
        assert reply.status_code == 200


@EACH
async def test_queries_that_say_nothing(served: Served, name: str) -> None:
    method, path, wire = CALLS[name]
    path, _, query = path.partition("?")
    for start, end in (("?", ""), ("?&", ""), ("?&&", "&&"), ("?other=1&", "&again"), ("??&", "&=5")):
        reply = await served.call(method, f"{path}{start}{query}{end}", wire)
        assert reply.status_code == 200, reply.text


@EACH
async def test_targets_in_absolute_form(served: Served, name: str) -> None:
    """As a proxy writes them; the Host header is nobody's business."""
    method, path, wire = CALLS[name]
    body = b"" if wire is None else msgspec.json.encode(wire)
    head = (
        f"{method} https://api.agrtc.cn{BASE}{path} HTTP/1.1\r\nHost: nobody.example\r\nAuthorization: {basic()}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    assert (await raw(served.port, head.encode() + body)).startswith(b"HTTP/1.1 200 ")


# Ids (anyRTC 3).


async def sent_as(served: Served, name: str, user: str) -> httpx.Response:
    """E1 or E2 with this segment in its path."""
    method, path, wire = CALLS[name]
    return await served.call(method, path.replace("userA", user), wire)


NO_SENDERS = (
    *("%20a", "a%20", "%20", "a%2Fb", "%2F", "a%2Fpeer_messages", "a%5Cb", "a%22b", "a%2Ab", "a%60b", "", "x" * 65),
    *("%ff", "%E7%94%A8", "%C3%A9", "%00", "%7F", "a%0Ab", "a%09b"),
)


@pytest.mark.parametrize("name", SENDS)
async def test_what_is_no_sender(served: Served, name: str) -> None:
    """400 and not 404: an encoded slash does not change the route."""
    for user in NO_SENDERS:
        reply = await sent_as(served, name, user)
        assert code(reply) == BAD
        assert reply.json()["message"].startswith("user_id: ")


NO_NAMES = ("", "x" * 65, "a/b", "a\\b", "a*b", "a`b", 'a"b', "\u7528\u6237", "a\x00", "a\x7f", "a\n", "\u00e9")
MARKS = " !#$%&()+-:;<=.>?@[]^_{}|~,'"


@pytest.mark.parametrize("name", SENDS)
async def test_every_character_that_an_id_may_have(served: Served, name: str) -> None:
    assert len(MARKS) == 28
    async with receiving(served, "userB", acking=True) as got, served.broker.connect(app="shop", user="u1") as u1:
        await u1.join("channelA")
        for mark in MARKS:
            sender = f"a{mark}b"
            path = "".join(f"%{byte:02x}" for byte in sender.encode())
            if name == "E1":
                method, url, wire = CALLS[name]
                reply = await served.call(method, url.replace("userA", path) + "?wait_for_ack=true", wire)
                assert code(reply) == (200, "message_delivered")
                assert got[-1].sender == sender
            else:
                assert code(await sent_as(served, name, path)) == SENT
                assert (await anext(u1)).sender == sender


async def test_names_in_bodies(served: Served) -> None:
    everything = MARKS + "azAZ09"
    for name in (everything, "x" * 64, " x ", "x"):
        async with served.broker.connect(app="shop", user=name) as session:
            await session.join(name)
            assert code(await served.send({"destination": name, "payload": "1"})) == SENT
            assert code(await say(served, {"channel_name": name, "payload": "2"})) == SENT
            assert [(await anext(session)).body for _ in range(2)] == [b"1", b"2"]
    for name in (*NO_NAMES, 5, True, None, []):
        for reply, member in (
            (await served.send({"destination": name, "payload": "1"}), "destination"),
            (await say(served, {"channel_name": name, "payload": "2"}), "channel_name"),
        ):
            assert code(reply) == BAD
            assert reply.json()["message"].startswith(f"{member}: ")


@pytest.mark.parametrize("name", SENDS)
async def test_payloads(served: Served, name: str) -> None:
    method, path, wire = CALLS[name]
    assert isinstance(wire, dict)
    for payload in ("a", " ", "a" * 32_768, "\u4e2d" * 10_922 + "aa", "\x00"):
        assert code(await served.call(method, path, wire | {"payload": payload})) == SENT
    for payload in ("", None, 5, {}, [], True, "a" * 32_769, "\u4e2d" * 10_923):
        reply = await served.call(method, path, wire | {"payload": payload})
        assert code(reply) == BAD
        assert reply.json()["message"].startswith("payload: ")
    without = {member: value for member, value in wire.items() if member != "payload"}
    assert (await served.call(method, path, without)).json()["message"] == "payload: required"


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("E1", "enable_offline_messaging"),
        ("E1", "enable_historical_messaging"),
        ("E2", "enable_historical_messaging"),
    ],
)
async def test_flags(served: Served, name: str, flag: str) -> None:
    method, path, wire = CALLS[name]
    assert isinstance(wire, dict)
    for value in (True, False, None):
        assert code(await served.call(method, path, wire | {flag: value})) == SENT
    for value in (0, 1, "true", "", [], {}, 1.0):
        reply = await served.call(method, path, wire | {flag: value})
        assert code(reply) == BAD
        assert reply.json()["message"].startswith(f"{flag}: ")


async def test_a_handle_with_a_slash_is_one_handle(served: Served) -> None:
    assert code(await served.call("GET", f"{HISTORY}/query/a%2Fb")) == DEAD
    assert code(await served.call("GET", f"{HISTORY}/query/a/b")) == (404, "not_found")
    undecodable = await served.call("GET", f"{HISTORY}/query/%ff")
    assert code(undecodable) == BAD
