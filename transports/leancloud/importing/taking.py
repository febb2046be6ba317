"""Takes an export over: conversations first, then messages in the order in which they were accepted.

Everything is known again by its name, so that an import may be stopped at any time, and repeated.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from postroom.core import Broker, Refusal
from postroom.core.commands import Command, ImportConversation, ImportMessage
from postroom.core.errors import Internal, NoSpace, Overloaded, ShuttingDown
from postroom.core.ids import Place, position_of
from postroom.core.model import Conversation

from ..ids import message_id
from ..messages import VIA
from . import records
from .files import Bad, ExportFile
from .order import TooMany, in_order
from .records import Message, Unusable, Where
from .targets import Target, Targets, is_derived

BATCH: Final = 500
"""Commands that are given at once: a commit takes some 600 messages."""
TOLD_MAX: Final = 100
"""Refused records that a report names; of the others it has the number."""
_OURS: Final = (NoSpace, Overloaded, ShuttingDown, Internal)
"""Refusals that say nothing of a record: the import ends, and may be repeated."""


class Refused(msgspec.Struct, frozen=True):
    """A record that was not taken over."""

    file: str
    record: int
    """From 1."""
    code: str
    reason: str


class Taken(msgspec.Struct):
    """What became of the records of a kind."""

    imported: int = 0
    duplicates: int = 0
    refused: int = 0


class Report(msgspec.Struct):
    """What became of an export."""

    app: str
    conversations: Taken = msgspec.field(default_factory=Taken)
    messages: Taken = msgspec.field(default_factory=Taken)
    created: int = 0
    """Conversations that were made since messages named them."""
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    """How many were refused, by why."""
    refused: list[Refused] = msgspec.field(default_factory=list)
    """The first of them."""
    complete: bool = False
    """Everything was looked at."""

    @property
    def refusals(self) -> int:
        """How many records were refused."""
        return self.conversations.refused + self.messages.refused


class Stopped(Exception):
    """The import cannot go on, by no fault of a record."""


class Importer:
    """One import into one app of an open broker."""

    def __init__(
        self,
        broker: Broker,
        app: str,
        files: Sequence[ExportFile],
        *,
        create_missing: bool = False,
        each: Callable[[], None] = lambda: None,
    ) -> None:
        """`each` is called for each record."""
        self._broker = broker
        self._app = app
        self._files = files
        self._create_missing = create_missing
        self._each = each
        self._targets = Targets(broker, app)
        self.report = Report(app)
        self.stopping = False
        """Set it, and the import ends behind the batch under way."""
        self.size_bytes = sum(file.size_bytes for file in files)

    @property
    def done_bytes(self) -> int:
        """How much of the files was read."""
        return sum(file.read_bytes for file in self._files)

    async def run(self) -> Report:
        """Take everything over; what became of it. Raises OSError; StorageFailure, and Stopped if it cannot go on."""
        kinds = {file: file.kind() for file in self._files}
        for file in self._files:
            if kinds[file] == "conversations":
                await self._take_conversations(file)
        messages = [file for file in self._files if kinds[file] == "messages"]
        try:
            await self._take_messages(in_order(self._parsed(file) for file in messages))
        except TooMany:
            raise Stopped("too many messages of one and the same time, in a file that falls in time") from None
        self.report.complete = not self.stopping
        return self.report

    async def _take_conversations(self, file: ExportFile) -> None:
        batch: list[tuple[Where, ImportConversation]] = []
        for where, record in self._numbered(file):
            if self.stopping:
                break
            try:
                batch.append((where, records.conversation(_sound(record), self._app)))
            except Unusable as unusable:
                self._refuse(self.report.conversations, where, unusable.code, unusable.reason)
            if len(batch) == BATCH:
                await self._give(batch, self.report.conversations)
                batch = []
        await self._give(batch, self.report.conversations)

    def _parsed(self, file: ExportFile) -> Iterator[Message]:
        for where, record in self._numbered(file):
            if self.stopping:
                return
            try:
                yield records.message(_sound(record), where)
            except Unusable as unusable:
                self._refuse(self.report.messages, where, unusable.code, unusable.reason)

    async def _take_messages(self, messages: Iterable[Message]) -> None:
        batch: list[tuple[Where, ImportMessage]] = []
        for message in messages:
            if self.stopping:
                break
            if self._is_own(message):
                self.report.messages.duplicates += 1
                continue
            target = self._targets.of(message)
            if target is None and self._create_missing and not is_derived(message.conversation):
                target = await self._created(message)
            if target is not None and self._was_deleted_here(message, target):
                self.report.messages.duplicates += 1
                continue
            batch.append((message.where, self._command(message, target)))
            if len(batch) == BATCH:
                await self._give(batch, self.report.messages)
                batch = []
        await self._give(batch, self.report.messages)

    def _is_own(self, message: Message) -> bool:
        """Whether it is one of this broker's, come back with an export of its own."""
        id = message_id(message.alias)
        if id is None or message.at_ms < 0:
            return False
        with self._broker.snapshot() as snapshot:
            return snapshot.views.kept(self._app, Place(message.at_ms, id)) is not None

    def _was_deleted_here(self, message: Message, target: Target) -> bool:
        """Whether it was sent here and is gone: it has an id of ours, from between the creation of its conversation and now.

        Of a conversation that was imported that says nothing, since another broker may have given the id; nor of a room, since
        there may be one of its name anywhere.
        """
        id = message_id(message.alias)
        if id is None or target.conversation.kind not in ("group", "service"):
            return False
        with self._broker.snapshot() as snapshot:
            views = snapshot.views
            row = views.conversation(self._app, target.conversation)
            imported = views.was_imported(self._app, target.conversation.id)
            return row is not None and not imported and row.number < position_of(id) <= views.position

    async def _created(self, message: Message) -> Target | None:
        """A group for messages that name one that is not there. One that was imported, and deleted here since, is not made
        again; of one that was created here nothing is known any more when it is deleted and swept."""
        conversation = Conversation("group", message.conversation)
        command = ImportConversation(
            app=self._app, conversation=conversation, created_ms=message.at_ms, updated_ms=message.at_ms
        )
        (outcome,) = await self._broker.submit_many([command])
        if isinstance(outcome, _OURS):
            raise Stopped(outcome.message)
        if isinstance(outcome, Refusal) or outcome.duplicate:
            return None
        self.report.created += 1
        self._targets.forget(message.conversation)
        return Target(conversation)

    def _command(self, message: Message, target: Target | None) -> ImportMessage:
        """One whose conversation is not known may still be known itself: it was imported, and all deleted since."""
        conversation = target.conversation if target is not None else Conversation("group", message.conversation)
        return ImportMessage(
            app=self._app,
            conversation=conversation,
            sender=message.sender,
            body=message.body,
            format=message.format,
            at_ms=message.at_ms,
            alias=message.alias,
            recipients=target.recipients if target is not None else (),
            recalled=message.recalled,
            mentions=message.mentions,
            mention_all=message.mention_all,
            via=VIA,
        )

    async def _give(self, batch: Sequence[tuple[Where, Command]], taken: Taken) -> None:
        """Carry a batch out, and count what became of it. Raises Stopped."""
        if not batch:
            return
        outcomes = await self._broker.submit_many([command for _, command in batch])
        for (where, _), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, _OURS):
                raise Stopped(outcome.message)
            if isinstance(outcome, Refusal):
                self._refuse(taken, where, outcome.code, outcome.message)
            elif outcome.duplicate:
                taken.duplicates += 1
            else:
                taken.imported += 1

    def _numbered(self, file: ExportFile) -> Iterator[tuple[Where, bytes | Bad]]:
        for number, record in enumerate(file.records(), 1):
            self._each()
            yield Where(str(file.path), number), record

    def _refuse(self, taken: Taken, where: Where, code: str, reason: str) -> None:
        taken.refused += 1
        self.report.reasons[code] += 1
        if len(self.report.refused) < TOLD_MAX:
            self.report.refused.append(Refused(where.file, where.number, code, reason))


def _sound(record: bytes | Bad) -> bytes:
    """Raises Unusable."""
    if isinstance(record, Bad):
        raise Unusable("malformed", record.reason)
    return record
