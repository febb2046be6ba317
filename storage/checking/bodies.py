"""Bodies and who needs them: each entry and kept message has its body, each body has an owner and is sound."""

from collections.abc import Iterator
from typing import Final

import msgspec

from postroom.core.errors import Corruption
from postroom.core.expiry import expired
from postroom.core.ids import MessageId, Position, position_of
from postroom.core.rows import Body, BroadcastRow, Entry, Kept

from .. import keys
from ..engine import Engine
from ..history_views import timeline_flags
from ..keys import ENTRY, ENTRY_MIN, PAIR, U64, unpack_entry
from ..reading import shown_by
from ..records import decode_body
from ..views import StoredViews
from .copies import CopyCheck
from .imports import AliasCheck
from .owned import Owned
from .report import Problems, Progress
from .rows import MISFITS, queue_name, row_name

_CHUNK: Final = 10_000
_STREAM_KEY_BYTES: Final = 1 + 2 * U64.size


class BodyCheck:
    """Walks the live queues, the history and the bodies of one state."""

    def __init__(self, engine: Engine, live: StoredViews, owned: Owned, problems: Problems) -> None:
        self._engine = engine
        self._owned = owned
        self._problems = problems
        self._views = live
        self._timelines = 0
        """Rows `t` that there should be."""
        self._with_copies = 0
        """Kept messages of which some recipients have a copy of their own."""
        self._streamed = 0
        """Kept messages that are in streams."""
        self._aliases = AliasCheck(engine, problems)
        self.queues = self.entries = self.kept = self.bodies = 0

    def run(self) -> Iterator[Progress]:
        """Check everything; says how far it is now and then."""
        total = self._engine.count("live-queues")
        for key, _ in self._engine.set_firsts("live-queues", b""):
            self.queues += 1
            self._queue(key)
            if self.queues % 100 == 0:
                yield Progress("queues", self.entries, total)
        for key, value in self._engine.scan("live", keys.KEPT, keys.KEPT):
            self.kept += 1
            self._kept(key, value)
            if self.kept % _CHUNK == 0:
                yield Progress("history", self.kept)
        self._aliases.end()
        timeline_rows = sum(1 for _ in self._engine.scan("live", keys.TIMELINE, keys.TIMELINE))
        if timeline_rows != self._timelines:
            self._problems.add(
                "history", f"{self.kept} kept messages have {timeline_rows} timeline rows, not {self._timelines}"
            )
        CopyCheck(self._engine, self._views, self._problems).run(self._owned.add, self._with_copies)
        self._streams()
        for key, value in self._engine.scan("live", keys.BROADCAST, keys.BROADCAST):
            self._broadcast(key, value)
        for key, _ in self._engine.scan("live", keys.CHANGE, keys.CHANGE):
            # A notice that several queues share lies under its change; whose entry it is, the queues have said.
            self._owned.add(U64.unpack_from(key, 1)[0])
        total = self._engine.count("bodies")
        owners = self._owned.positions()
        owner = next(owners, None)
        for key, value in self._engine.scan("bodies", b""):
            self.bodies += 1
            position = int.from_bytes(key)
            while owner is not None and owner < position:
                owner = next(owners, None)
            if owner != position:
                self._problems.add("bodies", f"body {position} has no owner: no entry, kept message or change")
            self._body(key, value)
            if self.bodies % _CHUNK == 0:
                yield Progress("bodies", self.bodies, total)

    def _streams(self) -> None:
        """What stands in streams: kept messages that are in one, the newest change of such, and notices with their bodies."""
        messages = 0
        for key, value in self._engine.scan("live", keys.STREAM, keys.STREAM):
            if len(key) != _STREAM_KEY_BYTES:
                continue  # where a notice is found; who checks conversations has told
            position = Position(U64.unpack_from(key, 1 + U64.size)[0])
            try:
                entry = self._views.stream_entry(Position(U64.unpack_from(key, 1)[0]), position)
                changed = self._views.changed(entry.id) if entry is not None else None
            except MISFITS:
                entry = None
            if entry is None:
                self._problems.add("history", f"{row_name(key, value)} cannot be read")
            elif entry.deleted:
                self._owned.add(position)
                if not self._has_body(position):
                    self._problems.add("history", f"{row_name(key, value)}: the notice has no body")
            elif position == position_of(entry.id):
                messages += 1
            elif changed is None or changed.changes != (position,):
                self._problems.add("history", f"{row_name(key, value)} is not of the newest change of its message")
        if messages != self._streamed:
            self._problems.add("history", f"{self._streamed} kept messages are in streams, which have {messages}")

    def _queue(self, key: bytes) -> None:
        """One queue's entries are in order and have their bodies."""
        last = Entry(Position(0), 0, 0, owns_body=False)
        for value in self._engine.set_scan("live-queues", key, ENTRY_MIN):
            self.entries += 1
            if len(value) != ENTRY.size:
                self._problems.add("queues", f"{queue_name(self._engine, key)}: {value.hex()} is not an entry")
                continue
            entry = unpack_entry(value)
            if entry.seq <= last.seq or entry.expires_s < last.expires_s:
                self._problems.add("queues", f"{self._entry_name(key, entry)} is not in order behind {last.position}")
            last = entry
            self._entry(key, entry)

    def _entry(self, key: bytes, entry: Entry) -> None:
        try:
            message, place = shown_by(self._views, key, entry)
        except MISFITS:
            self._problems.add("queues", f"{self._entry_name(key, entry)}: the rows of its message cannot be read")
            return
        if entry.owns_body:
            self._owned.add(place)
        if self._has_body(place) or expired(entry.expires_s, self._views.clock_ms):
            return
        self._problems.add(
            "queues", f"{self._entry_name(key, entry)} has no body: message {message} should have one at {place}"
        )

    def _kept(self, key: bytes, value: bytes) -> None:
        """A message in the history has its body, and its rows in the timelines."""
        try:
            at = key[-PAIR.size :]
            id = MessageId(PAIR.unpack(at)[1])
            kept = msgspec.msgpack.decode(value, type=Kept)
            changed = self._views.changed(id)
        except MISFITS:
            self._problems.add("history", f"{row_name(key, value)}: the rows of its message cannot be read")
            return
        self._timelines += 1 + len(kept.recipients) if kept.named else 3
        place = changed.body if changed else position_of(id)
        self._owned.add(place)
        if not self._has_body(place):
            self._problems.add("history", f"{row_name(key, value)}: message {id} has no body at {place}")
            return
        body = self._engine.get("bodies", U64.pack(place))
        assert body is not None
        try:
            app = decode_body(U64.pack(place), body).header.app
        except Corruption:
            return  # told when the bodies are walked
        if changed is not None and changed.copies:
            self._with_copies += 1
            if any(self._views.copy(app, row.user, id) != row for row in self._views.copies(id)):
                self._problems.add("history", f"{row_name(key, value)}: a copy is not where it would be looked for")
        if kept.stream:
            self._in_stream(row_name(key, value), app, id, kept)
        if kept.alias:
            self._aliases.kept(app, kept.alias, at, row_name(key, value))
        for timeline in keys.timeline_keys(app, kept):
            row = self._engine.get("live", timeline + at)
            if row is None or row[0] != timeline_flags(kept):
                self._problems.add("history", f"{row_name(key, value)}: a timeline does not say the same of it")

    def _in_stream(self, name: str, app: str, id: MessageId, kept: Kept) -> None:
        self._streamed += 1
        try:
            row = self._views.conversation(app, kept.conversation) or self._views.deleted(app, kept.conversation)
            entry = self._views.stream_entry(row.number, position_of(id)) if row is not None else None
        except MISFITS:
            entry = None
        if entry is None or (entry.id, entry.number) != (id, kept.number):
            self._problems.add("history", f"{name}: the stream of its conversation does not say the same of it")

    def _broadcast(self, key: bytes, value: bytes) -> None:
        """It has its body, which says of which service it is, and which broadcast."""
        name = row_name(key, value)
        try:
            row = msgspec.msgpack.decode(value, type=BroadcastRow)
            body = self._engine.get("bodies", U64.pack(row.body))
        except MISFITS:
            self._problems.add("broadcasts", f"{name} cannot be read")
            return
        self._owned.add(row.body)
        if body is None:
            self._problems.add("broadcasts", f"{name} has no body at {row.body}")
            return
        try:
            header = decode_body(U64.pack(row.body), body).header
        except Corruption:
            return  # told when the bodies are walked
        if key != keys.broadcast_key(header.app, header.id) or row.conversation != header.conversation:
            self._problems.add("broadcasts", f"{name}: its body is of {header.id}, and not of it")

    def _body(self, key: bytes, value: bytes) -> None:
        """It is what was written, and its header names the message that the rows lead from."""
        try:
            body = decode_body(key, value)
        except Corruption as error:
            self._problems.add("bodies", str(error))
            return
        position = Position(U64.unpack(key)[0])
        if not self._is_of(body, position):
            self._problems.add(
                "bodies", f"body {position} is of message {body.header.id}, whose body does not lie here"
            )

    def _is_of(self, body: Body, position: Position) -> bool:
        id = body.header.id
        if body.header.type == "message":
            return position_of(id) == position
        try:
            if body.header.type == "deleted":
                return self._told_of(body, position) == id
            broadcast = self._views.broadcast(body.header.app, id)
            if broadcast is not None:
                return broadcast.body == position
            changed = self._views.changed(id)
            return (changed is not None and changed.body == position) or self._views.copy_body(position) == id
        except MISFITS:
            return True  # told already

    def _told_of(self, body: Body, position: Position) -> MessageId | None:
        """The message whose deletion is told of here: in queues, or in a stream."""
        about = self._views.change(position)
        if about is None:
            found = self._engine.get("live", keys.notice_prefix(body.header.app) + U64.pack(position))
            number = Position(PAIR.unpack(found)[0]) if found is not None else Position(0)
            entry = self._views.stream_entry(number, position)
            about = entry.id if entry is not None and entry.deleted else None
        return about

    def _has_body(self, position: Position) -> bool:
        return 0 <= position < 1 << 64 and self._engine.get("bodies", U64.pack(position)) is not None

    def _entry_name(self, key: bytes, entry: Entry) -> str:
        return f"{queue_name(self._engine, key)}: entry {entry.position} (seq {entry.seq})"
