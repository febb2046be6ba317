"""Pages of a conversation's lists, each read in one snapshot: none is longer than a slice of a search."""

from itertools import islice
from operator import attrgetter

from ..domain.conversations import require
from ..ids import Position
from ..model import Blocked, Listed, RoleInfo
from ..ports import ReadViews
from ..queries import FindBlocked, FindListed, FindRoles


def listed(query: FindListed, views: ReadViews) -> Listed:
    """Raises UnknownConversation."""
    row = require(views, query.app, query.conversation)
    after = bytes.fromhex(query.after or "")
    page = list(islice(views.listed_after(row.number, query.list, after), query.limit + 1))
    more = len(page) > query.limit
    page = page[: query.limit]
    return Listed(users=tuple(user for _, user in page), next=page[-1][0].hex() if more else None)


def roles(query: FindRoles, views: ReadViews) -> tuple[RoleInfo, ...]:
    """Raises UnknownConversation."""
    row = require(views, query.app, query.conversation)
    found = [role for role in views.roles(row.number) if query.role in (None, role.role)]
    found.sort(key=attrgetter("since"))
    return tuple(RoleInfo(role.user, role.role) for role in found[query.offset : query.offset + query.limit])


def blocked(query: FindBlocked, views: ReadViews) -> Blocked:
    """Nothing of a user whom nobody knows."""
    after = Position(int(query.after or "0", 16))
    there = (
        each for each in views.blocked(query.app, query.user, after=after) if not views.is_deleted(query.app, each[1])
    )
    page = list(islice(there, query.limit + 1))
    more = len(page) > query.limit
    page = page[: query.limit]
    return Blocked(conversations=tuple(each for _, each in page), next=f"{page[-1][0]:014x}" if more else None)
