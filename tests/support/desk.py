"""A machine with short words for the commands of one app, for tests that read like a story."""

from typing import Any, NamedTuple

from postroom.core.commands import (
    Ack,
    DeleteMessage,
    EditMessage,
    EndStaleSessions,
    ExpireQueue,
    Login,
    Logout,
    RecallMessage,
    SendMessage,
    StartEpoch,
)
from postroom.core.domain import Decision, Welcome
from postroom.core.events import (
    Acked,
    CopiesExpired,
    MessageDeleted,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    QueueExpired,
)
from postroom.core.events.deletion import CopiesWithdrawn
from postroom.core.ids import MessageId, Position
from postroom.core.model import Receipt, Rules, peer
from postroom.core.rows import Header, Opened, Totals
from postroom.core.runtime.reading import resolve
from postroom.storage.memory import MemoryStore

from .machine import Clock, Machine

APP = "demo"
BRINGS_COPIES = (MessageSent, MessageEdited, MessageRecalled, MessageDeleted)


class Shown(NamedTuple):
    """One waiting entry as its recipient would see it."""

    seq: int
    type: str
    payload: str


class Terms(NamedTuple):
    """A recipient's copies, counted from the events; `queued` from the queue."""

    accepted: int
    acked: int
    queued: int
    evicted: int
    expired: int
    withdrawn: int


class Desk(Machine):
    """One app on a memory store; everything is addressed to bob unless it says otherwise."""

    def __init__(self, clock: Clock | None = None, **rules: Any) -> None:
        super().__init__(MemoryStore(), Rules(**rules), clock)

    def configure(self, **rules: Any) -> None:
        """The app's settings are changed."""
        self.rules = Rules(**rules)

    def receipt(self, decision: Decision) -> Receipt:
        """What a message command was answered with."""
        assert isinstance(decision.result, Receipt)
        return decision.result

    def send(
        self, text: str = "hi", to: str = "bob", *, app: str = APP, sender: str = "alice", **flags: Any
    ) -> MessageId:
        """Queued unless said otherwise; the message's id."""
        flags = {"queue": True, **flags}
        command = SendMessage(app=app, sender=sender, to=peer(to), body=text.encode(), **flags)
        return self.receipt(self.run(command)).id

    def edit(self, id: MessageId, text: str, app: str = APP) -> Receipt:
        """Alice changes it."""
        return self.receipt(self.run(EditMessage(app=app, id=id, by="alice", body=text.encode())))

    def recall(self, id: MessageId, app: str = APP) -> Receipt:
        """Alice takes it back."""
        return self.receipt(self.run(RecallMessage(app=app, id=id, by="alice")))

    def delete(self, id: MessageId, app: str = APP) -> Receipt:
        """Alice removes it."""
        return self.receipt(self.run(DeleteMessage(app=app, id=id, by="alice")))

    def login(self, user: str = "bob", app: str = APP) -> Welcome:
        """A session opens."""
        result = self.run(Login(app=app, user=user)).result
        assert isinstance(result, Welcome)
        return result

    def open(self, user: str = "bob") -> Opened:
        """A session opens; by what it reads."""
        opening = self.run(Login(app=APP, user=user)).opening
        assert opening is not None
        return opening.login

    def logout(self, session: Position, user: str = "bob", app: str = APP) -> Decision:
        """It ends."""
        return self.run(Logout(app=app, user=user, session=session))

    def ack(
        self, through: int, user: str = "bob", app: str = APP, confirmed: tuple[MessageId, ...] = ()
    ) -> Acked | None:
        """Acknowledge up to a position; the event, if it made one."""
        command = Ack(app=app, user=user, session=Position(1), through=Position(through), confirmed=confirmed)
        return next((event for event in self.run(command).events if isinstance(event, Acked)), None)

    def sweep(self, user: str = "bob", app: str = APP) -> Decision:
        """Account for what is expired."""
        return self.run(ExpireQueue(app=app, user=user))

    def restart(self) -> None:
        """A new process takes over."""
        self.run(StartEpoch())

    def end_stale(self) -> Decision:
        """Log out the sessions of earlier processes."""
        return self.run(EndStaleSessions())

    def shown(self, user: str = "bob", app: str = APP) -> list[Shown]:
        """The queue as its recipient would see it."""

        def read(snapshot: Any) -> list[Shown]:
            found = []
            for entry in snapshot.views.entries(app, user):
                body, type = resolve(snapshot, app, user, entry)
                found.append(Shown(entry.seq, type, body.payload.decode()))
            return found

        return self.read(read)

    def seqs(self, user: str = "bob", app: str = APP) -> list[int]:
        """The running numbers of what waits."""
        return [entry.seq for entry in self.queue(app, user)]

    def kept(self) -> list[tuple[str, str]]:
        """Type and text of every body in the store."""
        bodies = self.read(lambda snapshot: [snapshot.bodies.body(Position(place)) for place in self.body_places()])
        return [(body.header.type, body.payload.decode()) for body in bodies if body is not None]

    def body_places(self) -> list[int]:
        """Where bodies lie."""
        return [int.from_bytes(key) for key, _ in self.store._engine.scan("bodies", b"")]

    def header(self, position: int) -> Header | None:
        """The header kept at a position."""
        return self.read(lambda snapshot: snapshot.bodies.header(Position(position)))

    def totals(self, app: str = APP) -> Totals:
        """The app's running numbers."""
        return self.read(lambda snapshot: snapshot.views.totals(app))

    def terms(self, user: str = "bob", app: str = APP) -> Terms:
        """The identity's terms of one recipient; fails if it does not hold, or if the app's totals are not the sum."""
        terms = count_terms(self, app, user)
        assert terms.accepted == sum(terms[1:]), terms
        users = {copy.user for event in self.events if isinstance(event, BRINGS_COPIES) for copy in event.queued}
        users |= {event.user for event in self.events if isinstance(event, Acked)}
        every = [count_terms(self, app, one) for one in sorted(users)]
        totals = self.totals(app)
        for index, name in enumerate(terms._fields):
            assert getattr(totals, name) == sum(one[index] for one in every), name
        return terms


def count_terms(machine: Machine, app: str, user: str) -> Terms:
    """What the events say happened to a recipient's copies, and how many wait."""
    accepted = acked = evicted = expired = withdrawn = 0
    for event in machine.events:
        if getattr(event, "app", None) != app:
            continue
        if isinstance(event, BRINGS_COPIES):
            for copy in (copy for copy in event.queued if copy.user == user):
                accepted += 1
                evicted += copy.evicted + (not copy.stored)
                expired += copy.expired
        match event:
            case Acked(user=of) if of == user:
                accepted += event.streamed + event.evicted + event.expired
                acked += event.count + event.streamed
                evicted += event.evicted
                expired += event.expired
            case QueueExpired(user=of) if of == user:
                expired += event.count
            case CopiesExpired():
                expired += sum(len(copies.positions) for copies in event.copies if copies.user == user)
            case CopiesWithdrawn():
                withdrawn += sum(len(copies.positions) for copies in event.copies if copies.user == user)
            case MessageDeleted():
                withdrawn += sum(len(copies.positions) for copies in event.withdrawn if copies.user == user)
    return Terms(accepted, acked, len(machine.queue(app, user)), evicted, expired, withdrawn)
