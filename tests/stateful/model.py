"""What the design says of queues, and of history as far as it keeps texts, in dictionaries and lists: slow, plain, and written
without looking at the core."""

from dataclasses import dataclass, field

from postroom.core.commands import SendMessage
from postroom.core.errors import DedupMismatch, MessageIsRecalled, QueueFull, Refusal, UnknownMessage
from postroom.core.ids import UnixMs
from postroom.core.model import Rules

from ..support.machine import Clock

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(eq=False)
class Message:
    """A message and what became of it."""

    id: int
    app: str
    to: str
    queue: bool
    history: bool
    """Its sender wanted it kept."""
    form: str
    text: bytes
    at_ms: int
    kept: bool
    """For history, and nobody found it too old for that."""


@dataclass(eq=False)
class Copy:
    """One entry: the message's own, or a change told besides."""

    position: int
    seq: int
    deadline_ms: int
    message: Message
    shows: str
    """"message": the message as it is now; "deleted": a notice that outlives it."""


@dataclass(eq=False)
class Box:
    """A recipient: queue, numbers, sessions."""

    copies: list[Copy] = field(default_factory=list)
    numbered: int = 0
    acked_through: int = 0
    missed: int = 0
    """Evicted and expired since the last ack."""
    sessions: list[tuple[int, int]] = field(default_factory=list)
    """Position and epoch."""
    terms: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("accepted", "acked", "evicted", "expired", "withdrawn"), 0)
    )


@dataclass(eq=False)
class Outcome:
    """What a dedup key is remembered by."""

    command: SendMessage
    id: int
    at_ms: int
    until_ms: int
    confirmed: bool = False


class Model:
    """What must be so. A method that may be refused returns the refusal's type, or None."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.rules = Rules()
        self.epoch = 0
        self.boxes: dict[tuple[str, str], Box] = {}
        self.messages: list[Message] = []
        self.newest_at: dict[str, int] = {}
        self.visitors: set[tuple[str, str]] = set()
        """Who ever logged in."""
        self.counted: set[tuple[str, str]] = set()
        """Those of them who were counted on some day: not who only came when the clock had stepped back to an earlier one."""
        self.days: dict[str, int] = {}
        self.outcomes: dict[tuple[str, str, str], Outcome] = {}
        self.presence: dict[str, list[tuple[str, int, str]]] = {}
        """What happened to users, when, and to whom, as far as nobody took it."""
        self.forgotten: dict[str, int] = {}
        """The newest message that left the history by age."""

    def visit(self, of: tuple[str, str], at_ms: int) -> None:
        """Somebody logs in."""
        self.visitors.add(of)
        day = self.rules.day(UnixMs(at_ms))
        if day >= self.days.get(of[0], 0):
            self.days[of[0]] = day
            self.counted.add(of)

    def box(self, app: str, user: str) -> Box:
        """The recipient's."""
        return self.boxes.setdefault((app, user), Box())

    # Time.

    def at(self, app: str) -> int:
        """The time of what happens now."""
        return max(self.clock.wall_ms, self.newest_at.get(app, 0))

    def past(self, copy: Copy) -> bool:
        """Whether its time is over."""
        return copy.deadline_ms <= self.clock.expiry_ms

    def came_or_went(self, app: str, what: str, user: str) -> None:
        """A user's first session opened, or their last one closed."""
        self.newest_at[app] = self.at(app)
        self.presence.setdefault(app, []).append((what, self.newest_at[app], user))

    def too_old(self, message: Message) -> bool:
        """For history."""
        ttl_ms = self.rules.history_ttl_ms
        return ttl_ms is not None and message.at_ms + ttl_ms <= self.clock.expiry_ms

    # Messages.

    def alive(self, message: Message) -> bool:
        """Whether its body is kept: for history, or for an entry."""
        box = self.box(message.app, message.to)
        return message.form != "deleted" and (
            message.kept or any(copy.message is message and copy.shows == "message" for copy in box.copies)
        )

    def findable(self, message: Message) -> bool:
        """Whether it can still be changed: what is past its expiry is not there, swept or not."""
        box = self.box(message.app, message.to)
        return self.alive(message) and (
            (message.kept and not self.too_old(message))
            or any(copy.message is message and not self.past(copy) for copy in box.copies)
        )

    def online(self, box: Box) -> bool:
        """A session of this epoch is open."""
        return any(epoch == self.epoch for _, epoch in box.sessions)

    def remembered(self, command: SendMessage) -> Outcome | None:
        """The outcome of the command's dedup key, unless its 24 hours are over."""
        if command.dedup is None:
            return None
        outcome = self.outcomes.get((command.app, command.sender, command.dedup))
        return outcome if outcome is not None and outcome.until_ms > self.clock.expiry_ms else None

    def refuses_send(self, command: SendMessage) -> type[Refusal] | None:
        """Why a send that is no repeat would be refused."""
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
        """It was accepted under this id."""
        app, user = command.app, command.to.id
        at_ms = self.newest_at[app] = self.at(app)
        message = Message(
            id, app, user, command.queue, command.history, "message", command.body, at_ms, command.history
        )
        self.messages.append(message)
        if command.queue:
            box = self.box(app, user)
            stored = self.deliver(box, Copy(id, 0, self.last_deadline(box), message, "message"))
            assert stored
        if command.dedup is not None:
            until_ms = max(self.clock.wall_ms, self.clock.expiry_ms) + DAY_MS
            self.outcomes[app, command.sender, command.dedup] = Outcome(command, id, at_ms, until_ms)

    def refuses_change(self, message: Message, app: str, form: str) -> type[Refusal] | None:
        """Why a change would be refused. (Recalling what is recalled is no refusal.)"""
        if app != message.app or not self.findable(message):
            return UnknownMessage
        if form == "edited" and message.form == "recalled":
            return MessageIsRecalled
        return None

    def change(self, message: Message, form: str, text: bytes, position: int) -> bool:
        """It was edited, recalled or deleted by the event at this position. Whether that has a body of its own."""
        box = self.box(message.app, message.to)
        # Whoever acknowledged it, or may have it on a screen, gets an entry for the change.
        told = message.queue and (box.acked_through >= message.id or self.online(box))
        deadline_ms = self.last_deadline(box)
        if form == "deleted":
            mine = [copy for copy in box.copies if copy.message is message]
            self.leave(box, mine, "withdrawn")
            message.kept = False
        message.form, message.text = form, text
        self.newest_at[message.app] = self.at(message.app)
        if not told:
            return form != "deleted"
        shows = "deleted" if form == "deleted" else "message"
        stored = self.deliver(box, Copy(position, 0, deadline_ms, message, shows))
        return stored or form != "deleted"

    def forget(self, app: str, limit: int) -> int:
        """Messages that are too old leave the history, the oldest first; how many it were."""
        over = [one for one in self.messages if one.app == app and one.kept and self.too_old(one)]
        for message in sorted(over, key=lambda one: (one.at_ms, one.id))[:limit]:
            message.kept = False
            self.forgotten[app] = max(self.forgotten.get(app, 0), message.id)
        return len(over[:limit])

    # Queues.

    def last_deadline(self, box: Box) -> int:
        """The deadline of the newest entry: none after it may end earlier."""
        return box.copies[-1].deadline_ms if box.copies else 0

    def deliver(self, box: Box, copy: Copy) -> bool:
        """One more copy; False if the queue refused it. Its deadline, as given, is that of the entry before it."""
        box.numbered += 1
        box.terms["accepted"] += 1
        copy.seq = box.numbered
        own_ms = max(self.clock.wall_ms, self.clock.expiry_ms) + self.rules.queue_ttl_ms
        while own_ms % 1000:
            own_ms += 1
        copy.deadline_ms = max(own_ms, copy.deadline_ms)
        while len(box.copies) >= self.rules.queue_messages:
            if self.past(box.copies[0]):
                self.leave(box, box.copies[:1], "expired")
            elif self.rules.overflow == "oldest":
                self.leave(box, box.copies[:1], "evicted")
            else:
                box.terms["evicted"] += 1
                box.missed += 1
                return False
        box.copies.append(copy)
        return True

    def leave(self, box: Box, copies: list[Copy], term: str) -> None:
        """Entries leave under one term."""
        for copy in list(copies):
            box.copies.remove(copy)
            box.terms[term] += 1
            box.missed += term in ("evicted", "expired")

    def sweep(self, box: Box, limit: int = 1_000) -> int:
        """Account for what is past, so much at once; how many it were."""
        over = [copy for copy in box.copies if self.past(copy)]
        assert over == box.copies[: len(over)], "what has expired is a prefix"
        self.leave(box, over[:limit], "expired")
        return len(over[:limit])

    def ack(self, box: Box, through: int) -> None:
        """A session handled everything up to a position."""
        self.leave(box, [copy for copy in box.copies if copy.position <= through], "acked")
        box.acked_through = max(box.acked_through, through)
        box.missed = 0


def same(one: SendMessage, other: SendMessage) -> bool:
    """Whether a retry is one."""
    return all(
        getattr(one, name) == getattr(other, name) for name in ("to", "body", "format", "queue", "history", "lane")
    )
