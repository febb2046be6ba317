"""What a WebSocket session sees of its connection, whichever host carries it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from .types import HttpReply


class Socket(Protocol):
    """One WebSocket connection, from its opening request on.

    Exactly one of `accept` and `reject` comes first. One task may `receive`; any may `send` and `close`, whole messages
    keep their order.
    """

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the opening request: names in lower case, of a repeated name the first."""

    @property
    def query(self) -> Mapping[str, str]:
        """Of the opening request, form-decoded; of a repeated name the last."""

    @property
    def client(self) -> str | None:
        """The peer's address without its port; None if the host cannot tell."""

    async def accept(self, subprotocol: str | None) -> None:
        """Upgrade. The subprotocol must be one that the client offered."""

    async def reject(self, reply: HttpReply) -> None:
        """Answer the opening request with this instead of an upgrade."""

    async def receive(self) -> str | bytes | None:
        """The next message, text or binary; None once the connection is closed, by either side."""

    async def send(self, text: str) -> None:
        """Send a text message; waits while the connection is full. After the connection's end it does nothing."""

    def hand_over(self, payload: bytes) -> bool:
        """Hand over a text message, as UTF-8, without waiting; False if the connection does not take it now, or never does."""

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame (RFC 6455 7.4) and stop receiving. After the connection's end it does nothing."""


Serve = Callable[[Socket], Awaitable[None]]
"""Carries a connection from its opening request to its end."""
