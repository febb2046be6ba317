"""Log records and bodies as bytes, each with a CRC-32 over all of its value that starts from its key's last 4 bytes."""

from typing import Final
from zlib import crc32

import msgspec

from postroom.core.errors import Corruption
from postroom.core.events import Record
from postroom.core.ids import ExpiryMs, Position
from postroom.core.rows import Body

from .keys import U32, U64
from .upcast import Written, upcast

_SEED: Final = 0xFFFF_FFFF

_encoder = msgspec.msgpack.Encoder()
_record_decoder = msgspec.msgpack.Decoder(tuple[ExpiryMs, Written])
_body_decoder = msgspec.msgpack.Decoder(Body)


def encode_record(record: Record) -> tuple[bytes, bytes]:
    """Key and value of a log record."""
    value = _encoder.encode((record.clock_ms, record.event))
    return U64.pack(record.position), U32.pack(crc32(value, record.position & _SEED)) + value


def decode_record(key: bytes, value: bytes) -> Record:
    """The record of a log row. Raises Corruption naming it."""
    name = f"log record {int.from_bytes(key)}"
    try:
        clock_ms, event = _record_decoder.decode(_checked(name, key, value))
    except msgspec.DecodeError as error:
        raise Corruption(f"{name}: not an event this version knows: {error}") from error
    return Record(Position(U64.unpack(key)[0]), clock_ms, upcast(event))


def encode_body(position: Position, body: Body) -> tuple[bytes, bytes]:
    """Key and value of a kept body."""
    value = _encoder.encode(body)
    return U64.pack(position), U32.pack(crc32(value, position & _SEED)) + value


def decode_body(key: bytes, value: bytes) -> Body:
    """Header and payload of a kept body. Raises Corruption naming it."""
    name = f"body {int.from_bytes(key)}"
    try:
        return _body_decoder.decode(_checked(name, key, value))
    except msgspec.DecodeError as error:
        raise Corruption(f"{name}: its header is not one this version knows: {error}") from error


def _checked(name: str, key: bytes, value: bytes) -> memoryview:
    """What the CRC of a row covers. Raises Corruption if it does not fit."""
    if len(key) != U64.size or len(value) < U32.size:
        raise Corruption(f"{name}: too short")
    covered = memoryview(value)[U32.size :]
    if U32.unpack_from(value)[0] != crc32(covered, int.from_bytes(key) & _SEED):
        raise Corruption(f"{name}: CRC mismatch")
    return covered
