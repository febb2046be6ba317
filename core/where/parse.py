"""From JSON to a filter; what is not known, or more than the bounds allow, is refused by its name."""

from collections.abc import Callable, Iterator
from typing import Final, cast

import msgspec

from ..errors import InvalidCommand
from ..limits import (
    PATTERN_PROGRAM_MAX,
    WHERE_BYTES_MAX,
    WHERE_CONDITIONS_MAX,
    WHERE_DEPTH_MAX,
    WHERE_PATTERNS_MAX,
    WHERE_VALUES_MAX,
)
from .filters import AllOf, AnyOf, Exists, Field, Filter, HasAll, In, Like, Not, Ordered, Ordering, Size, Test
from .patterns import parse_pattern
from .values import TimeOf, comparable, comparables, parse_path


def parse(where: bytes, time_of: TimeOf | None = None) -> Filter:
    """The filter that a JSON text says; `time_of` knows objects that stand for times. Raises InvalidCommand."""
    if len(where) > WHERE_BYTES_MAX:
        raise InvalidCommand(f"where: {len(where)} bytes are more than the {WHERE_BYTES_MAX} allowed")
    try:
        value = msgspec.json.decode(where)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise InvalidCommand("where: not JSON") from error
    reading = _Reading(time_of)
    return reading.all_of(value) if isinstance(value, list) else reading.filter(value, 0)


class _Reading:
    """One filter, and what of the bounds it has used up."""

    def __init__(self, time_of: TimeOf | None) -> None:
        self._time_of = time_of
        self._conditions = self._values = self._patterns = self._program = 0

    def all_of(self, value: list[object]) -> Filter:
        """A list at the top."""
        return AllOf(tuple(self.filter(part, 1) for part in value))

    def filter(self, value: object, depth: int) -> Filter:
        """An object."""
        _check_depth(depth)
        if not isinstance(value, dict):
            raise InvalidCommand("where: must be an object, or a list of objects")
        parts = [part for name, operand in value.items() for part in self._entry(name, operand, depth)]
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _entry(self, name: str, operand: object, depth: int) -> Iterator[Filter]:
        if name in ("$and", "$or"):
            if not isinstance(operand, list) or not operand:
                raise InvalidCommand(f"where: {name} takes a list of at least one")
            parts = tuple(self.filter(part, depth + 1) for part in operand)
            yield AllOf(parts) if name == "$and" else AnyOf(parts)
            return
        path = parse_path(name)
        for test in self._tests(operand, depth + 1):
            self._conditions += 1
            if self._conditions > WHERE_CONDITIONS_MAX:
                raise InvalidCommand(f"where: more than {WHERE_CONDITIONS_MAX} conditions")
            yield Field(path, test)

    def _tests(self, operand: object, depth: int) -> Iterator[Test]:
        if not isinstance(operand, dict) or not any(name.startswith("$") for name in operand):
            yield self._in([operand], depth)
            return
        for name, value in operand.items():
            if name == "$options":
                if "$regex" not in operand:
                    raise InvalidCommand("where: $options without $regex")
            elif name == "$regex":
                yield self._like(value, operand.get("$options", ""))
            elif name in _TESTS:
                yield _TESTS[name](self, name, value, depth)
            else:
                raise InvalidCommand(f"where: {name[:50]!r} is not known")

    # One method a kind of test.

    def _among(self, name: str, operand: object, depth: int) -> Test:
        if not isinstance(operand, list):
            raise InvalidCommand(f"where: {name} takes a list")
        return self._in(operand, depth)

    def _in(self, values: list[object], depth: int) -> In:
        for value in values:
            self._literal(value, depth)
        return In(frozenset(comparables(values, self._time_of)), tuple(values), self._time_of)

    def _not_in(self, name: str, operand: object, depth: int) -> Test:
        return Not(self._among(name, operand, depth))

    def _not_equal(self, name: str, operand: object, depth: int) -> Test:
        return Not(self._in([operand], depth))

    def _ordered(self, name: str, operand: object, depth: int) -> Test:
        self._literal(operand, depth)
        return Ordered(cast(Ordering, name), comparable(operand, self._time_of), self._time_of)

    def _has_all(self, name: str, operand: object, depth: int) -> Test:
        if not isinstance(operand, list):
            raise InvalidCommand(f"where: {name} takes a list")
        each = self._in(operand, depth)
        return HasAll(each.values, each.raw, self._time_of)

    def _exists(self, name: str, operand: object, depth: int) -> Test:
        if not isinstance(operand, bool):
            raise InvalidCommand(f"where: {name} takes true or false")
        return Exists(operand)

    def _size(self, name: str, operand: object, depth: int) -> Test:
        if not isinstance(operand, int) or isinstance(operand, bool) or operand < 0:
            raise InvalidCommand(f"where: {name} takes a number of elements")
        return Size(operand)

    def _like(self, source: object, options: object) -> Test:
        if not isinstance(source, str) or not isinstance(options, str):
            raise InvalidCommand("where: $regex and $options take strings")
        self._patterns += 1
        if self._patterns > WHERE_PATTERNS_MAX:
            raise InvalidCommand(f"where: more than {WHERE_PATTERNS_MAX} patterns")
        pattern = parse_pattern(source, options)
        self._program += pattern.program_size
        if self._program > PATTERN_PROGRAM_MAX:
            raise InvalidCommand(f"where: $regex: patterns of more than {PATTERN_PROGRAM_MAX} steps")
        return Like(pattern)

    def _literal(self, value: object, depth: int) -> None:
        """A value to compare with, and what is in it."""
        _check_depth(depth)
        self._values += 1
        if self._values > WHERE_VALUES_MAX:
            raise InvalidCommand(f"where: more than {WHERE_VALUES_MAX} values")
        if isinstance(value, dict):
            for name, inner in value.items():
                if name.startswith("$"):
                    raise InvalidCommand(f"where: {name[:50]!r} is not known inside a value")
                self._literal(inner, depth + 1)
        elif isinstance(value, list):
            for inner in value:
                self._literal(inner, depth + 1)


def _check_depth(depth: int) -> None:
    if depth > WHERE_DEPTH_MAX:
        raise InvalidCommand(f"where: nested more than {WHERE_DEPTH_MAX} deep")


_TESTS: Final[dict[str, Callable[[_Reading, str, object, int], Test]]] = {
    "$ne": _Reading._not_equal,
    "$lt": _Reading._ordered,
    "$lte": _Reading._ordered,
    "$gt": _Reading._ordered,
    "$gte": _Reading._ordered,
    "$in": _Reading._among,
    "$nin": _Reading._not_in,
    "$all": _Reading._has_all,
    "$exists": _Reading._exists,
    "$size": _Reading._size,
}
