"""Reading a request's body within bounds."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

KIB: Final = 1024
BODY_BYTES_MAX: Final = 384 * KIB
"""JSON escapes inflate a payload of 32 KiB (anyRTC 3) up to six times: 192 KiB, and 256 KiB must be readable."""
DISCARD_BYTES_MAX: Final = 16 * 1024 * KIB
"""What is read and thrown away beyond that before the answer: a client that is still writing may not look for one."""
BODY_DEADLINE_S: Final = 30
"""From the head of a request to the end of its body; 384 KiB take a bad line half of that."""

Receive = Callable[[], Awaitable[Any]]


class ClientGone(Exception):
    """The client closed the connection before its request was complete: there is nobody to answer."""


class BodyTooSlow(Exception):
    """The body was not complete in time."""


async def read_body(receive: Receive) -> bytes | None:
    """An ASGI request's body; None if it is larger than BODY_BYTES_MAX. Raises ClientGone, BodyTooSlow."""
    parts: list[bytes] = []
    size = 0
    more = True
    try:
        with trio.fail_after(BODY_DEADLINE_S):
            while more and size <= BODY_BYTES_MAX + DISCARD_BYTES_MAX:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                part = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(part)
                if size <= BODY_BYTES_MAX:
                    parts.append(part)
    except trio.TooSlowError:
        raise BodyTooSlow from None
    return b"".join(parts) if size <= BODY_BYTES_MAX else None


async def discard(receive: Receive) -> None:
    """Throw away whatever else comes, until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
