"""The part of the views that is about what was imported; `core.ports` has the whole."""

from collections.abc import Iterator
from typing import Protocol

from .ids import Place, Position
from .model import Conversation


class ReadImports(Protocol):
    """What was imported before, whatever became of it."""

    def alias(self, app: str, alias: str) -> Place | None:
        """The place of the message that was imported under this name, also if it was deleted since."""

    def was_imported(self, app: str, name: str) -> bool:
        """Whether a conversation of this name, of whatever kind, was imported, also if it was deleted since."""

    def outlived_aliases(self, app: str) -> Iterator[Place]:
        """Where imported messages stood that are deleted, oldest first."""


class Imports(ReadImports, Protocol):
    """The same, to be changed by `apply` alone."""

    def put_alias(self, app: str, alias: str, place: Place) -> None:
        """A message was imported."""

    def outlive(self, app: str, alias: str, place: Place) -> None:
        """It is deleted, and not to be imported again."""

    def remove_alias(self, app: str, alias: str) -> None:
        """It left the history by age."""

    def remove_outlived_aliases(self, app: str, count: int) -> None:
        """Forget those deleted ones that stood first."""

    def put_imported(self, app: str, conversation: Conversation, number: Position) -> None:
        """A conversation was imported by the event at this position."""
