"""What one listening process allows its clients; the defaults, and why."""

from typing import Final

import msgspec

KIB: Final = 1024

HEADER_BYTES: Final = 16 * KIB
"""Of a request's head: browsers and proxies stay below 8 KiB, and an RTM token has at most 4."""
BODY_BYTES: Final = 384 * KIB
"""As the other host: JSON escapes inflate a payload of 32 KiB up to six times, and 256 KiB must be readable."""
CONNECTIONS: Final = 10_000
"""Each takes some tens of KiB, and a place among the open files that the system allows."""
REQUESTS: Final = 1_000_000
"""On one connection. A new one now and then lets a balancer move clients."""
MESSAGE_BYTES: Final = 2 * 1024 * KIB
"""Of a WebSocket message: 256 KiB of body, six times as long in JSON escapes, and the rest of its frame."""
BACKLOG: Final = 1024
"""Connections that the system may hold before we accept them."""
RECEIVE_BYTES: Final = 64 * KIB
"""Read at once: what a client sends is met in parts of this size, however large it is."""
DISCARD_BYTES: Final = 16 * 1024 * KIB
"""Read and thrown away after an early answer: a client that still writes would otherwise be reset before it reads it.
As much as the other host reads of a message that is too large."""
DISCARD_S: Final = 2.0
CLOSE_S: Final = 2.0
"""How long a client may take to read our close frame and to answer it."""
QUIET_S: Final = 90.0
"""How long a WebSocket may send nothing, not even a pong."""
QUIET_HEARTBEATS: Final = 3
"""Or, if that is longer, so many heartbeats."""


class LeanSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a host; docs/config.md says what each is for."""

    header_bytes: int = HEADER_BYTES
    body_bytes: int = BODY_BYTES
    requests: int = REQUESTS
    connections: int = CONNECTIONS
    connections_per_address: int = CONNECTIONS
    idle_s: float = 75.0
    """Between requests: longer than the minute after which proxies give their connections up."""
    header_s: float = 20.0
    """From the first byte of a head to its last."""
    body_s: float = 30.0
    """From the head to the end of the body."""
    write_s: float = 30.0
    """Without the client taking a single byte of what it is sent."""
    heartbeat_s: float = 25.0

    @property
    def quiet_s(self) -> float:
        """After which silence a WebSocket is given up."""
        return max(QUIET_S, QUIET_HEARTBEATS * self.heartbeat_s)
