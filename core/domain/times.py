"""The time that is given to what happens, and the place of a message in the history."""

from ..ids import Place, Position, UnixMs, message_at
from ..ports import ReadViews, Views
from .decision import Now


def at(app: str, views: ReadViews, now: Now) -> UnixMs:
    """The time given to what happens now: never before anything live of its app."""
    return max(now.wall_ms, views.totals(app).newest_at_ms)


def note(views: Views, app: str, at_ms: UnixMs) -> None:
    """Nothing later of this app gets an earlier time."""
    views.count(app).newest_at_ms = at_ms


def place_of(at_ms: UnixMs, position: Position) -> Place:
    """Where an event stands among the kept messages of its app."""
    return Place(at_ms, message_at(position))
