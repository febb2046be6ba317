"""Pages of who subscribes to a service and of what a user subscribes to, each read in one snapshot."""

from itertools import islice

from ..domain.conversations import require
from ..ids import POSITION_MAX, Position
from ..model import Subscription, service
from ..ports import ReadViews
from ..queries import CountMembers, FindSubscribers, FindSubscriptions


def subscribers(query: FindSubscribers, views: ReadViews) -> tuple[Subscription, ...]:
    """Raises UnknownConversation."""
    app, conversation = query.app, query.conversation
    number = require(views, app, conversation).number
    after = b""
    if query.after is not None:
        place = views.list_place(app, number, "members", query.after)
        if place is None:
            return ()
        after = place
    found = []
    for _, user in islice(views.listed_after(number, "members", after), query.limit):
        since = views.member_since(app, number, user)
        row = views.subscription(app, user, since) if since is not None else None
        assert row is not None  # who is on the list knows of it
        found.append(Subscription(conversation, user, row.since_ms))
    return tuple(found)


def count(query: CountMembers, views: ReadViews) -> int:
    """Raises UnknownConversation."""
    return require(views, query.app, query.conversation).members


def subscriptions(query: FindSubscriptions, views: ReadViews) -> tuple[Subscription, ...]:
    """Raises UnknownConversation."""
    app, user = query.app, query.user
    place = Position(POSITION_MAX + 1 if query.newest_first else 0)
    if query.after is not None:
        since = views.member_since(app, require(views, app, query.after).number, user)
        if since is None:
            return ()
        place = since
    bounds = {"before": place} if query.newest_first else {"after": place}
    rows = (row for row in views.subscriptions(app, user, **bounds) if not views.is_deleted(app, service(row.id)))
    return tuple(Subscription(service(row.id), user, row.since_ms) for row in islice(rows, query.limit))
