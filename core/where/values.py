"""JSON values as filters see them: what is equal, what is less, and where a path leads."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final

from ..errors import InvalidCommand
from ..limits import WHERE_DEPTH_MAX, WHERE_PATH_BYTES_MAX

Comparable = tuple[Any, ...]
"""The rank of a value's type, and the value in a form that can be compared with others of that rank, and hashed."""
Path = tuple[str, ...]

NULL, NUMBER, STRING, OBJECT, ARRAY, BOOL, TIME = range(7)
"""Ranks, in the order in which values of different types are sorted."""
NOTHING: Final[Comparable] = (NULL,)
INDEX_DIGITS_MAX: Final = 6
"""Of a name in a path that may be an array's index: no array here is longer."""


class Absent(Enum):
    """There is no value."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
Leaf = object
"""A JSON value, or ABSENT."""


TimeOf = Callable[[Mapping[str, Any]], int | None]
"""The time that an object stands for, as a number; None if it stands for none. JSON has no times of its own."""


def comparables(values: Iterable[Leaf], time_of: TimeOf | None) -> Iterable[Comparable]:
    """`comparable` of each."""
    return map(comparable, values) if time_of is None else (comparable(value, time_of) for value in values)


def comparable(value: Leaf, time_of: TimeOf | None = None) -> Comparable:
    """Equal for equal values, less for a lesser one; absence is null. Times, if there are any, are a type of their own."""
    if isinstance(value, str):
        return STRING, value
    if isinstance(value, bool):
        return BOOL, value
    if isinstance(value, int | float):
        return NUMBER, value
    if isinstance(value, list):
        return ARRAY, tuple(comparables(value, time_of))
    if isinstance(value, dict):
        if time_of is not None and (time := time_of(value)) is not None:
            return TIME, time
        return OBJECT, tuple((name, comparable(value[name], time_of)) for name in sorted(value))
    return NOTHING


def parse_path(name: str, what: str = "where") -> Path:
    """The names that a dotted name leads through; `what` it is of. Raises InvalidCommand."""
    path = tuple(name.split("."))
    if any(part.startswith("$") for part in path):
        raise InvalidCommand(f"{what}: {name[:50]!r} is not known")
    if not all(path):
        raise InvalidCommand(f"{what}: {name[:50]!r} has an empty name in it")
    if len(name.encode()) > WHERE_PATH_BYTES_MAX or len(path) > WHERE_DEPTH_MAX:
        raise InvalidCommand(
            f"{what}: {name[:50]!r}… is longer than {WHERE_PATH_BYTES_MAX} bytes or {WHERE_DEPTH_MAX} names"
        )
    return path


def leaves(row: Mapping[str, object], path: Path) -> list[Leaf]:
    """Where a path leads in a row: one value, unless an array on the way branches it. Never empty."""
    found: list[Leaf] = []
    _walk(row, path, 0, found)
    return found


def _walk(value: object, path: Path, index: int, found: list[Leaf]) -> None:
    if index == len(path):
        found.append(value)
        return
    name, before = path[index], len(found)
    if isinstance(value, Mapping):
        if name in value:
            _walk(value[name], path, index + 1, found)
    elif isinstance(value, list):
        if _is_index(name) and int(name) < len(value):
            _walk(value[int(name)], path, index + 1, found)
        else:
            for item in value:
                if isinstance(item, dict):
                    _walk(item, path, index, found)
    if len(found) == before:
        found.append(ABSENT)


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= INDEX_DIGITS_MAX


def whole_and_elements(found: list[Leaf]) -> list[Leaf]:
    """Each value, and what it holds if it is an array."""
    if not any(isinstance(leaf, list) for leaf in found):
        return found
    every = []
    for leaf in found:
        every.append(leaf)
        if isinstance(leaf, list):
            every += leaf
    return every
