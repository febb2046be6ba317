"""The part of the views that is about broadcasts, whose they are, and day quotas; `core.ports` has the whole."""

from collections.abc import Iterator
from typing import Protocol

from .ids import MessageId, Position
from .rows import BroadcastRow, QuotaRow


class ReadBroadcasts(Protocol):
    """The state as of the last event applied."""

    def broadcast(self, app: str, id: MessageId) -> BroadcastRow | None:
        """A broadcast that is kept, also if it is over."""

    def broadcasts(
        self, app: str, *, after: Position = Position(0), newest_first: bool = False
    ) -> Iterator[tuple[MessageId, BroadcastRow]]:
        """The app's broadcasts beyond a position, in their order, or (then all of them) the newest first."""

    def broadcasts_from(self, app: str, user: str) -> Position:
        """From which position on broadcasts are the user's; 0 if that was never noted."""

    def quota_used(self, app: str, name: str) -> QuotaRow:
        """The newest day of a quota, and how much of it was used."""


class BroadcastViews(ReadBroadcasts, Protocol):
    """The same, to be changed by `apply` alone."""

    def put_broadcast(self, app: str, id: MessageId, row: BroadcastRow) -> None:
        """Keep a broadcast, or replace what is said of it."""

    def remove_broadcast(self, app: str, id: MessageId) -> None:
        """Nothing more is known of it."""

    def put_broadcasts_from(self, app: str, user: str, position: Position) -> None:
        """Broadcasts from here on are the user's."""

    def put_quota_used(self, app: str, name: str, row: QuotaRow) -> None:
        """So much of a quota is used."""
