"""Presence feeds: who came and went, kept until somebody takes it, the newest 2,000 events of each kind."""

from itertools import islice

from ..commands import TakeFeed
from ..events import PresenceTaken
from ..ids import UnixMs
from ..limits import FEED_EVENTS_MAX, PRESENCE_TAKEN_MAX
from ..model import Feed, PresenceEvent, PresenceType, Rules
from ..ports import Headers, ReadViews, Views
from .decision import Decision, Now, Presence, parts


def decide_take(command: TakeFeed, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """The oldest events, which nobody else gets. An empty feed writes nothing."""
    taken = tuple(islice(views.feed(command.app, command.feed), command.limit))
    counts = map(len, parts(taken, PRESENCE_TAKEN_MAX))
    events = tuple(PresenceTaken(app=command.app, feed=command.feed, count=count) for count in counts)
    return Decision(events, Presence(taken))


def apply_taken(views: Views, event: PresenceTaken) -> None:
    """They are gone."""
    _drop(views, event.app, event.feed, event.count)


def append(views: Views, app: str, type: PresenceType, at_ms: UnixMs, user: str, room: str = "") -> None:
    """Add what happened to its feed; of a full one the oldest event goes."""
    totals = views.count(app)
    feed: Feed
    if room:
        feed = "rooms"
        totals.room_events = number = totals.room_events + 1
        held = number - totals.room_events_gone
    else:
        feed = "users"
        totals.user_events = number = totals.user_events + 1
        held = number - totals.user_events_gone
    views.put_presence(app, feed, number, PresenceEvent(type, at_ms, user, room))
    if held > FEED_EVENTS_MAX:
        _drop(views, app, feed, held - FEED_EVENTS_MAX)


def _drop(views: Views, app: str, feed: Feed, count: int) -> None:
    totals = views.count(app)
    gone = totals.room_events_gone if feed == "rooms" else totals.user_events_gone
    for number in range(gone + 1, gone + count + 1):
        views.remove_presence(app, feed, number)
    if feed == "rooms":
        totals.room_events_gone += count
    else:
        totals.user_events_gone += count
