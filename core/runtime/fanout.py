"""Making a commit known: to the sessions it concerns and to the senders that wait, in the order of the log."""

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeVar, assert_never

import trio

from ..commands import DeleteMessage, Join, SendMessage
from ..domain import Collected, Entered, Welcome
from ..errors import Refusal
from ..events import (
    Acked,
    ConversationCreated,
    ConversationImported,
    LoggedIn,
    LoggedOut,
    MembersAdded,
    MembersRemoved,
    MessageConfirmed,
    MessageDeleted,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    Record,
    RoomJoined,
    RoomLeft,
    UserKicked,
)
from ..events.broadcasts import BroadcastDeleted, BroadcastEdited, BroadcastSent
from ..events.deletion import ConversationDeleted
from ..ids import Position
from ..limits import OFFERS_AT_ONCE_MAX
from ..model import Receipt, room
from ..rows import Body
from .delivery import Delivery, broadcast_delivery, delivery
from .pending import Pending, Settled
from .rooms import RoomIndex
from .session import Session
from .statistics import Counters
from .streams import StreamIndex
from .waits import Waiter, Waits

T = TypeVar("T")

_log = logging.getLogger("postroom.core.fanout")


class Fanout:
    """The open sessions of a broker, by user."""

    def __init__(self, waits: Waits, counters: Counters) -> None:
        self._sessions: dict[tuple[str, str], list[Session]] = {}
        self._online: Counter[str] = Counter()
        """Users with a session, by app."""
        self._apps: dict[str, dict[Session, None]] = {}
        """The same sessions by app, for what goes to all."""
        self._closing = False
        self._left = trio.Event()
        self._waits = waits
        self._counters = counters
        self._rooms = RoomIndex()
        self._streams = StreamIndex()
        self._offered = 0

    @property
    def rooms(self) -> int:
        """Rooms with somebody in them."""
        return self._rooms.count

    def sessions(self) -> list[Session]:
        """All that are open."""
        return [session for sessions in self._sessions.values() for session in sessions]

    def online(self, app: str) -> int:
        """How many users of the app have a session that nobody has left."""
        return self._online[app]

    def close(self) -> None:
        """Tell every session, and every one that opens from now on, that the broker shuts down."""
        self._closing = True
        for session in self.sessions():
            session.close("shutdown")

    async def emptied(self) -> None:
        """Wait until the owner of every session has left."""
        while self._sessions:
            self._left = trio.Event()
            await self._left.wait()

    def rooms_of(self, app: str, user: str) -> int:
        """How many rooms a user is in."""
        return self._rooms.rooms_of(app, user)

    async def publish(self, outcomes: dict[Pending, Settled]) -> None:
        """Tell everyone concerned by a batch, command by command, and hand each caller its outcome.

        Whoever else has something to do gets a turn now and then: a batch to large rooms is a million frames.
        """
        for pending, settled in outcomes.items():
            if isinstance(settled.result, Refusal):
                self._counters.refusals[pending.command.app, settled.result.code] += 1
            elif settled.wait == "pending" and not pending.withdrawn:
                self._wait(pending, settled)
            for record in settled.records:
                self._tell(record, pending, settled)
            if pending.session is not None and isinstance(settled.result, Entered) and not pending.withdrawn:
                assert isinstance(pending.command, Join)
                pending.session.entered(room(pending.command.room))
            pending.settle(settled)
            if self._offered >= OFFERS_AT_ONCE_MAX:
                self._offered = 0
                await trio.lowlevel.cancel_shielded_checkpoint()

    def detach(self, session: Session) -> None:
        """The session's owner is gone: nothing more for it."""
        key = session.app, session.user
        sessions = self._sessions.get(key, [])
        if session in sessions:
            sessions.remove(session)
            del self._apps[session.app][session]
            if not self._apps[session.app]:
                del self._apps[session.app]
            self._counters.sessions[session.app] -= 1
        if not sessions and self._sessions.pop(key, None) is not None:
            self._online[session.app] -= 1
            self._streams.offline(*key)
        self._left.set()

    def _wait(self, pending: Pending, settled: Settled) -> None:
        """Before any session is offered the message: its ack may come at once."""
        command = pending.command
        if not isinstance(command, SendMessage) or command.wait_ack_ms is None:
            return
        assert isinstance(settled.result, Receipt)
        pending.waiter = Waiter(command.app, command.to.id, settled.result.id, queued=command.queue)
        self._waits.add(pending.waiter)

    def _tell(self, record: Record, pending: Pending, settled: Settled) -> None:
        match record.event:
            case MessageSent() | MessageEdited() | MessageRecalled() | MessageDeleted() as event:
                self._tell_message(record, event, pending, settled)
            case Acked() as event:
                assert isinstance(settled.result, Collected)
                self._waits.collected(event.app, event.user, settled.result.positions)
                self._tell_acked(event)
            case MessageConfirmed() as event:
                self._waits.confirmed(event.app, event.id)
            case (
                RoomJoined()
                | RoomLeft()
                | ConversationCreated()
                | ConversationImported()
                | MembersAdded()
                | MembersRemoved() as event
            ):
                self._note_members(record.position, event)
            case ConversationDeleted() as event:
                self._forget(record.position, event)
            case LoggedIn() | LoggedOut() | UserKicked() as event:
                self._tell_of_sessions(record, event, pending, settled)
            case BroadcastSent() | BroadcastEdited() | BroadcastDeleted() as event:
                self._tell_all(record, event, settled)

    def _tell_message(
        self,
        record: Record,
        event: MessageSent | MessageEdited | MessageRecalled | MessageDeleted,
        pending: Pending,
        settled: Settled,
    ) -> None:
        body = settled.body
        assert body is not None
        kind, queue = body.header.conversation.kind, body.header.queue
        to_all = settled.stream > 0 or (kind == "service" and not (queue or settled.audience))
        if not isinstance(event, MessageSent):
            if isinstance(pending.command, DeleteMessage) and pending.command.silent:
                self._revise(record, settled, event.copies or settled.audience)
                return
            if to_all or kind == "room" or (kind == "group" and not queue):
                # Who got it may have left since, and is told nothing.
                self._revise(record, settled, ())
        if kind == "peer":
            self._offer(record, event, body)
        elif kind == "room":
            self._offer_room(record, body, pending)
        else:
            self._offer_group(record, event, settled)
            if to_all:
                self._offer_stream(record, settled)

    def _note_members(
        self,
        position: Position,
        event: RoomJoined | RoomLeft | ConversationCreated | ConversationImported | MembersAdded | MembersRemoved,
    ) -> None:
        """Who is where, for what comes after."""
        match event:
            case RoomJoined():
                self._rooms.joined(event)
            case RoomLeft():
                self._rooms.left(event)
            case ConversationCreated() | ConversationImported():
                self._streams.added(event.app, event.conversation, event.members, position)
            case MembersAdded():
                self._streams.added(event.app, event.conversation, event.users, position)
            case MembersRemoved():
                self._streams.removed(event)
            case _:
                assert_never(event)

    def _tell_of_sessions(
        self, record: Record, event: LoggedIn | LoggedOut | UserKicked, pending: Pending, settled: Settled
    ) -> None:
        match event:
            case LoggedIn():
                self._attach(record, event, pending, settled)
            case LoggedOut():
                if event.last:
                    self._waits.offline(event.app, event.user)
            case UserKicked():
                for session in self._sessions.get((event.app, event.user), ()):
                    session.kick(event.reason)
            case _:
                assert_never(event)

    def _offer(
        self, record: Record, event: MessageSent | MessageEdited | MessageRecalled | MessageDeleted, body: Body
    ) -> None:
        """To the sessions of everyone who got a copy; of a message that is not queued, to those of its receiver."""
        if not body.header.queue:
            awaited = isinstance(event, MessageSent) and event.awaited
            self._to(body.header.conversation.id, record, body, None, awaited=awaited)
        for copy in event.queued:
            self._to(copy.user, record, body, copy.seq if copy.stored else None)

    def _offer_group(
        self, record: Record, event: MessageSent | MessageEdited | MessageRecalled | MessageDeleted, settled: Settled
    ) -> None:
        """To the sessions of everyone who got a copy, each frame with its own `seq`; and to those of the audience, who share
        one frame, as in a room."""
        body, frame = settled.body, None
        assert body is not None
        app = body.header.app
        for user in settled.audience:
            for session in tuple(self._sessions.get((app, user), ())):
                frame = frame or delivery(body, body.header.type, user, record.position, None)
                self._offered += 1
                _guarded(session, session.offer, frame)
        for copy in event.queued:
            self._offered += len(self._sessions.get((app, copy.user), ()))
            self._to(copy.user, record, body, copy.seq if copy.stored else None)

    def _offer_room(self, record: Record, body: Body, pending: Pending) -> None:
        """A message to everyone in the room but its sender, or to some of them; what became of it to everyone.

        They share one frame, which a transport encodes once.
        """
        header, command = body.header, pending.command
        among: tuple[str, ...] = ()
        other_than = None
        if isinstance(command, SendMessage):
            among, other_than = command.recipients, command.sender
        users = self._rooms.receivers(header.app, header.conversation.id, among=among, other_than=other_than)
        frame: Delivery | None = None
        for user in tuple(users):
            for session in tuple(self._sessions.get((header.app, user), ())):
                frame = frame or delivery(body, header.type, user, record.position, None)
                self._offered += 1
                _guarded(session, session.offer, frame)

    def _revise(self, record: Record, settled: Settled, users: tuple[str, ...]) -> None:
        """What sessions hold of a message, or read at this moment, shows what became of it, and nobody is told: the sessions of
        these users or, if it is known of none, of all the app's."""
        body = settled.body
        assert body is not None
        app, frame = body.header.app, delivery(body, body.header.type, "", record.position, None)
        sessions = [each for user in dict.fromkeys(users) for each in self._sessions.get((app, user), ())]
        for session in sessions if users else tuple(self._apps.get(app, ())):
            self._offered += 1
            _guarded(session, session.revise, frame)

    def _tell_all(
        self, record: Record, event: BroadcastSent | BroadcastEdited | BroadcastDeleted, settled: Settled
    ) -> None:
        """A broadcast to every session of the app, in one frame for all. What became of it is told nobody: it changes what
        they have not been handed yet."""
        body = settled.body
        if body is None:
            frame = Delivery(type="deleted", id=event.id, position=record.position)
        else:
            frame = broadcast_delivery(body, body.header.type, record.position)
        for session in tuple(self._apps.get(event.app, ())):
            self._offered += 1
            _guarded(session, session.offer if isinstance(event, BroadcastSent) else session.revise, frame)

    def _offer_stream(self, record: Record, settled: Settled) -> None:
        """To everyone here who has had the conversation's stream since the message, in one frame; a group's not to its own
        sender, and what became of a message not to those from whom it is hidden."""
        body, number, frame = settled.body, settled.stream or None, None
        assert body is not None
        header = body.header
        skipped = frozenset(settled.hidden_from)
        if header.conversation.kind == "group":
            skipped |= {header.sender}
        for user in tuple(self._streams.receivers(header.app, header.conversation, header.id)):
            if user in skipped:
                continue
            for session in tuple(self._sessions.get((header.app, user), ())):
                frame = frame or delivery(body, header.type, user, record.position, None, stream=number)
                self._offered += 1
                _guarded(session, session.offer, frame)

    def _to(self, user: str, record: Record, body: Body, seq: int | None, *, awaited: bool = False) -> None:
        sessions = self._sessions.get((body.header.app, user))
        if sessions:
            frame = delivery(body, body.header.type, user, record.position, seq, awaited=awaited)
            for session in tuple(sessions):
                _guarded(session, session.offer, frame)

    def _tell_acked(self, event: Acked) -> None:
        if not (event.count or event.streamed or event.id):
            return
        others = [other for other in self._sessions.get((event.app, event.user), ()) if other.id != event.session]
        frame = Delivery(type="acked", id=event.id, seq=event.seq or None, queued=True, position=event.through)
        for session in others:
            _guarded(session, session.acked_elsewhere, frame)

    def _forget(self, position: Position, event: ConversationDeleted) -> None:
        """Any session may hold something of it: whoever was a member once, or is told of changes."""
        self._streams.deleted(event.app, event.conversation)
        for session in tuple(self._apps.get(event.app, ())):
            self._offered += 1
            _guarded(session, partial(session.forget, event.conversation), position)

    def _attach(self, record: Record, event: LoggedIn, pending: Pending, settled: Settled) -> None:
        session, opening = pending.session, settled.opening
        if session is None:
            return
        assert opening is not None
        sessions = self._sessions.setdefault((event.app, event.user), [])
        self._online[event.app] += not sessions
        sessions.append(session)
        self._apps.setdefault(event.app, {})[session] = None
        self._counters.sessions[event.app] += 1
        self._streams.online(event.app, event.user, opening.conversations)
        session.opened(Welcome(event.session, event.queued, event.missed), opening.login, lost=opening.lost)
        if self._closing:
            session.close("shutdown")


def _guarded(session: Session, tell: Callable[[T], None], what: T) -> None:
    try:
        tell(what)
    except Exception as error:  # noqa: BLE001 - a sink is somebody else's code: its fault costs its session only
        _log.exception("a sink of %s/%s failed; its session is closed", session.app, session.user)
        session.fail(error)
