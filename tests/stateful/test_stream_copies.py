"""Whatever happens to what a service sends its subscribers, and to their copies, in whatever order: each finds and reads what a
plain model says, no text outlives the last who may see it, verify finds nothing wrong, and replay gives the same state."""

import re
import tempfile
from collections.abc import Iterator
from copy import deepcopy
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
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    Login,
    Logout,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    StartEpoch,
)
from postroom.core.domain import Decision, stream_reading
from postroom.core.errors import MessageIsRecalled, Refusal, UnknownMessage
from postroom.core.ids import ExpiryMs, MessageId, Position
from postroom.core.model import Rules, service
from postroom.core.queries import FindMessages
from postroom.core.rows import Opened
from postroom.core.runtime.delivery import Delivery
from postroom.core.runtime.reading import read_messages, read_page
from postroom.core.search import Search
from postroom.storage.checking.accounts import AccountCheck
from postroom.storage.checking.bodies import BodyCheck
from postroom.storage.checking.owned import Owned
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from postroom.storage.views import StoredViews
from tests.support.thorough import examples

from ..support.machine import Clock, Machine
from ..support.rows import engine_of, replayed, rows, values
from .stores import OnLmdb, OnMemory, StoreMachine

APP = "one"
DAY_MS = 86_400_000
NEWS = service("news")
USERS = ("ann", "ben", "cy")

users = st.sampled_from(USERS)
crowds = st.lists(users, min_size=1, max_size=2, unique=True).map(tuple)
picks = st.sampled_from([0, 0, 0, 1, 1, 2, 4])
flags = st.booleans()
mostly = st.sampled_from([True, True, True, False])
spells_ms = st.sampled_from([1, 1_000, 30_000, 30_000, DAY_MS])
forms = st.sampled_from(["edited", "edited", "recalled", "deleted", "silent"])


@dataclass
class Letter:
    """A message to all who subscribe."""

    id: int
    at_ms: int
    text: bytes
    form: str = "message"
    kept: bool = True
    own: dict[str, tuple[str, bytes, int]] = field(default_factory=dict)
    """What some see in its place: form, text, and the position of the change."""

    def seen_by(self, user: str) -> tuple[str, bytes]:
        """Form and text."""
        return self.own.get(user, (self.form, self.text, 0))[:2]


@dataclass
class Press:
    """What must be so."""

    letters: list[Letter] = field(default_factory=list)
    times: dict[str, list[list[int]]] = field(default_factory=lambda: {user: [] for user in USERS})
    """When each subscribed: from one position to another, or until now."""
    sessions: dict[str, list[Opened]] = field(default_factory=lambda: {user: [] for user in USERS})

    def subscribes(self, user: str) -> bool:
        """Now."""
        return bool(self.times[user]) and len(self.times[user][-1]) == 1

    def is_theirs(self, letter: Letter, user: str) -> bool:
        """It was sent while they subscribed."""
        return self.subscribed(user, letter.id)

    def subscribed(self, user: str, position: int) -> bool:
        """At that position."""
        return any(time[0] < position and (len(time) == 1 or position < time[1]) for time in self.times[user])


class StreamCopies(StoreMachine):
    """Subscriptions, messages, changes for all and for some, acks, clocks, trimming and restarts over one store."""

    @initialize(history_ttl_ms=st.sampled_from([180 * DAY_MS, DAY_MS, None]))
    def begin(self, history_ttl_ms: int | None) -> None:
        rules = Rules(history_ttl_ms=history_ttl_ms, queue_ttl_ms=DAY_MS, queue_messages=5)
        self.machine = Machine(self.open(), rules, Clock())
        self.model = Press()
        self.texts = 0
        self.do(StartEpoch())
        self.do(CreateConversation(app=APP, conversation=NEWS))
        for user in USERS:
            self.join(user)
        self.say(queue=True)
        self.come("ben")
        self.say(queue=True)

    def do(self, command: Command, refusal: type[Refusal] | None = None) -> Decision | None:
        """Run it; it must be refused with this, or not at all."""
        decision, met = None, None
        try:
            decision = self.machine.run(command)
        except Refusal as error:
            met = type(error)
        assert met is refusal, f"{command}: expected {refusal}"
        return decision

    @property
    def newest(self) -> int:
        """The last event."""
        return self.machine.records[-1].position

    # Subscribers.

    @rule(user=users)
    def turn_subscription(self, user: str) -> None:
        if not self.model.subscribes(user):
            self.join(user)
            return
        self.do(RemoveMembers(app=APP, conversation=NEWS, users=(user,)))
        self.model.times[user][-1].append(self.newest)

    def join(self, user: str) -> None:
        """They subscribe."""
        self.do(AddMembers(app=APP, conversation=NEWS, users=(user,)))
        self.model.times[user].append([self.newest])

    @rule(user=users)
    def come(self, user: str) -> None:
        if len(self.model.sessions[user]) < 3:
            decision = self.do(Login(app=APP, user=user))
            assert decision is not None
            assert decision.opening is not None
            self.model.sessions[user].append(decision.opening.login)

    @rule(user=users)
    def go(self, user: str) -> None:
        if self.model.sessions[user]:
            self.do(Logout(app=APP, user=user, session=self.model.sessions[user].pop().position))

    @rule(user=users, pick=picks)
    def ack(self, user: str, pick: int) -> None:
        if self.model.sessions[user]:
            login, through = self.model.sessions[user][-1], self.machine.records[-1 - pick].position
            self.do(Ack(app=APP, user=user, session=login.position, through=through, opened=login))

    # Messages.

    @rule(queue=mostly)
    def say(self, queue: bool) -> None:
        self.texts += 1
        text = b"<text-%d>" % self.texts
        self.do(SendMessage(app=APP, sender="desk", to=NEWS, body=text, queue=queue, history=True))
        event: Any = self.machine.records[-1].event
        self.model.letters.append(Letter(event.id, event.at_ms, text))

    @rule(pick=picks, form=forms)
    def change(self, pick: int, form: str) -> None:
        """For all."""
        letter = self.letter(pick)
        refusal: type[Refusal] | None = MessageIsRecalled if form == "edited" and letter.form == "recalled" else None
        decision, text = self.order(letter, form, (), refusal if self.findable(letter) else UnknownMessage)
        if decision is None or not decision.events:
            return
        letter.form, letter.text = form, text
        letter.own = {user: own for user, own in letter.own.items() if own[0] == "hidden"}
        letter.kept = form not in ("deleted", "silent")

    @rule(pick=picks, form=st.sampled_from(["edited", "edited", "recalled"]), who=crowds)
    def change_some(self, pick: int, form: str, who: tuple[str, ...]) -> None:
        letter = self.letter(pick)
        taken = [user for user in who if letter.seen_by(user)[0] == "recalled"]
        refusal: type[Refusal] | None = MessageIsRecalled if form == "edited" and taken else None
        decision, text = self.order(letter, form, who, refusal if self.have_it(letter, who) else UnknownMessage)
        if decision is None:
            return
        left = [user for user in who if form == "edited" or user not in taken]
        assert bool(decision.events) == bool(left)
        for user in left:
            letter.own[user] = form, text, self.newest

    @rule(pick=picks, who=users, silent=flags)
    def hide(self, pick: int, who: str, silent: bool) -> None:
        letter = self.letter(pick)
        form = "silent" if silent else "deleted"
        decision, _ = self.order(letter, form, (who,), None if self.have_it(letter, (who,)) else UnknownMessage)
        if decision is not None:
            letter.own[who] = "hidden", b"", 0

    def letter(self, pick: int) -> Letter:
        """One of those that are kept, if any is."""
        kept = [letter for letter in self.model.letters if letter.kept] or self.model.letters
        return kept[-1 - pick % len(kept)]

    def findable(self, letter: Letter) -> bool:
        """It can be changed."""
        return letter.kept and letter.at_ms > self.machine.rules.history_horizon(self.machine.clock.expiry_ms)

    def have_it(self, letter: Letter, who: tuple[str, ...]) -> bool:
        """Each of them."""
        theirs = all(self.model.is_theirs(letter, user) and letter.seen_by(user)[0] != "hidden" for user in who)
        return self.findable(letter) and theirs

    def order(
        self, letter: Letter, form: str, who: tuple[str, ...], refusal: type[Refusal] | None
    ) -> tuple[Decision | None, bytes]:
        """Have it changed."""
        which: dict[str, Any] = {"app": APP, "id": MessageId(letter.id), "by": "desk", "recipients": who}
        if form == "edited":
            self.texts += 1
            text = b"<text-%d>" % self.texts
            return self.do(EditMessage(**which, body=text), refusal), text
        if form == "recalled":
            return self.do(RecallMessage(**which), refusal), b""
        return self.do(DeleteMessage(**which, silent=form == "silent"), refusal), b""

    # The house.

    @rule(elapsed_ms=spells_ms, limit=st.sampled_from([1, 1_000]))
    def time_passes(self, elapsed_ms: int, limit: int) -> None:
        self.machine.clock.run(elapsed_ms)
        self.do(ExpireHistory(app=APP, limit=limit))
        horizon = self.machine.rules.history_horizon(self.machine.clock.expiry_ms)
        for letter in [one for one in self.model.letters if one.kept and one.at_ms <= horizon][:limit]:
            letter.kept = False

    @rule(fails=flags)
    def turn_batch(self, fails: bool) -> None:
        """Begin one, or end the open one."""
        if not self.machine.in_batch:
            self.before = deepcopy(self.model)
            self.machine.begin()
        elif fails:
            self.machine.abort()
            self.model = self.before
        else:
            self.machine.commit()

    @rule(limit=st.integers(1, 20))
    def trim(self, limit: int) -> None:
        if self.machine.in_batch:
            self.machine.commit()
        self.machine.trim(ExpiryMs(self.machine.clock.expiry_ms + 1), limit)

    @rule()
    def restart(self) -> None:
        if self.machine.in_batch:
            self.machine.commit()
        self.machine.store = self.open()
        self.do(StartEpoch())
        self.model.sessions = {user: [] for user in USERS}

    # What must hold.

    @invariant()
    def the_store_shows_what_the_model_says(self) -> None:
        if not hasattr(self, "model") or self.machine.in_batch:
            return
        with self.machine.store.snapshot() as snapshot:
            for user in USERS:
                self._check_found(snapshot, user)
                for frame in self._read(snapshot, user):
                    self._check_frame(user, frame)
            self._check_texts(snapshot)

    def _check_found(self, snapshot: Any, user: str) -> None:
        horizon = self.machine.rules.history_horizon(self.machine.clock.expiry_ms)
        kept = [one for one in self.model.letters if one.kept and one.at_ms > horizon]
        theirs = [(one.id, *one.seen_by(user)) for one in kept if self.model.is_theirs(one, user)]
        for recalled in (True, False):
            query = FindMessages(app=APP, conversations=(NEWS,), recipient=user, recalled=recalled)
            search = Search(query, snapshot.views.position, horizon)
            while search.go_on(snapshot.views, 2):
                pass
            found = read_messages(snapshot, search.ids, horizon, recalled=recalled, recipient=user)
            assert [(one.id, one.recalled, one.body) for one in found] == [
                (id, form == "recalled", text)
                for id, form, text in theirs
                if form != "hidden" and (recalled or form != "recalled")
            ]
            assert search.count == len(found)
        every = read_messages(snapshot, [MessageId(one.id) for one in kept], horizon, recalled=True)
        assert [one.body for one in every] == [one.text for one in kept]

    def _read(self, snapshot: Any, user: str) -> Iterator[Delivery]:
        """What a session that opened now would be given."""
        clock_ms = self.machine.clock.expiry_ms
        session = Position(snapshot.views.position + 1)
        login, passed = stream_reading.opened(
            snapshot.views, APP, user, session, ExpiryMs(clock_ms), self.machine.rules
        )
        after, complete, streamed = Position(0), False, 0
        while not complete:
            page = read_page(snapshot, APP, user, after, clock_ms, login, self.machine.clock.wall_ms)
            after, complete = page.through, page.complete
            streamed += sum(frame.seq is None for frame in page.deliveries)
            yield from page.deliveries
        assert streamed == passed.streamed  # no more is announced than what comes

    def _check_frame(self, user: str, frame: Delivery) -> None:
        letter = next(letter for letter in self.model.letters if letter.id == frame.id)
        form, text = letter.seen_by(user)
        assert self.model.is_theirs(letter, user)  # who came later is not told of a change either
        if frame.type == "deleted":
            assert form == "hidden" or not letter.kept
            return
        assert letter.kept
        assert form != "hidden"
        assert (frame.type == "recalled", frame.body) == (form == "recalled", text)

    def _check_texts(self, snapshot: Any) -> None:
        found = re.findall(rb"<text-\d+>", b"".join(values(engine_of(snapshot))))
        kept = [letter for letter in self.model.letters if letter.kept]
        lying = [letter.text for letter in kept]
        for letter in kept:
            lying += {position: text for _, text, position in letter.own.values()}.values()
        assert sorted(found) == sorted(text for text in lying if text)

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
            list(AccountCheck(engine, problems).run())
            with Owned(Path(scratch) / "owned") as owned:
                list(BodyCheck(engine, StoredViews(engine, LIVE), owned, problems).run())
        assert told == []
        self.machine.store.close()


class MemoryStreamCopies(OnMemory, StreamCopies):
    """On the store that forgets."""


class LmdbStreamCopies(OnLmdb, StreamCopies):
    """On the one that lasts; a restart opens the directory again."""


TestMemoryStreamCopies = MemoryStreamCopies.TestCase
TestMemoryStreamCopies.settings = settings(max_examples=examples(20), stateful_step_count=50)
TestLmdbStreamCopies = LmdbStreamCopies.TestCase
TestLmdbStreamCopies.settings = settings(max_examples=examples(10), stateful_step_count=40)
