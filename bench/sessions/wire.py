"""As much of the WebSocket protocol (RFC 6455) as a client needs that knows its server: short, so that it costs little."""

from struct import Struct
from typing import Final

from ..failure import BenchFailure

TEXT: Final = 1
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_U16: Final = Struct(">H")
_U64: Final = Struct(">Q")
_LENGTH_MAX: Final = 125
_NO_MASK: Final = bytes(4)
"""A client has to mask what it sends; this mask changes nothing."""


def opening(target: str, token: str, subprotocol: str) -> bytes:
    """The request for an upgrade."""
    return (
        f"GET {target} HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n"
        "Connection: Upgrade\r\n"
        "Upgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()


def message(payload: bytes, opcode: int = TEXT) -> bytes:
    """What a client sends."""
    length = len(payload)
    if length <= _LENGTH_MAX:
        head = bytes((_FINAL | opcode, _MASKED | length))
    elif length < 1 << 16:
        head = bytes((_FINAL | opcode, _MASKED | 126)) + _U16.pack(length)
    else:
        head = bytes((_FINAL | opcode, _MASKED | 127)) + _U64.pack(length)
    return head + _NO_MASK + payload


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole messages at the beginning of what a server sent, each with its opcode, and the rest.

    Raises BenchFailure for a message in parts, which the measured servers do not send.
    """
    found: list[tuple[int, bytes]] = []
    at = 0
    while len(data) - at >= 2:
        first, length = data[at], data[at + 1]
        if not first & _FINAL:
            raise BenchFailure("a server sent a message in parts")
        begin = at + 2
        if length == 126:
            begin += 2
            length = _U16.unpack_from(data, at + 2)[0] if begin <= len(data) else 1 << 16
        elif length == 127:
            begin += 8
            length = _U64.unpack_from(data, at + 2)[0] if begin <= len(data) else 1 << 16
        if begin + length > len(data):
            break
        found.append((first & 0x0F, data[begin : begin + length]))
        at = begin + length
    return found, data[at:]


def reason(payload: bytes) -> str:
    """What a close frame says, for a person."""
    code = _U16.unpack_from(payload)[0] if len(payload) >= _U16.size else 1005
    return f"{code} {payload[_U16.size :].decode('utf-8', 'replace')}".strip()
