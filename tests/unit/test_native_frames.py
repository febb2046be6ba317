"""The native codec: what goes out, byte for byte, and that whatever comes in is frames or BadFrame."""

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroom.core import Delivery, InvalidCommand, Joined, Receipt, Refusal, SendMessage
from postroom.core.errors import Internal, RateLimited
from postroom.core.ids import POSITION_MAX, MessageId, Position, UnixMs
from postroom.core.limits import BODY_BYTES_MAX
from postroom.core.model import Conversation, peer
from postroom.transports.native import encode, frames
from postroom.transports.native.encode import Memo, encode_delivery, encode_error, encode_ok, encode_welcome
from postroom.transports.native.frames import (
    REF_LENGTH_MAX,
    TEXT_BYTES_MAX,
    TEXT_FRAMES_MAX,
    AckFrame,
    BadFrame,
    ClientFrame,
    JoinFrame,
    LeaveFrame,
    Malformed,
    SendFrame,
    TooLarge,
    parse,
)

HI = Delivery(
    type="message",
    id=MessageId(888000000000001),
    conversation=peer("alice"),
    sender="alice",
    body=b"hi",
    at_ms=UnixMs(1790000000000),
    via="anyrtc",
    queued=True,
    seq=17,
)


def sent(text: str) -> SendMessage:
    """The command of a single send frame."""
    (frame,) = parse(text)
    assert isinstance(frame, SendFrame)
    return frame.command(app="demo", user="alice")


def malformed(text: str) -> Malformed:
    (frame,) = parse(text)
    assert isinstance(frame, Malformed)
    return frame


# What goes out.


def test_a_message_as_the_design_has_it() -> None:
    assert encode_delivery(HI) == (
        b'{"type":"message","id":"888000000000001","conversation":{"kind":"peer","id":"alice"},"sender":"alice",'
        b'"payload":"hi","format":"text","timestamp":1790000000000,"lane":"normal","queued":true,"seq":17,"via":"anyrtc"}'
    )


def test_an_unqueued_message_has_neither_queued_nor_seq() -> None:
    frame = json.loads(encode_delivery(msgspec.structs.replace(HI, queued=False, seq=None)))
    assert "queued" not in frame
    assert "seq" not in frame


def test_a_line_is_carried_when_it_is_not_0() -> None:
    frame = json.loads(encode_delivery(msgspec.structs.replace(HI, conversation=Conversation("peer", "alice", 3))))
    assert frame["conversation"] == {"kind": "peer", "id": "alice", "line": 3}


def test_a_json_payload_is_embedded_as_it_came() -> None:
    body = b'{"n": 1.50, "s": ["\\u00e9"]}'
    assert b'"payload":' + body + b',"format":"json"' in encode_delivery(
        msgspec.structs.replace(HI, body=body, format="json")
    )


@given(st.text())
def test_any_text_survives(text: str) -> None:
    try:
        body = text.encode()
    except UnicodeEncodeError:
        return
    assert json.loads(encode_delivery(msgspec.structs.replace(HI, body=body)))["payload"] == text


def test_changes() -> None:
    edited = msgspec.structs.replace(HI, type="edited", by="alice", body=b"ho")
    recalled = msgspec.structs.replace(HI, type="recalled", by="alice", body=b"")
    deleted = msgspec.structs.replace(HI, type="deleted", by="root", body=b"", queued=False, seq=None)
    name = {"kind": "peer", "id": "alice"}
    common = {"id": "888000000000001", "conversation": name, "queued": True, "seq": 17}
    assert json.loads(encode_delivery(edited)) == common | {
        "type": "edited",
        "by": "alice",
        "payload": "ho",
        "format": "text",
    }
    assert json.loads(encode_delivery(recalled)) == common | {"type": "recalled", "by": "alice"}
    assert json.loads(encode_delivery(deleted)) == {
        "type": "deleted",
        "id": "888000000000001",
        "conversation": name,
        "by": "root",
    }


def test_acked_and_dropped() -> None:
    assert encode_delivery(Delivery(type="acked", id=MessageId(5), seq=17)) == b'{"type":"acked","id":"5","seq":17}'
    assert encode_delivery(Delivery(type="dropped", count=3)) == b'{"type":"dropped","count":3}'


def test_welcome() -> None:
    assert encode_welcome(app="demo", user="bob", session=9, queued=3, missed=0) == (
        b'{"type":"welcome","app":"demo","user":"bob","session":"9","queued":3,"missed":0}'
    )


def test_answers() -> None:
    receipt = Receipt(id=MessageId(5), at_ms=UnixMs(1790000000000))
    assert encode_ok(1) == b'{"type":"ok","ref":1}'
    assert encode_ok("a", receipt) == b'{"type":"ok","ref":"a","id":"5","timestamp":1790000000000}'
    assert encode_ok(1, msgspec.structs.replace(receipt, duplicate=True)).endswith(b',"duplicate":true}')
    joined = Joined(through=Position(5))
    assert encode_ok(1, joined) == b'{"type":"ok","ref":1}'
    for recovered in (True, False):
        told = b"true" if recovered else b"false"
        expected = b'{"type":"ok","ref":"a","recovered":%s}' % told
        assert encode_ok("a", msgspec.structs.replace(joined, recovered=recovered)) == expected
    assert encode_error(1, RateLimited("too fast", retry_after_ms=120)) == (
        b'{"type":"error","ref":1,"code":"rate_limited","message":"too fast","retry_after_ms":120}'
    )
    assert encode_error(None, Internal("x1")) == b'{"type":"error","code":"internal","message":"internal error x1"}'


def test_an_error_quotes_no_more_than_its_share() -> None:
    error = json.loads(encode_error(1, InvalidCommand("x" * 100_000)))
    assert len(error["message"]) == frames.REASON_LENGTH_MAX


@pytest.mark.parametrize("refusal", [one for one in Refusal.__subclasses__() if one.__module__ == Refusal.__module__])
def test_every_refusal_has_a_code_of_its_own(refusal: type[Refusal]) -> None:
    assert refusal.code != Refusal.code


def test_the_memo_encodes_once_and_forgets() -> None:
    memo = Memo()
    first = memo.encode(HI)
    assert memo.encode(HI) is first
    assert memo.encode(msgspec.structs.replace(HI)) is not first  # another object; equality is not looked at
    for number in range(encode.MEMO_FRAMES_MAX):
        memo.encode(msgspec.structs.replace(HI, id=MessageId(number)))
    assert memo.encode(HI) is not first


def test_the_memo_is_bounded_in_bytes() -> None:
    memo = Memo()
    large = msgspec.structs.replace(HI, body=b"x" * (encode.MEMO_BYTES_MAX // 2))
    first = memo.encode(large)
    second = msgspec.structs.replace(large)
    memo.encode(second)
    assert memo.encode(large) is not first
    huge = msgspec.structs.replace(HI, body=b"x" * (2 * encode.MEMO_BYTES_MAX))
    assert memo.encode(huge) is memo.encode(huge)  # all the room is its own


# What comes in.


def test_a_send_as_the_design_has_it() -> None:
    assert sent(
        '{"type":"send","ref":1,"to":{"kind":"peer","id":"bob"},"payload":"hi","queue":true,"history":true,'
        '"lane":"high","dedup":"k1"}'
    ) == SendMessage(
        app="demo",
        sender="alice",
        to=peer("bob"),
        body=b"hi",
        queue=True,
        history=True,
        lane="high",
        dedup="k1",
        via="native",
        speaks=True,
    )


@pytest.mark.parametrize(
    ("payload", "body", "format"),
    [
        ('"\\u00e9\\n"', "é\n".encode(), "text"),
        ('{"a": [1, 2.50]}', b'{"a": [1, 2.50]}', "json"),
        ("null", b"null", "json"),
        ("  7 ", b"7", "json"),
        ('"hi","format":"json"', b'"hi"', "json"),
        ('"hi","format":"text"', b"hi", "text"),
        ('"hi","format":null', b"hi", "text"),
    ],
)
def test_a_string_is_text_and_any_other_value_json(payload: str, body: bytes, format: str) -> None:
    command = sent(f'{{"type":"send","ref":1,"to":{{"kind":"peer","id":"bob"}},"payload":{payload}}}')
    assert (command.body, command.format) == (body, format)


def test_text_has_to_be_a_string() -> None:
    with pytest.raises(InvalidCommand, match="payload"):
        sent('{"type":"send","ref":1,"to":{"kind":"peer","id":"bob"},"payload":[],"format":"text"}')


def test_an_ack() -> None:
    assert parse('{"type":"ack","id":"17"}') == [AckFrame(id="17")]
    (frame,) = parse('{"id":"17","seq":3,"type":"ack","ref":"r","new":{"field":[]}}')
    assert frame == AckFrame(id="17", seq=3, ref="r")
    assert isinstance(frame, AckFrame)
    assert frame.message == 17


@pytest.mark.parametrize("id", ["", "x", "-1", "1.0", " 1", "٣", "²", str(POSITION_MAX + 1), "1" * 5_000])
def test_an_id_that_no_server_sent(id: str) -> None:
    assert AckFrame(id=id).message is None


def test_joins_and_leaves() -> None:
    assert parse('{"type":"join","ref":1,"room":"r1"}') == [JoinFrame(ref=1, room="r1")]
    (frame,) = parse('{"type":"join","ref":1,"room":"r1","since":"17"}')
    assert isinstance(frame, JoinFrame)
    assert (frame.since, frame.since_id) == ("17", 17)
    assert JoinFrame(ref=1, room="r1").since_id is None
    assert parse('{"type":"leave","ref":"x","room":""}') == [LeaveFrame(ref="x", room="")]


@pytest.mark.parametrize("since", ["", "x", "-1", "1.0", " 1", "٣", "²", str(POSITION_MAX + 1), "1" * 5_000])
def test_a_since_that_is_no_id(since: str) -> None:
    frame = JoinFrame(ref=1, room="r1", since=since)
    with pytest.raises(InvalidCommand, match="since"):
        frame.since_id  # noqa: B018 - it is looked at when the frame is carried out


def test_an_array_keeps_its_order_and_its_good_frames() -> None:
    assert parse('[{"type":"ack","id":"1"},{"type":"ack","id":2,"ref":7},{"type":"ack","id":"3"}]') == [
        AckFrame(id="1"),
        Malformed(7, "Expected `str`, got `int` - at `$.id`"),
        AckFrame(id="3"),
    ]
    assert parse(" \n[]") == []


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ('{"type":"dance","ref":1}', 1),
        ('{"type":"dance"}', None),
        ('{"ref":"x"}', "x"),
        ('{"type":5,"ref":2}', 2),
        ('{"type":"ack","ref":3}', 3),
        ('{"type":"send","payload":"no ref","to":{"kind":"peer","id":"bob"}}', None),
        ('{"type":"send","ref":4,"payload":"hi","to":{"kind":"pier","id":"bob"}}', 4),
        ('{"type":"ack","id":"1","ref":1.5}', None),
        ('{"type":"ack","id":"1","ref":true}', None),
        ('{"type":"ack","id":"1","ref":[]}', None),
        ('{"type":"ack","id":"1","ref":1e999999}', None),
        ('{"type":"ack","id":"1","ref":9007199254740993}', None),
        ('{"type":"ack","id":"1","ref":"%s"}' % ("x" * (REF_LENGTH_MAX + 1)), None),
    ],
)
def test_an_object_that_is_no_frame_is_told_where_that_is_possible(text: str, ref: int | str | None) -> None:
    assert malformed(text).ref == ref


def test_what_is_said_about_a_frame_is_short() -> None:
    assert len(malformed('{"type":"%s"}' % ("x" * 100_000)).message) <= frames.REASON_LENGTH_MAX


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "5",
        "null",
        '"ack"',
        '{"type":"ack","id":"1"',
        '{"type":"ack","id":"1"} {}',
        '{"type":"ack","id":"1","x":nul}',
        '{"type":"dance","x":nul}',
        "[1]",
        '[{"type":"ack","id":"1"},[]]',
        '[{"type":"ack","id":"1"},]',
        '{"type":"send","ref":1,"to":{"kind":"peer","id":"bob"},"payload":"\\ud800"}',
        "\ud800",
        '{"type":"ack","id":"\udfff"}',
        "[" * 100_000,
        '{"type":"send","ref":1,"to":{"kind":"peer","id":"bob"},"payload":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":' * 100_000,
        "\ufeff{}",
    ],
)
def test_what_is_no_frame_at_all(text: str) -> None:
    with pytest.raises(BadFrame):
        parse(text)


def test_binary_and_too_large_are_no_frames() -> None:
    with pytest.raises(BadFrame, match="binary"):
        parse(b"{}")
    with pytest.raises(TooLarge, match="bytes"):
        parse('{"type":"ack","id":"1","x":"%s"}' % ("é" * (TEXT_BYTES_MAX // 2)))
    with pytest.raises(BadFrame, match="frames"):
        parse("[" + ",".join(['{"type":"ack","id":"1"}'] * (TEXT_FRAMES_MAX + 1)) + "]")
    with pytest.raises(BadFrame, match="frames"):
        parse("[" + ",".join(["{}"] * (TEXT_FRAMES_MAX + 1)) + "]")


def test_the_largest_payload_fits_however_it_is_escaped() -> None:
    frame = {"type": "send", "ref": 1, "to": {"kind": "peer", "id": "bob"}, "payload": "\x01" * BODY_BYTES_MAX}
    assert sent(json.dumps(frame)).body == b"\x01" * BODY_BYTES_MAX


ACKS = '[{"type":"ack","id":"1"},'
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
almost = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["ack", "send", "join", "leave", "read"]) | values,
        "ref": st.integers() | st.text(max_size=3) | values,
        "id": st.sampled_from(["1", "x"]) | values,
        "seq": st.integers() | values,
        "to": st.fixed_dictionaries({"kind": st.sampled_from(["peer", "room"]), "id": st.text()}) | values,
        "payload": values,
        "format": st.sampled_from(["text", "json"]) | values,
        "lane": st.sampled_from(["high", "low"]) | values,
        "queue": st.booleans() | values,
    },
)


def check(text: str) -> list[ClientFrame]:
    """Whatever the text, it is frames or BadFrame; a send is a command or InvalidCommand; an ack names a message or not."""
    try:
        found = parse(text)
    except BadFrame:
        return []
    for frame in found:
        if isinstance(frame, SendFrame):
            with suppress(InvalidCommand):
                frame.command(app="demo", user="alice")
        elif isinstance(frame, AckFrame):
            assert frame.message is None or 0 <= frame.message <= POSITION_MAX
    return found


@given(st.text(alphabet=st.characters(exclude_categories=())))
@example('{"type":"send","ref":1,"to":{"kind":"peer","id":"b"},"payload":1e999}')
def test_any_text_is_frames_or_bad(text: str) -> None:
    check(text)
    check(ACKS + text + "]")


@given(st.text(alphabet='{}[]":,\\ud80123456789eE.-+truefalsn \n'))
def test_any_text_that_looks_like_json_is_frames_or_bad(text: str) -> None:
    check(text)


@given(almost | st.lists(almost, max_size=3))
def test_anything_that_is_nearly_a_frame_is_frames_or_bad(value: object) -> None:
    found = check(json.dumps(value))
    if isinstance(value, list) and found:
        assert len(found) == len(value)
