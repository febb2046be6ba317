"""What a command may take of the disk at worst, and which commands of a batch the room left allows.

When the disk is full, messages are refused while a reserve serves what gives room back.
"""

from collections.abc import Sequence
from typing import Final

from .commands import (
    Ack,
    Command,
    DeleteMessage,
    EditMessage,
    EndStaleSessions,
    ExpireDedup,
    ExpireQueue,
    Login,
    Logout,
    RecallMessage,
    SendMessage,
    StartEpoch,
)
from .limits import BODY_BYTES_MAX, COMMAND_ROWS_MAX, QUEUE_MESSAGES_MAX, SWEEP_STEP
from .model import Rules

ROW_BYTES: Final = 4096
"""A row written on a cold page costs the page; 10,000 puts on cold queues took 40 MiB. So does a row removed, since pages
are copied on write."""
BATCH_BYTES: Final = 64 * ROW_BYTES
"""What a commit costs besides its rows: roots, branches, the list of freed pages."""
TRIM_RECORD_BYTES: Final = 8 * ROW_BYTES

_SEND_ROWS: Final = 8
"""Log, body, entry, user row, timeline, two of dedup, totals."""
_CHANGE_ROWS: Final = _SEND_ROWS + 4
_QUEUE_ROWS: Final = 10
"""What collecting a queue writes besides its entries and their bodies."""

_FIXED: Final[dict[type[Command], int]] = {
    SendMessage: _SEND_ROWS,
    EditMessage: _CHANGE_ROWS,
    RecallMessage: _CHANGE_ROWS,
    Logout: _CHANGE_ROWS,
    StartEpoch: _CHANGE_ROWS,
    ExpireDedup: 2 * SWEEP_STEP,
    EndStaleSessions: 3 * SWEEP_STEP,
}
_GIVES_BACK: Final = (Ack, DeleteMessage, ExpireDedup, ExpireQueue, EndStaleSessions, Logout, RecallMessage, StartEpoch)


def estimate(command: Command, rules: Rules) -> tuple[int, int]:
    """How many rows the command writes or removes at most, and how many bytes of the disk that may take."""
    rows = _FIXED.get(type(command)) or rules.queue_messages + _QUEUE_ROWS
    size = rows * ROW_BYTES
    if isinstance(command, SendMessage | EditMessage):
        size += len(command.body) + ROW_BYTES
    return rows, size


def admit(commands: Sequence[tuple[Command, int]], room: int, reserve: int) -> list[bool]:
    """Which of a batch's (command, cost) fit into the room.

    Messages fit above the reserve, logins into its upper half, what gives room back into all of it.
    """
    left = room - BATCH_BYTES
    admitted = []
    for command, cost in commands:
        keeps = reserve
        if isinstance(command, _GIVES_BACK):
            keeps = 0
        elif isinstance(command, Login):
            keeps = reserve // 2
        if keeps < reserve:
            # The worst case of a queue of thousands would never fit a small reserve; it never happens all at once.
            cost = min(cost, reserve // 4)
        fits = left - cost >= keeps
        admitted.append(fits)
        if fits:
            left -= cost
    return admitted


assert _SEND_ROWS * ROW_BYTES + BODY_BYTES_MAX < 1 << 20  # one message fits the least room a disk is asked for
assert QUEUE_MESSAGES_MAX + _QUEUE_ROWS <= COMMAND_ROWS_MAX
