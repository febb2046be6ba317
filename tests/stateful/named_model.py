"""What the design says of messages of a service to users by name, and of what some of these see of one that others do not."""

from dataclasses import dataclass, field

from postroom.core.commands import SendMessage

from .model import Box, Copy, Message, Model

APP = "one"


@dataclass(eq=False)
class Own:
    """What one recipient sees in place of the message."""

    form: str
    text: bytes
    position: int
    """Of the change; 0: it is over, but entries of it may wait."""
    changes: list[int] = field(default_factory=list)
    """Positions at which they were told of changes of their copy."""


@dataclass(eq=False)
class Letter(Message):
    """A message to users by name."""

    recipients: list[str] = field(default_factory=list)
    push: bytes = b""
    own: dict[str, Own] = field(default_factory=dict)

    def seen_by(self, user: str) -> tuple[str, bytes]:
        """Form and text."""
        own = self.own.get(user)
        return (own.form, own.text) if own is not None and own.position else (self.form, self.text)

    def bodies(self) -> dict[int, bytes]:
        """Texts by where they lie, as far as they are kept: the message's, and those that copies show."""
        return {0: self.text + self.push} | {own.position: own.text for own in self.own.values() if own.position}


class NamedModel(Model):
    """What must be so of one app."""

    def __init__(self, clock: object) -> None:
        super().__init__(clock)  # type: ignore[arg-type]
        self.letters: list[Letter] = []

    def copies(self, letter: Letter, *users: str) -> list[tuple[Box, Copy]]:
        """Entries about it, notices that it is gone excepted; of these users or of all."""
        found = []
        for user in users or [user for _, user in self.boxes]:
            box = self.box(APP, user)
            found += [(box, copy) for copy in box.copies if copy.message is letter and copy.shows == "message"]
        return found

    def findable(self, message: Message) -> bool:
        assert isinstance(message, Letter)
        if not message.kept:
            return False
        return not self.too_old(message) or any(not self.past(copy) for _, copy in self.copies(message))

    def send_to(self, command: SendMessage, id: int) -> None:
        """It was accepted."""
        users = list(dict.fromkeys(command.recipients))
        at_ms = self.newest_at[APP] = self.at(APP)
        letter = Letter(
            id, APP, command.to.id, command.queue, command.history, "message", command.body, at_ms, command.history
        )
        letter.recipients, letter.push = users, command.push
        if command.history:
            self.letters.append(letter)
        for user in users if command.queue else ():
            box = self.box(APP, user)
            self.deliver(box, Copy(id, 0, self.last_deadline(box), letter, "message"))

    def change_letter(
        self, letter: Letter, users: list[str], form: str, text: bytes, position: int, *, silent: bool, some: bool
    ) -> bool:
        """It was edited, recalled or deleted, or hidden, for `some` of its recipients or all. Whether a body lies under the
        change."""
        told = [
            user
            for user in users
            if letter.queue
            and not silent
            and (self.box(APP, user).acked_through >= letter.id or self.online(self.box(APP, user)))
        ]
        deadlines = {user: self.last_deadline(self.box(APP, user)) for user in told}
        if form == "deleted":
            for box, copy in self.copies(letter, *users):
                self.leave(box, [copy], "withdrawn")
        if not some:
            letter.form, letter.text, letter.push = form, text, b""
            letter.kept = form != "deleted"
        self.newest_at[APP] = self.at(APP)
        shows = "deleted" if form == "deleted" else "message"
        waits = {copy.position for box in self.boxes.values() for copy in box.copies}
        room = {user: self.stores(self.box(APP, user)) for user in told}
        if form == "deleted":
            for user in users:
                letter.own.pop(user, None)
            letter.recipients = [user for user in letter.recipients if user not in users]
        elif some:
            for user in users:
                before = letter.own.get(user)
                changes = [change for change in before.changes if change in waits] if before else []
                letter.own[user] = Own(form, text, position, changes + [position] * room.get(user, False))
        else:
            for user, own in list(letter.own.items()):
                own.position, own.changes = 0, [change for change in own.changes if change in waits]
                if not own.changes:
                    del letter.own[user]
        stored = [self.deliver(self.box(APP, user), Copy(position, 0, deadlines[user], letter, shows)) for user in told]
        assert stored == [room[user] for user in told]
        return form != "deleted" or any(stored)

    def stores(self, box: Box) -> bool:
        """Whether its queue takes one more copy."""
        living = [copy for copy in box.copies if not self.past(copy)]
        return self.rules.overflow == "oldest" or len(living) < self.rules.queue_messages

    def forget_letters(self, limit: int) -> int:
        """The oldest that are too old leave, and what waits of them with them."""
        over = sorted(
            (one for one in self.letters if one.kept and self.too_old(one)), key=lambda one: (one.at_ms, one.id)
        )
        for letter in over[:limit]:
            letter.kept = False
            letter.own.clear()
            for box, copy in self.copies(letter):
                self.leave(box, [copy], "expired")
        return len(over[:limit])
