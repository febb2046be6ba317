"""What the server says: deliveries, answers and the welcome as the bytes of their frames.

Pure: values in, bytes out. `docs/protocol.md` is the contract; its examples are run against this module.
"""

from collections import OrderedDict
from typing import Final, assert_never

import msgspec

from postroom.core import Delivery, Joined, Receipt, Refusal
from postroom.core.limits import KIB
from postroom.core.model import Format, Lane

from .frames import REASON_LENGTH_MAX, Name, Ref

MEMO_FRAMES_MAX: Final = 64
"""More than are offered one after the other to several sessions, each; beyond, a frame is encoded again."""
MEMO_BYTES_MAX: Final = 256 * KIB

_encoder = msgspec.json.Encoder()


class _Welcome(msgspec.Struct, tag_field="type", tag="welcome"):
    app: str
    user: str
    session: str
    queued: int
    missed: int


class _Message(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="message"):
    id: str
    conversation: Name | None
    sender: str
    payload: str | msgspec.Raw
    format: Format
    timestamp: int
    lane: Lane
    queued: bool = False
    seq: int | None = None
    stream: int | None = None
    via: str


class _Edited(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="edited"):
    id: str
    conversation: Name | None = None
    by: str = ""
    payload: str | msgspec.Raw
    format: Format
    queued: bool = False
    seq: int | None = None
    stream: int | None = None


class _Recalled(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="recalled"):
    id: str
    conversation: Name | None = None
    by: str
    queued: bool = False
    seq: int | None = None
    stream: int | None = None


class _Deleted(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="deleted"):
    id: str
    conversation: Name | None = None
    by: str = ""
    queued: bool = False
    seq: int | None = None
    stream: int | None = None


class _Acked(msgspec.Struct, omit_defaults=True, tag_field="type", tag="acked"):
    id: str
    seq: int | None = None


class _Dropped(msgspec.Struct, tag_field="type", tag="dropped"):
    count: int


class _Ok(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="ok"):
    ref: Ref
    id: str | None = None
    timestamp: int | None = None
    duplicate: bool = False
    recovered: bool | None = None


class _Error(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="error"):
    ref: Ref | None = None
    code: str
    message: str
    retry_after_ms: int | None = None


def encode_welcome(*, app: str, user: str, session: int, queued: int, missed: int) -> bytes:
    """The first frame of every connection."""
    return _encoder.encode(_Welcome(app, user, str(session), queued, missed))


def encode_ok(ref: Ref, receipt: Receipt | Joined | None = None) -> bytes:
    """What was asked for under `ref` is on disk."""
    if receipt is None:
        return _encoder.encode(_Ok(ref=ref))
    if isinstance(receipt, Joined):
        return _encoder.encode(_Ok(ref=ref, recovered=receipt.recovered))
    ok = _Ok(ref=ref, id=str(receipt.id), timestamp=receipt.at_ms, duplicate=receipt.duplicate)
    return _encoder.encode(ok)


def encode_error(ref: Ref | None, refusal: Refusal) -> bytes:
    """What was asked for was not done, and nothing was written."""
    error = _Error(
        ref=ref,
        code=refusal.code,
        message=refusal.message[:REASON_LENGTH_MAX],
        retry_after_ms=refusal.retry_after_ms,
    )
    return _encoder.encode(error)


def encode_delivery(delivery: Delivery) -> bytes:
    """A delivery as its frame."""
    id = str(delivery.id)
    name = Name.of(delivery.conversation) if delivery.conversation is not None else None
    frame: _Message | _Edited | _Recalled | _Deleted | _Acked | _Dropped
    match delivery.type:
        case "message":
            frame = _Message(
                id=id,
                conversation=name,
                sender=delivery.sender,
                payload=_payload(delivery),
                format=delivery.format,
                timestamp=delivery.at_ms,
                lane=delivery.lane,
                queued=delivery.queued,
                seq=delivery.seq,
                stream=delivery.stream,
                via=delivery.via,
            )
        case "edited":
            frame = _Edited(
                id=id,
                conversation=name,
                by=delivery.by,
                payload=_payload(delivery),
                format=delivery.format,
                queued=delivery.queued,
                seq=delivery.seq,
                stream=delivery.stream,
            )
        case "recalled":
            frame = _Recalled(
                id=id,
                conversation=name,
                by=delivery.by,
                queued=delivery.queued,
                seq=delivery.seq,
                stream=delivery.stream,
            )
        case "deleted":
            frame = _Deleted(
                id=id,
                conversation=name,
                by=delivery.by,
                queued=delivery.queued,
                seq=delivery.seq,
                stream=delivery.stream,
            )
        case "acked":
            frame = _Acked(id, delivery.seq)
        case "dropped":
            frame = _Dropped(delivery.count)
        case _:
            assert_never(delivery.type)
    return _encoder.encode(frame)


def _payload(delivery: Delivery) -> str | msgspec.Raw:
    if delivery.format == "text":
        return delivery.body.decode()
    return msgspec.Raw(delivery.body)


class Memo:
    """Encodes each delivery once, however many sessions, of its user or of a room, it is offered to one after the other.

    Known by identity: the fan-out offers the same object to every session. Bounded by frames and by bytes.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[Delivery, bytes]] = OrderedDict()
        self._bytes = 0

    def encode(self, delivery: Delivery) -> bytes:
        """The delivery's frame; the same object for the same delivery while it is kept."""
        kept = self._kept.get(id(delivery))
        if kept is not None:  # the delivery is kept too, so nothing else can have its identity
            return kept[1]
        frame = encode_delivery(delivery)
        self._kept[id(delivery)] = delivery, frame
        self._bytes += len(frame)
        while len(self._kept) > MEMO_FRAMES_MAX or (self._bytes > MEMO_BYTES_MAX and len(self._kept) > 1):
            _, (_, old) = self._kept.popitem(last=False)
            self._bytes -= len(old)
        return frame
