"""The order of found rows, and what a row is sorted by."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import InvalidCommand
from ..limits import ORDER_KEYS_MAX, ORDER_TEXT_CHARACTERS_MAX, ORDER_VALUE_CHARACTERS
from .values import ARRAY, NOTHING, OBJECT, STRING, Comparable, Path, TimeOf, comparables, leaves, parse_path


class Falling:
    """A value that sorts the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Comparable) -> None:
        self.value = value

    def __lt__(self, other: "Falling") -> bool:
        return other.value < self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Falling) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


class Order(msgspec.Struct, frozen=True):
    """By what, the most important first, and which of it falls."""

    paths: tuple[Path, ...] = ()
    falling: tuple[bool, ...] = ()
    time_of: TimeOf | None = None
    """Knows objects that stand for times."""

    def key(self, row: Mapping[str, object]) -> tuple[Any, ...]:
        """What a row sorts by. Of an array it is the least element, or the greatest if the order falls."""
        return tuple(
            Falling(self._sortable(row, path, max)) if falls else self._sortable(row, path, min)
            for path, falls in zip(self.paths, self.falling, strict=True)
        )

    def _sortable(self, row: Mapping[str, object], path: Path, best: Any) -> Comparable:
        """Bounded: what is kept of a row that is to be sorted is not its values in full."""
        each = [value for leaf in leaves(row, path) for value in (leaf if isinstance(leaf, list) else [leaf])]
        value: Comparable = best(comparables(each, self.time_of), default=NOTHING)
        if value[0] == STRING:
            return STRING, value[1][:ORDER_TEXT_CHARACTERS_MAX]
        return _beginning(value, ORDER_TEXT_CHARACTERS_MAX)[0]


def parse_order(keys: tuple[str, ...], time_of: TimeOf | None = None) -> Order:
    """Dotted names, `-` in front of those that fall. Raises InvalidCommand."""
    if len(keys) > ORDER_KEYS_MAX:
        raise InvalidCommand(f"order: at most {ORDER_KEYS_MAX} keys")
    names = [key.removeprefix("-") for key in keys]
    paths = tuple(parse_path(name, "order") for name in names)
    return Order(paths, tuple(key.startswith("-") for key in keys), time_of)


def _beginning(value: Comparable, left: int) -> tuple[Comparable, int]:
    """As much of a value as there is room for, and how much room is left then.

    Values are cut in the same place unless they differ before it, so a lesser one never becomes the greater.
    """
    rank = value[0]
    left -= ORDER_VALUE_CHARACTERS
    if rank == STRING:
        return (STRING, value[1][: max(left, 0)]), left - len(value[1])
    if rank not in (OBJECT, ARRAY):
        return value, left
    kept: list[Comparable] = []
    for item in value[1]:
        if left <= 0:
            break
        entry, left = _beginning(item, left) if rank == ARRAY else _beginning_of_entry(item, left)
        kept.append(entry)
    return (rank, tuple(kept)), left


def _beginning_of_entry(entry: tuple[str, Comparable], left: int) -> tuple[Comparable, int]:
    name, value = entry
    cut = name[:left]
    left -= len(name)
    if left <= 0:
        return (cut,), left
    beginning, left = _beginning(value, left)
    return (cut, beginning), left
