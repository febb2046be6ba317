"""Which conversation a message of an export belongs to (LeanCloud 4.3, 7.13)."""

import re
from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from postroom.core import Broker, Conversation, peer, service
from postroom.core.ids import Position
from postroom.core.limits import NAME_BYTES_MAX

from ..ids import pair_id, service_pair_id
from ..known import KINDS
from .records import Message

K = TypeVar("K")
V = TypeVar("V")

_REMEMBERED_MAX: Final = 100_000
"""Conversations found before: some 30 MB."""
_SUBSCRIBERS_MAX: Final = 500_000
"""Subscribers whose pairs are remembered, of all services: some 100 MB."""
_PAGE: Final = 10_000
"""Services, or subscribers, that are read in one snapshot."""
_MD5: Final = re.compile(r"[0-9a-f]{32}")


class Target(NamedTuple):
    """Where a message goes."""

    conversation: Conversation
    recipients: tuple[str, ...] = ()
    """Of a message between a service and one of its users: that user."""


class Targets:
    """Looks conversations up by what an export calls them. Whoever adds some says so (`forget`)."""

    def __init__(self, broker: Broker, app: str) -> None:
        self._broker = broker
        self._app = app
        self._known: dict[str, Conversation | None] = {}
        self._pairs: dict[tuple[str, str, str | None], Target | None] = {}
        self._services: dict[str, None] | None = None
        self._subscribers: dict[str, dict[str, str]] = {}

    def forget(self, id: str) -> None:
        """This one is there now."""
        self._known.pop(id, None)

    def of(self, message: Message) -> Target | None:
        """Where a message goes; None if that cannot be found out."""
        id = message.conversation
        conversation = _remembered(self._known, id, self._find)
        if conversation is not None:
            return Target(conversation)
        if not is_derived(id):
            return None
        key = id, message.sender, message.to
        return _remembered(self._pairs, key, self._resolve)

    def _find(self, id: str) -> Conversation | None:
        if not 1 <= len(id.encode()) <= NAME_BYTES_MAX:
            return None
        with self._broker.snapshot() as snapshot:
            for kind in KINDS:
                conversation = Conversation(kind, id)
                if snapshot.views.conversation(self._app, conversation) is not None:
                    return conversation
        return None

    def _resolve(self, key: tuple[str, str, str | None]) -> Target | None:
        """Two users, or a service and one: whose ids make this one. The user is named in the record, or subscribes here."""
        id, sender, to = key
        if to is not None and pair_id(sender, to) == id:
            return Target(peer(to))
        names = self._all_services()
        for name in [to] if to in names else names:
            for user in (sender,) if to is None else (to, sender):
                if service_pair_id(name, user) == id:
                    return Target(service(name), (user,))
            subscriber = self._subscribers_of(name).get(id)
            if subscriber is not None:
                return Target(service(name), (subscriber,))
        return None

    def _subscribers_of(self, name: str) -> dict[str, str]:
        """By what stands for the service and each; of very many, those who came first."""
        if name not in self._subscribers:
            found: dict[str, str] = {}
            left, after = _SUBSCRIBERS_MAX - sum(map(len, self._subscribers.values())), b""
            while left > 0:
                with self._broker.snapshot() as snapshot:
                    row = snapshot.views.conversation(self._app, service(name))
                    number = row.number if row is not None else Position(0)
                    page = list(islice(snapshot.views.listed_after(number, "members", after), min(_PAGE, left)))
                if not page:
                    break
                found |= {service_pair_id(name, user): user for _, user in page}
                left, after = left - len(page), page[-1][0]
            self._subscribers[name] = found
        return self._subscribers[name]

    def _all_services(self) -> dict[str, None]:
        """Their names, in the order of their creation."""
        if self._services is None:
            self._services, after = {}, Position(0)
            while True:
                with self._broker.snapshot() as snapshot:
                    page = list(islice(snapshot.views.conversations(self._app, "service", after=after), _PAGE))
                if not page:
                    break
                self._services |= dict.fromkeys(name for _, name in page)
                after = page[-1][0]
        return self._services


def is_derived(id: str) -> bool:
    """Whether it is made of other names, not an id that was given."""
    return _MD5.fullmatch(id) is not None


def _remembered(known: dict[K, V], key: K, find: Callable[[K], V]) -> V:
    """What was found before under a key, or is found now."""
    if key not in known:
        if len(known) == _REMEMBERED_MAX:
            known.clear()
        known[key] = find(key)
    return known[key]
