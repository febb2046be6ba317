"""What a command may take of the disk at worst, and which commands of a batch the room left allows.

When the disk is full, messages are refused while a reserve serves what gives room back.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from .commands import (
    Ack,
    AddMembers,
    BanUsers,
    CollectResult,
    Command,
    ConversationCommand,
    CreateConversation,
    DeleteBroadcast,
    DeleteConversation,
    DeleteMessage,
    EditBroadcast,
    EditMessage,
    EndStaleSessions,
    ExpireBroadcasts,
    ExpireDedup,
    ExpireGaps,
    ExpireHistory,
    ExpireQueue,
    ExpireResults,
    ExpireSilences,
    ImportConversation,
    ImportMessage,
    Kick,
    Leave,
    Login,
    Logout,
    MarkRead,
    RecallMessage,
    RemoveMembers,
    SendBroadcast,
    SendMessage,
    StartEpoch,
    SweepConversation,
    TakeFeed,
    Transact,
    UpdateConversation,
    UsersCommand,
)
from .limits import (
    ATTRIBUTES_BYTES_MAX,
    BODY_BYTES_MAX,
    COMMAND_ROWS_MAX,
    COPIES_MAX,
    INDEX_TERMS_MAX,
    KIB,
    MEMBERS_MAX,
    NAME_BYTES_MAX,
    QUEUE_MESSAGES_MAX,
    RECIPIENTS_MAX,
    STEPS_MAX,
    SWEEP_STEP_MIN,
)
from .model import Rules

ROW_BYTES: Final = 8 * KIB
"""A row written or removed on a cold page costs the page, since pages are copied on write, and at worst another one: the
branch above it, or the other half of a split. (Measured, with nothing used again: 0.1 to 1.1 pages a row.)"""
BATCH_BYTES: Final = 256 * KIB
"""What a commit costs besides its rows: roots, branches, the list of freed pages."""
TRIM_RECORD_BYTES: Final = 6 * ROW_BYTES
"""Of a record as they come; what more there is to one shows when it is folded, and then fewer are folded at once."""

_SEND_ROWS: Final = 10
"""Log, body, entry, the one it pushes out and its body, user row, two of dedup, what a room lost, totals; of what stands in a
stream its running number and its place there instead of four of these."""
_KEPT_ROWS: Final = 4
"""Of a message in the history: its own, and one in each of three timelines."""
_NUMBERED_ROWS: Final = 2
"""Of one that takes a running number: the number, and what its sender has read."""
_CHANGE_ROWS: Final = _SEND_ROWS + _KEPT_ROWS + 2
_EPOCH_ROWS: Final = 4
_QUEUE_ROWS: Final = 10
"""What collecting a queue writes besides its entries and their bodies."""
_ENTRY_ROWS: Final = 3
"""Its body, and two of a message that was changed; entries themselves lie side by side."""
_RESULT_ROWS: Final = 2
"""A result by its handle and by its end."""
_DEDUP_ROWS: Final = 3
"""An outcome by its key and by its end, and what waits for its ack."""
_CONFIRM_ROWS: Final = 6
"""The event; what waits for the ack, and the outcome kept for retries under both of its keys, taken out and put back."""
STAY_ROWS: Final = 7
"""Of a join or a leave: the event, the member, the stay as it was and as it is, when it ended, the feed's new and oldest."""
_FORGET_ROWS: Final = _KEPT_ROWS + 4
"""Of a message that leaves the history: its body, and two of a message that was changed, or the entry that gets the body; or
what was known of the change, and two places in a stream."""
_TAKEN_ROWS: Final = 40
"""Of a feed that is taken: its events lie side by side, some 30 a page."""
_COPY_ROWS: Final = 5
"""Of each copy of a group's message, or of a change: the entry, one it pushes out with what was known of that, the user's row,
and the entry that a deletion withdraws."""
_OWN_ROWS: Final = 3
"""Of each user whom a service's message names, or of whose copy a change has to do: the message in their timeline, or their
copy's row, the body that it showed, and how many showed that."""
_RECORD_ROWS: Final = 8
"""The event, a conversation's record, its place in the order of creation, the list it is the one of its members by, totals."""
_LISTED_ROWS: Final = 4
"""Somebody on a list of a conversation: in their place, by their name, and the conversation among theirs, a service twice. Or
somebody silenced for a while: it, its end, and the end that it had before."""
_LEFT_ROWS: Final = _LISTED_ROWS + 2
"""Of a member who leaves: the same, and what they were a member of, by user and by end."""
_UNREAD_ROWS: Final = 3
"""Of somebody who joins or leaves: what they have read there, before and then, and that they were no member."""
_SILENCE_ROWS: Final = 3
"""Of a silence for a while: itself, its end, and a share of the event that forgets it."""
_BROADCAST_ROWS: Final = 3
"""Of a broadcast that is forgotten: itself, its body, and a share of the event."""
_QUOTA_ROWS: Final = 2
"""The event that counts a command, and how many that makes."""
_IMPORT_ROWS: Final = _KEPT_ROWS + 7
"""Of an imported message: the event, the body, its name elsewhere, what says that it was recalled, totals, and two for names
as long as they come."""
_FEW_ROWS: Final[dict[type[Command], int]] = {StartEpoch: _EPOCH_ROWS, Kick: _EPOCH_ROWS}
"""What always writes as little."""
_SWEPT_ROWS: Final[dict[type[Command], int]] = {
    ExpireDedup: _DEDUP_ROWS,
    ExpireResults: _RESULT_ROWS,
    ExpireSilences: _SILENCE_ROWS,
    EndStaleSessions: STAY_ROWS,
    ExpireHistory: _FORGET_ROWS,
    SweepConversation: _FORGET_ROWS,
    ExpireBroadcasts: _BROADCAST_ROWS,
}
"""Of each thing that a sweep ends."""
_BRING_BODIES: Final = (EditMessage, SendBroadcast, EditBroadcast, ImportMessage)
"""What always does, besides a send."""
_LONG_BODY_BYTES: Final = 2_500
"""A body longer than this may not fit one page with its header. Its pages must lie side by side: at the file's end."""

_EPOCH_BYTES: Final = BATCH_BYTES + _EPOCH_ROWS * ROW_BYTES
_STEP_BYTES: Final = 2 * BATCH_BYTES + 2 * ROW_BYTES
"""A commit that sweeps as little as there is to sweep at once (`limits.SWEEP_STEP_MIN`)."""
ACK_BYTES: Final = _QUEUE_ROWS * ROW_BYTES
"""What an ack takes besides the entries it takes out and the messages it confirms."""
ACK_ENTRY_BYTES: Final = _ENTRY_ROWS * ROW_BYTES
ACK_CONFIRM_BYTES: Final = _CONFIRM_ROWS * ROW_BYTES
LOGOUT_BYTES: Final = _CHANGE_ROWS * ROW_BYTES
"""What a logout takes besides the rooms that are left with it."""
LEAVE_BYTES: Final = STAY_ROWS * ROW_BYTES + 6 * NAME_BYTES_MAX
"""What each of them takes; user and room are named in the event and the feed, the room also in the stay."""
SWEEPING_LEAVES: Final = _EPOCH_BYTES
"""What sweeping and trimming leave of the reserve."""
_LEAVES: Final[dict[type[Command], int]] = {
    StartEpoch: 0,
    EndStaleSessions: SWEEPING_LEAVES,
    ExpireDedup: SWEEPING_LEAVES,
    ExpireQueue: SWEEPING_LEAVES,
    ExpireResults: SWEEPING_LEAVES,
    ExpireSilences: SWEEPING_LEAVES,
    ExpireHistory: SWEEPING_LEAVES,
    ExpireGaps: SWEEPING_LEAVES,
    SweepConversation: SWEEPING_LEAVES,
    ExpireBroadcasts: SWEEPING_LEAVES,
    Ack: _EPOCH_BYTES + _STEP_BYTES,
    Logout: _EPOCH_BYTES + _STEP_BYTES,
    Leave: _EPOCH_BYTES + _STEP_BYTES,
    TakeFeed: _EPOCH_BYTES + _STEP_BYTES,
    CollectResult: _EPOCH_BYTES + _STEP_BYTES,
    RecallMessage: _EPOCH_BYTES + _STEP_BYTES,
    DeleteMessage: _EPOCH_BYTES + _STEP_BYTES,
    DeleteConversation: _EPOCH_BYTES + _STEP_BYTES,
    DeleteBroadcast: _EPOCH_BYTES + _STEP_BYTES,
}
"""What each leaves of the reserve to those that are served before it."""


class Room(NamedTuple):
    """What one transaction may take of the disk."""

    tail: int
    """Bytes at the file's end."""
    free: int
    """Bytes of pages within it that may be used again, one by one; 0 if the tail is enough."""
    reserve: int
    """What of both is kept for who gives room back."""

    @property
    def ample(self) -> int:
        """What any transaction may write, whatever it is."""
        return self.tail + self.free - BATCH_BYTES - self.reserve

    def takes(self, size: int, *, leaving: int) -> bool:
        """Whether one transaction may write so much and leave so much."""
        return self.tail + self.free - BATCH_BYTES - size >= leaving


def estimate(command: Command, rules: Rules, recipients: int = 0, copies: int = 0) -> tuple[int, int]:
    """How many rows the command writes or removes at most, and how many bytes of the disk that will hardly exceed.

    Of a login or a deletion the bytes are those of the usual case: what it finds to expire or to withdraw is seldom much.
    `recipients`: of a message to a group, or of a change of one or of a service's, in how many queues it has to do; of the
    deletion of a conversation, how many rows go with its record. `copies`: of a change of a service's message, with how many
    copies and timelines of users.
    """
    if isinstance(command, SendMessage):  # most are
        return _of_send(command, recipients)
    rows = usual = _FEW_ROWS.get(type(command), _CHANGE_ROWS)
    match command:
        case ImportMessage():
            rows = usual = _IMPORT_ROWS + _KEPT_ROWS * len(command.recipients)
        case Login() | DeleteMessage():
            rows = rules.queue_messages + _QUEUE_ROWS
        case Ack():
            entries = min(rules.queue_messages, command.count)
            rows = usual = _QUEUE_ROWS + _ENTRY_ROWS * entries + _CONFIRM_ROWS * len(command.confirmed)
        case ExpireQueue():
            rows = usual = min(rules.queue_messages, command.limit) + _QUEUE_ROWS
        case (
            ExpireDedup()
            | ExpireResults()
            | ExpireSilences()
            | EndStaleSessions()
            | ExpireHistory()
            | SweepConversation()
            | ExpireBroadcasts()
        ):
            rows = usual = _SWEPT_ROWS[type(command)] * command.limit + _EPOCH_ROWS
        case ExpireGaps():
            rows = usual = 2 * min(len(command.rooms), command.limit) + _EPOCH_ROWS
        case TakeFeed():
            rows, usual = command.limit + _EPOCH_ROWS, _TAKEN_ROWS
        case ConversationCommand():
            return _of_record(command, recipients)
        case Logout():
            rows = usual = STAY_ROWS * min(command.rooms, command.rooms_max) + _CHANGE_ROWS
    more = _COPY_ROWS * recipients + _OWN_ROWS * copies + _QUOTA_ROWS * (getattr(command, "quota", None) is not None)
    rows, usual = rows + more, usual + more
    size = usual * ROW_BYTES
    if isinstance(command, _BRING_BODIES) or _body_bytes(command):
        size += _body_bytes(command) + ROW_BYTES
    return rows, size


def _of_send(command: SendMessage, recipients: int) -> tuple[int, int]:
    rows, kind = _SEND_ROWS + _COPY_ROWS * recipients, command.to.kind
    if kind == "service":
        rows += (_COPY_ROWS + _OWN_ROWS) * len(command.recipients)
    if command.history:
        rows += _KEPT_ROWS if kind == "peer" or kind == "room" else _KEPT_ROWS + _NUMBERED_ROWS
    if command.quota is not None:
        rows += _QUOTA_ROWS
    return rows, (rows + 1) * ROW_BYTES + len(command.body)


def _of_record(command: ConversationCommand, going: int) -> tuple[int, int]:
    """Each value of the attributes may be a row to find the conversation by, and takes two bytes at least.

    What an update's keys had before is not known; it is taken for as much as they get. `going`: rows that a deletion takes
    out.
    """
    match command:
        case Transact():
            steps = [_of_record(step, 0) for step in command.steps]
            return sum(rows for rows, _ in steps), sum(size for _, size in steps)
        case CreateConversation() | ImportConversation():
            users, values = len(command.members) + len(command.muted), len(command.attributes) // 2
            size = 2 * len(command.attributes)
        case UpdateConversation():
            users, values = 0, sum(len(operation.value) + 2 for operation in command.operations)
            size = 2 * ATTRIBUTES_BYTES_MAX
        case DeleteConversation():
            rows = _RECORD_ROWS + going
            return rows, rows * (ROW_BYTES + NAME_BYTES_MAX)  # whoever leaves a room is named in the event and the feed
        case MarkRead():
            return _EPOCH_ROWS + _UNREAD_ROWS, (_EPOCH_ROWS + _UNREAD_ROWS) * ROW_BYTES + 4 * NAME_BYTES_MAX
        case UsersCommand():
            users, values, size = min(len(command.users), MEMBERS_MAX), 0, ATTRIBUTES_BYTES_MAX
        case _:
            users, values, size = 1, 0, ATTRIBUTES_BYTES_MAX
    listed = _LEFT_ROWS if isinstance(command, RemoveMembers) else _LISTED_ROWS
    rows = _RECORD_ROWS + listed * users + min(values, 2 * INDEX_TERMS_MAX)
    if isinstance(command, CreateConversation) and command.muted:  # two events
        rows += _RECORD_ROWS
    if isinstance(command, AddMembers | RemoveMembers):
        rows += _UNREAD_ROWS * users
        size += users * 2 * NAME_BYTES_MAX
    if isinstance(command, BanUsers):  # whoever is in it leaves first: as a member, or out of a room
        rows += _RECORD_ROWS + users * max(_LEFT_ROWS + _UNREAD_ROWS, STAY_ROWS)
        size += ATTRIBUTES_BYTES_MAX + users * 6 * NAME_BYTES_MAX
    return rows, rows * ROW_BYTES + size + 4 * NAME_BYTES_MAX * users


def leaves(command: Command, reserve: int) -> int:
    """What of the reserve a command may not touch: messages none of it, logins and kicks its lower half, the rest by their
    order. A recall that brings a body is as a message."""
    if isinstance(command, RecallMessage) and command.replacement:
        return reserve
    if isinstance(command, Login | Kick):
        return reserve // 2
    return min(reserve, _LEAVES.get(type(command), reserve))


def admit(commands: Sequence[tuple[Command, int]], room: Room) -> list[bool]:
    """Which of a batch's (command, cost) fit into the room, in their order."""
    size = long = 0
    admitted = []
    for command, cost in commands:
        run = _run_bytes(command)
        fits = room.takes(size + cost, leaving=leaves(command, room.reserve))
        fits &= not run or long + run <= room.tail - room.reserve // 2
        admitted.append(fits)
        if fits:
            size += cost
            long += run
    return admitted


def is_full(room: Room) -> bool:
    """Whether not even a small message fits."""
    return not room.takes((_SEND_ROWS + 1) * ROW_BYTES + _LONG_BODY_BYTES, leaving=room.reserve)


def _run_bytes(command: Command) -> int:
    """What the command needs side by side."""
    size = _body_bytes(command)
    return size + ROW_BYTES if size > _LONG_BODY_BYTES else 0


def _body_bytes(command: Command) -> int:
    """What it brings to be kept as a body."""
    match command:
        case SendMessage() | EditMessage() | SendBroadcast() | EditBroadcast() | ImportMessage():
            return len(command.body)
        case RecallMessage():
            return len(command.replacement)
        case _:
            return 0


assert (
    _SEND_ROWS + _KEPT_ROWS + _NUMBERED_ROWS
) * ROW_BYTES + BODY_BYTES_MAX < 1 << 20  # one message fits the least room a disk is asked for
assert _CHANGE_ROWS + _COPY_ROWS * RECIPIENTS_MAX + _OWN_ROWS * (RECIPIENTS_MAX + COPIES_MAX) <= COMMAND_ROWS_MAX
assert STEPS_MAX * (2 * _RECORD_ROWS + (2 * _LEFT_ROWS + _UNREAD_ROWS) * MEMBERS_MAX) <= COMMAND_ROWS_MAX
assert QUEUE_MESSAGES_MAX + _QUEUE_ROWS <= COMMAND_ROWS_MAX
assert BATCH_BYTES + (max(STAY_ROWS, _FORGET_ROWS) * SWEEP_STEP_MIN + _QUEUE_ROWS) * ROW_BYTES <= _STEP_BYTES
