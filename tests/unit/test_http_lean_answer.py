"""Answers as bytes: exact lengths, and nothing in a header that a client would read as something else."""

import pytest
import trio

from postroom.transports.http.lean.answer import answer
from postroom.transports.http.types import HttpReply


async def lines(reply: HttpReply, *, last: bool = False, head_only: bool = False) -> tuple[list[bytes], bytes]:
    """The lines of an answer's head without its date, and its body."""
    await trio.lowlevel.checkpoint()
    head, _, body = answer(reply, last=last, head_only=head_only).partition(b"\r\n\r\n")
    found = head.split(b"\r\n")
    assert len([line for line in found if line.startswith(b"Date: ")]) == 1
    return [line for line in found if not line.startswith(b"Date: ")], body


async def test_a_head_and_a_body() -> None:
    reply = HttpReply(404, (("Content-Type", "text/plain"), ("X-Empty", "")), b"gone")
    first = [b"HTTP/1.1 404 Not Found", b"Content-Type: text/plain", b"X-Empty: ", b"Content-Length: 4"]
    assert await lines(reply) == (first, b"gone")
    assert await lines(reply, last=True) == ([*first, b"Connection: close"], b"gone")
    assert await lines(reply, head_only=True) == (first, b"")


async def test_without_anything() -> None:
    assert await lines(HttpReply(200)) == ([b"HTTP/1.1 200 OK", b"Content-Length: 0"], b"")
    assert await lines(HttpReply(204, body=b"x")) == ([b"HTTP/1.1 204 No Content"], b"")
    assert await lines(HttpReply(299)) == ([b"HTTP/1.1 299 ", b"Content-Length: 0"], b"")


async def test_what_a_value_may_have() -> None:
    value = "a \t!~\x80\xff"
    assert (await lines(HttpReply(200, (("X", value),))))[0][1] == b"X: " + value.encode("latin-1")


@pytest.mark.parametrize(
    "header",
    [
        ("X", "a\r\nY: b"),
        ("X", "a\n"),
        ("X", "a\rb"),
        ("X", "a\0b"),
        ("X", "\x7f"),
        ("X", " a"),
        ("X", "a "),
        ("X", "\t"),
        ("X", "\u0100"),
        ("X\r\n", "a"),
        ("X\n", "a"),
        ("X Y", "a"),
        ("X:", "a"),
        ("", "a"),
        ("\xe4", "a"),
        ("\u0100", "a"),
        ("Content-Length", "1"),
        ("transfer-encoding", "chunked"),
        ("Connection", "close"),
        ("DATE", "x"),
    ],
)
async def test_what_is_no_header_or_is_the_hosts_is_refused_each_time(header: tuple[str, str]) -> None:
    await trio.lowlevel.checkpoint()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"header|latin-1"):
            answer(HttpReply(200, (("A", "b"), header)), last=False, head_only=False)


@pytest.mark.parametrize("status", [-1, 0, 100, 101, 199, 1000])
async def test_what_is_no_status_of_an_answer(status: int) -> None:
    await trio.lowlevel.checkpoint()
    with pytest.raises(ValueError, match="status"):
        answer(HttpReply(status), last=False, head_only=False)
