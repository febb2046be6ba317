"""How one broker process runs; unlike `Rules`, none of it is written to the log."""

import msgspec

from ..expiry import DAY_MS
from ..limits import SESSION_BUFFER_BYTES, SUBMIT_DEADLINE_S


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a process."""

    log_retention_ms: int = 31 * DAY_MS
    """Events older than this are folded into the log's base."""
    session_buffer_bytes: int = SESSION_BUFFER_BYTES
    """What one session may hold in memory; beyond it, it reads on from disk."""
    submit_deadline_s: float = SUBMIT_DEADLINE_S
    """How long a command waits for its place before it is refused as overloaded."""
    sweep_every_s: float = 60
    """How often what is over is swept."""
    drain_deadline_s: float = 10
    """How long closing waits for what was taken."""
