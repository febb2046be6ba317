"""What a storage engine offers inside one open transaction: ordered tables of bytes, ordered sets of 16-byte values.

Views, log and bodies are written once on top of this, so the engines cannot differ in what they mean.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple, Protocol

Table = Literal["meta", "log", "bodies", "live", "base"]
Sets = Literal["live-queues", "base-queues"]

TABLES: Final[tuple[Table, ...]] = ("meta", "log", "bodies", "live", "base")
SETS: Final[tuple[Sets, ...]] = ("live-queues", "base-queues")


class State(NamedTuple):
    """The two places one set of views lives in."""

    rows: Table
    queues: Sets


LIVE: Final = State("live", "live-queues")
"""The views at the log's end."""
BASE: Final = State("base", "base-queues")
"""The views at its beginning."""


class Engine(Protocol):
    """One transaction's tables. Iterators are good until the next write to their table."""

    @property
    def written_bytes(self) -> int:
        """What the writes so far take of the disk at worst."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value under a key."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set or replace."""

    def put_rows(self, table: Table, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Set or replace several, which costs less than one by one."""

    def append(self, table: Table, key: bytes, value: bytes) -> None:
        """Set a key beyond every key of the table. Raises Corruption if it is not."""

    def delete(self, table: Table, key: bytes) -> None:
        """Remove, if it is there."""

    def scan(self, table: Table, start: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys from `start` on that begin with `prefix`, in order."""

    def scan_back(self, table: Table, start: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys from `start` down that begin with `prefix`, the greatest first."""

    def last_key(self, table: Table) -> bytes | None:
        """The greatest key."""

    def count(self, table: Table | Sets) -> int:
        """How many keys a table, or values all sets together, hold."""

    def clear(self, state: State) -> None:
        """Empty both places of a set of views."""

    def set_last(self, sets: Sets, key: bytes) -> tuple[int, bytes] | None:
        """A set's size and last value; None if it is empty."""

    def set_add(self, sets: Sets, key: bytes, value: bytes) -> None:
        """Add a value."""

    def set_remove(self, sets: Sets, key: bytes, value: bytes) -> None:
        """Remove a value, if it is there."""

    def set_scan(self, sets: Sets, key: bytes, start: bytes) -> Iterator[bytes]:
        """A set's values from `start` on, in order."""

    def set_firsts(self, sets: Sets, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Each set from key `start` on, with its first value."""
