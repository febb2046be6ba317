"""Which conversation a path means, and what is said where there is none (LeanCloud 3, 4.1)."""

from typing import Any, Final, NoReturn

from postroom.core.commands import Command
from postroom.core.errors import UnknownConversation
from postroom.core.limits import NAME_BYTES_MAX
from postroom.core.model import Conversation, Kind
from postroom.core.queries import GetConversation, Query
from postroom.transports.http.dialect import Call, Steps

from .errors import NoTarget, OtherKind

KINDS: Final[tuple[Kind, ...]] = ("group", "room", "service")
"""Where no kind is given they are looked through in this order (LeanCloud 4.1)."""


def named(call: Call, kind: Kind) -> Conversation:
    """The conversation that the path names, whether or not there is one. Raises UnknownConversation."""
    return conversation(kind, call.request.param("cid"))


def conversation(kind: Kind, id: str) -> Conversation:
    """A conversation by its id. Raises UnknownConversation for what can be none's."""
    if not 1 <= len(id.encode()) <= NAME_BYTES_MAX:
        raise UnknownConversation("no conversation has this id")
    return Conversation(kind, id)


def target(kind: Kind, id: str) -> Conversation:
    """The conversation that a message is to go to. Raises NoTarget for what can be no conversation's id."""
    try:
        return conversation(kind, id)
    except UnknownConversation:
        nowhere(target=True)


def known(app: str, conversation: Conversation, work: Command | Query[Any]) -> Steps:
    """The outcome of work for which there must be the conversation; who asks is told if its id is another kind's."""
    try:
        return (yield work)
    except UnknownConversation:
        yield from missing(app, conversation)


def record(app: str, conversation: Conversation) -> Steps:
    """The conversation's record, which there must be."""
    info = yield GetConversation(app=app, conversation=conversation)
    if info is None:
        yield from missing(app, conversation)
    return info


def missing(app: str, wanted: Conversation, *, target: bool = False) -> Steps:
    """Raises what says why there is no such conversation; as a `target` a message was to go to it."""
    for kind in KINDS:
        if kind != wanted.kind:
            other = Conversation(kind, wanted.id)
            if (yield GetConversation(app=app, conversation=other)) is not None:
                raise OtherKind(wanted.kind)
    nowhere(target=target)


def nowhere(*, target: bool = False) -> NoReturn:
    """Raises what says that there is no such conversation of any kind."""
    raise NoTarget if target else UnknownConversation("no conversation has this id")


def of_any_kind(app: str, id: str) -> Steps:
    """The record of whatever has this id, or None (LeanCloud 4.1)."""
    if not 1 <= len(id.encode()) <= NAME_BYTES_MAX:
        return None
    for kind in KINDS:
        info = yield GetConversation(app=app, conversation=Conversation(kind, id))
        if info is not None:
            return info
    return None


def existing(app: str, id: str) -> Steps:
    """The conversation that has this id, of whichever kind, which there must be."""
    info = yield from of_any_kind(app, id)
    if info is None:
        nowhere()
    return info.conversation
