"""Users as such."""

from .base import Command


class Kick(Command, frozen=True, kw_only=True):
    """Close every session that a user has open, and refuse every token that was issued until now.

    Answered with a Receipt, also for a user who is offline or was never seen: `id` is the event's, and tokens issued until
    `at_ms` open no session any more. The sessions end in the order of the log, each when its owner leaves it.
    """

    user: str
    reason: str = ""
    """What the closed sessions are told; at most 64 characters."""
