"""What the design says of rooms, history, presence and results: lists that are filtered, written without looking at the core.

Queues are those of `model`; what is kept for history is added here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from postroom.core.commands import SendMessage
from postroom.core.errors import (
    DedupMismatch,
    Overloaded,
    QueueFull,
    Refusal,
    SessionEnded,
    TooManyRooms,
    UnknownResult,
)
from postroom.core.model import Conversation

from ..support.machine import Clock
from .model import DAY_MS, Copy, Message, Model, Outcome

Place = tuple[int, int]
"""Time and id."""


@dataclass(eq=False)
class Letter(Message):
    """A message, and what a query may ask of it. `history` says what its sender wanted, `kept` what is so now."""

    kind: str
    sender: str
    at_ms: int
    kept: bool
    inside: frozenset[str]
    """Who was in the room when it was accepted."""

    @property
    def place(self) -> Place:
        """Where it stands in the history."""
        return self.at_ms, self.id

    @property
    def conversation(self) -> tuple[str, str]:
        """Where it was sent."""
        return self.kind, self.to


@dataclass(eq=False)
class Visit:
    """A user's time in a room; remembered after its end if it may still be asked for."""

    app: str
    user: str
    room: str
    since: Place
    epoch: int
    until: Place | None = None


@dataclass(eq=False)
class Reserved:
    """A result that waits."""

    app: str
    handle: str
    ids: tuple[int, ...]
    until_ms: int
    position: int


@dataclass(frozen=True)
class Question:
    """A query, as the model understands it."""

    app: str
    sender: str | None = None
    conversations: tuple[tuple[str, str], ...] = ()
    receiver: str | None = None
    start_ms: int = 0
    end_ms: int = 1 << 62

    def means(self, letter: Letter) -> bool:
        """Whether the letter is among those asked for, if it is there at all."""
        to_them = letter.conversation in self.conversations
        if self.receiver is not None:
            to_them |= letter.conversation == ("peer", self.receiver)
            to_them |= letter.kind == "room" and self.receiver in letter.inside and letter.sender != self.receiver
        elif not self.conversations:
            to_them = True
        return (
            letter.app == self.app
            and (self.sender is None or letter.sender == self.sender)
            and to_them
            and self.start_ms <= letter.at_ms <= self.end_ms
        )


class RoomsModel(Model):
    """Queues, and everything else. A method named `refuses_…` gives the refusal's type, or None."""

    def __init__(self, clock: Clock, *, rooms_max: int, feed_max: int, results_max: int) -> None:
        super().__init__(clock)
        self.rooms_max = rooms_max
        self.feed_max = feed_max
        self.results_max = results_max
        self.epochs_began: list[int] = [0]
        """By epoch."""
        self.letters: list[Letter] = []
        self.visits: list[Visit] = []
        self.gaps: dict[tuple[str, str], Place] = {}
        self.forgotten: dict[str, int] = {}
        self.feeds: dict[tuple[str, str], list[tuple[str, int, str, str]]] = {}
        self.results: dict[str, Reserved] = {}
        self.used: set[tuple[str, str]] = set()
        """Rooms that somebody joined or sent to, each with its record."""
        self.apps: set[str] = set()
        """Those that have numbers of their own."""

    def moment(self, app: str) -> int:
        """The time of what happens now, which nothing later comes before."""
        self.apps.add(app)
        self.newest_at[app] = self.at(app)
        return self.newest_at[app]

    def first_use(self, app: str, room: str) -> bool:
        """Whether nobody joined the room or sent to it before."""
        new = (app, room) not in self.used
        self.used.add((app, room))
        return new

    # Retention.

    def horizon(self) -> int:
        """What is as old as this is over."""
        ttl_ms = self.rules.history_ttl_ms
        return -1 if ttl_ms is None else self.clock.expiry_ms - ttl_ms

    def alive(self, message: Message) -> bool:
        assert isinstance(message, Letter)
        copies = self.box(message.app, message.to).copies
        waits = any(copy.message is message and copy.shows == "message" for copy in copies)
        return message.form != "deleted" and (message.kept or waits)

    def findable(self, message: Message) -> bool:
        assert isinstance(message, Letter)
        copies = self.box(message.app, message.to).copies
        waits = any(copy.message is message and not self.past(copy) for copy in copies)
        return self.alive(message) and ((message.kept and message.at_ms > self.horizon()) or waits)

    # Messages.

    def refuses_send(self, command: SendMessage) -> type[Refusal] | None:
        outcome = self.remembered(command)
        if outcome is not None:
            return None if same(outcome.command, command) else DedupMismatch
        box = self.box(command.app, command.to.id)
        if command.queue and self.rules.overflow == "refuse":
            living = [copy for copy in box.copies if not self.past(copy)]
            if len(living) >= self.rules.queue_messages:
                return QueueFull
        return None

    def send(self, command: SendMessage, id: int) -> None:
        app, to = command.app, command.to.id
        at_ms = self.moment(app)
        room = command.to.kind == "room"
        letter = Letter(
            id=id,
            app=app,
            to=to,
            queue=command.queue,
            history=command.history,
            form="message",
            text=command.body,
            kind=command.to.kind,
            sender=command.sender,
            at_ms=at_ms,
            kept=command.history,
            inside=frozenset(self.inside(app, to)) if room else frozenset(),
        )
        self.letters.append(letter)
        if command.queue:
            box = self.box(app, to)
            assert self.deliver(box, Copy(id, 0, self.last_deadline(box), letter, "message"))
        if room and not command.history:
            self.gaps[app, to] = at_ms, id
        if command.dedup is not None:
            until_ms = max(self.clock.wall_ms, self.clock.expiry_ms) + DAY_MS
            self.outcomes[app, command.sender, command.dedup] = Outcome(command, id, at_ms, until_ms)

    def change(self, message: Message, form: str, text: bytes, position: int) -> bool:
        assert isinstance(message, Letter)
        has_body = super().change(message, form, text, position)
        self.moment(message.app)
        if form == "deleted":
            message.kept = False
        return has_body

    # Queries.

    def answer(self, question: Question, horizon: int | None = None) -> list[int]:
        """The ids that are meant, in their order."""
        horizon = self.horizon() if horizon is None else horizon
        found = [
            letter
            for letter in self.letters
            if letter.kept and letter.form != "recalled" and letter.at_ms > horizon and question.means(letter)
        ]
        return [letter.id for letter in sorted(found, key=lambda letter: letter.place)]

    def replay(self, app: str, user: str, room: str, since: int, through: int) -> tuple[list[int], bool]:
        """What a join gives, and whether that is all there ever was."""
        after = [
            letter
            for letter in self.letters
            if letter.app == app and letter.conversation == ("room", room) and letter.id > since
        ]
        there = [letter for letter in after if letter.kept and letter.at_ms > self.horizon() and letter.id <= through]
        over = any(letter.kept and letter.at_ms <= self.horizon() for letter in after if letter.sender != user)
        lost = self.gaps.get((app, room), (0, 0))[1] > since or self.forgotten.get(app, 0) > since
        return [letter.id for letter in there if letter.sender != user], not (over or lost or since > through)

    def lacks(self, app: str, user: str, room: str, since: int, given: Sequence[int]) -> list[int]:
        """Of a room's messages after one, those that a replay did not give though they were not taken away."""
        return [
            letter.id
            for letter in self.letters
            if (letter.app, letter.conversation) == (app, ("room", room))
            and letter.id > since
            and letter.id not in given
            and letter.form != "deleted"
            and letter.sender != user
        ]

    # Rooms.

    def open_visits(self, app: str, user: str | None = None, room: str | None = None) -> list[Visit]:
        """Stays without an end, whatever process they belong to."""
        return [
            visit
            for visit in self.visits
            if visit.app == app and visit.until is None and user in (None, visit.user) and room in (None, visit.room)
        ]

    def inside(self, app: str, room: str) -> set[str]:
        """Who is there: who has no session of this process is not."""
        return {visit.user for visit in self.open_visits(app, room=room) if visit.epoch == self.epoch}

    def has_session(self, app: str, user: str, session: int) -> bool:
        """Whether it is open, in this process."""
        return (session, self.epoch) in self.box(app, user).sessions

    def refuses_join(self, app: str, user: str, session: int, room: str) -> type[Refusal] | None:
        if not self.has_session(app, user, session):
            return SessionEnded
        mine = self.open_visits(app, user)
        if len(mine) >= self.rooms_max and all(visit.room != room for visit in mine):
            return TooManyRooms
        return None

    def join(self, app: str, user: str, room: str, position: int) -> None:
        """The user entered by the event at this position."""
        at_ms = self.moment(app)
        self.visits.append(Visit(app, user, room, (at_ms, position), self.epoch))
        self.tell(app, "rooms", ("join", at_ms, user, room))

    def leave_room(self, app: str, user: str, room: str, position: int) -> None:
        """The user left; what was kept meanwhile decides whether anybody may ask for it."""
        at_ms = self.moment(app)
        [visit] = self.open_visits(app, user, room)
        over = position if visit.epoch == self.epoch else self.epochs_began[visit.epoch + 1]
        visit.until = at_ms, over
        if not any(
            letter.kept
            and letter.app == app
            and letter.conversation == ("room", room)
            and visit.since[1] < letter.id < over
            for letter in self.letters
        ):
            self.visits.remove(visit)
        self.tell(app, "rooms", ("leave", at_ms, user, room))

    # Sessions.

    def begin_epoch(self, position: int) -> None:
        """A process took over."""
        self.epoch += 1
        self.epochs_began.append(position)

    def log_in(self, app: str, user: str, session: int) -> bool:
        """Whether it is the user's first."""
        self.visit((app, user), self.at(app))
        sessions = self.box(app, user).sessions
        sessions.append((session, self.epoch))
        if len(sessions) > 1:
            return False
        self.tell(app, "users", ("login", self.moment(app), user, ""))
        return True

    def log_out(self, app: str, user: str, session: int) -> bool:
        """Whether it was the user's last; by then they have left their rooms."""
        sessions = self.box(app, user).sessions
        [row] = [row for row in sessions if row[0] == session]
        sessions.remove(row)
        if sessions:
            return False
        assert not self.open_visits(app, user)
        self.tell(app, "users", ("logout", self.moment(app), user, ""))
        return True

    # Presence and results.

    def tell(self, app: str, feed: str, event: tuple[str, int, str, str]) -> None:
        """Something for a feed, of which the newest are kept."""
        events = self.feeds.setdefault((app, feed), [])
        events.append(event)
        del events[: max(0, len(events) - self.feed_max)]

    def take(self, app: str, feed: str, limit: int) -> list[tuple[str, int, str, str]]:
        """The oldest; nobody gets them again."""
        events = self.feeds.setdefault((app, feed), [])
        taken = events[:limit]
        del events[:limit]
        return taken

    def refuses_reserve(self, app: str) -> type[Refusal] | None:
        mine = [result for result in self.results.values() if result.app == app]
        return Overloaded if len(mine) >= self.results_max else None

    def reserve(self, app: str, handle: str, ids: tuple[int, ...], ttl_ms: int, position: int) -> None:
        until_ms = max(self.clock.wall_ms, self.clock.expiry_ms) + ttl_ms
        self.results[handle] = Reserved(app, handle, ids, until_ms, position)
        self.apps.add(app)

    def refuses_collect(self, app: str, handle: str) -> type[Refusal] | None:
        result = self.results.get(handle)
        there = result is not None and result.app == app and result.until_ms > self.clock.expiry_ms
        return None if there else UnknownResult

    def expire_results(self, limit: int) -> int:
        """How many were over, of so many at most."""
        over = [result for result in self.results.values() if result.until_ms <= self.clock.expiry_ms]
        over = sorted(over, key=lambda result: (result.until_ms, result.position))[:limit]
        for result in over:
            del self.results[result.handle]
        return len(over)

    # Sweeping the history.

    def expire_messages(self, app: str, limit: int) -> int:
        """How many left the history, of so many at most."""
        over = [letter for letter in self.letters if letter.app == app and letter.kept]
        over = [letter for letter in over if letter.at_ms <= self.horizon()]
        over = sorted(over, key=lambda letter: letter.place)[:limit]
        for letter in over:
            letter.kept = False
            self.forgotten[app] = max(self.forgotten.get(app, 0), letter.id)
        return len(over)

    def past_visits(self, app: str) -> list[Visit]:
        """Remembered stays that ended before everything that is to be kept."""
        return [
            visit
            for visit in self.visits
            if visit.app == app and visit.until is not None and visit.until[0] <= self.horizon()
        ]

    def past_gaps(self, app: str, ttl_ms: int) -> set[str]:
        """Rooms whose losses are so long ago."""
        over_ms = self.clock.expiry_ms - ttl_ms
        return {room for (of, room), (at_ms, _) in self.gaps.items() if of == app and at_ms <= over_ms}

    def forget_gap(self, app: str, room: str) -> None:
        """From here on nobody vouches for what is as old."""
        _, id = self.gaps.pop((app, room))
        self.forgotten[app] = max(self.forgotten.get(app, 0), id)


def same(one: SendMessage, other: SendMessage) -> bool:
    """Whether a retry is one."""
    names = ("to", "body", "format", "queue", "history", "lane", "recipients")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def conversations(names: Sequence[tuple[str, str]]) -> tuple[Conversation, ...]:
    """As the core names them."""
    return tuple(Conversation(kind, id) for kind, id in names)  # type: ignore[arg-type]
