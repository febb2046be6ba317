"""The part of the views that is about conversations that were deleted and are not swept yet; `core.ports` has the whole."""

from collections.abc import Iterator
from typing import Protocol

from .ids import Place, Position
from .model import Conversation
from .rows import ConversationRow, Numbered


class ReadDeleted(Protocol):
    """What is left of them. A conversation without a row here was never deleted, or is swept."""

    def is_deleted(self, app: str, conversation: Conversation) -> bool:
        """Whether it was deleted and is not swept yet: what was sent to it is there for nobody."""

    def deleted(self, app: str, conversation: Conversation) -> ConversationRow | None:
        """What is left of its record: its number, and how many are still on its lists."""

    def deleted_conversations(self, app: str) -> Iterator[Conversation]:
        """All of those, in no particular order."""

    def sent_to(self, app: str, conversation: Conversation) -> Iterator[Place]:
        """Every kept message that was sent to it, in any of its timelines: one may come again."""

    def silenced_for_a_while(self, number: Position) -> Iterator[str]:
        """Who is, in no particular order, also if it is over."""

    def blocks(self, *, after: bytes = b"") -> Iterator[tuple[bytes, str, str, Numbered]]:
        """Every block there is: a place to resume after, the app, the user who blocks, what they block."""


class Deleted(ReadDeleted, Protocol):
    """The same, to be changed by `apply` alone."""

    def remove_conversation(self, app: str, row: ConversationRow) -> None:
        """Its record goes, and what finds it by attributes or in the order of creation; from here on it is deleted."""

    def put_deleted(self, app: str, row: ConversationRow) -> None:
        """Less is left of it."""

    def remove_deleted(self, app: str, row: ConversationRow) -> None:
        """Nothing is left of it; its running number goes, too."""
