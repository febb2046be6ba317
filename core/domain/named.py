"""Messages of a service to users whom it names, subscribers or not: a copy in each one's queue, all of one text, which is the
history's. They are in these users' timelines and not in the service's, take no running number, and are found by the service and
the user together."""

from ..commands import SendMessage
from ..model import Rules
from ..ports import ReadViews
from .conversations import require
from .decision import Now
from .groups import Addressed
from .queues import enqueue


def addressed(command: SendMessage, views: ReadViews, now: Now, rules: Rules) -> Addressed:
    """The copies, and who is told without one. Raises UnknownConversation.

    A name given twice is one. A queue that refuses costs its owner the copy, as in a group.
    """
    require(views, command.app, command.to)
    users = tuple(dict.fromkeys(command.recipients))
    sender = (command.sender,) if command.sender_copy == "online" and command.sender not in users else ()
    if not command.queue:
        return Addressed((), (*users, *sender), recipients=users)
    copies = tuple(enqueue(views, command.app, user, now, rules, owns_body=False) for user in users)
    return Addressed(copies, sender, recipients=users)
