"""What the core needs of a store.

`ReadViews` is all that `decide` may ask, `Views` what `apply` may change. The rest is for the runtime: one `Transaction` at a
time on the writer's thread, `Snapshot`s on any.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from .broadcast_ports import BroadcastViews, ReadBroadcasts
from .copy_ports import Copies, ReadCopies
from .deletion_ports import Deleted, ReadDeleted
from .events import Record
from .ids import POSITION_MAX, ExpiryMs, MessageId, Place, Position, UnixMs
from .import_ports import Imports, ReadImports
from .list_ports import Lists, ReadLists
from .model import Conversation, Feed, Kind, PresenceEvent, StoreStatistics
from .room_ports import ReadRooms, Rooms
from .rows import (
    Body,
    ChangedRow,
    ConversationRow,
    DedupRow,
    Entry,
    Header,
    Kept,
    Numbered,
    QueueEnds,
    ResultRow,
    SessionRow,
    Totals,
    UserRow,
)
from .stream_ports import ReadStreams, Streams
from .unread_ports import ReadUnread, Unread
from .user_ports import ReadUsers, UserViews

FIRST_PLACE: Final = Place(UnixMs(0), MessageId(0))
"""Before every message."""
LAST_PLACE: Final = Place(UnixMs((1 << 63) - 1), MessageId(POSITION_MAX))
"""Behind every message."""


class ReadViews(
    ReadUsers,
    ReadLists,
    ReadRooms,
    ReadStreams,
    ReadDeleted,
    ReadUnread,
    ReadBroadcasts,
    ReadImports,
    ReadCopies,
    Protocol,
):
    """The state as of the last event applied."""

    @property
    def position(self) -> Position:
        """The last event applied."""

    @property
    def clock_ms(self) -> ExpiryMs:
        """The newest value of the expiry clock."""

    @property
    def epoch(self) -> int:
        """The epoch of the process that writes; 0 before the first."""

    @property
    def epoch_position(self) -> Position:
        """Where it began."""

    def epoch_after(self, position: Position) -> Position | None:
        """Where the first epoch after a position began: what was held open at that position ended there at the latest."""

    def totals(self, app: str) -> Totals:
        """The app's running numbers."""

    def all_totals(self) -> dict[str, Totals]:
        """Every app's, as of the last commit."""

    def user(self, app: str, user: str) -> UserRow | None:
        """The recipient's row; None if nothing was ever queued for them."""

    def queue_ends(self, app: str, user: str) -> QueueEnds:
        """Count and last of a queue."""

    def entry(self, app: str, user: str, position: Position) -> Entry | None:
        """The entry made by the event at this position, if it is still queued."""

    def entries(self, app: str, user: str, *, after: Position = Position(0)) -> Iterator[Entry]:
        """Entries beyond a position, oldest first."""

    def sessions(self, app: str, user: str) -> Sequence[SessionRow]:
        """The user's session rows, of every epoch, oldest first."""

    def dedup(self, app: str, sender: str, key: str) -> DedupRow | None:
        """The outcome kept under a dedup key, also when it is over."""

    def awaited(self, id: MessageId) -> tuple[str, str] | None:
        """Sender and dedup key of a message whose ack is still to be noted."""

    def changed(self, id: MessageId) -> ChangedRow | None:
        """What became of a message that was edited or recalled."""

    def change(self, position: Position) -> MessageId | None:
        """The message that the change at this position, still somebody's entry, is about."""

    def dedup_ends(self) -> Iterator[tuple[ExpiryMs, Position]]:
        """Dedup outcomes in the order in which they end."""

    def stale_sessions(self) -> Iterator[tuple[str, str, SessionRow]]:
        """Session rows of earlier epochs with their app and user, oldest epoch first."""

    def queue_owners(self, *, after: bytes = b"") -> Iterator[tuple[bytes, str, str, Entry]]:
        """Every non-empty queue: a place to resume after, app, user, first entry."""

    # History.

    def kept(self, app: str, place: Place) -> Kept | None:
        """The message kept at this place."""

    def oldest_kept(self, app: str) -> Iterator[tuple[Place, Kept]]:
        """The app's kept messages, oldest first."""

    def timeline(
        self,
        app: str,
        conversation: Conversation | None,
        sender: str | None,
        *,
        first: Place = FIRST_PLACE,
        last: Place = LAST_PLACE,
        newest_first: bool = False,
        other_than: str | None = None,
        recalled: bool = False,
        imported: bool = True,
    ) -> Iterator[tuple[Place, bool]]:
        """Kept messages to a conversation, of a sender, or both, from `first` to `last`, both included; of neither: all.

        A peer conversation is named by the recipient. Each comes with whether it is shown: a recalled one is not unless
        `recalled`, an imported one not without `imported`, nor one from `other_than` (if there is a conversation and no
        sender).
        """

    # Conversations.

    def conversation(self, app: str, conversation: Conversation) -> ConversationRow | None:
        """Its record."""

    def conversations(
        self, app: str, kind: Kind, *, after: Position = Position(0), before: Position | None = None
    ) -> Iterator[tuple[Position, str]]:
        """Numbers and names of the app's conversations of a kind beyond a number, in the order of their creation.

        With `before` it is those below that number, the newest first.
        """

    def conversations_of(
        self, app: str, user: str, *, after: Position = Position(0), before: Position | None = None
    ) -> Iterator[Numbered]:
        """The groups that a user is a member of, and the services they subscribe to, deleted ones until that is swept; order
        as above."""

    def conversations_with(
        self, app: str, key: str, value: bytes, *, after: Position = Position(0), before: Position | None = None
    ) -> Iterator[Numbered]:
        """Those of every kind whose attribute may be this JSON scalar or have it: look at each. Order as above."""

    def message_count(self, number: Position) -> int:
        """The newest running number of the messages to a conversation."""

    def unique_group(self, app: str, members: Iterable[str]) -> str | None:
        """The oldest of the groups created as the one of exactly these members."""

    # Presence and results.

    def feed(self, app: str, feed: Feed) -> Iterator[PresenceEvent]:
        """A feed's events, oldest first."""

    def result(self, app: str, handle: str) -> ResultRow | None:
        """What waits under a handle, also if it is over."""

    def result_ends(self) -> Iterator[tuple[ExpiryMs, Position]]:
        """Reserved results in the order in which they end."""


class Views(ReadViews, UserViews, Lists, Rooms, Streams, Deleted, Unread, BroadcastViews, Imports, Copies, Protocol):
    """The state, to be changed by `apply` alone."""

    def advance(self, record: Record) -> None:
        """Note that this record is applied."""

    def start_epoch(self, epoch: int, position: Position) -> None:
        """Sessions of other epochs are offline from here."""

    def count(self, app: str) -> Totals:
        """The app's running numbers, to be changed in place."""

    def put_user(self, row: UserRow) -> None:
        """Replace a recipient's row."""

    def put_entry(self, app: str, user: str, entry: Entry) -> None:
        """Add an entry to a queue; a queue holds one entry a position."""

    def remove_entries(self, app: str, user: str, entries: Iterable[Entry]) -> None:
        """Take entries out of a queue."""

    def put_session(self, app: str, user: str, row: SessionRow) -> None:
        """A session is open."""

    def remove_session(self, app: str, user: str, session: Position) -> None:
        """A session is closed."""

    def put_dedup(self, app: str, sender: str, key: str, row: DedupRow) -> None:
        """Keep (or replace) an outcome."""

    def remove_dedup(self, expires_ms: ExpiryMs, position: Position) -> None:
        """Forget the outcome that ends at this place in the order of ends."""

    def put_changed(self, id: MessageId, row: ChangedRow) -> None:
        """Note what became of a message."""

    def remove_changed(self, id: MessageId) -> None:
        """Nothing more is known of the message."""

    def put_change(self, position: Position, id: MessageId, copies: int = 1) -> None:
        """The change at this position is an entry in so many queues."""

    def remove_change(self, position: Position) -> int:
        """It left one of them; in how many it still is. With the last nothing is known of it."""

    def put_kept(self, app: str, place: Place, kept: Kept) -> None:
        """Keep a message, or replace what is said of it, in every timeline that shows it."""

    def remove_kept(self, app: str, place: Place, kept: Kept) -> None:
        """Take it out of them."""

    def put_conversation(self, app: str, row: ConversationRow) -> None:
        """A record, new or changed, and what finds it by its attributes."""

    def put_message_count(self, number: Position, count: int) -> None:
        """A message to the conversation took this number."""

    def put_unique(self, app: str, row: ConversationRow, members: Iterable[str]) -> None:
        """The group is the one of exactly these members."""

    def remove_unique(self, app: str, row: ConversationRow, members: Iterable[str]) -> None:
        """It is not any more."""

    def put_presence(self, app: str, feed: Feed, number: int, event: PresenceEvent) -> None:
        """Add an event to a feed under its number."""

    def remove_presence(self, app: str, feed: Feed, number: int) -> None:
        """Take it out."""

    def put_result(self, app: str, handle: str, row: ResultRow) -> None:
        """Something waits under a handle."""

    def remove_result(self, app: str, handle: str) -> None:
        """It is used up."""

    def end_result(self, expires_ms: ExpiryMs, position: Position) -> str:
        """Forget the result that ends at this place in the order of ends; the app it was reserved in."""


class Headers(Protocol):
    """Headers of kept messages: for `decide` and readers; `apply` has no way to them."""

    def header(self, position: Position) -> Header | None:
        """The header of the body that the event at this position brought, if it is still kept."""


class Bodies(Headers, Protocol):
    """Kept bodies."""

    def body(self, position: Position) -> Body | None:
        """Header and payload. Raises Corruption if the record is not what was written."""


class Snapshot(Protocol):
    """One consistent state to read. Copy out and close: an open snapshot keeps pages from being used again."""

    @property
    def views(self) -> ReadViews:
        """Live views."""

    @property
    def bodies(self) -> Bodies:
        """Kept bodies."""

    def log(self, *, after: Position = Position(0)) -> Iterator[Record]:
        """The log's records beyond a position, oldest first. Raises Corruption."""


class Transaction(Protocol):
    """Everything written between begin and commit, or nothing of it."""

    @property
    def views(self) -> Views:
        """Live views, with this transaction's changes."""

    @property
    def bodies(self) -> Bodies:
        """Kept bodies, with this transaction's changes."""

    @property
    def written_bytes(self) -> int:
        """What its commit takes of the disk at worst, by what was written so far."""

    def append(self, record: Record) -> None:
        """Add to the log's end. The position is beyond every one before."""

    def put_body(self, position: Position, body: Body) -> None:
        """Keep the body that the event at this position brought."""

    def delete_body(self, position: Position) -> None:
        """End a body; nothing happens if there is none."""

    def trim(self, before_ms: ExpiryMs, limit: int) -> int:
        """Fold up to `limit` of the oldest records stamped before this clock into base, fewer if they are of messages to
        many; how many it were."""


class Store(Protocol):
    """Keeps log, bodies and views together: one transaction changes all of them or none."""

    @property
    def durable(self) -> bool:
        """Whether a commit survives the process, and calls may wait for a disk. The memory store says no to both."""

    @property
    def failures(self) -> tuple[type[BaseException], ...]:
        """What its operations raise, besides StorageFailure, when the machine fails."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin, and commit when the block ends (durably, before it returns); an exception inside undoes everything.

        One at a time, begun and ended on one thread. Raises StorageFailure if the commit fails: what the disk holds is then
        unknown, and the store must be closed.
        """

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """The state as of the last commit. Any thread; keep it open for less than a second."""

    def room(self, wanted_bytes: int) -> int:
        """Bytes that writes may take before the disk could refuse one; tries to extend to `wanted_bytes` and the reserve."""

    def free_bytes(self) -> int:
        """Besides `room`, bytes of single pages that were freed in the file and that the next transaction takes first."""

    @property
    def reserve_bytes(self) -> int:
        """Of both, what is kept for acks and the like."""

    def maintain(self) -> None:
        """Release what dead readers hold. Call it at the start and every minute."""

    def statistics(self) -> StoreStatistics:
        """The store's size now."""

    def close(self) -> None:
        """Release everything. Idempotent; no transaction may be open."""
