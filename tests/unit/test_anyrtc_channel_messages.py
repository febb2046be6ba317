"""`channel_messages` from request to command and from receipt to reply (anyRTC 6, E2)."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.commands import SendMessage
from postroom.core.errors import InvalidCommand, Refusal
from postroom.core.model import room
from postroom.transports.anyrtc import channel_messages
from postroom.transports.config import AnyrtcConfig
from postroom.transports.http.types import HttpRequest
from tests.support.web import RECEIPT, RTC, call, request, told

CHANNEL = {"channel_name": "channelA", "payload": "Hello"}


def parse(raw: object = CHANNEL, *, user: str = "userA", settings: AnyrtcConfig = RTC, query: str = "") -> SendMessage:
    return channel_messages.parse(call(request(body=raw, query=query, params={"user_id": user})), settings)


def body(**changes: object) -> dict[str, object]:
    return {key: value for key, value in (CHANNEL | changes).items() if value is not ...}


def test_the_least_request() -> None:
    assert parse() == SendMessage(
        app="shop", sender="userA", to=room("channelA"), body=b"Hello", format="text", lane="normal", via="anyrtc"
    )


@pytest.mark.parametrize(("value", "history"), [(True, True), (False, False), (None, False), (..., False)])
def test_history(value: object, history: bool) -> None:
    assert parse(body(enable_historical_messaging=value)).history is history


@pytest.mark.parametrize("value", [1, 0, "true", "", [], {}, 1.0])
def test_the_flag_is_a_boolean(value: object) -> None:
    with pytest.raises(InvalidCommand, match="enable_historical_messaging"):
        parse(body(enable_historical_messaging=value))


@pytest.mark.parametrize("value", [True, "nonsense", 5])
def test_what_only_peer_messages_have_is_ignored(value: object) -> None:
    command = parse(body(enable_offline_messaging=value, wait_for_ack=value), query="wait_for_ack=maybe")
    assert command == parse()
    assert (command.queue, command.wait_ack_ms) == (False, None)


@pytest.mark.parametrize("channel", ["x" * 64, " channelA ", "a b+c%#?", "userA"])
def test_channels(channel: str) -> None:
    assert parse(body(channel_name=channel)).to == room(channel)


@pytest.mark.parametrize("channel", ["x" * 65, "", "\u7528\u6237", "a/b", 'a"b', "a*b", 123, None, ..., True, 1.5])
def test_what_is_no_channel(channel: object) -> None:
    with pytest.raises(InvalidCommand, match="channel_name"):
        parse(body(channel_name=channel))


def test_a_destination_is_no_channel() -> None:
    with pytest.raises(InvalidCommand, match="channel_name: required"):
        parse({"destination": "x", "payload": "p"})


@pytest.mark.parametrize("payload", ["", ..., 5, {}, [], None, True, "a" * 32_769, "\u4e2d" * 10_923])
def test_what_is_no_payload(payload: object) -> None:
    with pytest.raises(InvalidCommand, match="payload"):
        parse(body(payload=payload))


@pytest.mark.parametrize("payload", ["a" * 32_768, "\u4e2d" * 10_922 + "aa", "\x00", " "])
def test_the_largest_payloads(payload: str) -> None:
    assert parse(body(payload=payload)).body == payload.encode()


def test_a_payload_with_half_a_surrogate_pair() -> None:
    with pytest.raises(InvalidCommand):
        parse(b'{"channel_name": "channelA", "payload": "x\\ud800y"}')


def test_lenient_ids_take_numbers() -> None:
    settings = msgspec.structs.replace(RTC, lenient_ids=True)
    assert parse(body(channel_name=123), settings=settings).to == room("123")
    assert parse(body(channel_name="x"), settings=settings).to == room("x")
    for channel in (True, 1.5, None, ...):
        with pytest.raises(InvalidCommand, match="channel_name"):
            parse(body(channel_name=channel), settings=settings)


def test_the_sender_is_decoded_once() -> None:
    assert parse(user="a%20b%2Bc%25%23%3F").sender == "a b+c%#?"
    assert parse(user="a+b").sender == "a+b"


@pytest.mark.parametrize("user", ["%20a", "a%20", "a%2Fb", "", "%ff", "x" * 65])
def test_what_is_no_sender(user: str) -> None:
    with pytest.raises(InvalidCommand, match="user_id"):
        parse(user=user)


@pytest.mark.parametrize("raw", [b"", b"not json", b"[]", b"null", b'"x"', b"\xff", b"5"])
def test_what_is_no_body(raw: bytes) -> None:
    with pytest.raises(InvalidCommand, match="body"):
        parse(raw)


@given(
    raw=st.binary() | st.builds(lambda value: json.dumps(value).encode(), st.dictionaries(st.text(), st.text())),
    user=st.text(st.characters(max_codepoint=255)),
    lenient=st.booleans(),
)
def test_anything_is_a_command_or_refused(raw: bytes, user: str, lenient: bool) -> None:
    asked = HttpRequest(method="POST", path="/", body=raw, params={"user_id": user})
    try:
        command = channel_messages.parse(call(asked), msgspec.structs.replace(RTC, lenient_ids=lenient))
    except Refusal:
        return
    assert isinstance(command, SendMessage)


def test_the_receipt() -> None:
    reply = channel_messages.render(call(request()), RECEIPT)
    assert reply.status == 200
    assert told(reply) == {"code": "message_sent", "result": "success", "request_id": "4711"}
