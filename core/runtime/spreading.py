"""In how many queues a command has to do, as far as that takes a look at the views; and what of a batch comes later for it.

The inbox cannot know how many members a group has, so it takes a message to one for a message to a peer. On the writer's
thread the record tells, and a batch that turns out to be too much is cut: what is cut off comes next, in its order.
"""

from collections.abc import Sequence
from itertools import islice

from ..commands import ChangeMessage, DeleteConversation, DeleteMessage, SendMessage
from ..errors import Corruption
from ..ids import POSITION_MAX, Place, position_of
from ..limits import BATCH_ROWS_MAX, DELETED_LEAVES_MAX, GROUP_COPIES_MAX, INDEX_TERMS_MAX, NAME_BYTES_MAX
from ..ports import Snapshot, Store
from ..space import ROW_BYTES, STAY_ROWS
from .pending import Pending


def cut(batch: Sequence[Pending], store: Store) -> tuple[Sequence[Pending], list[Pending]]:
    """The first of the batch that write no more than a batch should, at least one; and the rest."""
    if not any(pending.spreads for pending in batch):
        return batch, []
    rows = 0
    with store.snapshot() as snapshot:
        for index, pending in enumerate(batch):
            if rows >= BATCH_ROWS_MAX:
                return batch[:index], list(batch[index:])
            if pending.spreads:
                pending.spread(*_recipients(snapshot, pending.command))
            rows += pending.rows
    return batch, []


def _recipients(snapshot: Snapshot, command: object) -> tuple[int, int]:
    """Queues, and copies of a service's message. As things are before the batch: what it changes itself comes too late to be
    counted, and is within its bounds."""
    if isinstance(command, SendMessage):
        record = snapshot.views.conversation(command.app, command.to)
        # A larger group's message stands once, in its stream.
        return (record.members if record is not None and record.members <= GROUP_COPIES_MAX else 0), 0
    if isinstance(command, DeleteConversation):
        return _found_by(snapshot, command), 0
    assert isinstance(command, ChangeMessage)
    if not 0 < command.id <= POSITION_MAX:
        return 0, 0
    changed = snapshot.views.changed(command.id)
    try:
        header = snapshot.bodies.header(changed.body if changed else position_of(command.id))
    except Corruption:
        return 0, 0  # the command itself will meet it
    if header is None or header.conversation.kind not in ("group", "service"):
        return 0, 0
    kept = snapshot.views.kept(header.app, Place(header.at_ms, command.id))
    recipients = len(kept.recipients) if kept is not None else 0
    if command.recipients:  # from whomever it is hidden, the row that names all recipients is written anew
        some, page = len(command.recipients), ROW_BYTES // NAME_BYTES_MAX
        return some, some + (recipients // page if isinstance(command, DeleteMessage) else 0)
    named = recipients if kept is not None and kept.named else 0
    return recipients, named + (changed.copies if changed is not None else 0)


def _found_by(snapshot: Snapshot, command: DeleteConversation) -> int:
    """Rows that go with a record: of its attributes, and of who leaves the room. Its lists are swept."""
    record = snapshot.views.conversation(command.app, command.conversation)
    if record is None:
        return 0
    rows = min(len(record.attributes) // 2, INDEX_TERMS_MAX)
    if record.kind == "room":
        members = snapshot.views.members(command.app, record.id)
        rows += STAY_ROWS * sum(1 for _ in islice(members, DELETED_LEAVES_MAX))
    return rows
