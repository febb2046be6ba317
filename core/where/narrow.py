"""Which equalities every matching row meets: what an index can narrow a search by."""

from collections.abc import Iterator
from typing import NamedTuple

from .filters import AllOf, Field, Filter, HasAll, In
from .values import Path


class Among(NamedTuple):
    """Where the path leads there is one of these, as the whole or as an element of an array."""

    path: Path
    values: tuple[str | int | float | bool, ...]
    """Without repetition; none at all if no row can match."""


def candidates(filter: Filter) -> tuple[Among, ...]:
    """Conditions that hold of every row that matches. Only those by scalars other than null, which indexes know."""
    return tuple(_narrowing(filter))


def _narrowing(filter: Filter) -> Iterator[Among]:
    if isinstance(filter, AllOf):
        for part in filter.parts:
            yield from _narrowing(part)
    elif isinstance(filter, Field):
        match filter.test:
            case In(raw=values):
                yield from _among(filter.path, values)
            case HasAll(raw=values):
                for value in values:
                    yield from _among(filter.path, (value,))


def _among(path: Path, values: tuple[object, ...]) -> Iterator[Among]:
    scalars = [value for value in values if isinstance(value, str | int | float)]
    if len(scalars) == len(values):
        # By type too: 1 and true are one key of a dict.
        yield Among(path, tuple({(isinstance(value, bool), value): value for value in scalars}.values()))
