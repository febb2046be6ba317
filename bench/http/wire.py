"""As much of HTTP/1.1 as a client needs that knows its server: where an answer ends, and what it says."""

import re
from typing import Final

from ..failure import BenchFailure

ANSWER_BYTES_MAX: Final = 64 * 1024
"""Longer than any answer to a message."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]{1,6})\r\n", re.I)
_VARIES: Final = (b"date", b"content-length", b"connection")
"""What the host adds to the headers of an application, or works out by itself."""


def complete(answer: bytes | bytearray) -> bool:
    """Whether these bytes are a whole answer. Raises BenchFailure if they can never become one."""
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        if len(answer) > ANSWER_BYTES_MAX:
            raise BenchFailure("an answer has no end of its head")
        return False
    length = _LENGTH.search(answer, 0, head + 2)
    if length is None:
        raise BenchFailure(f"an answer has no length: {first_line(answer)}")
    missing = head + 4 + int(length[1]) - len(answer)
    if missing < 0:
        raise BenchFailure(f"an answer is longer than it says: {first_line(answer)}")
    return missing == 0


def check(answer: bytes | bytearray, mark: bytes) -> None:
    """Raises BenchFailure unless it is a 200 whose body has the mark."""
    if not answer.startswith(b"HTTP/1.1 200 ") or mark not in answer:
        body = bytes(answer).partition(b"\r\n\r\n")[2][:200].decode("latin-1")
        raise BenchFailure(f"a request was answered {first_line(answer)}: {body}")


def first_line(answer: bytes | bytearray) -> str:
    """The status line, for a person."""
    return bytes(answer[:200]).partition(b"\r\n")[0].decode("latin-1")


def split(answer: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, the application's headers, and body of a whole answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    return int(status.split(b" ")[1]), [(name, value) for name, value in headers if name not in _VARIES], body
