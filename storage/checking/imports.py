"""What is known of imported messages: each has a name that leads to it, and each name a message, kept or deleted."""

from typing import Final

from .. import keys
from ..engine import Engine
from ..keys import PAIR
from .report import Problems

_DIGEST: Final = 16


class AliasCheck:
    """Counts imported messages as they are met in the history, and holds the names against them."""

    def __init__(self, engine: Engine, problems: Problems) -> None:
        self._engine = engine
        self._problems = problems
        self._expected = 0

    def kept(self, app: str, alias: str, place: bytes, name: str) -> None:
        """A kept message was imported under this name."""
        self._expected += 1
        if self._engine.get("live", keys.alias_key(app, alias)) != place:
            self._tell(f"{name}: its alias {alias!r} does not lead to it")

    def end(self) -> None:
        """All kept messages were met; what is left are names of deleted ones."""
        names = 0
        for key, value in self._engine.scan("live", keys.ALIAS, keys.ALIAS):
            if len(key) == len(keys.ALIAS) + _DIGEST:
                names += 1
                continue
            self._expected += 1
            if self._engine.get("live", keys.ALIAS + value) != key[-PAIR.size :]:
                self._tell(f"alias row 'M' {key[1:].hex()}: the name of a deleted message does not lead to its place")
        if names != self._expected:
            self._tell(f"there are {names} aliases of {self._expected} imported messages")

    def _tell(self, what: str) -> None:
        self._problems.add("history", what)
