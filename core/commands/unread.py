"""What a user has read."""

from ..ids import UnixMs
from .lists import UserCommand


class MarkRead(UserCommand, frozen=True, kw_only=True):
    """A user has read a group or a service up to a time: what was sent to it until then is not unread for them any more.

    A mark never goes back: `duplicate` if it changes nothing, as for who is no member and was sent nothing by name.
    """

    until_ms: UnixMs
    """By the messages' own times, this one included."""
