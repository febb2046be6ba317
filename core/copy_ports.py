"""What the core needs of a store for messages that a service sends to users by name, and for what some recipients of its
messages see of them that others do not. Part of `core.ports`."""

from collections.abc import Collection, Iterator
from typing import Protocol

from .ids import MessageId, Place, Position
from .model import Conversation
from .rows import CopyRow, Kept


class ReadCopies(Protocol):
    """The state as of the last event applied."""

    def received(
        self,
        app: str,
        conversation: Conversation,
        user: str,
        *,
        first: Place,
        last: Place,
        newest_first: bool,
        recalled: bool,
    ) -> Iterator[tuple[Place, bool]]:
        """Kept messages of a service to a user by name, as `timeline` has them. What the user sees of each is not regarded."""

    def copy(self, app: str, user: str, id: MessageId) -> CopyRow | None:
        """What one recipient sees of a message, if that is not what others see, or was not."""

    def copies(self, id: MessageId) -> Iterator[CopyRow]:
        """The same of all recipients who have such a row."""

    def copies_showing(self, position: Position) -> int:
        """How many copies show the body at this position."""


class Copies(ReadCopies, Protocol):
    """The same, to be changed by `apply` alone."""

    def put_copy(self, app: str, id: MessageId, row: CopyRow) -> None:
        """What one recipient sees of a message."""

    def remove_copy(self, app: str, user: str, id: MessageId) -> None:
        """They see what others see."""

    def put_copies_showing(self, position: Position, id: MessageId, copies: int) -> None:
        """So many copies of this message show the body at this position."""

    def remove_recipients(self, app: str, place: Place, kept: Kept, users: Collection[str]) -> None:
        """A message to users by name is no message to these any more; some are left."""
