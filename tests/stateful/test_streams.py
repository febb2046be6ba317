"""Whatever happens to streams and their readers, in whatever order: each session is given what a plain model says, in order,
nothing twice and nothing left out; everything is accounted for by the events; and replay gives the same state."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from postroom.core.commands import (
    Ack,
    AddMembers,
    BanUsers,
    Command,
    CreateConversation,
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    ExpireQueue,
    Login,
    Logout,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    StartEpoch,
    UnbanUsers,
)
from postroom.core.domain import Decision, Welcome
from postroom.core.errors import Banned, MessageIsRecalled, Refusal, UnknownMessage
from postroom.core.events import Acked
from postroom.core.ids import ExpiryMs, MessageId, Position, position_of
from postroom.core.limits import GROUP_COPIES_MAX
from postroom.core.model import Conversation, Rules, group, peer, service
from postroom.core.rows import Opened
from postroom.core.runtime.reading import read_page
from postroom.storage.checking.accounts import AccountCheck
from postroom.storage.checking.bodies import BodyCheck
from postroom.storage.checking.conversations import ConversationCheck
from postroom.storage.checking.owned import Owned
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from postroom.storage.views import StoredViews
from tests.support.thorough import examples

from ..support.desk import count_terms
from ..support.machine import Clock, Machine
from ..support.rows import engine_of, replayed, rows, values
from .model import Box, Model
from .stores import OnLmdb, OnMemory, StoreMachine

APP = "one"
DAY_MS = 86_400_000
START_OF_SECONDS_MS = 1_577_836_800_000
PLACES = (service("s"), service("t"), group("g"))
CROWD = tuple(f"m{number}" for number in range(GROUP_COPIES_MAX + 1))
USERS = ("ann", "bob", "cy")

users = st.sampled_from(["ann", "bob", "bob", "cy"])
places = st.sampled_from([PLACES[0], *PLACES])
picks = st.sampled_from([0, 0, 0, 1, 1, 2, 4])
flags = st.booleans()
mostly = st.sampled_from([True, True, True, False])
spells_ms = st.sampled_from([1, 1_000, 30_000, DAY_MS, 8 * DAY_MS])
rules_of_apps = st.builds(
    Rules,
    queue_messages=st.sampled_from([1, 2, 3, 4, 8]),
    queue_ttl_ms=st.sampled_from([1_500, 60_000, 7 * DAY_MS]),
    overflow=st.sampled_from(["oldest", "oldest", "refuse"]),
    history_ttl_ms=st.sampled_from([180 * DAY_MS, DAY_MS, 30_000, None]),
)


@dataclass(eq=False)
class Letter:
    """A message that is kept."""

    id: int
    to: Conversation
    sender: str
    streamed: bool
    number: int
    at_ms: int
    text: bytes
    form: str = "message"
    kept: bool = True


@dataclass(eq=False)
class Standing:
    """What stands in a stream."""

    position: int
    letter: Letter
    shows: str
    """"place": the message as it is now; "change": what it became; "deleted": a notice."""
    ordinal: int
    stamp_s: int
    at_ms: int


@dataclass(eq=False)
class Line:
    """A conversation with a stream."""

    standing: list[Standing] = field(default_factory=list)
    members: dict[str, int] = field(default_factory=dict)
    left: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Who, since when, until when, and at what time."""
    banned: set[str] = field(default_factory=set)
    numbered: int = 0


@dataclass(eq=False)
class Reader:
    """A session, as far as it reads."""

    user: str
    position: int
    clock_ms: int
    rules: Rules
    cursor: int = 0
    seen: list[int] = field(default_factory=list)
    due: bool = False
    streamed: int = 0
    acked: int = 0
    """As of its login."""
    evicted: list["Standing"] = field(default_factory=list)
    """As of its login."""
    login: Opened = field(default_factory=Opened)


@dataclass
class Counted:
    """What of a user's streams lies in a range."""

    streamed: int = 0
    evicted: int = 0
    expired: int = 0

    @property
    def all(self) -> int:
        return self.streamed + self.evicted + self.expired


class StreamsModel(Model):
    """What must be so of one app."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.lines: dict[Conversation, Line] = {place: Line() for place in PLACES}
        self.letters: list[Letter] = []
        self.readers: list[Reader] = []

    def stand(self, letter: Letter, shows: str, position: int) -> None:
        line = self.lines[letter.to]
        at_ms = self.newest_at[APP]
        stamp_s = -(-(max(at_ms, self.clock.expiry_ms) - START_OF_SECONDS_MS) // 1000)
        ordinal = line.standing[-1].ordinal + 1 if line.standing else 1
        line.standing.append(Standing(position, letter, shows, ordinal, stamp_s, at_ms))

    def drop(self, letter: Letter, *shows: str) -> None:
        line = self.lines[letter.to]
        line.standing = [one for one in line.standing if one.letter is not letter or one.shows not in shows]

    def passes_over(self, reader: Reader, one: Standing) -> str:
        """Why the reader is not given it, if so."""
        if one.position > reader.position:
            return ""
        if one.stamp_s * 1000 + START_OF_SECONDS_MS + reader.rules.queue_ttl_ms <= reader.clock_ms:
            return "expired"
        return "evicted" if one in reader.evicted else ""

    def log_in(self, reader: Reader) -> None:
        """Of each membership the newest stay."""
        reader.acked = self.box(APP, reader.user).acked_through
        for of in self.memberships(reader):
            reader.evicted += of[: max(0, len(of) - reader.rules.queue_messages)]

    def theirs(self, reader: Reader) -> list[tuple[Standing, str]]:
        """What of streams is a reader's and not acknowledged, and why it is not given to them, in order."""
        found = [(one, self.passes_over(reader, one)) for of in self.memberships(reader) for one in of]
        return sorted(found, key=lambda each: each[0].position)

    def memberships(self, reader: Reader) -> Iterator[list[Standing]]:
        """What of streams is a reader's and not acknowledged, a membership each."""
        acked = self.box(APP, reader.user).acked_through
        for line in self.lines.values():
            stays = [(since, until) for user, since, until, _ in line.left if user == reader.user]
            if reader.user in line.members:
                stays.append((line.members[reader.user], 1 << 60))
            for since, until in stays:
                between = [one for one in line.standing if max(since, acked) < one.position < until]
                yield [one for one in between if self.is_for(reader, one, since)]

    def is_for(self, reader: Reader, one: Standing, since: int) -> bool:
        """Not their own to a group; not what became of one from before they came, or of one that they see now as it is."""
        letter, sent = one.letter, position_of(MessageId(one.letter.id))
        if letter.to.kind == "group" and letter.sender == reader.user:
            return False
        seen_in_place = one.shows != "place" and one.position <= reader.position and sent > reader.acked
        return sent > since and not seen_in_place

    def count(self, reader: Reader, through: int) -> Counted:
        counted = Counted()
        for one, why in self.theirs(reader):
            if one.position <= through:
                name = why or "streamed"
                setattr(counted, name, getattr(counted, name) + 1)
        return counted

    def findable_letter(self, letter: Letter) -> bool:
        ttl_ms = self.rules.history_ttl_ms
        return letter.kept and (ttl_ms is None or letter.at_ms + ttl_ms > self.clock.expiry_ms)

    def forget_letters(self, limit: int) -> int:
        """What is too old leaves: messages first, then memberships that ended, then notices; how many it were."""
        ttl_ms = self.rules.history_ttl_ms
        if ttl_ms is None:
            return 0
        horizon = self.clock.expiry_ms - ttl_ms
        old = [letter for letter in self.letters if letter.kept and letter.at_ms <= horizon][:limit]
        for letter in old:
            letter.kept = False
            self.drop(letter, "place", "change")
        if old:
            return len(old)
        ended = sorted((at_ms, until, line) for line in self.lines.values() for *_, until, at_ms in line.left)  # type: ignore[type-var]
        for at_ms, until, line in ended[:limit]:
            if at_ms <= horizon:
                gone = next(each for each in line.left if each[2] == until)
                line.left.remove(gone)
        over = sum(at_ms <= horizon for at_ms, *_ in ended[:limit])
        if over:
            return over
        notices = sorted(
            (one for line in self.lines.values() for one in line.standing if one.shows == "deleted"),
            key=lambda one: one.position,
        )
        gone_notices = [one for one in notices if one.at_ms <= horizon][:limit]
        for one in gone_notices:
            self.lines[one.letter.to].standing.remove(one)
        return len(gone_notices)


class Streams(StoreMachine):
    """Sends, changes, members, bans, sessions that read and acknowledge, clocks, settings, trimming and restarts."""

    @initialize(rules=rules_of_apps)
    def begin(self, rules: Rules) -> None:
        self.machine = Machine(self.open(), rules, Clock())
        self.model = StreamsModel(self.machine.clock)
        self.model.rules = rules
        self.texts = 0
        self.do(StartEpoch())
        self.model.epoch = 1
        for place in PLACES:
            members = CROWD if place.kind == "group" else ()
            self.do(CreateConversation(app=APP, conversation=place, members=members))
            self.model.lines[place].members = dict.fromkeys(members, self.note())
            for user in USERS:
                self.join(place, user)

    def do(self, command: Command, refusal: type[Refusal] | None = None) -> Decision | None:
        """Run it; it must be refused with this, or not at all."""
        decision, met = None, None
        try:
            decision = self.machine.run(command)
        except Refusal as error:
            met = type(error)
        assert met is refusal, f"{command}: expected {refusal}"
        return decision

    def note(self) -> int:
        """Something happened now; where it stands."""
        self.model.newest_at[APP] = self.model.at(APP)
        return self.machine.records[-1].position

    def text(self) -> bytes:
        """A text that no other message has."""
        self.texts += 1
        return b"<text-%d>" % self.texts

    # Members.

    @rule(
        place=places,
        user=users,
        what=st.sampled_from(["move", "move", "move", "join", "leave", "ban", "unban"]),
        says=flags,
    )
    def move(self, place: Conversation, user: str, what: str, says: bool) -> None:
        """Out of it or into it; or one of these, whether or not it does something. Something may be said before and after."""
        if says:
            self.send(place, "dora", queue=True, history=True)
        line = self.model.lines[place]
        if what == "move":
            what = "leave" if user in line.members else "unban" if user in line.banned else "join"
        if what == "join":
            self.join(place, user)
        elif what == "unban":
            self.unban(place, user)
        else:
            self.leave(place, user, ban=what == "ban")
        if says:
            self.send(place, "dora", queue=True, history=True)

    def join(self, place: Conversation, user: str) -> None:
        line = self.model.lines[place]
        command = AddMembers(app=APP, conversation=place, users=(user,))
        decision = self.do(command, Banned if user in line.banned else None)
        if decision is not None and decision.events:
            line.members[user] = self.note()

    def leave(self, place: Conversation, user: str, *, ban: bool) -> None:
        line = self.model.lines[place]
        kind = BanUsers if ban else RemoveMembers
        decision = self.do(kind(app=APP, conversation=place, users=(user,)))
        assert decision is not None
        if ban:
            line.banned.add(user)
        if not decision.events:
            return
        until = self.note() - len(decision.events) + 1
        since = line.members.pop(user, None)
        letters = [letter for letter in self.model.letters if letter.kept and letter.to == place]
        sent = place.kind == "service" and letters[-1:] and position_of(MessageId(letters[-1].id)) > (since or 0)
        if since is not None and (sent or any(one.position > since for one in line.standing)):
            line.left.append((user, since, until, self.model.newest_at[APP]))

    def unban(self, place: Conversation, user: str) -> None:
        line = self.model.lines[place]
        decision = self.do(UnbanUsers(app=APP, conversation=place, users=(user,)))
        assert decision is not None
        if decision.events:
            line.banned.remove(user)
            self.note()

    # Messages.

    @rule(place=places, sender=users, count=st.integers(1, 4))
    def send_many(self, place: Conversation, sender: str, count: int) -> None:
        for _ in range(count):
            self.send(place, sender, queue=True, history=True)

    @rule(place=places, sender=users, queue=flags, history=mostly)
    def send(self, place: Conversation, sender: str, queue: bool, history: bool) -> None:
        model, text = self.model, self.text()
        command = SendMessage(app=APP, sender=sender, to=place, body=text, queue=queue, history=history or queue)
        decision = self.do(command)
        assert decision is not None
        position, line = self.note(), model.lines[place]
        line.numbered += command.history
        if not command.history:
            return
        letter = Letter(position, place, sender, queue, line.numbered, model.newest_at[APP], text)
        model.letters.append(letter)
        assert decision.stream == (letter.number if queue else 0)
        if queue:
            model.stand(letter, "place", position)

    @rule(user=users)
    def send_to_peer(self, user: str) -> None:
        command = SendMessage(app=APP, sender="dora", to=peer(user), body=self.text(), queue=True)
        if self.do(command, self.model.refuses_send(command)) is not None:
            self.model.send(command, self.machine.records[-1].position)

    @rule(
        pick=picks,
        forms=st.lists(st.sampled_from(["edited", "edited", "recalled", "deleted", "silent"]), min_size=1, max_size=3),
    )
    def change_often(self, pick: int, forms: list[str]) -> None:
        """One and the same."""
        for form in forms:
            self.change(pick, form)

    def change(self, pick: int, form: str) -> None:
        model = self.model
        if not model.letters:
            return
        letter = model.letters[-1 - pick % len(model.letters)]
        silent, form = form == "silent", "deleted" if form == "silent" else form
        text = self.text() if form == "edited" else b""
        which: dict[str, Any] = {"app": APP, "id": MessageId(letter.id), "by": "eve"}
        command: Command = DeleteMessage(**which, silent=silent)
        if form == "edited":
            command = EditMessage(**which, body=text)
        elif form == "recalled":
            command = RecallMessage(**which)
        refusal: type[Refusal] | None = None
        if not model.findable_letter(letter):
            refusal = UnknownMessage
        elif form == "edited" and letter.form == "recalled":
            refusal = MessageIsRecalled
        decision = self.do(command, refusal)
        if decision is None:
            return
        if form == "recalled" == letter.form:
            assert decision.events == ()
            return
        position = self.note()
        letter.form, letter.text = form, text
        model.drop(letter, "change")
        if form == "deleted":
            letter.kept = False
            model.drop(letter, "place")
        told = letter.streamed and not silent
        assert decision.stream == (letter.number if told else 0)
        assert decision.keeps_body == (form != "deleted" or told)
        if told:
            model.stand(letter, "deleted" if form == "deleted" else "change", position)

    # Readers.

    @rule(user=users, reads=mostly, acks=flags)
    def visit(self, user: str, reads: bool, acks: bool) -> None:
        self.login(user)
        if reads:
            self.read(0)
        if acks:
            self.ack(0, 0)

    def login(self, user: str) -> None:
        model, box = self.model, self.model.box(APP, user)
        if len(box.sessions) == 3:
            return
        decision = self.do(Login(app=APP, user=user))
        assert decision is not None
        model.sweep(box)
        position = self.note()
        reader = Reader(user, position, model.clock.expiry_ms, model.rules)
        model.log_in(reader)
        counted = model.count(reader, position)
        missed = box.missed + counted.evicted + counted.expired
        assert decision.result == Welcome(Position(position), len(box.copies) + counted.streamed, missed)
        assert decision.opening is not None
        assert dict(decision.opening.conversations) == {
            place: line.members[user] for place, line in model.lines.items() if user in line.members
        }
        reader.due, reader.login = decision.opening.lost, decision.opening.login
        reader.streamed = position if reader.due else 0
        model.readers.append(reader)
        box.sessions = [row for row in box.sessions if row[1] == model.epoch]
        box.sessions.append((position, model.epoch))

    @rule(pick=picks)
    def read(self, pick: int) -> None:
        """All that waits, page by page."""
        if not self.model.readers:
            return
        reader = self.model.readers[-1 - pick % len(self.model.readers)]
        login = reader.login
        clock = self.machine.clock.expiry_ms
        while True:
            after = Position(reader.cursor)
            with self.machine.store.snapshot() as snapshot:
                page = read_page(snapshot, APP, reader.user, after, clock, login, self.machine.clock.wall_ms)
            got = [(frame.position, frame.type, frame.body, frame.seq, frame.stream) for frame in page.deliveries]
            expected = self.waiting(reader)
            assert got == expected[: len(got)]
            assert page.complete == (len(got) == len(expected)) or not page.complete
            for frame in page.deliveries:
                assert frame.queued
                assert frame.position > max(reader.seen, default=0)
                reader.seen.append(frame.position)
                if frame.stream is not None:
                    reader.due, reader.streamed = True, max(reader.streamed, frame.position)
            reader.cursor = page.as_of if page.complete else page.through
            if page.complete:
                return

    def waiting(self, reader: Reader) -> list[tuple[Any, ...]]:
        """What the reader must be given next, in order."""
        model, found = self.model, list[tuple[Any, ...]]()
        for copy in model.box(APP, reader.user).copies:
            if copy.position > reader.cursor and not model.past(copy):
                found.append((copy.position, "message", copy.message.text, copy.seq, None))
        for one, why in model.theirs(reader):
            if one.position <= reader.cursor or why:
                continue
            type = one.letter.form if one.shows != "deleted" else "deleted"
            if one.shows == "place" and type == "edited":
                type = "message"
            text = one.letter.text if type in ("message", "edited") else b""
            found.append((one.position, type, text, None, one.letter.number))
        return sorted(found, key=lambda row: int(row[0]))

    @rule(pick=picks, which=picks)
    def ack(self, pick: int, which: int) -> None:
        if not self.model.readers:
            return
        reader = self.model.readers[-1 - pick % len(self.model.readers)]
        if not reader.seen:
            return
        through = reader.seen[-1 - which % len(reader.seen)]
        box, counted = self.model.box(APP, reader.user), Counted()
        if through > box.acked_through:
            counted = self.model.count(reader, through)
        # A session that was sent nothing of streams, and lost nothing of them, has nothing to account for.
        assert reader.due or not counted.all
        command = Ack(
            app=APP,
            user=reader.user,
            session=Position(reader.position),
            through=Position(through),
            opened=reader.login if reader.due else None,
        )
        decision = self.do(command)
        assert decision is not None
        event = next((event for event in decision.events if isinstance(event, Acked)), None)
        told = (event.streamed, event.evicted, event.expired) if event is not None else (0, 0, 0)
        assert told == (counted.streamed, counted.evicted, counted.expired)
        if event is not None:
            self.model.ack(box, through)
        box.numbered += counted.all
        box.terms["accepted"] += counted.all
        box.terms["acked"] += counted.streamed
        box.terms["evicted"] += counted.evicted
        box.terms["expired"] += counted.expired
        reader.due = reader.due and through < reader.streamed

    @rule(pick=picks)
    def logout(self, pick: int) -> None:
        if self.model.readers:
            reader = self.model.readers.pop(-1 - pick % len(self.model.readers))
            self.do(Logout(app=APP, user=reader.user, session=Position(reader.position)))
            box = self.model.box(APP, reader.user)
            box.sessions = [row for row in box.sessions if row[0] != reader.position]
            self.note()

    # The house.

    @rule(what=st.sampled_from(["expire", "expire", "configure", "trim", "restart", "replay"]), data=st.data())
    def keep_house(self, what: str, data: st.DataObject) -> None:
        match what:
            case "expire":
                self.expire(data.draw(users))
            case "configure":
                self.configure(data.draw(rules_of_apps))
            case "trim":
                self.trim(data.draw(st.integers(1, 20)), data.draw(st.sampled_from([-1, 0, 60_000])))
            case "restart":
                self.restart()
            case _:
                self.replay_gives_the_same_state()

    def expire(self, user: str) -> None:
        decision = self.do(ExpireQueue(app=APP, user=user))
        assert decision is not None
        assert len(decision.events) == (self.model.sweep(self.model.box(APP, user)) > 0)

    @rule(limit=st.sampled_from([1, 2, 200]))
    def expire_history(self, limit: int) -> None:
        decision = self.do(ExpireHistory(app=APP, limit=limit))
        assert decision is not None
        assert bool(decision.events) == (self.model.forget_letters(limit) > 0)

    @rule(elapsed_ms=spells_ms)
    def time_passes(self, elapsed_ms: int) -> None:
        self.machine.clock.run(elapsed_ms)

    def configure(self, rules: Rules) -> None:
        self.machine.rules = self.model.rules = rules

    def trim(self, limit: int, age_ms: int) -> None:
        self.machine.trim(ExpiryMs(self.machine.clock.expiry_ms - age_ms), limit)

    def restart(self) -> None:
        self.machine.store = self.open()
        self.do(StartEpoch())
        self.model.epoch += 1
        self.model.readers.clear()

    # What must hold.

    @invariant()
    def the_store_shows_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        with self.machine.store.snapshot() as snapshot:
            for (_, user), box in self.model.boxes.items():
                self._check_box(snapshot, user, box)
            self._check_streams(snapshot)
            self._check_rows(snapshot)

    def _check_box(self, snapshot: Any, user: str, box: Box) -> None:
        entries = list(snapshot.views.entries(APP, user))
        assert [(entry.position, entry.seq) for entry in entries] == [(copy.position, copy.seq) for copy in box.copies]
        terms = count_terms(self.machine, APP, user)
        assert terms.accepted == sum(terms[1:]), terms
        assert terms._asdict() == {**box.terms, "queued": len(box.copies)}

    def _check_streams(self, snapshot: Any) -> None:
        for place, line in self.model.lines.items():
            row = snapshot.views.conversation(APP, place)
            found = list(snapshot.views.stream(row.number))
            assert [(one.position, one.id, one.number, one.ordinal, one.stamp_s, one.deleted) for one in found] == [
                (one.position, one.letter.id, one.letter.number, one.ordinal, one.stamp_s, one.shows == "deleted")
                for one in line.standing
            ]
            assert snapshot.views.message_count(row.number) == line.numbered
            assert row.members == len(line.members)
        found_texts = re.findall(rb"<text-\d+>", b"".join(values(engine_of(snapshot))))
        texts = [letter.text for letter in self.model.letters if letter.kept and letter.text]
        texts += [copy.message.text for box in self.model.boxes.values() for copy in box.copies]
        assert sorted(found_texts) == sorted(texts)

    def _check_rows(self, snapshot: Any) -> None:
        lines = self.model.lines
        counted = Counter(key[:1] for key, _ in rows(engine_of(snapshot), LIVE)[0])
        standing = [one for line in lines.values() for one in line.standing]
        left = sum(len(line.left) for line in lines.values())
        kept = sum(letter.kept for letter in self.model.letters)
        expected = {
            b"T": len(standing) + sum(one.shows == "deleted" for one in standing),
            b"P": sum(len(line.members) for place, line in lines.items() if place.kind == "service"),
            b"i": left,
            b"j": left,
            b"h": kept,
            b"k": 0,
            b"m": sum(letter.kept and letter.form != "message" for letter in self.model.letters),
        }
        assert {letter: counted[letter] for letter in expected} == expected
        notices = sum(one.shows == "deleted" for one in standing)
        waiting = sum(len(box.copies) for box in self.model.boxes.values())
        assert engine_of(snapshot).count("bodies") == kept + notices + waiting

    def replay_gives_the_same_state(self) -> None:
        with self.machine.store.snapshot() as snapshot:
            assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        self.replay_gives_the_same_state()
        told: list[Problem] = []
        with tempfile.TemporaryDirectory() as scratch, self.machine.store.snapshot() as snapshot:
            engine, problems = engine_of(snapshot), Problems(told.append)
            list(AccountCheck(engine, problems).run())
            list(ConversationCheck(engine, StoredViews(engine, LIVE), problems).run())
            with Owned(Path(scratch) / "owned") as owned:
                list(BodyCheck(engine, StoredViews(engine, LIVE), owned, problems).run())
        assert told == []
        self.machine.store.close()


class MemoryStreams(OnMemory, Streams):
    """On the store that forgets."""


class LmdbStreams(OnLmdb, Streams):
    """On the one that lasts; a restart opens the directory again."""


TestMemoryStreams = MemoryStreams.TestCase
TestMemoryStreams.settings = settings(max_examples=examples(25), stateful_step_count=60)
TestLmdbStreams = LmdbStreams.TestCase
TestLmdbStreams.settings = settings(max_examples=examples(10), stateful_step_count=40)
