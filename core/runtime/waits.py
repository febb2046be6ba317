"""Senders that wait for their recipient's ack."""

from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

from ..errors import Overloaded
from ..ids import MessageId, Position, message_at
from ..limits import ACK_WAITERS_MAX, OVERLOADED_RETRY_MS
from ..model import Confirmation
from .statistics import Counters

Key = TypeVar("Key", bound=Hashable)


class Waiter:
    """One caller waiting for one message's ack."""

    def __init__(self, app: str, user: str, id: MessageId, *, queued: bool) -> None:
        self.app = app
        self.user = user
        self.id = id
        self.queued = queued
        self._ended = trio.Event()
        self._confirmation: Confirmation = "timeout"

    def end(self, confirmation: Confirmation) -> None:
        """The wait is over."""
        if not self._ended.is_set():
            self._confirmation = confirmation
            self._ended.set()

    async def wait(self, deadline: float) -> Confirmation:
        """How the wait ended; "timeout" if it has not by the deadline (trio's clock)."""
        with trio.move_on_at(deadline):
            await self._ended.wait()
        return self._confirmation


class Waits:
    """All waits of a broker, by recipient and by message."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._by_user: dict[tuple[str, str], list[Waiter]] = {}
        self._by_message: dict[tuple[str, MessageId], list[Waiter]] = {}
        self._reserved = 0
        self._stopped = False

    @property
    def count(self) -> int:
        """Places taken."""
        return self._reserved

    @contextmanager
    def place(self, app: str) -> Iterator[None]:
        """A place, taken before anything is written. Raises Overloaded if there is none."""
        if self._reserved >= ACK_WAITERS_MAX:
            self._counters.refusals[app, Overloaded.code] += 1
            raise Overloaded("too many senders wait for an ack", retry_after_ms=OVERLOADED_RETRY_MS)
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    def add(self, waiter: Waiter) -> None:
        """Called as the message's commit is made known, before any session is offered it."""
        self._by_user.setdefault((waiter.app, waiter.user), []).append(waiter)
        self._by_message.setdefault((waiter.app, waiter.id), []).append(waiter)
        if self._stopped:
            waiter.end("timeout")

    def remove(self, waiter: Waiter) -> None:
        """Nobody waits on it any more."""
        _remove(self._by_user, (waiter.app, waiter.user), waiter)
        _remove(self._by_message, (waiter.app, waiter.id), waiter)

    def received(self, app: str, user: str, ids: Iterable[MessageId]) -> None:
        """A session of the user acknowledged these unqueued messages, which is not going to be noted in the log."""
        self._acknowledged(app, user, ids, queued=False)

    def collected(self, app: str, user: str, positions: Iterable[Position]) -> None:
        """These entries were acknowledged and left the user's queue, on disk."""
        self._acknowledged(app, user, map(message_at, positions), queued=True)

    def _acknowledged(self, app: str, user: str, ids: Iterable[MessageId], *, queued: bool) -> None:
        if (app, user) not in self._by_user:
            return
        for id in ids:
            for waiter in self._by_message.get((app, id), ()):
                if waiter.user == user and waiter.queued == queued:
                    waiter.end("delivered")

    def confirmed(self, app: str, id: MessageId) -> None:
        """That a message was acknowledged is on disk."""
        for waiter in self._by_message.get((app, id), ()):
            waiter.end("delivered")

    def offline(self, app: str, user: str) -> None:
        """The user's last session ended."""
        for waiter in self._by_user.get((app, user), ()):
            waiter.end("offline")

    def stop(self) -> None:
        """The broker closes: nobody will acknowledge any more, and waits that begin now end at once."""
        self._stopped = True
        for waiters in self._by_user.values():
            for waiter in waiters:
                waiter.end("timeout")


def _remove(index: dict[Key, list[Waiter]], key: Key, waiter: Waiter) -> None:
    waiters = index[key]
    waiters.remove(waiter)
    if not waiters:
        del index[key]
