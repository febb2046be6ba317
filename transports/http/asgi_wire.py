"""ASGI's dictionaries: reading scopes, sending replies."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from .body import Receive
from .types import HttpReply, HttpRequest, path_of_target

Scope = Mapping[str, Any]
Send = Callable[[Any], Awaitable[None]]

ABORT: Final = "postroom.abort"
"""The key in a scope's state under which a host may leave the connection's Abort."""


class Abort:
    """The sudden end of a connection: unanswered, unread, and not waiting for anything."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self.done = trio.Event()

    def __call__(self) -> None:
        """Close the connection and cancel what serves it."""
        self.done.set()
        self._close()


def request_of(scope: Scope, body: bytes | None = b"") -> HttpRequest:
    """A scope's request; `body` is None if it was larger than we read."""
    path: bytes = scope["raw_path"]
    return HttpRequest(
        method=scope.get("method", "GET"),
        path=path_of_target(path).decode("latin-1"),
        query_string=scope["query_string"],
        headers=list(scope["headers"]),
        body=body or b"",
        oversized=body is None,
        client=scope["client"][0] if scope.get("client") else None,
    )


async def send_reply(send: Send, reply: HttpReply, event: str = "http.response") -> None:
    """Send a whole reply; `event` is "websocket.http.response" for one that takes the place of an upgrade."""
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if reply.status != 204:  # which has no body and may not have the header (RFC 9110 8.6)
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": f"{event}.start", "status": reply.status, "headers": headers})
    await send({"type": f"{event}.body", "body": reply.body})


def abort_of(scope: Scope) -> Abort:
    """The way to end this connection; one that does nothing if the host has left none."""
    abort: Abort | None = (scope.get("state") or {}).get(ABORT)
    return abort or Abort(lambda: None)


async def lifespan(receive: Receive, send: Send) -> None:
    """ASGI's own start and end; ours are the composition root's business."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
