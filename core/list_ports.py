"""What the core needs of a store for the lists of a conversation: who is on one, who is silenced for a while, who is what, and
who blocks it. Part of `core.ports`."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from .ids import ExpiryMs, Position
from .model import UserList
from .rows import ConversationRow, Numbered, RoleRow


class ReadLists(Protocol):
    """The state as of the last event applied. A conversation is named by its number."""

    def listed(self, number: Position, users: UserList) -> Iterator[str]:
        """Who is on a list, in the order in which they came."""

    def listed_after(self, number: Position, users: UserList, after: bytes) -> Iterator[tuple[bytes, str]]:
        """Who is on a list behind a place (of 12 bytes, or none: from the beginning), each with their own."""

    def is_listed(self, app: str, number: Position, users: UserList, user: str) -> bool:
        """Whether somebody is."""

    def list_place(self, app: str, number: Position, users: UserList, user: str) -> bytes | None:
        """Where somebody is on a list; None if they are not."""

    def silence(self, app: str, number: Position, user: str) -> ExpiryMs | None:
        """Until when somebody is silenced for a while, also if that is over."""

    def silence_ends(self) -> Iterator[ExpiryMs]:
        """When silences for a while end, in every app, in that order."""

    def role(self, app: str, number: Position, user: str) -> RoleRow | None:
        """What somebody is there."""

    def roles(self, number: Position) -> Iterator[RoleRow]:
        """Everybody who is something, in no particular order."""

    def is_blocked(self, app: str, user: str, number: Position) -> bool:
        """Whether a user blocks it."""

    def blocked(self, app: str, user: str, *, after: Position = Position(0)) -> Iterator[Numbered]:
        """What a user blocks beyond a number, in the order of creation."""


class Lists(ReadLists, Protocol):
    """The same, to be changed by `apply` alone."""

    def list_users(
        self, app: str, row: ConversationRow, users: UserList, names: Iterable[str], position: Position
    ) -> None:
        """Add users, none of whom is on it, to the end of a list; `position` is that of the event."""

    def unlist_users(self, app: str, row: ConversationRow, users: UserList, names: Iterable[str]) -> None:
        """Take users, all of whom are on it, from a list."""

    def put_silence(self, app: str, number: Position, user: str, until_ms: ExpiryMs) -> None:
        """Somebody is silenced until then, whatever was before."""

    def remove_silence(self, app: str, number: Position, user: str) -> None:
        """Who was is not."""

    def remove_oldest_silences(self, count: int) -> None:
        """Forget those that end first."""

    def put_role(self, app: str, number: Position, row: RoleRow) -> None:
        """Somebody is something, whatever they were."""

    def remove_role(self, app: str, number: Position, user: str) -> None:
        """Who was something is nothing in particular."""

    def put_block(self, app: str, user: str, row: ConversationRow) -> None:
        """A user blocks a conversation."""

    def remove_block(self, app: str, user: str, number: Position) -> None:
        """Who did does not."""
