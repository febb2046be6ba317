"""What the core needs of a store for streams: what is kept once for all members of a conversation, and who they are, or were.
Part of `core.ports`."""

from collections.abc import Iterator
from typing import Protocol

from .ids import Place, Position, UnixMs
from .rows import Membership, StreamEntry, SubscriptionRow


class ReadStreams(Protocol):
    """The state as of the last event applied. A conversation is named by its number."""

    def stream(self, number: Position, *, after: Position = Position(0)) -> Iterator[StreamEntry]:
        """What stands in a stream beyond a position, oldest first."""

    def stream_back(self, number: Position, through: Position) -> Iterator[StreamEntry]:
        """What stands there up to a position, the newest first."""

    def stream_entry(self, number: Position, position: Position) -> StreamEntry | None:
        """What stands there at this position."""

    def ended_notices(self, app: str) -> Iterator[UnixMs]:
        """When what is told of as deleted in the app's streams was, in that order."""

    def member_since(self, app: str, number: Position, user: str) -> Position | None:
        """Where a member of a group, or of a service, became one."""

    def left(self, app: str, user: str, *, after: Position = Position(0)) -> Iterator[Membership]:
        """What a user was a member of and left beyond a position, the newest end first.

        A membership without anything in the stream between its ends is not known any more.
        """

    def subscriptions(
        self, app: str, user: str, *, after: Position = Position(0), before: Position | None = None
    ) -> Iterator[SubscriptionRow]:
        """The services of a user to which they subscribed beyond a position, in that order; with `before` those below that
        position, the newest first."""

    def subscription(self, app: str, user: str, position: Position) -> SubscriptionRow | None:
        """The one that began at this position."""


class Streams(ReadStreams, Protocol):
    """The same, to be changed by `apply` alone."""

    def put_stream_entry(self, number: Position, entry: StreamEntry) -> None:
        """It stands in the stream."""

    def remove_stream_entry(self, number: Position, position: Position) -> None:
        """It does not any more."""

    def put_notice_end(self, app: str, number: Position, at_ms: UnixMs, position: Position) -> None:
        """What is told of at this position was deleted then."""

    def remove_oldest_notices(self, app: str, count: int) -> list[Position]:
        """What was deleted first is told of no more; where it was."""

    def remove_notice(self, app: str, number: Position, position: Position) -> None:
        """One of them is told of no more."""

    def put_left(self, app: str, user: str, membership: Membership, until: Place) -> None:
        """A membership that ended."""

    def put_subscription(self, app: str, user: str, row: SubscriptionRow) -> None:
        """A user subscribes to a service."""

    def remove_subscription(self, app: str, user: str, position: Position) -> None:
        """They do not any more."""
