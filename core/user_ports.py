"""The part of the views that is about users as such; `core.ports` has the whole."""

from typing import Protocol

from .ids import UnixMs
from .rows import DayUsers


class ReadUsers(Protocol):
    """Who was kicked, and who was counted on which day."""

    def kicked_ms(self, app: str, user: str) -> UnixMs | None:
        """Tokens of the user that were issued until then open no session; None if they were never kicked."""

    def login_day(self, app: str, user: str) -> int:
        """The last day on which the user was counted; 0 if they never were."""

    def day_users(self, app: str) -> DayUsers:
        """The app's newest day, and who was counted on it."""


class UserViews(ReadUsers, Protocol):
    """The same, to be changed by `apply` alone."""

    def put_kicked(self, app: str, user: str, at_ms: UnixMs) -> None:
        """The user's tokens until then open no session."""

    def put_login_day(self, app: str, user: str, day: int) -> None:
        """The user was counted on this day."""

    def put_day_users(self, app: str, row: DayUsers) -> None:
        """How many users the app's newest day has."""
