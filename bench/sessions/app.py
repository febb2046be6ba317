"""The app that the sessions belong to, at a server of its own."""

import hashlib
import resource
import time
from contextlib import suppress
from typing import Final

from postroom.core.ids import UnixMs
from postroom.transports.native.handshake import SUBPROTOCOL
from postroom.transports.native.tokens import issue
from postroom.transports.serve import CONNECT

from ..hosts import Host, server_table
from . import wire

APP: Final = "bench"
SENDER: Final = "sender"
TOKEN_TTL_S: Final = 86_400
"""Only looked at when a session opens."""
_OPEN_FILES: Final = 100
"""Besides the sessions."""


def config(host: Host, seed: int, heartbeat_s: int = 25) -> str:
    """The configuration file of the measured server: one app, and nothing that would hold it back."""
    return (
        f"{server_table(host)}heartbeat_s = {heartbeat_s}\n\n"
        f'[[apps]]\nname = "{APP}"\nsession_secret = "{_secret(seed)}"\n\n'
        '[apps.limits]\n"native.messages" = "off"\n'
    )


def opening(user: str, seed: int) -> bytes:
    """The request that opens a user's session."""
    now_ms = UnixMs(time.time_ns() // 1_000_000)
    return wire.opening(CONNECT, issue(_secret(seed), APP, user, TOKEN_TTL_S, now_ms), SUBPROTOCOL)


def _secret(seed: int) -> str:
    """Of the session tokens. It opens a server on loopback for as long as the run lasts."""
    return hashlib.blake2b(f"{seed} sessions".encode(), digest_size=16).hexdigest()


def allow_open_files(sessions: int) -> None:
    """Every session is an open file, here and in its server, which inherits what is allowed here."""
    count = sessions + _OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        with suppress(ValueError, OSError):  # opening them fails then, and says so
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard)
            )
