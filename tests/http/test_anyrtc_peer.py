"""Peer messages over a real socket: the checks of the contract that concern them, and what we add."""

import json

import httpx
import msgspec
import pytest
import trio

from postroom.core.buckets import Rate
from postroom.transports.config import AppConfig, Limits, QueueConfig
from tests.support.anyrtc import BAD, SENT, code, collect, receiving
from tests.support.serving import BASE, config_of, raw, serving
from tests.support.web import APP, APP_ID, PEER, RTC, basic

pytestmark = pytest.mark.usefixtures("host")


async def test_c01_sent_to_somebody_offline() -> None:
    async with serving() as served:
        reply = await served.send()
        assert code(reply) == SENT
        assert set(reply.json()) == {"code", "result", "request_id"}


async def test_c02_sent_without_waiting_for_an_ack() -> None:
    async with serving() as served, receiving(served, "userB", acking=False):
        with trio.fail_after(3):
            assert code(await served.send(query="wait_for_ack=false")) == SENT


async def test_c03_delivered() -> None:
    async with serving() as served, receiving(served, "userB", acking=True) as got:
        assert code(await served.send(query="wait_for_ack=true")) == (200, "message_delivered")
        assert [(each.sender, each.body, each.via) for each in got] == [("userA", b"Hello", "anyrtc")]


async def test_c04_offline() -> None:
    async with serving() as served:
        with trio.fail_after(3):
            assert code(await served.send(query="wait_for_ack=true")) == (200, "message_offline")


def impatient(ack_timeout_s: float = 0.2) -> AppConfig:
    return msgspec.structs.replace(APP, anyrtc=msgspec.structs.replace(RTC, ack_timeout_s=ack_timeout_s))


@pytest.mark.parametrize("queued", [True, False])
async def test_c05_no_acknowledgement(queued: bool) -> None:
    async with serving(config_of(impatient())) as served, receiving(served, "userB", acking=False) as got:
        start = trio.current_time()
        reply = await served.send(PEER | {"enable_offline_messaging": queued}, query="wait_for_ack=true")
        assert trio.current_time() - start >= 0.2
        assert code(reply) == (408, "timeout")
        assert len(got) == 1


async def test_gone_while_waiting() -> None:
    async with serving(config_of(impatient(30))) as served, trio.open_nursery() as nursery:
        replies: list[httpx.Response] = []

        async def send() -> None:
            replies.append(await served.send(query="wait_for_ack=true"))

        async with receiving(served, "userB", acking=False) as got:
            nursery.start_soon(send)
            await got.arrived.wait()
    assert code(replies[0]) == (200, "message_offline")


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("", SENT),
        ("1", (200, "message_offline")),
        ("TRUE", (200, "message_offline")),
        ("true%20", (200, "message_offline")),
        ("0", SENT),
        ("maybe", BAD),
    ],
)
async def test_c06_values_of_wait_for_ack(value: str, answer: tuple[int, str]) -> None:
    async with serving() as served:
        assert code(await served.send(query=f"wait_for_ack={value}")) == answer


async def test_c07_only_what_asked_for_it_is_kept() -> None:
    async with serving() as served:
        await served.send(PEER | {"payload": "kept", "enable_offline_messaging": True})
        await served.send(PEER | {"payload": "lost"})
        assert [each.body for each in await collect(served, "userB", 1)] == [b"kept"]


async def test_c08_the_newest_200() -> None:
    async with serving() as served:
        for number in range(1, 202):
            wire = {"destination": "userB", "payload": str(number), "enable_offline_messaging": True}
            assert code(await served.send(wire)) == SENT
        got = await collect(served, "userB", 200)
        assert [each.body.decode() for each in got] == [str(number) for number in range(2, 202)]


@pytest.mark.parametrize("payload", ["", ..., 5, {}])
async def test_c12_payloads_that_are_none(payload: object) -> None:
    wire = {key: value for key, value in (PEER | {"payload": payload}).items() if value is not ...}
    async with serving() as served:
        reply = await served.send(wire)
        assert code(reply) == BAD
        assert reply.json()["message"].startswith("payload")


@pytest.mark.parametrize(
    ("payload", "answer"), [("a" * 32_768, SENT), ("a" * 32_769, BAD), ("\u4e2d" * 10_923, BAD)], ids=len
)
async def test_c13_the_largest_payload(payload: str, answer: tuple[int, str]) -> None:
    async with serving() as served:
        assert code(await served.send(PEER | {"payload": payload})) == answer


async def test_a_payload_that_escapes_inflate() -> None:
    """256 KiB and more of JSON whose payload is within its limit must be read."""
    escaped = b"\\u0001" * 32_768
    padding = b'"other": "' + b"x" * 70_000 + b'", '
    wire = b'{"destination": "userB", "enable_offline_messaging": true, ' + padding + b'"payload": "' + escaped + b'"}'
    assert len(wire) > 256 * 1024
    async with serving() as served:
        assert code(await served.send(wire)) == SENT
        assert [each.body for each in await collect(served, "userB", 1)] == [b"\x01" * 32_768]


@pytest.mark.parametrize("size", [400_000, 5_000_000])
async def test_a_body_that_is_too_large(size: int) -> None:
    async with serving() as served:
        reply = await served.send(b" " * size)
        assert code(reply) == BAD
        assert reply.json()["message"] == "body: too large"
        assert code(await served.send()) == SENT


@pytest.mark.parametrize(
    ("destination", "answer"),
    [("x" * 64, SENT), ("x" * 65, BAD), ("", BAD), ("\u7528\u6237", BAD), ("a/b", BAD), ('a"b', BAD), (123, BAD)],
)
async def test_c14_destinations(destination: object, answer: tuple[int, str]) -> None:
    async with serving() as served:
        assert code(await served.send(PEER | {"destination": destination})) == answer


async def test_c15_the_sender_is_decoded_once() -> None:
    async with serving() as served, receiving(served, "userB", acking=True) as got:
        reply = await served.send(user="a%20b%2Bc%25%23%3F", query="wait_for_ack=true")
        assert code(reply) == (200, "message_delivered")
        assert got[0].sender == "a b+c%#?"


@pytest.mark.parametrize("user", ["%20a", "a%20", "a%2Fb", "%ff", ""])
async def test_c16_what_is_no_sender(user: str) -> None:
    async with serving() as served:
        assert code(await served.send(user=user)) == BAD


@pytest.mark.parametrize("wire", [b"not json", b"[]", b"", b"\xff", b"[" * 50_000, b'{"a":' * 50_000])
async def test_c17_what_is_no_body(wire: bytes) -> None:
    async with serving() as served:
        assert code(await served.send(wire)) == BAD


@pytest.mark.parametrize("type_", ["text/plain", "application/json;charset=utf-8", "application/x-www-form-urlencoded"])
async def test_c18_any_content_type(type_: str) -> None:
    async with serving() as served:
        assert code(await served.send(headers={"Content-Type": type_})) == SENT


@pytest.mark.parametrize(
    ("app_id", "credentials"),
    [
        (APP_ID, None),
        (APP_ID, basic("k1", "wrong")),
        (APP_ID, basic("wrong", "s1")),
        (APP_ID, "azE6czE="),
        ("0" * 32, basic()),
    ],
)
async def test_c19_credentials(app_id: str, credentials: str | None) -> None:
    headers = {} if credentials is None else {"Authorization": credentials}
    async with serving(headers=headers) as served:
        url = f"/dev/v2/project/{app_id}/rtm/users/userA/peer_messages"
        reply = await served.client.post(url, content=json.dumps(PEER))
        assert code(reply) == (401, "unauthorized")
        assert reply.json()["message"] == "Invalid authentication credentials"
        assert reply.headers["www-authenticate"] == 'Basic realm="rtm"'


async def test_c42_paths_and_methods() -> None:
    async with serving() as served:
        assert code(await served.client.get(f"{BASE}/rtm/nothing")) == (404, "not_found")
        assert code(await served.client.post(f"{BASE}/rtm/users/userA/peer_message")) == (404, "not_found")
        wrong = await served.client.get(f"{BASE}/rtm/users/userA/peer_messages")
        assert code(wrong) == (405, "method_not_allowed")
        assert wrong.headers["allow"] == "OPTIONS, POST"


async def test_the_rate_limit() -> None:
    limited = msgspec.structs.replace(APP, limits=Limits(anyrtc_peer_messages=Rate(3, 1_000)))
    async with serving(config_of(limited)) as served:
        replies = [await served.send(b"{") for _ in range(3)] + [await served.send() for _ in range(3)]
        assert (429, "too_many_requests") in [code(reply) for reply in replies]
        over = next(reply for reply in replies if reply.status_code == 429)
        assert over.headers["retry-after"] == "1"
        assert over.json()["message"] == "rate limit exceeded"


async def test_the_rate_limit_may_be_off() -> None:
    free = msgspec.structs.replace(APP, limits=Limits(anyrtc_peer_messages=None))
    async with serving(config_of(free)) as served:
        assert {code(await served.send()) for _ in range(30)} == {SENT}


async def test_a_retry_sends_nothing_again() -> None:
    wire = PEER | {"enable_offline_messaging": True}
    async with serving() as served:
        for _ in range(3):
            assert code(await served.send(wire, headers={"Idempotency-Key": "k1"})) == SENT
        other = await served.send(wire | {"payload": "other"}, headers={"Idempotency-Key": "k1"})
        assert code(other) == (409, "conflict")
        assert code(await served.send(wire, user="userC", headers={"Idempotency-Key": "k1"})) == SENT
        assert len(await collect(served, "userB", 2)) == 2


async def test_a_retry_of_a_wait_finds_the_ack() -> None:
    async with serving() as served, receiving(served, "userB", acking=True) as got:
        for _ in range(2):
            reply = await served.send(query="wait_for_ack=true", headers={"Idempotency-Key": "k1"})
            assert code(reply) == (200, "message_delivered")
        assert len(got) == 1


async def test_a_queue_that_refuses() -> None:
    strict = msgspec.structs.replace(APP, queue=QueueConfig(messages=1, overflow="refuse"))
    wire = PEER | {"enable_offline_messaging": True}
    async with serving(config_of(strict)) as served:
        assert code(await served.send(wire)) == SENT
        full = await served.send(wire)
        assert code(full) == (429, "queue_full")
        assert full.headers["retry-after"] == "10"


async def test_two_apps_with_the_same_key_are_apart() -> None:
    other_id = "0123456789abcdef0123456789abcdef"
    other = AppConfig(name="other", session_secret="s" * 32, anyrtc=msgspec.structs.replace(RTC, app_id=other_id))
    wire = PEER | {"enable_offline_messaging": True}
    async with serving(config_of(APP, other)) as served:
        url = f"/dev/v2/project/{other_id}/rtm/users/userA/peer_messages"
        assert code(await served.client.post(url, json=wire)) == SENT
        assert await collect(served, "userB", 0) == []
        async with served.broker.connect(app="other", user="userB") as session:
            assert session.welcome.queued == 1


async def test_preflight_from_a_page() -> None:
    async with serving(headers={}) as served:
        url = f"{BASE}/rtm/users/userA/peer_messages"
        reply = await served.client.options(url, headers={"Origin": "http://page"})
        assert reply.status_code == 204
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
        assert "x-agora-token" in reply.headers["access-control-allow-headers"]


async def test_documented_curl_form() -> None:
    """HTTP as curl writes it, down to the bytes."""
    body = json.dumps(PEER).encode()
    head = (
        f"POST {BASE}/rtm/users/userA/peer_messages?wait_for_ack=false HTTP/1.1\r\nHost: api.agrtc.cn\r\n"
        f"Authorization: {basic()}\r\nContent-Type: application/json;charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    async with serving() as served:
        answer = await raw(served.port, head.encode() + body)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"code":"message_sent"' in answer


@pytest.mark.parametrize("header", ["x-ar-token", "x-agora-token"])
async def test_a_token_header_decides_alone(header: str) -> None:
    async with serving() as served:
        reply = await served.send(headers={header: "bad"})
        assert reply.status_code == 401
        assert reply.json()["message"] == "invalid token"
        assert (await served.send(headers={header: ""})).status_code == 200
