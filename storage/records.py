"""Log records and bodies as bytes, each with a CRC-32 over its key and all of its value."""

from struct import Struct
from typing import Final
from zlib import crc32

import msgspec

from postroom.core.errors import Corruption
from postroom.core.events import AnyEvent, Record
from postroom.core.ids import ExpiryMs, Position
from postroom.core.rows import Body, Header

from .keys import U32, U64

_LOG_HEAD: Final = Struct(">IQ")
_BODY_HEAD: Final = Struct(">IH")

_encoder = msgspec.msgpack.Encoder()
_event_decoder = msgspec.msgpack.Decoder(AnyEvent)
_header_decoder = msgspec.msgpack.Decoder(Header)


def encode_record(record: Record) -> tuple[bytes, bytes]:
    """Key and value of a log record."""
    key = U64.pack(record.position)
    rest = U64.pack(record.clock_ms) + _encoder.encode(record.event)
    return key, U32.pack(crc32(rest, crc32(key))) + rest


def decode_record(key: bytes, value: bytes) -> Record:
    """The record of a log row. Raises Corruption naming it."""
    name = f"log record {int.from_bytes(key)}"
    _check(name, key, value, _LOG_HEAD.size)
    _, clock_ms = _LOG_HEAD.unpack_from(value)
    try:
        event: AnyEvent = _event_decoder.decode(memoryview(value)[_LOG_HEAD.size :])
    except msgspec.DecodeError as error:
        raise Corruption(f"{name}: not an event this version knows: {error}") from error
    return Record(Position(U64.unpack(key)[0]), ExpiryMs(clock_ms), event)


def encode_body(position: Position, body: Body) -> tuple[bytes, bytes]:
    """Key and value of a kept body."""
    key = U64.pack(position)
    header = _encoder.encode(body.header)
    rest = len(header).to_bytes(2) + header + body.payload
    return key, U32.pack(crc32(rest, crc32(key))) + rest


def decode_body(key: bytes, value: bytes) -> Body:
    """Header and payload of a kept body. Raises Corruption naming it."""
    name = f"body {int.from_bytes(key)}"
    _check(name, key, value, _BODY_HEAD.size)
    end = _BODY_HEAD.size + _BODY_HEAD.unpack_from(value)[1]
    try:
        header = _header_decoder.decode(memoryview(value)[_BODY_HEAD.size : end])
    except msgspec.DecodeError as error:
        raise Corruption(f"{name}: its header is not one this version knows: {error}") from error
    return Body(header, value[end:])


def _check(name: str, key: bytes, value: bytes, least: int) -> None:
    if len(key) != U64.size or len(value) < least:
        raise Corruption(f"{name}: too short")
    if U32.unpack_from(value)[0] != crc32(memoryview(value)[U32.size :], crc32(key)):
        raise Corruption(f"{name}: CRC mismatch")
