"""What is used of the quotas of a day."""

from .base import Event


class QuotaUsed(Event, frozen=True, kw_only=True, tag="quota-used.1"):
    """One of so many a day was used, by what the same command did besides, which follows."""

    app: str
    name: str
    day: int
    """The app's, counted from 1970-01-01."""
    count: int
    """How many that makes on this day."""
