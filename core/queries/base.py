"""What every query is made of."""

from typing import Generic, TypeVar

import msgspec

from ..errors import InvalidCommand
from ..limits import FIND_LISTED_MAX

A = TypeVar("A")


class Query(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """Something asked of one app; `Broker.ask` gives the answer."""

    app: str

    def check(self) -> None:
        """Raises InvalidCommand naming the first field that is wrong."""


def check_page(limit: int, limit_max: int = FIND_LISTED_MAX, *, offset: int = 0) -> None:
    """Raises InvalidCommand."""
    if offset < 0:
        raise InvalidCommand("offset: must not be negative")
    if not 1 <= limit <= limit_max:
        raise InvalidCommand(f"limit: must be 1 to {limit_max}")
