"""Whatever happens to groups and their messages, in whatever order: the store shows what a plain model says, every copy is
accounted for by the events, no text outlives its message, and replay gives the same state."""

import re
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from postroom.core.commands import (
    Ack,
    AddMembers,
    Command,
    CreateConversation,
    DeleteConversation,
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    ExpireQueue,
    Login,
    Logout,
    MuteConversation,
    Operation,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    StartEpoch,
    SweepConversation,
    UnmuteConversation,
    UpdateConversation,
)
from postroom.core.domain import Decision, Welcome
from postroom.core.domain.stream_reading import opened
from postroom.core.errors import ConversationExists, MessageIsRecalled, Refusal, UnknownConversation, UnknownMessage
from postroom.core.events.deletion import ConversationSwept
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import Receipt, Rules, group
from postroom.core.queries import FindMessages
from postroom.core.runtime.reading import read_messages, read_page, resolve
from postroom.core.search import Search
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
from .model import Box, Copy, Message, Model
from .stores import BatchMachine, OnLmdb, OnMemory

APP = "one"
DAY_MS = 86_400_000

users = st.sampled_from(["ann", "bob", "bob", "cy"])
names = st.sampled_from(["g", "g", "g", "h"])
crowds = st.lists(users, max_size=4).map(tuple)
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
class Letter(Message):
    """A message to a group."""

    recipients: tuple[str, ...] = ()
    push: bytes = b""


@dataclass(eq=False)
class Circle:
    """A group."""

    created: int
    unique: bool
    members: list[str] = field(default_factory=list)
    muted: list[str] = field(default_factory=list)
    attributes: dict[str, int] = field(default_factory=dict)


class GroupsModel(Model):
    """What must be so of one app."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.circles: dict[str, Circle] = {}
        self.letters: list[Letter] = []
        self.doomed: dict[str, Circle] = {}
        """Groups that are deleted and not swept, and who is still on their lists."""

    def copies(self, letter: Letter) -> list[tuple[Box, Copy]]:
        """Those that wait and are about it, notices of its deletion excepted."""
        found = []
        for box in self.boxes.values():
            found += [(box, copy) for copy in box.copies if copy.message is letter and copy.shows == "message"]
        return found

    def findable(self, message: Message) -> bool:
        assert isinstance(message, Letter)
        if not message.kept or message.to in self.doomed:
            return False
        return not self.too_old(message) or any(not self.past(copy) for _, copy in self.copies(message))

    def send_to(self, command: SendMessage, id: int) -> Letter:
        """It was accepted."""
        members = self.circles[command.to.id].members
        to = tuple(user for user in members if user != command.sender) if command.queue else ()
        at_ms = self.newest_at[APP] = self.at(APP)
        letter = Letter(
            id, APP, command.to.id, command.queue, command.history, "message", command.body, at_ms, command.history, to
        )
        letter.push = command.push
        if command.history:
            self.letters.append(letter)
        for user in to:
            box = self.box(APP, user)
            self.deliver(box, Copy(id, 0, self.last_deadline(box), letter, "message"))
        return letter

    def change_letter(self, letter: Letter, form: str, text: bytes, position: int, *, silent: bool) -> bool:
        """It was edited, recalled or deleted. Whether a body lies under the change."""
        told = [
            user
            for user in letter.recipients
            if self.box(APP, user).acked_through >= letter.id or self.online(self.box(APP, user))
        ]
        deadlines = {user: self.last_deadline(self.box(APP, user)) for user in told}
        if form == "deleted":
            for box, copy in self.copies(letter):
                self.leave(box, [copy], "withdrawn")
            letter.kept = False
        letter.form, letter.text, letter.push = form, text, b""
        self.newest_at[APP] = self.at(APP)
        shows = "deleted" if form == "deleted" else "message"
        stored = [
            self.deliver(self.box(APP, user), Copy(position, 0, deadlines[user], letter, shows))
            for user in ([] if silent else told)
        ]
        return form != "deleted" or any(stored)

    def sweep_group(self, name: str, limit: int) -> tuple[str, int]:
        """A deleted group's oldest messages leave, and what waits of them; then who is on its lists; then its name is free."""
        kept = sorted((one for one in self.letters if one.kept and one.to == name), key=lambda one: (one.at_ms, one.id))
        for letter in kept[:limit]:
            letter.kept = False
            for box, copy in self.copies(letter):
                self.leave(box, [copy], "withdrawn")
        if kept:
            return "messages", len(kept[:limit])
        for users in ("members", "muted"):
            listed = getattr(self.doomed[name], users)
            if listed:
                gone = listed[:limit]
                del listed[:limit]
                return users, len(gone)
        del self.doomed[name]
        return "record", 0

    def forget_letters(self, limit: int) -> int:
        """The oldest that are too old leave, and what waits of them with them."""
        over = sorted(
            (one for one in self.letters if one.kept and self.too_old(one)), key=lambda one: (one.at_ms, one.id)
        )
        for letter in over[:limit]:
            letter.kept = False
            self.forgotten[APP] = max(self.forgotten.get(APP, 0), letter.id)
            for box, copy in self.copies(letter):
                self.leave(box, [copy], "expired")
        return len(over[:limit])


class Groups(BatchMachine):
    """Records, members, messages, changes, acks, sessions, clocks, settings, trimming and restarts over one store."""

    @initialize(rules=rules_of_apps)
    def begin(self, rules: Rules) -> None:
        self.machine = Machine(self.open(), rules, Clock())
        self.model = GroupsModel(self.machine.clock)
        self.model.rules = rules
        self.texts = 0
        self.do(StartEpoch())
        self.model.epoch = 1

    def do(self, command: Command, refusal: type[Refusal] | None = None) -> Decision | None:
        """Run it; it must be refused with this, or not at all."""
        decision, met = None, None
        try:
            decision = self.machine.run(command)
        except Refusal as error:
            met = type(error)
        assert met is refusal, f"{command}: expected {refusal}"
        return decision

    def text(self) -> bytes:
        """A text that no other message has."""
        self.texts += 1
        return b"<text-%d>" % self.texts

    # Records.

    @rule(name=names, members=crowds, muted=crowds, unique=flags)
    def create(self, name: str, members: tuple[str, ...], muted: tuple[str, ...], unique: bool) -> None:
        model, members, muted = self.model, tuple(dict.fromkeys(members)), tuple(dict.fromkeys(muted))
        found = [
            (circle.created, each)
            for each, circle in model.circles.items()
            if unique and circle.unique and sorted(circle.members) == sorted(members)
        ]
        command = CreateConversation(app=APP, conversation=group(name), members=members, muted=muted, unique=unique)
        exists = name in model.circles or name in model.doomed
        decision = self.do(command, ConversationExists if exists and not found else None)
        if decision is None:
            return
        assert isinstance(decision.result, Receipt)
        if found:
            assert (decision.events, decision.result.conversation) == ((), group(min(found)[1]))
            return
        model.newest_at[APP] = model.at(APP)
        model.circles[name] = Circle(decision.result.id, unique, list(members), list(muted))

    @rule(name=names, who=crowds, what=st.sampled_from(["members", "members", "muted"]), adds=mostly)
    def change_list(self, name: str, who: tuple[str, ...], what: str, adds: bool) -> None:
        kinds = {
            ("members", True): AddMembers,
            ("members", False): RemoveMembers,
            ("muted", True): MuteConversation,
            ("muted", False): UnmuteConversation,
        }
        circle = self.model.circles.get(name)
        command = kinds[what, adds](app=APP, conversation=group(name), users=who)  # type: ignore[operator]
        decision = self.do(command, None if circle else UnknownConversation)
        if decision is None or circle is None:
            return
        listed = getattr(circle, what)
        before = list(listed)
        if adds:
            listed += [user for user in dict.fromkeys(who) if user not in before]
        else:
            listed[:] = [user for user in before if user not in who]
        assert len(decision.events) == (listed != before)
        if decision.events:
            self.model.newest_at[APP] = self.model.at(APP)

    @rule(name=names, key=st.sampled_from("ab"), value=st.integers(0, 2), unset=flags)
    def update(self, name: str, key: str, value: int, unset: bool) -> None:
        circle = self.model.circles.get(name)
        operation = Operation(key, "unset") if unset else Operation(key, "set", b"%d" % value)
        command = UpdateConversation(app=APP, conversation=group(name), operations=(operation,))
        if self.do(command, None if circle else UnknownConversation) is None or circle is None:
            return
        circle.attributes.pop(key, None)
        if not unset:
            circle.attributes[key] = value
        self.model.newest_at[APP] = self.model.at(APP)

    @rule(name=names)
    def delete(self, name: str) -> None:
        circle = self.model.circles.pop(name, None)
        decision = self.do(
            DeleteConversation(app=APP, conversation=group(name), by="eve"), None if circle else UnknownConversation
        )
        if decision is not None:
            assert circle is not None
            self.model.doomed[name] = circle
            self.model.newest_at[APP] = self.model.at(APP)

    @rule(name=names, limit=st.sampled_from([1, 2, 1_000]))
    def sweep_group(self, name: str, limit: int) -> None:
        doomed = name in self.model.doomed
        decision = self.do(SweepConversation(app=APP, conversation=group(name), limit=limit, unblocked=True))
        assert decision is not None
        swept = [event for event in decision.events if isinstance(event, ConversationSwept)]
        assert bool(swept) == bool(decision.events) == doomed
        if doomed:
            what, count = self.model.sweep_group(name, limit)
            assert {event.what for event in swept} == {what}
            assert sum(event.count for event in swept) == count

    # Messages.

    @rule(name=names, sender=users, queue=mostly, history=mostly, copy=flags)
    def send(self, name: str, sender: str, queue: bool, history: bool, copy: bool) -> None:
        model = self.model
        command = SendMessage(
            app=APP,
            sender=sender,
            to=group(name),
            body=self.text(),
            queue=queue,
            history=history or queue,
            push=self.text(),
            sender_copy="online" if copy else "none",
        )
        circle = model.circles.get(name)
        decision = self.do(command, None if circle else UnknownConversation)
        if decision is None or circle is None:
            return
        receipt = decision.result
        assert receipt == Receipt(id=MessageId(self.machine.records[-1].position), at_ms=UnixMs(model.at(APP)))
        others = [user for user in circle.members if user != sender]
        assert decision.audience == (*([] if queue else others), *([sender] if copy else []))
        model.send_to(command, self.machine.records[-1].position)

    @rule(pick=picks, form=st.sampled_from(["edited", "edited", "recalled", "deleted", "silent"]), right=mostly)
    def change(self, pick: int, form: str, right: bool) -> None:
        if not self.model.letters:
            return
        letter = self.model.letters[-1 - pick % len(self.model.letters)]
        silent, form = form == "silent", "deleted" if form == "silent" else form
        text = self.text() if form == "edited" else b""
        which: dict[str, Any] = {"app": APP, "id": MessageId(letter.id), "by": "eve"}
        which["conversation"] = group(letter.to if right else "other")
        command: Command = DeleteMessage(**which, silent=silent)
        if form == "edited":
            command = EditMessage(**which, body=text)
        elif form == "recalled":
            command = RecallMessage(**which)
        refusal: type[Refusal] | None = None
        if not right or not self.model.findable(letter):
            refusal = UnknownMessage
        elif form == "edited" and letter.form == "recalled":
            refusal = MessageIsRecalled
        decision = self.do(command, refusal)
        if decision is None:
            return
        if form == "recalled" == letter.form:
            assert decision.events == ()
            return
        position = self.machine.records[-1].position
        assert decision.keeps_body == self.model.change_letter(letter, form, text, position, silent=silent)

    # Recipients.

    @rule(user=users)
    def login(self, user: str) -> None:
        box = self.model.box(APP, user)
        if len(box.sessions) == 3:
            return
        decision = self.do(Login(app=APP, user=user))
        assert decision is not None
        self.model.sweep(box)
        assert decision.result == Welcome(self.machine.records[-1].position, len(box.copies), box.missed)
        box.sessions = [row for row in box.sessions if row[1] == self.model.epoch]
        box.sessions.append((self.machine.records[-1].position, self.model.epoch))
        self.model.newest_at[APP] = self.model.at(APP)

    @rule(user=users)
    def logout(self, user: str) -> None:
        box = self.model.box(APP, user)
        if box.sessions:
            self.do(Logout(app=APP, user=user, session=Position(box.sessions.pop()[0])))
            self.model.newest_at[APP] = self.model.at(APP)

    @rule(user=users, pick=picks)
    def ack(self, user: str, pick: int) -> None:
        box = self.model.box(APP, user)
        if box.copies:
            through = box.copies[-1 - pick % len(box.copies)].position
            self.do(Ack(app=APP, user=user, session=Position(1), through=Position(through)))
            self.model.ack(box, through)

    # The house.

    @rule(user=users, limit=st.sampled_from([1, 1_000]))
    def expire(self, user: str, limit: int) -> None:
        decision = self.do(ExpireQueue(app=APP, user=user, limit=limit))
        assert decision is not None
        assert len(decision.events) == (self.model.sweep(self.model.box(APP, user), limit) > 0)

    @rule(limit=st.sampled_from([1, 2, 1_000]))
    def expire_history(self, limit: int) -> None:
        decision = self.do(ExpireHistory(app=APP, limit=limit))
        assert decision is not None
        assert bool(decision.events) == (self.model.forget_letters(limit) > 0)

    @rule(elapsed_ms=spells_ms)
    def time_passes(self, elapsed_ms: int) -> None:
        self.machine.clock.run(elapsed_ms)

    @rule(rules=rules_of_apps)
    def configure(self, rules: Rules) -> None:
        self.machine.rules = self.model.rules = rules

    @rule(limit=st.integers(1, 20), age_ms=st.sampled_from([-1, 0, 60_000]))
    def trim(self, limit: int, age_ms: int) -> None:
        if self.machine.in_batch:
            self.machine.commit()
        self.machine.trim(ExpiryMs(self.machine.clock.expiry_ms - age_ms), limit)

    @rule(killed=flags)
    def restart(self, killed: bool) -> None:
        if self.machine.in_batch:
            self.abort() if killed else self.machine.commit()
        self.machine.store = self.open()
        self.do(StartEpoch())
        self.model.epoch += 1

    # What must hold.

    @invariant()
    def the_store_shows_what_the_model_says(self) -> None:
        if not hasattr(self, "model") or self.machine.in_batch:
            return
        with self.machine.store.snapshot() as snapshot:
            for (_, user), box in self.model.boxes.items():
                self._check_box(snapshot, user, box)
            self._check_records(snapshot)
            self._check_history(snapshot)
            self._check_readers(snapshot)
            self._check_rows(snapshot)

    def _check_box(self, snapshot: Any, user: str, box: Box) -> None:
        entries = list(snapshot.views.entries(APP, user))
        assert [(entry.position, entry.seq) for entry in entries] == [(copy.position, copy.seq) for copy in box.copies]
        for entry, copy in zip(entries, box.copies, strict=True):
            assert 1_577_836_800_000 + entry.expires_s * 1000 == copy.deadline_ms
            body, type = resolve(snapshot, APP, user, entry)
            form = copy.message.form if copy.shows == "message" else "deleted"
            in_place = form == "edited" and copy.position == copy.message.id
            text = copy.message.text if form in ("message", "edited") else b""
            assert (type, body.payload) == ("message" if in_place else form, text)
        terms = count_terms(self.machine, APP, user)
        assert terms.accepted == sum(terms[1:]), terms
        assert terms._asdict() == {**box.terms, "queued": len(box.copies)}

    def _check_records(self, snapshot: Any) -> None:
        views, circles = snapshot.views, self.model.circles
        in_order = sorted((circle.created, name) for name, circle in circles.items())
        assert list(views.conversations(APP, "group")) == in_order
        for number, name in in_order:
            row, circle = views.conversation(APP, group(name)), circles[name]
            assert (row.number, row.members, row.muted) == (number, len(circle.members), len(circle.muted))
            assert list(views.listed(number, "members")) == circle.members
            assert list(views.listed(number, "muted")) == circle.muted
        listing = sorted((circle.created, name, circle) for name, circle in (circles | self.model.doomed).items())
        for user in ("ann", "bob", "cy"):
            theirs = [(number, group(name)) for number, name, circle in listing if user in circle.members]
            assert list(views.conversations_of(APP, user)) == theirs
        for key in "ab":
            for value in range(3):
                having = [(n, group(name)) for n, name in in_order if circles[name].attributes.get(key) == value]
                assert list(views.conversations_with(APP, key, b"%d" % value)) == having

    def _check_history(self, snapshot: Any) -> None:
        kept = sorted((one for one in self.model.letters if one.kept), key=lambda one: (one.at_ms, one.id))
        assert [(place.id, row.recipients, row.recalled) for place, row in snapshot.views.oldest_kept(APP)] == [
            (one.id, one.recipients, one.form == "recalled") for one in kept
        ]
        found = re.findall(rb"<text-\d+>", b"".join(values(engine_of(snapshot))))
        assert sorted(found) == sorted(text for one in kept for text in (one.text, one.push) if text)

    def _check_readers(self, snapshot: Any) -> None:
        """Nobody finds what was sent to a group that is deleted, swept or not."""
        model, clock = self.model, self.machine.clock.expiry_ms
        horizon = self.machine.rules.history_horizon(clock)
        there = [one for one in model.letters if one.kept and one.to not in model.doomed and one.at_ms > horizon]
        there.sort(key=lambda one: (one.at_ms, one.id))
        for name in ("g", "h", None):
            which: dict[str, Any] = {"conversations": (group(name),)} if name else {"everything": True}
            search = Search(FindMessages(app=APP, recalled=True, **which), snapshot.views.position, horizon)
            assert not search.go_on(snapshot.views)
            assert search.ids == [one.id for one in there if name in (None, one.to)]
            assert search.count == len(search.ids)
        every = [MessageId(one.id) for one in model.letters]
        shown = read_messages(snapshot, every, horizon, recalled=True)
        assert sorted(message.id for message in shown) == sorted(one.id for one in there)
        for (_, user), box in model.boxes.items():
            login, _ = opened(snapshot.views, APP, user, snapshot.views.position, clock, self.machine.rules)
            page = read_page(snapshot, APP, user, Position(0), clock, login, self.machine.clock.wall_ms)
            assert [frame.position for frame in page.deliveries] == [
                copy.position
                for copy in box.copies
                if not model.past(copy) and (copy.shows == "deleted" or copy.message.to not in model.doomed)
            ]

    def _check_rows(self, snapshot: Any) -> None:
        model = self.model
        counted = Counter(key[:1] for key, _ in rows(engine_of(snapshot), LIVE)[0])
        copies = [copy for box in model.boxes.values() for copy in box.copies]
        kept = [letter for letter in model.letters if letter.kept]
        circles = model.circles.values()
        listing = [*circles, *model.doomed.values()]
        members = sum(len(circle.members) for circle in listing)
        listed = members + sum(len(circle.muted) for circle in listing)
        expected = {
            b"k": len({copy.position for copy in copies if copy.position != copy.message.id}),
            b"m": sum(letter.form != "message" for letter in kept),
            b"h": len(kept),
            b"t": 3 * len(kept),
            b"o": len(circles),
            b"n": len(circles),
            b"b": listed,
            b"l": listed,
            b"v": members,
            b"y": sum(len(circle.attributes) for circle in circles),
            b"U": sum(circle.unique for circle in circles),
            b"X": len(model.doomed),
        }
        assert {letter: counted[letter] for letter in expected} == expected
        notices = {copy.position for copy in copies if copy.shows == "deleted"}
        assert engine_of(snapshot).count("bodies") == len(kept) + len(notices)

    @rule()
    def replay_gives_the_same_state(self) -> None:
        if not self.machine.in_batch:
            with self.machine.store.snapshot() as snapshot:
                assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        if self.machine.in_batch:
            self.machine.commit()
        self.replay_gives_the_same_state()
        told: list[Problem] = []
        with tempfile.TemporaryDirectory() as scratch, self.machine.store.snapshot() as snapshot:
            engine, problems = engine_of(snapshot), Problems(told.append)
            list(ConversationCheck(engine, StoredViews(engine, LIVE), problems).run())
            with Owned(Path(scratch) / "owned") as owned:
                list(BodyCheck(engine, StoredViews(engine, LIVE), owned, problems).run())
        assert told == []
        self.machine.store.close()


class MemoryGroups(OnMemory, Groups):
    """On the store that forgets."""


class LmdbGroups(OnLmdb, Groups):
    """On the one that lasts; a restart opens the directory again."""


TestMemoryGroups = MemoryGroups.TestCase
TestMemoryGroups.settings = settings(max_examples=examples(35), stateful_step_count=60)
TestLmdbGroups = LmdbGroups.TestCase
TestLmdbGroups.settings = settings(max_examples=examples(10), stateful_step_count=40)
