"""`peer_messages` from request to command and from receipt to reply (anyRTC 6, E1)."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.commands import SendMessage
from postroom.core.errors import InvalidCommand, Refusal
from postroom.core.model import peer
from postroom.transports.anyrtc import peer_messages
from postroom.transports.config import AnyrtcConfig
from postroom.transports.http.types import HttpRequest
from tests.support.web import PEER, RECEIPT, RTC, call, request, told


def parse(body: object = PEER, *, user: str = "userA", query: str = "", settings: AnyrtcConfig = RTC) -> SendMessage:
    return peer_messages.parse(call(request(body=body, query=query, params={"user_id": user})), settings)


def body(**changes: object) -> dict[str, object]:
    return {key: value for key, value in (PEER | changes).items() if value is not ...}


def test_the_least_request() -> None:
    assert parse() == SendMessage(
        app="shop", sender="userA", to=peer("userB"), body=b"Hello", format="text", lane="normal", via="anyrtc"
    )


def test_every_flag() -> None:
    command = parse(body(enable_offline_messaging=True, enable_historical_messaging=True), query="wait_for_ack=true")
    assert (command.queue, command.history, command.wait_ack_ms, command.dedup) == (True, True, 5_000, None)


@pytest.mark.parametrize("value", [False, None, ...])
def test_flags_that_are_off(value: object) -> None:
    command = parse(body(enable_offline_messaging=value, enable_historical_messaging=value))
    assert (command.queue, command.history) == (False, False)


@pytest.mark.parametrize("value", [1, 0, "true", "", [], {}, 1.0])
@pytest.mark.parametrize("flag", ["enable_offline_messaging", "enable_historical_messaging"])
def test_flags_are_booleans(flag: str, value: object) -> None:
    with pytest.raises(InvalidCommand, match=flag):
        parse(body(**{flag: value}))


@pytest.mark.parametrize(
    ("query", "waits"),
    [
        ("", False),
        ("wait_for_ack=", False),
        ("wait_for_ack", False),
        ("wait_for_ack=false", False),
        ("wait_for_ack=FALSE", False),
        ("wait_for_ack=0", False),
        ("wait_for_ack=true", True),
        ("wait_for_ack=TRUE", True),
        ("wait_for_ack=True", True),
        ("wait_for_ack=1", True),
        ("wait_for_ack=true%20", True),
        ("wait_for_ack=true+", True),
        ("&wait_for_ack=true&", True),
        ("other=1&wait_for_ack=true", True),
        ("WAIT_FOR_ACK=true", False),  # names are case-sensitive, unknown ones ignored
    ],
)
def test_wait_for_ack(query: str, waits: bool) -> None:
    assert parse(query=query).wait_ack_ms == (5_000 if waits else None)


@pytest.mark.parametrize("value", ["maybe", "yes", "2", "-1", "tru", "null"])
def test_wait_for_ack_that_is_neither(value: str) -> None:
    with pytest.raises(InvalidCommand, match="wait_for_ack: must be true or false"):
        parse(query=f"wait_for_ack={value}")


def test_how_long_to_wait_is_configured() -> None:
    settings = msgspec.structs.replace(RTC, ack_timeout_s=0.25)
    assert parse(query="wait_for_ack=1", settings=settings).wait_ack_ms == 250


@pytest.mark.parametrize("payload", ["", ..., 5, {}, [], None, True])
def test_a_payload_is_a_text_that_is_not_empty(payload: object) -> None:
    with pytest.raises(InvalidCommand, match="payload"):
        parse(body(payload=payload))


@pytest.mark.parametrize("payload", ["a" * 32_768, "\u4e2d" * 10_922 + "aa", "\U0001f600" * 8_192, "\x00", " "])
def test_the_largest_payloads(payload: str) -> None:
    assert parse(body(payload=payload)).body == payload.encode()


@pytest.mark.parametrize("payload", ["a" * 32_769, "\u4e2d" * 10_923, "\U0001f600" * 8_192 + "a"])
def test_payloads_of_a_byte_too_many(payload: str) -> None:
    with pytest.raises(InvalidCommand, match="payload: must be at most 32768 bytes"):
        parse(body(payload=payload))


def test_a_payload_with_half_a_surrogate_pair() -> None:
    with pytest.raises(InvalidCommand):
        parse(b'{"destination": "userB", "payload": "x\\ud800y"}')


@pytest.mark.parametrize("destination", ["x" * 64, " userB ", "a b+c%#?", "userA"])
def test_destinations(destination: str) -> None:
    assert parse(body(destination=destination)).to == peer(destination)


@pytest.mark.parametrize("destination", ["x" * 65, "", "\u7528\u6237", "a/b", 'a"b', 123, None, ..., True, 1.5])
def test_what_is_no_destination(destination: object) -> None:
    with pytest.raises(InvalidCommand, match="destination"):
        parse(body(destination=destination))


def test_lenient_ids_take_numbers() -> None:
    settings = msgspec.structs.replace(RTC, lenient_ids=True)
    assert parse(body(destination=123), settings=settings).to == peer("123")
    assert parse(body(destination="x"), settings=settings).to == peer("x")
    for destination in (True, 1.5, None, ...):
        with pytest.raises(InvalidCommand, match="destination"):
            parse(body(destination=destination), settings=settings)


def test_the_sender_is_decoded_once() -> None:
    assert parse(user="a%20b%2Bc%25%23%3F").sender == "a b+c%#?"
    assert parse(user="a%2525b").sender == "a%25b"
    assert parse(user="a+b").sender == "a+b"


@pytest.mark.parametrize("user", ["%20a", "a%20", "a%2Fb", "", "%ff", "x" * 65, "%00", "a%0Ab", "%E7%94%A8"])
def test_what_is_no_sender(user: str) -> None:
    with pytest.raises(InvalidCommand, match="user_id"):
        parse(user=user)


@pytest.mark.parametrize("raw", [b"", b"not json", b"[]", b'["destination"]', b"null", b'"x"', b"\xff", b"5"])
def test_what_is_no_body(raw: bytes) -> None:
    with pytest.raises(InvalidCommand, match="body"):
        parse(raw)


def test_members_that_nobody_knows_are_ignored() -> None:
    assert parse(body(offSet=1, other={"x": [1]})) == parse()


@given(
    raw=st.binary() | st.builds(lambda value: json.dumps(value).encode(), st.dictionaries(st.text(), st.text())),
    user=st.text(st.characters(max_codepoint=255)),
    query=st.binary(),
    lenient=st.booleans(),
)
def test_anything_is_a_command_or_refused(raw: bytes, user: str, query: bytes, lenient: bool) -> None:
    asked = HttpRequest(method="POST", path="/", query_string=query, body=raw, params={"user_id": user})
    try:
        command = peer_messages.parse(call(asked), msgspec.structs.replace(RTC, lenient_ids=lenient))
    except Refusal:
        return
    assert isinstance(command, SendMessage)


JSON_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just({}) | st.just([])


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "destination": JSON_VALUES,
            "payload": JSON_VALUES,
            "enable_offline_messaging": JSON_VALUES,
            "enable_historical_messaging": JSON_VALUES,
        },
    ),
    st.sampled_from(["", "wait_for_ack=1", "wait_for_ack=x"]),
)
def test_members_of_any_type_are_a_command_or_refused(wire: dict[str, object], query: str) -> None:
    try:
        command = parse(wire, query=query)
    except InvalidCommand:
        return
    assert 1 <= len(command.body) <= 32_768
    assert command.to.id == wire["destination"]


# Receipts.


def render(confirmation: str | None, settings: AnyrtcConfig = RTC) -> tuple[int, Any]:
    receipt = msgspec.structs.replace(RECEIPT, confirmation=confirmation)
    reply = peer_messages.render(call(request()), receipt, settings)
    return reply.status, told(reply)


@pytest.mark.parametrize(
    ("confirmation", "code"),
    [(None, "message_sent"), ("delivered", "message_delivered"), ("offline", "message_offline")],
)
def test_receipts(confirmation: str | None, code: str) -> None:
    assert render(confirmation) == (200, {"code": code, "result": "success", "request_id": "4711"})


def test_no_acknowledgement() -> None:
    status, said = render("timeout")
    message = "no acknowledgement from receiver"
    assert status == 408
    assert said == {
        "result": "failed",
        "code": "timeout",
        "message": message,
        "reason": message,
        "request_id": "4711",
    }


def test_the_vendors_example_of_message_offline() -> None:
    settings = msgspec.structs.replace(RTC, omit_result_when_offline=True)
    assert render("offline", settings) == (200, {"code": "message_offline", "request_id": "4711"})
    assert render("delivered", settings)[1]["result"] == "success"
