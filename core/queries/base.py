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


def check_page(limit: int) -> None:
    """Raises InvalidCommand."""
    if not 1 <= limit <= FIND_LISTED_MAX:
        raise InvalidCommand(f"limit: must be 1 to {FIND_LISTED_MAX}")
