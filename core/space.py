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
from .limits import BODY_BYTES_MAX, QUEUE_MESSAGES_MAX, SWEEP_STEP
from .model import Rules

ROW_BYTES: Final = 4096
"""A row written on a cold page costs the page; 10,000 puts on cold queues took 40 MiB."""
_SEND_ROWS: Final = 8
"""Log, body, entry, user row, timeline, two of dedup, totals."""
TRIM_RECORD_BYTES: Final = 8 * ROW_BYTES
BATCH_BYTES: Final = 64 * ROW_BYTES
"""What a commit costs besides its rows: roots, branches, the list of freed pages."""

_GIVES_BACK: Final = (Ack, DeleteMessage, ExpireDedup, ExpireQueue, EndStaleSessions, Logout, RecallMessage, StartEpoch)


def rows(command: Command, rules: Rules) -> int:
    """How many rows the command writes or removes at most."""
    match command:
        case SendMessage():
            return _SEND_ROWS
        case EditMessage() | RecallMessage() | Logout() | StartEpoch():
            return _SEND_ROWS + 4
        case Ack() | Login() | ExpireQueue() | DeleteMessage():
            return rules.queue_messages + 10
        case _:
            return 4 * SWEEP_STEP


def cost_bytes(command: Command, rules: Rules) -> int:
    """How much of the disk the command takes at most; removing a row costs its page too, since pages are copied on write."""
    cost = rows(command, rules) * ROW_BYTES
    if isinstance(command, SendMessage | EditMessage):
        cost += len(command.body) + ROW_BYTES
    return cost


def admit(commands: Sequence[tuple[Command, int]], room: int, reserve: int) -> list[bool]:
    """Which of a batch's (command, cost) fit: messages above the reserve, what gives room back into all of it, logins into
    the reserve's upper half."""
    floor = {True: 0, False: reserve}
    left = room - BATCH_BYTES
    admitted = []
    for command, cost in commands:
        keeps = reserve // 2 if isinstance(command, Login) else floor[isinstance(command, _GIVES_BACK)]
        # A queue of thousands could never be collected from the reserve if its worst case had to fit; it never is the case.
        cost = min(cost, reserve // 4) if keeps < reserve else cost
        fits = left - cost >= keeps
        admitted.append(fits)
        if fits:
            left -= cost
    return admitted


assert _SEND_ROWS * ROW_BYTES + BODY_BYTES_MAX < 1 << 20  # one message fits the least reserve a disk can have
assert QUEUE_MESSAGES_MAX + 10 < 30_010
