"""What a check says: how far it is, what it found, or why it did not begin.

Between the two processes each of these is a line of JSON.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

import msgspec

PROBLEMS_PER_CHECK: Final = 20
"""How many problems of one kind are told in words; all are counted."""

Check = Literal["file", "log", "bodies", "base", "live", "queues", "history", "broadcasts", "conversations", "accounts"]


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Where some long work stands."""

    stage: str
    done: int = 0
    total: int = 0
    """0 if nobody knows."""


class Problem(msgspec.Struct, frozen=True, tag="problem"):
    """Something that is not as it was written, or does not fit the rest."""

    check: Check
    what: str


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """The outcome of a check."""

    problems: tuple[Problem, ...] = ()
    """The first `PROBLEMS_PER_CHECK` of each kind."""
    problems_total: int = 0
    position: int = 0
    """The last event."""
    base_position: int = 0
    """The last event that was trimmed."""
    log_records: int = 0
    bodies: int = 0
    rows: int = 0
    """Of the live views."""
    queues: int = 0
    entries: int = 0
    kept: int = 0
    conversations: int = 0
    users: int = 0
    apps: int = 0
    file_bytes: int = 0
    used_bytes: int = 0
    """Up to the last page ever used."""
    grown_bytes: int = 0
    """How much the file grew while its copy was made: a reader keeps pages from being used again."""
    copy_bytes: int = 0
    """What the check took in the scratch directory."""

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return not self.problems_total


class NoRoom(msgspec.Struct, frozen=True, tag="no-room"):
    """The check did not begin, or could not end, for want of scratch space."""

    needed_bytes: int
    free_bytes: int


class Unusable(msgspec.Struct, frozen=True, tag="unusable"):
    """The check did not begin."""

    reason: Literal["not-a-data-directory", "unknown-format", "failure"]
    message: str


Line = Progress | Problem | Report | NoRoom | Unusable


class Problems:
    """Collects problems: the first few of each kind in words, all of them in number."""

    def __init__(self, tell: Callable[[Problem], None]) -> None:
        """Each of the first few is told at once: what comes next may end the process."""
        self._tell = tell
        self._kept: list[Problem] = []
        self._counts: Counter[Check] = Counter()

    def add(self, check: Check, what: str) -> None:
        """One more."""
        self._counts[check] += 1
        if self._counts[check] <= PROBLEMS_PER_CHECK:
            self._kept.append(Problem(check, what))
            self._tell(self._kept[-1])

    @property
    def kept(self) -> tuple[Problem, ...]:
        """Those told in words."""
        return tuple(self._kept)

    @property
    def total(self) -> int:
        """All of them."""
        return self._counts.total()
