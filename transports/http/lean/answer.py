"""An answer as bytes. Its head is put together here and not by h11, whose sending side costs more than the rest of it."""

import re
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import trio

from ..types import HttpReply

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
"""What RFC 9110 5.5 allows: nothing that ends a line or a text, and no blanks around it."""
_OURS: Final = frozenset((b"content-length", b"transfer-encoding", b"connection", b"date"))
"""A second one of these would be for somebody in front of us who believes the other one."""
_CLOSE: Final = {426: b"close, Upgrade"}
"""An answer that names a protocol in `Upgrade` says so (RFC 9110 7.8)."""
_HEADS: Final = 256
"""Heads kept: a dialect has some ten of them, and Retry-After has another for each wait."""


def answer(reply: HttpReply, *, last: bool, head_only: bool) -> bytes:
    """The bytes of an answer; `last` says that none follows, `head_only` leaves the body out but not its length.

    Raises ValueError if a header is none, or one that is the host's to give.
    """
    begin = _begin(reply.status, reply.headers)
    end = b"\r\nConnection: %b\r\n\r\n" % _CLOSE.get(reply.status, b"close") if last else b"\r\n\r\n"
    date = _date(int(trio.current_time()))
    if reply.status == 204:  # which has no body and may not have its length (RFC 9110 8.6)
        return b"%bDate: %b%b" % (begin, date, end)
    body = b"" if head_only else reply.body
    return b"%bContent-Length: %d\r\nDate: %b%b%b" % (begin, len(reply.body), date, end, body)


@lru_cache(maxsize=_HEADS)
def _begin(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The first line and these headers, checked once for all answers that begin with them."""
    if not 200 <= status <= 999:
        raise ValueError(f"not the status of an answer: {status}")
    lines = [b"HTTP/1.1 %d %b" % (status, _phrase(status))]
    lines += [_line(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return b"\r\n".join((*lines, b""))


def _line(name: bytes, value: bytes) -> bytes:
    if not _NAME.fullmatch(name) or name.lower() in _OURS or not _VALUE.fullmatch(value):
        raise ValueError(f"not a header of an answer: {name!r}")
    return b"%b: %b" % (name, value)


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


@lru_cache(maxsize=1)
def _date(_second: int) -> bytes:
    """The time of day, made anew each second."""
    return formatdate(usegmt=True).encode()
