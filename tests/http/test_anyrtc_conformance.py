"""The conformance checks of anyRTC's contract over a real socket: channels, tokens, events, rates.

Those of peer messages are in test_anyrtc_peer.py, those of the history in test_anyrtc_conformance_history.py.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio

from postroom.core import Delivery, Session, room
from postroom.core.buckets import Rate
from postroom.core.events import LoggedIn, LoggedOut
from postroom.storage.memory import MemoryStore
from postroom.transports.config import AnyrtcConfig, AppConfig
from tests.support.anyrtc import (
    BAD,
    CHANNEL,
    DEAD,
    HISTORY,
    SENT,
    UNAUTHORIZED,
    check,
    code,
    events,
    say,
)
from tests.support.native_client import session
from tests.support.office import events as log_of
from tests.support.rtm_tokens import VECTORS
from tests.support.serving import BASE, Served, StoppedClock, config_of, serving, serving_in_a_thread
from tests.support.token_builders import built, order
from tests.support.web import APP, APP_ID, PEER, RTC, basic

pytestmark = pytest.mark.usefixtures("host")


def test_every_check_is_made_once() -> None:
    """C01 to C43, each by one test under its number."""
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    found = Counter(int(number) for text in texts for number in re.findall(r"^async def test_c(\d\d)_", text, re.M))
    assert found == Counter(range(1, 44))


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server that knows no user yet."""
    async with serving() as server:
        yield server


# Who receives.


async def until(session: Session, text: bytes) -> list[Delivery]:
    """What a session got before this message."""
    got: list[Delivery] = []
    while (delivery := await anext(session)).body != text:
        got.append(delivery)
    return got


@asynccontextmanager
async def member(served: Served, user: str, *channels: str) -> AsyncIterator[Session]:
    """A session of a user who is in channels."""
    async with served.broker.connect(app="shop", user=user) as session:
        for channel in channels:
            await session.join(channel)
        yield session


async def test_c09_a_channel_message_reaches_who_is_in_it(served: Served) -> None:
    async with member(served, "u1", "channelA") as u1, session(served, "u2") as u2, member(served, "u3") as outsider:
        assert await u2.ask(type="join", room="channelA") == {"type": "ok"}
        reply = await say(served)
        assert code(reply) == SENT
        assert set(reply.json()) == {"code", "result", "request_id"}
        embedded, over_the_wire = await anext(u1), await u2.next()
        assert (embedded.sender, embedded.body, embedded.conversation) == ("userA", b"Hello", room("channelA"))
        assert (embedded.via, embedded.queued, embedded.seq) == ("anyrtc", False, None)
        assert over_the_wire == {
            "type": "message",
            "id": str(embedded.id),
            "conversation": {"kind": "room", "id": "channelA"},
            "sender": "userA",
            "payload": "Hello",
            "format": "text",
            "timestamp": embedded.at_ms,
            "lane": "normal",
            "via": "anyrtc",
        }
        await served.send({"destination": "u3", "payload": "the end"})
        assert await until(outsider, b"the end") == []


async def test_c10_a_channel_with_nobody_in_it(served: Served) -> None:
    assert code(await say(served)) == SENT
    async with member(served, "u1", "channelA", "channelB") as u1:
        assert code(await say(served, {"channel_name": "channelC", "payload": "Hello"})) == SENT
        assert code(await say(served, {"channel_name": "channelB", "payload": "the end"})) == SENT
        assert await until(u1, b"the end") == []  # nor what was sent before


async def test_c11_a_channel_message_with_a_destination(served: Served) -> None:
    reply = await say(served, {"destination": "x", "payload": "p"})
    assert code(reply) == BAD
    assert reply.json()["message"].startswith("channel_name")


async def test_the_sender_does_not_hear_what_was_sent_as_them(served: Served) -> None:
    async with member(served, "userA", "channelA") as sender, member(served, "u1", "channelA") as other:
        assert code(await say(served)) == SENT
        assert (await anext(other)).body == b"Hello"
        await served.send({"destination": "userA", "payload": "the end"})
        assert await until(sender, b"the end") == []


async def test_users_and_channels_of_one_name_are_apart(served: Served) -> None:
    async with member(served, "x", "y") as x, member(served, "y", "x") as y:
        assert code(await say(served, {"channel_name": "x", "payload": "to channel x"})) == SENT
        assert code(await served.send({"destination": "x", "payload": "to user x"})) == SENT
        assert code(await say(served, {"channel_name": "y", "payload": "to channel y"})) == SENT
        assert [(await anext(x)).body, (await anext(x)).body] == [b"to user x", b"to channel y"]
        assert (await anext(y)).body == b"to channel x"


async def test_who_left_hears_nothing_more(served: Served) -> None:
    async with member(served, "u1", "channelA") as u1, member(served, "u1") as second, session(served, "u2") as u2:
        await u2.ask(type="join", room="channelA")
        assert code(await say(served)) == SENT
        for one in (u1, second):  # a user is in a channel, with all of their sessions
            assert (await anext(one)).body == b"Hello"
        assert (await u2.next())["payload"] == "Hello"
        await second.leave("channelA")
        await u2.ask(type="leave", room="channelA")
        assert code(await say(served, CHANNEL | {"payload": "too late"})) == SENT
        for user in ("u1", "u2"):
            await served.send({"destination": user, "payload": "the end"})
        assert await until(u1, b"the end") == await until(second, b"the end") == []
        assert (await u2.next())["payload"] == "the end"


async def test_a_peer_message_is_acknowledged_over_the_wire(served: Served) -> None:
    """C03 with a client that is none of ours."""
    async with session(served, "userB") as client, trio.open_nursery() as nursery:
        replies: list[httpx.Response] = []

        async def send() -> None:
            replies.append(await served.send(query="wait_for_ack=true"))

        nursery.start_soon(send)
        frame = await client.next()
        assert (frame["sender"], frame["payload"], frame["via"]) == ("userA", "Hello", "anyrtc")
        assert not replies
        await client.say({"type": "ack", "id": frame["id"]})
    assert code(replies[0]) == (200, "message_delivered")


@pytest.fixture
def in_a_thread() -> Iterator[tuple[Any, httpx.Client]]:
    """A BrokerThread whose broker is served, and a client for it."""
    with serving_in_a_thread(MemoryStore()) as both:
        yield both


def test_messages_reach_a_broker_thread(in_a_thread: tuple[Any, httpx.Client]) -> None:
    """C03 and C09 for synchronous code."""
    thread, client = in_a_thread

    def post(path: str, wire: object) -> httpx.Response:
        return client.post(f"{BASE}/rtm/users/userA/{path}", json=wire)

    with thread.connect(app="shop", user="userB") as userB, ThreadPoolExecutor(1) as pool:
        reply = pool.submit(post, "peer_messages?wait_for_ack=true", PEER)
        delivery = next(userB)
        assert (delivery.sender, delivery.body, delivery.via) == ("userA", b"Hello", "anyrtc")
        userB.ack(delivery).result(20)
        assert code(reply.result(20)) == (200, "message_delivered")

        userB.join("channelA").result(20)
        assert code(post("channel_messages", CHANNEL)) == SENT
        delivery = next(userB)
        assert (delivery.sender, delivery.body, delivery.conversation) == ("userA", b"Hello", room("channelA"))
    assert code(post("peer_messages?wait_for_ack=true", PEER)) == (200, "message_offline")


# Tokens (C20-C28), made right now by the builders of others.


@cache
def token(builder: str = "python_006", user: str = "userA", app_id: str = APP_ID) -> str:
    """One that is good for ten minutes."""
    ((_, made),) = built([order(builder, user, app_id=app_id, certificate=RTC.app_certificate)])
    return made


async def as_token(
    served: Served, headers: dict[str, str], user: str = "userA", app_id: str = APP_ID
) -> httpx.Response:
    """E1 with these headers and no others."""
    url = f"/dev/v2/project/{app_id}/rtm/users/{user}/peer_messages"
    return await served.client.post(url, json=PEER, headers=headers)


def ar(made: str, uid: str = "userA") -> dict[str, str]:
    """anyRTC's two headers."""
    return {"x-ar-token": made, "x-ar-uid": uid}


def agora(made: str, uid: str = "userA") -> dict[str, str]:
    """Agora's two headers."""
    return {"x-agora-token": made, "x-agora-uid": uid}


def refused(reply: httpx.Response) -> str:
    """What a call was refused with, which must be a 401."""
    assert code(reply) == UNAUTHORIZED
    assert reply.headers["www-authenticate"] == 'Basic realm="rtm"'
    said: str = reply.json()["message"]
    return said


@pytest.fixture
async def bare() -> AsyncIterator[Served]:
    """A server, and a client without credentials."""
    async with serving(headers={}) as server:
        yield server


async def test_c20_a_token_with_anyrtcs_headers(bare: Served) -> None:
    for builder in ("python_006", "rtm_006"):
        assert code(await as_token(bare, ar(token(builder)))) == SENT


async def test_c21_a_token_with_agoras_headers(bare: Served) -> None:
    for builder in ("python_006", "rtm_006"):
        assert code(await as_token(bare, agora(token(builder)))) == SENT


async def test_c22_a_token_is_for_one_sender(bare: Served) -> None:
    for made in (token(), token("rtm_007")):
        assert refused(await as_token(bare, ar(made), user="userB")) == "user_id does not match token"


async def test_c23_a_token_of_somebody_else(bare: Served) -> None:
    for made in (token(), token("rtm_007")):
        assert refused(await as_token(bare, ar(made, "userB"), user="userB")) == "invalid token"


async def test_c24_tokens_that_open_nothing(bare: Served) -> None:
    def changed(made: str) -> str:
        at = 3 + len(APP_ID) + 10  # within the signature
        return made[:at] + ("A" if made[at] != "A" else "B") + made[at + 1 :]

    other_app = token(app_id="0" * 32)
    for made in (changed(token()), changed(VECTORS["P3"]), other_app, VECTORS["P5"], VECTORS["P6"], VECTORS["N2"]):
        for headers in (ar(made), agora(made), {"Authorization": f"agora token={made}"}):
            assert refused(await as_token(bare, headers)) == "invalid token"
    assert refused(await as_token(bare, ar(VECTORS["P1"], "test_user"), user="test_user")) == "invalid token"
    for rtc in ("python_rtc_006", "rtc_006", "rtc_007"):
        assert refused(await as_token(bare, ar(token(rtc)))) == "invalid token"


async def test_c25_a_privilege_without_an_end(bare: Served) -> None:
    assert code(await as_token(bare, ar(VECTORS["P4"]))) == SENT


async def test_c26_a_token_in_authorization_alone(bare: Served) -> None:
    for made in (token(), token("rtm_006"), token("rtm_007")):
        for value in (f"agora token={made}", f'agora token="{made}"', f"AGORA token={made}"):
            assert code(await as_token(bare, {"Authorization": value})) == SENT
    assert refused(await as_token(bare, {"Authorization": f"agora token={token()}"}, user="userB")) == "invalid token"


async def test_c27_the_new_kind_of_token(bare: Served) -> None:
    for builder in ("rtm_007", "both_007", "both2_007", "many_007"):
        assert code(await as_token(bare, {"x-agora-token": token(builder)})) == SENT
        assert code(await as_token(bare, agora(token(builder)))) == SENT
        assert code(await as_token(bare, ar(token(builder)))) == SENT
        # It says whose it is, so the path does not stand in for that.
        alone = await as_token(bare, {"x-agora-token": token(builder)}, user="userB")
        assert refused(alone) == "user_id does not match token"


async def test_c28_a_token_next_to_what_is_no_authorization(bare: Served) -> None:
    assert code(await as_token(bare, agora(token()) | {"Authorization": "azE6czE="})) == SENT
    assert code(await as_token(bare, agora(token()) | {"Authorization": f"agora token={token()}"})) == SENT
    assert refused(await as_token(bare, agora("bad") | {"Authorization": basic()})) == "invalid token"


@pytest.mark.parametrize(
    ("vector", "user", "path"),
    [
        ("P3", "userA", "userA"),
        ("P7", "a b+c&d=e@f%25#g", "a%20b+c%26d%3De%40f%2525%23g"),
        ("P9", "u" * 64, "u" * 64),
        ("P10", "1001", "1001"),
        ("P11", "userA", "userA"),
        ("J1", "userA", "userA"),
        ("N4", "userB", "userB"),
        ("Z2", "userA", "userA"),
        ("Z3", "userA", "userA"),
    ],
)
async def test_tokens_of_the_contract_that_are_good(bare: Served, vector: str, user: str, path: str) -> None:
    made = VECTORS[vector]
    assert code(await as_token(bare, ar(made, user), user=path)) == SENT
    assert code(await as_token(bare, {"Authorization": f"agora token={made}"}, user=path)) == SENT
    url = f"{BASE}/rtm/users/{path}/channel_messages"
    assert code(await bare.client.post(url, json=CHANNEL, headers=agora(made, user))) == SENT


@pytest.mark.parametrize("vector", ["N1", "N2", "N3", "N4", "P1", "P2", "P8", "Z1"])
async def test_tokens_of_the_contract_that_are_none_of_user_a(bare: Served, vector: str) -> None:
    assert refused(await as_token(bare, ar(VECTORS[vector]))) == "invalid token"


OTHER_ID, OTHER_CERTIFICATE = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"


def app(name: str, app_id: str = OTHER_ID, certificate: str = OTHER_CERTIFICATE) -> AppConfig:
    """Another app with the same key and secret."""
    settings = AnyrtcConfig(app_id=app_id, api_key="k1", api_secret="s1", app_certificate=certificate)
    return AppConfig(name=name, session_secret="s" * 32, anyrtc=settings)


async def test_a_token_is_for_one_app() -> None:
    async with serving(config_of(APP, app("other"), app("bare", "f" * 32, "")), headers={}) as bare:
        system = ar(VECTORS["P8"], "SYSTEM")
        assert code(await as_token(bare, system, user="SYSTEM", app_id=OTHER_ID)) == SENT
        assert refused(await as_token(bare, system, user="SYSTEM")) == "invalid token"
        assert refused(await as_token(bare, ar(VECTORS["P3"]), app_id=OTHER_ID)) == "invalid token"
        for without_certificate_or_app in ("f" * 32, "0" * 32):
            headers = ar(token(app_id=without_certificate_or_app))
            assert refused(await as_token(bare, headers, app_id=without_certificate_or_app)) == "invalid token"


async def test_tokens_end_by_the_servers_clock() -> None:
    clock = StoppedClock(4_102_444_799_999)
    async with serving(headers={}, clock=clock) as bare:
        assert code(await as_token(bare, ar(VECTORS["P3"]))) == SENT
        clock.pass_ms(1)
        assert refused(await as_token(bare, ar(VECTORS["P3"]))) == "invalid token"


async def test_c41_what_any_user_of_the_app_may_ask_for(bare: Served) -> None:
    filter = {"source": "userX", "start_time": 1, "end_time": 2}
    for headers in (ar(token()), agora(token("rtm_006")), {"Authorization": f"agora token={token('rtm_007')}"}):
        for of in ("user", "channel"):
            assert await events(bare, of, headers=headers) == []
        asked = await bare.call("POST", f"{HISTORY}/query", {"filter": filter}, headers=headers)
        assert asked.status_code == 200
        location = asked.json()["location"].removeprefix("~")
        assert code(await bare.call("GET", location, headers=headers)) == (200, "ok")
        assert code(await bare.call("GET", location, headers=headers)) == DEAD
        counted = await bare.call("GET", f"{HISTORY}/count?source=userX&start_time=1&end_time=2", headers=headers)
        assert code(counted) == (200, "ok")
    # A 006 token does not say whose it is, so without a path that does it needs the header.
    assert (
        refused(await bare.call("GET", "/rtm/vendor/user_events", headers={"x-ar-token": token()})) == "invalid token"
    )


# Events (C29-C31).


async def test_c29_events_of_users_are_told_once(served: Served) -> None:
    async with served.broker.connect(app="shop", user="u1"):
        pass
    told = await events(served, "user")
    assert [(each["type"], each["user_id"]) for each in told] == [("Login", "u1"), ("Logout", "u1")]
    assert all(set(each) == {"ms", "type", "user_id"} and type(each["ms"]) is int for each in told)
    assert told[0]["ms"] <= told[1]["ms"]
    assert await events(served, "user") == []
    assert await events(served, "channel") == []


async def test_c30_events_of_channels(served: Served) -> None:
    async with member(served, "u1", "channelA") as u1:
        await u1.leave("channelA")
        told = await events(served, "channel")
        assert [(each["type"], each["group_id"], each["user_id"]) for each in told] == [
            ("Join", "channelA", "u1"),
            ("Leave", "channelA", "u1"),
        ]
        assert all(set(each) == {"group_id", "ms", "type", "user_id"} and type(each["ms"]) is int for each in told)
        assert told[0]["ms"] <= told[1]["ms"]
        assert await events(served, "channel") == []
        assert [each["type"] for each in await events(served, "user")] == ["Login"]


async def test_c31_the_newest_two_thousand_events() -> None:
    store = MemoryStore()
    async with serving(store=store) as served, AsyncExitStack() as stack:
        for number in range(1_000):
            async with served.broker.connect(app="shop", user=f"u{number}"):
                pass
        await stack.enter_async_context(served.broker.connect(app="shop", user="the last"))
        happened = [
            (event.user, "Login" if isinstance(event, LoggedIn) else "Logout")
            for event in log_of(store)
            if isinstance(event, LoggedIn | LoggedOut)
        ]
        assert len(happened) == 2_001
        first, second, third = [await events(served, "user") for _ in range(3)]
        assert (len(first), len(second), third) == (1_000, 1_000, [])
        told = [(each["user_id"], each["type"]) for each in first + second]
        assert told == happened[1:]
        assert happened[0] == ("u0", "Login")


async def test_a_user_comes_with_the_first_session_and_goes_with_the_last(served: Served) -> None:
    async with member(served, "u1", "channelA", "channelB"), session(served, "u1") as second:
        await second.ask(type="join", room="channelA")
        await second.ask(type="join", room="channelC")
    assert [each["type"] for each in await events(served, "user")] == ["Login", "Logout"]
    told = [(each["type"], each["group_id"]) for each in await events(served, "channel")]
    assert told[:3] == [("Join", f"channel{name}") for name in "ABC"]
    assert sorted(told[3:]) == [("Leave", f"channel{name}") for name in "ABC"]  # with the logout


async def test_sending_makes_no_events(served: Served) -> None:
    await served.send()
    await say(served)
    assert await events(served, "user") == await events(served, "channel") == []


async def test_nobody_gets_an_event_that_somebody_got() -> None:
    async with serving(config_of(limited(None))) as served:
        for number in range(50):
            async with served.broker.connect(app="shop", user=f"u{number}"):
                pass
        told: list[list[dict[str, Any]]] = []

        async def take() -> None:
            told.append(await events(served, "user"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(take)
        assert len(told) == 10
        assert sorted(map(len, told)) == [0] * 9 + [100]


# Rates (C32).


def limited(rate: Rate | None) -> AppConfig:
    """The app with the same rate for every call."""
    names = ("peer_messages", "channel_messages", "user_events", "channel_events", "history")
    return msgspec.structs.replace(
        APP, limits=msgspec.structs.replace(APP.limits, **{f"anyrtc_{name}": rate for name in names})
    )


async def test_c32_the_rate_of_events() -> None:
    clock = StoppedClock()
    async with serving(clock=clock) as served:
        replies: list[httpx.Response] = []

        async def ask() -> None:
            replies.append(await served.call("GET", "/rtm/vendor/user_events"))

        async with trio.open_nursery() as nursery:
            for _ in range(11):
                nursery.start_soon(ask)
        for reply in replies:
            check(reply)
        assert sorted(reply.status_code for reply in replies) == [200] * 10 + [429]
        (over,) = [reply for reply in replies if reply.status_code == 429]
        assert code(over) == (429, "too_many_requests")
        assert over.json()["message"] == "rate limit exceeded"
        assert over.headers["retry-after"] == "1"
        clock.pass_ms(100)
        assert [(await served.call("GET", "/rtm/vendor/user_events")).status_code for _ in range(2)] == [200, 429]


CALLS: list[tuple[str, str, object]] = [
    ("POST", "/rtm/users/userA/peer_messages", PEER),
    ("POST", "/rtm/users/userA/channel_messages", CHANNEL),
    ("GET", "/rtm/vendor/user_events", None),
    ("GET", "/rtm/vendor/channel_events", None),
    ("POST", f"{HISTORY}/query", {"filter": {"source": "userA", "start_time": 1, "end_time": 2}}),
    ("GET", f"{HISTORY}/query/4711", None),
    ("GET", f"{HISTORY}/count?source=userA&start_time=1&end_time=2", None),
]
BY_NAME = pytest.mark.parametrize("number", range(len(CALLS)), ids=[f"{method} {path}" for method, path, _ in CALLS])


@BY_NAME
async def test_each_call_has_its_own_bucket_and_only_callers_who_are_known_count(number: int) -> None:
    clock = StoppedClock()
    async with serving(config_of(limited(Rate(2, 1_000)), app("other")), clock=clock) as served:
        call = CALLS[number]

        async def status(*call: Any, **more: Any) -> int:
            reply = await served.call(*call, **more)
            check(reply)
            return reply.status_code

        for _ in range(5):
            assert await status(*call, headers={"Authorization": basic(password="wrong")}) == 401
        assert [await status(*call) for _ in range(4)] == [200, 200, 429, 429]
        for other in CALLS:
            if other is not call:
                assert await status(*other) == 200
        url = BASE.replace(APP_ID, OTHER_ID) + call[1]
        assert (await served.client.request(call[0], url, json=call[2])).status_code == 200
        clock.pass_ms(500)
        assert [await status(*call) for _ in range(2)] == [200, 429]
        # Parameters are looked at after the rate, so a call that is wrong counts; and who it is for before it.
        clock.pass_ms(10_000)
        wrong_token = {"x-ar-token": token(user="userB"), "x-ar-uid": "userB"}
        if "users" in call[1]:
            assert [await status(*call, headers=wrong_token) for _ in range(3)] == [401] * 3
        if call[0] == "POST":
            assert [await status(call[0], call[1], b"{") for _ in range(3)] == [400, 400, 429]
            assert await status(*call) == 429


@BY_NAME
async def test_rates_as_the_vendor_documents_them(number: int) -> None:
    """And no more than that, on a clock that stands still."""
    expected = (500, 500, 10, 10, 100, 100, 100)[number]
    async with serving(clock=StoppedClock()) as served:
        method, path, wire = CALLS[number]
        content = None if wire is None else msgspec.json.encode(wire)
        head = served.client.build_request(method, f"{BASE}{path}", content=content)
        statuses = Counter([(await served.client.send(head)).status_code for _ in range(expected + 2)])
        assert statuses == {200: expected, 429: 2}


@BY_NAME
async def test_rates_may_be_off(number: int) -> None:
    async with serving(config_of(limited(None)), clock=StoppedClock()) as served:
        statuses = {(await served.call(*CALLS[number])).status_code for _ in range(15)}
        assert statuses == {200}
