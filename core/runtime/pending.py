"""Commands on their way, and their outcomes on the way back."""

from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import trio

from ..commands import (
    Ack,
    ChangeMessage,
    Command,
    ConversationCommand,
    CreateConversation,
    DeleteBroadcast,
    DeleteConversation,
    DeleteMessage,
    EditBroadcast,
    EditMessage,
    ImportConversation,
    ImportMessage,
    Kick,
    Login,
    Logout,
    RecallMessage,
    SendBroadcast,
    SendMessage,
    Transact,
    UpdateConversation,
    UsersCommand,
)
from ..domain import Opening, Result, Wait
from ..errors import StorageFailure
from ..events import Record
from ..model import Lane, Receipt, Rules
from ..rows import Body
from ..space import estimate

if TYPE_CHECKING:
    from .session import Session
    from .waits import Waiter

_OVERHEAD_BYTES: Final = 512
_CONTROL: Final = frozenset((Login, Logout, Kick, RecallMessage, DeleteMessage, DeleteConversation, DeleteBroadcast))
_NEVER_REFUSED: Final = frozenset((Ack, Logout))


class Settled(msgspec.Struct, frozen=True):
    """What a command came to, once it is on disk; a refused one has no records."""

    result: Result | Exception | None
    records: tuple[Record, ...] = ()
    body: Body | None = None
    wait: Wait = "offline"
    audience: tuple[str, ...] = ()
    """As of the decision."""
    stream: int = 0
    """Of what stands in a stream: its message's running number there."""
    hidden_from: tuple[str, ...] = ()
    """Of what became of a message to many: members who are told nothing of it."""
    opening: Opening | None = None
    """Of a login."""

    def raise_refusal(self) -> None:
        """Raise the outcome, if it is a Refusal or StorageFailure."""
        if isinstance(self.result, StorageFailure):
            raise StorageFailure(str(self.result)) from self.result  # many callers share it: each gets one of its own
        if isinstance(self.result, Exception):
            raise self.result

    def receipt(self) -> Receipt:
        """The outcome of a caller's command. Raises Refusal or StorageFailure."""
        self.raise_refusal()
        assert isinstance(self.result, Receipt)
        return self.result


class Caller(Protocol):
    """Whoever waits for outcomes."""

    def done(self, pending: "Pending") -> None:
        """Called once, when the command is settled."""


class Pending:
    """One command from the moment it is submitted until its caller has its outcome."""

    __slots__ = (
        "caller", "command", "control", "cost", "lane", "never_refused", "rows", "rules", "session", "settled", "size",
        "spreads", "waiter", "withdrawn",
    )  # fmt: skip

    def __init__(self, command: Command, rules: Rules, caller: "Caller") -> None:
        self.command = command
        self.rules = rules
        self.caller = caller
        self.settled: Settled | None = None
        self.rows, self.cost = estimate(command, rules)
        self.size = _OVERHEAD_BYTES
        self.lane: Lane = "high"
        kind = type(command)
        self.control = kind in _CONTROL
        """It has a further tenth of the inbox."""
        self.never_refused = kind in _NEVER_REFUSED
        """It waits for room on the disk rather than be refused."""
        self.spreads = False
        """It may have to do in the queues of many, or with all who are in a room: how many is seen on the writer's thread."""
        if isinstance(command, SendMessage):
            self.lane = command.lane
            self.size += len(command.body) + len(command.push)
            if command.recipients:
                self.size += sum(map(len, command.recipients))
            self.spreads = command.queue and command.to.kind == "group"
        elif isinstance(command, ChangeMessage):
            self.spreads = True
            if isinstance(command, EditMessage):
                self.lane = "normal"
                self.size += len(command.body)
            elif isinstance(command, RecallMessage) and command.replacement:
                self.control = False
                self.size += len(command.replacement)
        elif isinstance(command, SendBroadcast | EditBroadcast):
            self.lane = "normal"
            self.size += len(command.body)
        elif isinstance(command, ImportMessage):
            self.lane = "low"
            self.size += len(command.body)
        elif isinstance(command, ConversationCommand):
            self.lane = "normal"
            self.size += size_of(command)
            self.spreads = isinstance(command, DeleteConversation)
        self.withdrawn = False
        """The caller is gone: not carried out if the writer has not taken it, and nobody to tell if it has."""
        self.session: Session | None = None
        """Of a Login: who logs in. Of a Join that wants to be told what it missed: who joins."""
        self.waiter: Waiter | None = None
        """Of a send whose caller waits for an ack that may still come."""

    def spread(self, recipients: int, copies: int) -> None:
        """It has to do in so many queues, and with so many recipients' own copies and timelines."""
        rows, cost = estimate(self.command, self.rules, recipients, copies)
        self.rows, self.cost = rows, max(self.cost, cost)  # what it took when it was tried is known better

    def settle(self, settled: Settled) -> None:
        """Hand over the outcome."""
        self.settled = settled
        self.caller.done(self)


def size_of(command: ConversationCommand) -> int:
    """What a command about a record carries, in bytes or nearly."""
    match command:
        case CreateConversation() | ImportConversation():
            return len(command.attributes) + sum(map(len, command.members)) + sum(map(len, command.muted))
        case UpdateConversation():
            return sum(len(operation.key) + len(operation.value) for operation in command.operations)
        case UsersCommand():
            return sum(map(len, command.users))
        case Transact():
            return sum(map(size_of, command.steps))
        case _:
            return 0


class Call:
    """One caller waiting for one command."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    def done(self, pending: Pending) -> None:
        """Wake the caller, if it still waits."""
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self, pending: Pending) -> Settled:
        """The outcome. Cancelled before the command is taken, it is withdrawn; after that it is carried out regardless."""
        if pending.settled is None:
            self._task = trio.lowlevel.current_task()

            def abort(_: object) -> trio.lowlevel.Abort:
                self._task = None
                pending.withdrawn = True
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        assert pending.settled is not None
        return pending.settled


class Group:
    """One caller waiting for many commands."""

    def __init__(self) -> None:
        self._done = 0
        self._awaited: int | None = None
        self._all = trio.Event()

    def done(self, _: Pending) -> None:
        """One more has its outcome."""
        self._done += 1
        if self._done == self._awaited:
            self._all.set()

    async def wait_for(self, count: int) -> None:
        """Until that many have their outcomes."""
        self._awaited = count
        if self._done < count:
            await self._all.wait()
        else:
            await trio.lowlevel.checkpoint()
