"""The examples of docs/protocol.md, each run against the codec that they describe."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postroom.core import Delivery, InvalidCommand, Joined, Receipt, Refusal
from postroom.core.checks import check
from postroom.core.ids import MessageId, Position, UnixMs
from postroom.core.limits import (
    DEDUP_BYTES_MAX,
    FRAME_OVERHEAD_BYTES,
    RECOVERED_MESSAGES_MAX,
    ROOMS_PER_USER_MAX,
    SESSION_WINDOW_FRAMES,
    SESSIONS_PER_USER_MAX,
)
from postroom.core.model import Conversation
from postroom.transports.native import handshake, session
from postroom.transports.native.encode import encode_delivery, encode_error, encode_ok, encode_welcome
from postroom.transports.native.frames import (
    REF_LENGTH_MAX,
    TEXT_FRAMES_MAX,
    AckFrame,
    BadFrame,
    ClientFrame,
    JoinFrame,
    LeaveFrame,
    Malformed,
    ReadFrame,
    SendFrame,
    parse,
)
from postroom.transports.native.gate import UNDER_WAY_MAX
from postroom.transports.native.outbox import CHUNK_BYTES
from postroom.transports.native.tokens import verify

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(?:json|text) (\w+)\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
SECRET = "demo-session-secret-demo-session-secret"
KNOWN = {"ack": AckFrame, "send": SendFrame, "join": JoinFrame, "leave": LeaveFrame, "read": ReadFrame}


def blocks(kind: str) -> list[str]:
    """The examples of a kind."""
    return [text for found, text in BLOCKS if found == kind]


def lines(kind: str) -> list[str]:
    """Their lines, where each is an example."""
    return [line for text in blocks(kind) for line in text.splitlines()]


def encoded(frame: dict[str, Any]) -> bytes:
    """The frame as the server makes it from what the example says."""
    match frame["type"]:
        case "welcome":
            given = {key: frame[key] for key in ("app", "user", "queued", "missed")}
            return encode_welcome(session=int(frame["session"]), **given)
        case "ok" if "id" in frame:
            receipt = Receipt(
                id=MessageId(int(frame["id"])),
                at_ms=UnixMs(frame["timestamp"]),
                duplicate=frame.get("duplicate", False),
            )
            return encode_ok(frame["ref"], receipt)
        case "ok" if "recovered" in frame:
            return encode_ok(frame["ref"], Joined(through=Position(1), recovered=frame["recovered"]))
        case "ok":
            return encode_ok(frame["ref"])
        case "error":
            refusal = next(one for one in Refusal.__subclasses__() if one.code == frame["code"])
            return encode_error(frame.get("ref"), refusal(frame["message"], retry_after_ms=frame.get("retry_after_ms")))
        case _:
            return encode_delivery(delivery(frame))


def delivery(frame: dict[str, Any]) -> Delivery:
    """What the broker must have handed over for a frame."""
    payload, format = frame.get("payload", ""), frame.get("format", "text")
    conversation = frame.get("conversation")
    return Delivery(
        type=frame["type"],
        id=MessageId(int(frame.get("id", 0))),
        conversation=Conversation(**conversation) if conversation else None,
        sender=frame.get("sender", ""),
        body=(payload if format == "text" else json.dumps(payload)).encode(),
        format=format,
        at_ms=UnixMs(frame.get("timestamp", 0)),
        lane=frame.get("lane", "normal"),
        queued=frame.get("queued", False),
        seq=frame.get("seq"),
        stream=frame.get("stream"),
        via=frame.get("via", ""),
        by=frame.get("by", ""),
        count=frame.get("count", 0),
    )


def test_every_kind_of_example_is_looked_at() -> None:
    assert {kind for kind, _ in BLOCKS} == {"token", "claims", "server", "client", "means", "refused", "closed"}


@pytest.mark.parametrize("text", blocks("server"))
def test_a_frame_of_the_server(text: str) -> None:
    frame = json.loads(text)
    made = json.loads(encoded(frame))
    assert made == frame
    assert list(made) == list(frame)  # the page shows the members in their order


def test_every_frame_of_the_server_is_shown() -> None:
    shown = {json.loads(text)["type"] for text in blocks("server")}
    deliveries = set(Delivery.__annotations__["type"].__args__)
    assert shown == deliveries | {"welcome", "ok", "error"}


@pytest.mark.parametrize("text", blocks("client"))
def test_a_frame_of_the_client(text: str) -> None:
    value = json.loads(text)
    frames = value if isinstance(value, list) else [value]
    assert [type(one) for one in parse(text)] == [KNOWN[frame["type"]] for frame in frames]


def test_every_frame_of_the_client_is_shown() -> None:
    shown = [json.loads(text) for text in blocks("client")]
    assert {frame["type"] for frame in shown if isinstance(frame, dict)} == set(KNOWN)


@pytest.mark.parametrize(
    ("text", "means"),
    [(text, following) for (kind, text), (next_kind, following) in pairwise(BLOCKS) if next_kind == "means"],
)
def test_what_a_send_means(text: str, means: str) -> None:
    (frame,) = parse(text)
    assert isinstance(frame, SendFrame)
    command = frame.command(app="demo", user="alice")
    check(command)
    made = msgspec.structs.asdict(command) | {"to": list(msgspec.structs.astuple(command.to))}
    # The protocol has no such things.
    nothing = {"recipients": (), "sender_copy": "none", "mentions": (), "mention_all": False, "push": b""} | {
        "quota": None
    }
    assert {field: made.pop(field) for field in nothing} == nothing
    assert made == json.loads(means) | {"body": json.loads(means)["body"].encode()}


@pytest.mark.parametrize("line", lines("refused"))
def test_what_is_refused(line: str) -> None:
    def refused(frame: ClientFrame) -> bool:
        if isinstance(frame, SendFrame):
            with pytest.raises(InvalidCommand):
                frame.command(app="demo", user="alice")
            return True
        if isinstance(frame, JoinFrame):
            with pytest.raises(InvalidCommand):
                assert frame.since_id is None
            return True
        return isinstance(frame, Malformed)

    (frame,) = parse(line)
    assert refused(frame)
    given = json.loads(line).get("ref")
    assert frame.ref == (given if isinstance(given, int) else None)


@pytest.mark.parametrize("line", lines("closed"))
def test_what_closes(line: str) -> None:
    with pytest.raises(BadFrame):
        parse(line)


def test_the_token() -> None:
    (text,), (claims_text,) = blocks("token"), blocks("claims")
    claims = json.loads(claims_text)
    verified = verify(text, {claims["app"]: SECRET}, UnixMs(1_790_000_001_000))
    assert (verified.app, verified.user) == (claims["app"], claims["sub"])
    assert verified.issued_at_ms == round(claims["iat"] * 1000)
    assert verified.expires_at_ms == round(claims["exp"] * 1000)


def test_the_tables_are_complete() -> None:
    codes = {one.code for one in Refusal.__subclasses__() if one.__module__ == Refusal.__module__}
    table = PAGE[PAGE.index("\n| `code` | what to do |\n") + 1 :]
    of_frames = set(re.findall(r"^\| `(\w+)` \| (?!what)", table[: table.index("\n\n")], re.MULTILINE))
    of_logins = {
        code for row in re.findall(r"^\| [45]\d\d \| (.*?) \|", PAGE, re.MULTILINE) for code in re.findall(r"\w+", row)
    }
    assert of_frames <= codes
    of_http = {"unauthorized", "upgrade_required"}
    assert of_logins <= codes | of_http
    # A native client changes no message and no conversation and asks for no result, so it meets none of these.
    of_others = {"unknown_message", "recalled", "unknown_result", "conversation_exists", "conversation_full"}
    of_others |= {"quota_exceeded", "broadcasts_full", "copies_full", "too_old", "in_the_future"}
    of_others |= {"bans_full", "silences_full", "roles_full", "blocks_full", "owner_needed"}
    assert of_frames | of_logins == codes - of_others | of_http
    closing = {int(code) for code in re.findall(r"^\| (1\d{3}|4\d{3}) \|", PAGE, re.MULTILINE)}
    ends = (session.SHUTDOWN, session.INTERNAL, session.STUCK, session.KICKED)
    ours = {*(end.code for end in ends), session.BAD_FRAME, session.TOO_LARGE}
    assert closing == ours | {1002, 1007}  # RFC 6455: what wsproto finds wrong


def test_the_numbers_of_the_page() -> None:
    for number, sentence in [
        (CHUNK_BYTES // 1024, "one array\nof up to {} KiB"),
        (TEXT_FRAMES_MAX, "at most {:,} frames and 2 MiB"),
        (REF_LENGTH_MAX, "a string of up to {} characters"),
        (UNDER_WAY_MAX, "At most {} frames with `ref`"),
        (SESSION_WINDOW_FRAMES, "its last {:,} frames"),
        (SESSIONS_PER_USER_MAX, "has {} sessions open"),
        (DEDUP_BYTES_MAX, "1 to {} bytes: within"),
        (ROOMS_PER_USER_MAX, "the user is in {} rooms"),
        (RECOVERED_MESSAGES_MAX, "the newest {:,} messages are replayed"),
        (FRAME_OVERHEAD_BYTES, "counted with {} bytes besides"),
    ]:
        assert sentence.format(number) in PAGE
    assert f"**`{handshake.SUBPROTOCOL}`**" in PAGE
