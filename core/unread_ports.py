"""What the core needs of a store for what users have not read of groups and services. Part of `core.ports`."""

from collections.abc import Iterator
from typing import Protocol

from .ids import Position
from .rows import UnreadRow


class ReadUnread(Protocol):
    """The state as of the last event applied. A conversation is named by its number."""

    def unread(self, app: str, user: str, number: Position) -> UnreadRow | None:
        """What is noted of somebody there."""

    def unread_rows(
        self, app: str, user: str, *, after: Position = Position(0)
    ) -> Iterator[tuple[Position, UnreadRow]]:
        """What is noted of somebody beyond a number, in the order of creation of the conversations."""

    def guests(self, number: Position) -> Iterator[str]:
        """Of whom something is noted who are no members, in no particular order."""


class Unread(ReadUnread, Protocol):
    """The same, to be changed by `apply` alone."""

    def put_unread(self, app: str, user: str, number: Position, row: UnreadRow) -> None:
        """Note it, or replace what is noted. Who turns from guest to member is removed first."""

    def remove_unread(self, app: str, user: str, number: Position) -> None:
        """Nothing is noted any more, if anything was."""
