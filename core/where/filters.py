"""A filter as a value, and whether a row matches it."""

from collections.abc import Callable, Mapping
from operator import ge, gt, le, lt
from typing import Final, Literal

import msgspec

from .patterns import Pattern
from .values import ABSENT, Comparable, Leaf, Path, TimeOf, comparables, leaves, whole_and_elements

Ordering = Literal["$lt", "$lte", "$gt", "$gte"]

_HOLDS: Final[dict[Ordering, Callable[[Comparable, Comparable], bool]]] = {"$lt": lt, "$lte": le, "$gt": gt, "$gte": ge}


class Test(msgspec.Struct, frozen=True):
    """What is asked of the place where a path leads."""

    __test__ = False  # for pytest, which would collect it by its name

    def holds(self, found: list[Leaf]) -> bool:
        """Whether what was found there meets it."""
        raise NotImplementedError


class In(Test, frozen=True):
    """One of these values is there; of one value it is equality."""

    values: frozenset[Comparable]
    raw: tuple[object, ...]
    """The same as they were given."""
    time_of: TimeOf | None = None

    def holds(self, found: list[Leaf]) -> bool:
        """Absence is null."""
        return any(value in self.values for value in comparables(whole_and_elements(found), self.time_of))


class Not(Test, frozen=True):
    """The contrary of another."""

    test: Test

    def holds(self, found: list[Leaf]) -> bool:
        """So where there is no field, as a rule it does."""
        return not self.test.holds(found)


class Ordered(Test, frozen=True):
    """Something of the same type is there, and less or greater."""

    operator: Ordering
    value: Comparable
    time_of: TimeOf | None = None

    def holds(self, found: list[Leaf]) -> bool:
        """Of null only what includes equality ever does."""
        rank, compare = self.value[0], _HOLDS[self.operator]
        values = comparables(whole_and_elements(found), self.time_of)
        return any(value[0] == rank and compare(value, self.value) for value in values)


class HasAll(Test, frozen=True):
    """Each of these values is there."""

    values: frozenset[Comparable]
    raw: tuple[object, ...]
    time_of: TimeOf | None = None

    def holds(self, found: list[Leaf]) -> bool:
        """Of no values at all it does not."""
        return bool(self.values) and self.values <= set(comparables(whole_and_elements(found), self.time_of))


class Exists(Test, frozen=True):
    """Something is there, be it null; or nothing is."""

    wanted: bool

    def holds(self, found: list[Leaf]) -> bool:
        """One branch of a path is enough."""
        return any(leaf is not ABSENT for leaf in found) == self.wanted


class Size(Test, frozen=True):
    """An array of so many elements is there."""

    count: int

    def holds(self, found: list[Leaf]) -> bool:
        """An array in an array counts as one element."""
        return any(isinstance(leaf, list) and len(leaf) == self.count for leaf in found)


class Like(Test, frozen=True):
    """A string that the pattern is found in is there."""

    pattern: Pattern

    def holds(self, found: list[Leaf]) -> bool:
        """What is no string does not match."""
        return self.pattern.found_in([value for value in whole_and_elements(found) if isinstance(value, str)])


class Field(msgspec.Struct, frozen=True):
    """A field meets a test."""

    path: Path
    test: Test

    def matches(self, row: Mapping[str, object]) -> bool:
        """Whether it does in this row."""
        return self.test.holds(leaves(row, self.path))


class AllOf(msgspec.Struct, frozen=True):
    """Every one of these matches; of none at all: every row."""

    parts: "tuple[Filter, ...]"

    def matches(self, row: Mapping[str, object]) -> bool:
        """Looks no further than the first that does not."""
        return all(part.matches(row) for part in self.parts)


class AnyOf(msgspec.Struct, frozen=True):
    """One of these matches."""

    parts: "tuple[Filter, ...]"

    def matches(self, row: Mapping[str, object]) -> bool:
        """Looks no further than the first that does."""
        return any(part.matches(row) for part in self.parts)


Filter = Field | AllOf | AnyOf


def matches(filter: Filter, row: Mapping[str, object]) -> bool:
    """Whether a row of JSON values is meant. Takes time linear in the row, whatever the filter."""
    return filter.matches(row)


def fields(filter: Filter) -> frozenset[str]:
    """The names that its paths begin with: nothing else of a row is looked at."""
    if isinstance(filter, Field):
        return frozenset(filter.path[:1])
    return frozenset().union(*map(fields, filter.parts))


def weight(filter: Filter) -> int:
    """What a kilobyte of a row costs, as a number of rows that are only read, by rough measure."""
    if not isinstance(filter, Field):
        return 4 + sum(weight(part) - 4 for part in filter.parts)
    test = filter.test
    while isinstance(test, Not):
        test = test.test
    return 24 + (10 * test.pattern.program_size if isinstance(test, Like) else 0)
