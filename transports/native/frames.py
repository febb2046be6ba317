"""What a client's text means: frames, or the reason why it is none.

Pure: text in, values out. `docs/protocol.md` is the contract; its examples are run against this module.
"""

import re
from typing import Annotated, Final

import msgspec

from postroom.core import InvalidCommand, SendMessage
from postroom.core.commands import MarkRead
from postroom.core.ids import POSITION_MAX, MessageId, UnixMs
from postroom.core.limits import BODY_BYTES_MAX, MIB
from postroom.core.model import Conversation, Format, Kind, Lane

TEXT_BYTES_MAX: Final = 2 * MIB
"""Of a client's text: the largest payload, with every byte of it escaped in six, and the rest of its frame."""
TEXT_FRAMES_MAX: Final = 1_024
"""Frames in one array: more would hold the event loop for longer than a batch takes to write."""
REF_LENGTH_MAX: Final = 128
REASON_LENGTH_MAX: Final = 200
"""What is said about a frame may quote the client; it need not quote all of it."""
VIA: Final = "native"
"""What a message sent here is marked with."""

assert TEXT_BYTES_MAX >= 6 * BODY_BYTES_MAX + MIB // 4

Ref = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] | Annotated[str, msgspec.Meta(max_length=REF_LENGTH_MAX)]
"""What a client names a frame by; an integer that a JavaScript number holds, or a short string."""


class BadFrame(Exception):
    """What came is no frame, nor an array of them. Nothing after it can be trusted, so the connection ends."""


class TooLarge(BadFrame):
    """It might be one, but it is longer than any needs to be."""


class Name(msgspec.Struct, frozen=True, omit_defaults=True):
    """A conversation on the wire."""

    kind: Kind
    id: str
    line: int = 0

    @classmethod
    def of(cls, conversation: Conversation) -> "Name":
        """The wire's form of a conversation, which is already as its receiver sees it."""
        return cls(conversation.kind, conversation.id, conversation.line)


class _Frame(msgspec.Struct, kw_only=True, frozen=True, tag_field="type"):
    ref: Ref | None = None


class AckFrame(_Frame, kw_only=True, frozen=True, tag="ack"):
    """The client handled what it was sent, up to this frame."""

    id: str
    seq: Annotated[int, msgspec.Meta(ge=1)] | None = None

    @property
    def message(self) -> MessageId | None:
        """The id; None if it is none that this server could have sent."""
        return _message_id(self.id)


class SendFrame(_Frame, kw_only=True, frozen=True, tag="send"):
    """A message to send."""

    ref: Ref
    to: Name
    payload: msgspec.Raw
    format: Format | None = None
    queue: bool = False
    history: bool = False
    lane: Lane = "normal"
    dedup: str | None = None

    def command(self, *, app: str, user: str) -> SendMessage:
        """The order it is, given by this user. Raises InvalidCommand.

        A string is sent as format "text" and any other JSON value as "json", byte for byte; `format` says otherwise.
        """
        raw = bytes(self.payload)
        is_string = raw.startswith(b'"')
        format = self.format or ("text" if is_string else "json")
        if format == "json":
            body = raw
        elif is_string:
            body = msgspec.json.decode(raw, type=str).encode()
        else:
            raise InvalidCommand('payload: a string, if format is "text"')
        to = Conversation(self.to.kind, self.to.id, self.to.line)
        return SendMessage(
            app=app,
            sender=user,
            to=to,
            body=body,
            format=format,
            queue=self.queue,
            history=self.history,
            lane=self.lane,
            dedup=self.dedup,
            via=VIA,
            speaks=True,
        )


class JoinFrame(_Frame, kw_only=True, frozen=True, tag="join"):
    """The user enters a room; with `since`, the session wants what was kept of it after that message."""

    ref: Ref
    room: str
    since: str | None = None

    @property
    def since_id(self) -> MessageId | None:
        """`since`, if it is there. Raises InvalidCommand if it is no id."""
        if self.since is None:
            return None
        id = _message_id(self.since)
        if id is None:
            raise InvalidCommand("since: must be the id of a message")
        return id


class LeaveFrame(_Frame, kw_only=True, frozen=True, tag="leave"):
    """The user leaves a room."""

    ref: Ref
    room: str


class ReadFrame(_Frame, kw_only=True, frozen=True, tag="read"):
    """The user has read a conversation, up to a time."""

    conversation: Name
    until: int

    def command(self, *, app: str, user: str) -> MarkRead:
        """The order it is, given by this user."""
        read = Conversation(self.conversation.kind, self.conversation.id, self.conversation.line)
        return MarkRead(app=app, user=user, conversation=read, until_ms=UnixMs(self.until))


class Malformed(msgspec.Struct, frozen=True):
    """An object that is no frame of ours: an unknown `type`, or a field that is missing or wrong."""

    ref: Ref | None
    message: str


KnownFrame = AckFrame | SendFrame | JoinFrame | LeaveFrame | ReadFrame
ClientFrame = KnownFrame | Malformed


class _About(msgspec.Struct):
    """What can be said of any object: whether it has a `ref` to answer to."""

    ref: msgspec.Raw = msgspec.Raw(b"null")


_ARRAY: Final = re.compile(rb"[ \t\n\r]*\[")
_known = msgspec.json.Decoder(KnownFrame)
_known_array = msgspec.json.Decoder(list[KnownFrame])
_array = msgspec.json.Decoder(list[msgspec.Raw])
_about = msgspec.json.Decoder(_About)
_reference: Final[msgspec.json.Decoder[Ref | None]] = msgspec.json.Decoder(Ref | None)


def parse(text: str | bytes) -> list[ClientFrame]:
    """A client's text as its frames, in order; what is an object but no frame of ours is Malformed among them.

    Raises BadFrame: binary, not JSON, nested too deeply, neither an object nor an array of objects, too many of them; and
    TooLarge.
    """
    if isinstance(text, bytes):
        raise BadFrame("binary")
    try:
        data = text.encode()
        if len(data) > TEXT_BYTES_MAX:
            raise TooLarge(f"over {TEXT_BYTES_MAX} bytes")
        return _parse_array(data) if _ARRAY.match(data) else [_parse_one(data)]
    except msgspec.DecodeError as error:
        raise BadFrame(f"not JSON: {error}"[:REASON_LENGTH_MAX]) from None
    except UnicodeError:
        raise BadFrame("not Unicode") from None
    except RecursionError:
        raise BadFrame("nested too deeply") from None


def _parse_array(data: bytes) -> list[ClientFrame]:
    try:
        frames: list[ClientFrame] = list(_known_array.decode(data))
    except msgspec.ValidationError:  # at least one is not as it should be; the others are all the same
        elements = _array.decode(data)
        _check_count(len(elements))
        return [_parse_one(bytes(element)) for element in elements]
    _check_count(len(frames))
    return frames


def _check_count(count: int) -> None:
    if count > TEXT_FRAMES_MAX:
        raise BadFrame(f"over {TEXT_FRAMES_MAX} frames in an array")


def _parse_one(data: bytes) -> ClientFrame:
    try:
        known: KnownFrame = _known.decode(data)
    except msgspec.ValidationError as error:
        try:
            ref = _about.decode(data).ref
        except msgspec.ValidationError:
            raise BadFrame("neither an object nor an array of objects") from None
        return Malformed(_ref(ref), str(error)[:REASON_LENGTH_MAX])
    return known


def _message_id(text: str) -> MessageId | None:
    # str.isdecimal alone would let other scripts' digits through; sixteen digits hold 53 bits.
    if len(text) > 16 or not (text.isascii() and text.isdecimal()):
        return None
    number = int(text)
    return MessageId(number) if number <= POSITION_MAX else None


def _ref(raw: msgspec.Raw) -> Ref | None:
    try:
        return _reference.decode(raw)
    except msgspec.ValidationError:
        return None
