"""Whatever happens to messages of a service to users by name and to their copies, in whatever order: each sees what a plain
model says, every copy is accounted for by the events, no text outlives the last who may see it, and replay gives the same
state."""

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from postroom.core.commands import (
    Ack,
    Command,
    CreateConversation,
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    ExpireQueue,
    Login,
    Logout,
    RecallMessage,
    SendMessage,
    StartEpoch,
)
from postroom.core.domain import Decision, Welcome
from postroom.core.errors import MessageIsRecalled, Refusal, UnknownMessage
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import Receipt, Rules, service
from postroom.core.queries import FindMessages
from postroom.core.runtime.reading import read_messages, resolve
from postroom.core.search import Search
from postroom.storage.checking.bodies import BodyCheck
from postroom.storage.checking.owned import Owned
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from postroom.storage.views import StoredViews
from tests.support.thorough import examples

from ..support.desk import count_terms
from ..support.machine import Clock, Machine
from ..support.rows import engine_of, replayed, rows, values
from .model import Box
from .named_model import APP, Letter, NamedModel
from .stores import BatchMachine, OnLmdb, OnMemory

DAY_MS = 86_400_000
NEWS = service("news")
USERS = ("ann", "ben", "cy")

users = st.sampled_from(USERS)
crowds = st.lists(users, min_size=1, max_size=4).map(tuple) | st.just(("cy", "ben", "ann"))
picks = st.sampled_from([0, 0, 0, 1, 1, 2, 4])
flags = st.booleans()
mostly = st.sampled_from([True, True, True, False])
spells_ms = st.sampled_from([1, 1_000, 30_000, 30_000, 30_000, DAY_MS, 8 * DAY_MS])
rules_of_apps = st.builds(
    Rules,
    queue_messages=st.sampled_from([1, 2, 4, 8]),
    queue_ttl_ms=st.sampled_from([60_000, 7 * DAY_MS]),
    overflow=st.sampled_from(["oldest", "oldest", "refuse"]),
    history_ttl_ms=st.sampled_from([180 * DAY_MS, DAY_MS, None]),
)


class Named(BatchMachine):
    """Messages, changes for all and for some, acks, sessions, clocks, settings, trimming and restarts over one store."""

    @initialize(rules=rules_of_apps, online=crowds)
    def begin(self, rules: Rules, online: tuple[str, ...]) -> None:
        self.machine = Machine(self.open(), rules, Clock())
        self.model = NamedModel(self.machine.clock)
        self.model.rules = rules
        self.texts = 0
        self.do(StartEpoch())
        self.do(CreateConversation(app=APP, conversation=NEWS))
        self.model.newest_at[APP] = self.model.at(APP)
        self.model.epoch = 1
        self.send(USERS, queue=True, history=True)
        for user in dict.fromkeys(online):
            self.login(user)
        self.send(USERS, queue=True, history=True)

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

    @rule(to=crowds, queue=mostly, history=mostly)
    def send_to(self, to: tuple[str, ...], queue: bool, history: bool) -> None:
        self.send(to, queue=queue, history=history)

    def send(self, to: tuple[str, ...], *, queue: bool, history: bool) -> None:
        """By name."""
        command = SendMessage(
            app=APP,
            sender="desk",
            to=NEWS,
            body=self.text(),
            queue=queue,
            history=history or queue,
            push=self.text(),
            recipients=to,
        )
        decision = self.do(command)
        assert decision is not None
        assert decision.audience == (() if queue else tuple(dict.fromkeys(to)))
        assert decision.result == Receipt(
            id=MessageId(self.machine.records[-1].position), at_ms=UnixMs(self.model.at(APP))
        )
        self.model.send_to(command, self.machine.records[-1].position)

    @rule(pick=picks, form=st.sampled_from(["edited", "edited", "recalled", "deleted", "silent"]))
    def change(self, pick: int, form: str) -> None:
        """For all."""
        self.change_for(pick, form, ())

    @rule(pick=picks, which=st.integers(0, 2), more=flags)
    def edit_some(self, pick: int, which: int, more: bool) -> None:
        self.change_for(pick, "edited", self.some(pick, which, more))

    @rule(pick=picks, which=st.integers(0, 2), more=flags)
    def edit_others(self, pick: int, which: int, more: bool) -> None:
        self.change_for(pick, "edited", self.some(pick, which, more))

    @rule(pick=picks, which=st.integers(0, 2), more=flags)
    def recall_some(self, pick: int, which: int, more: bool) -> None:
        self.change_for(pick, "recalled", self.some(pick, which, more))

    @rule(pick=picks, which=st.integers(0, 2), silent=flags)
    def hide_from_one(self, pick: int, which: int, silent: bool) -> None:
        self.change_for(pick, "silent" if silent else "deleted", self.some(pick, which, more=False))

    @rule(pick=picks, form=st.sampled_from(["edited", "recalled", "deleted"]), who=crowds)
    def change_some(self, pick: int, form: str, who: tuple[str, ...]) -> None:
        """Whoever that is."""
        self.change_for(pick, form, tuple(dict.fromkeys(who)))

    def letter(self, pick: int) -> Letter | None:
        """One of those that are kept, if any is."""
        kept = [letter for letter in self.model.letters if letter.kept] or self.model.letters
        return kept[-1 - pick % len(kept)] if kept else None

    def some(self, pick: int, which: int, more: bool) -> tuple[str, ...]:
        """One or two of its recipients."""
        letter = self.letter(pick)
        among = letter.recipients if letter is not None else []
        picked = among[which % len(among) :][: 1 + more] if among else []
        return tuple(picked) or ("ann",)

    def change_for(self, pick: int, form: str, who: tuple[str, ...]) -> None:
        """For these, or for all."""
        letter = self.letter(pick)
        if letter is None:
            return
        silent, form = form == "silent", "deleted" if form == "silent" else form
        text = self.text() if form == "edited" else b""
        which: dict[str, Any] = {"app": APP, "id": MessageId(letter.id), "by": "eve", "recipients": who}
        command: Command = DeleteMessage(**which, silent=silent)
        if form == "edited":
            command = EditMessage(**which, body=text)
        elif form == "recalled":
            command = RecallMessage(**which)
        affected = [user for user in letter.recipients if not who or user in who]
        some = len(affected) < len(letter.recipients)
        taken = [user for user in letter.recipients if letter.seen_by(user)[0] == "recalled"]
        refusal: type[Refusal] | None = None
        if not self.model.findable(letter) or not affected:
            refusal = UnknownMessage
        elif form == "edited" and (letter.form == "recalled" or (who and set(taken) & set(affected))):
            refusal = MessageIsRecalled
        decision = self.do(command, refusal)
        if decision is None:
            return
        if form == "recalled":
            affected = [user for user in affected if not some or user not in taken]
            if letter.form == "recalled" or (some and not affected):
                assert isinstance(decision.result, Receipt)
                assert (decision.events, decision.result.duplicate) == ((), True)
                return
            if some and set(affected) | set(taken) == set(letter.recipients):  # nobody is left who has it
                some, affected = False, list(letter.recipients)
        told = () if letter.queue else tuple(affected)
        if silent and not some:  # nobody is told; from these sessions it is taken
            told = (*letter.recipients, "desk")
        assert decision.audience == told
        position = self.machine.records[-1].position
        kept = self.model.change_letter(letter, affected, form, text, position, silent=silent, some=some)
        assert decision.keeps_body == kept

    # Recipients.

    @rule(user=users)
    def come(self, user: str) -> None:
        self.login(user)

    def login(self, user: str) -> None:
        """A session opens."""
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

    @rule(elapsed_ms=spells_ms, limit=st.sampled_from([1, 1_000]), rules=st.none() | rules_of_apps)
    def time_passes(self, elapsed_ms: int, limit: int, rules: Rules | None) -> None:
        """And what that ends is swept, or some of it; and maybe somebody changes the settings."""
        self.machine.clock.run(elapsed_ms)
        if rules is not None:
            self.machine.rules = self.model.rules = rules
        for user in USERS[:limit]:
            decision = self.do(ExpireQueue(app=APP, user=user))
            assert decision is not None
            assert len(decision.events) == (self.model.sweep(self.model.box(APP, user)) > 0)
        decision = self.do(ExpireHistory(app=APP, limit=limit))
        assert decision is not None
        assert bool(decision.events) == (self.model.forget_letters(limit) > 0)

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
            for user in USERS:
                self._check_found(snapshot, user)
            self._check_texts(snapshot)
            self._check_rows(snapshot)

    def _check_box(self, snapshot: Any, user: str, box: Box) -> None:
        entries = list(snapshot.views.entries(APP, user))
        assert [(entry.position, entry.seq) for entry in entries] == [(copy.position, copy.seq) for copy in box.copies]
        for entry, copy in zip(entries, box.copies, strict=True):
            body, type = resolve(snapshot, APP, user, entry)
            assert isinstance(copy.message, Letter)
            form, text = copy.message.seen_by(user) if copy.shows == "message" else ("deleted", b"")
            in_place = form == "edited" and copy.position == copy.message.id
            assert (type, body.payload) == ("message" if in_place else form, text)
        terms = count_terms(self.machine, APP, user)
        assert terms.accepted == sum(terms[1:]), terms
        assert terms._asdict() == {**box.terms, "queued": len(box.copies)}

    def _check_found(self, snapshot: Any, user: str) -> None:
        """What the service sent this user, as they see it; and what it shows itself, whoever asks for all."""
        horizon = self.machine.rules.history_horizon(self.machine.clock.expiry_ms)
        kept = sorted((one for one in self.model.letters if one.kept), key=lambda one: (one.at_ms, one.id))
        kept = [one for one in kept if one.at_ms > horizon]
        theirs = [(one.id, *one.seen_by(user)) for one in kept if user in one.recipients]
        for recalled in (True, False):
            query = FindMessages(app=APP, conversations=(NEWS,), recipient=user, recalled=recalled)
            search = Search(query, snapshot.views.position, horizon)
            while search.go_on(snapshot.views, 2):
                pass
            found = read_messages(snapshot, search.ids, horizon, recalled=recalled, recipient=user)
            assert [(one.id, one.recalled, one.body) for one in found] == [
                (id, form == "recalled", text) for id, form, text in theirs if recalled or form != "recalled"
            ]
            assert search.count == len(found)
        every = read_messages(snapshot, [MessageId(one.id) for one in kept], horizon, recalled=True)
        assert [(one.body, one.recipients) for one in every] == [(one.text, tuple(one.recipients)) for one in kept]

    def _check_texts(self, snapshot: Any) -> None:
        kept = [one for one in self.model.letters if one.kept]
        found = re.findall(rb"<text-\d+>", b"".join(values(engine_of(snapshot))))
        lying = b"".join(text for one in kept for text in one.bodies().values())
        assert sorted(found) == sorted(re.findall(rb"<text-\d+>", lying))

    def _check_rows(self, snapshot: Any) -> None:
        model = self.model
        counted = Counter(key[:1] for key, _ in rows(engine_of(snapshot), LIVE)[0])
        copies = [copy for box in model.boxes.values() for copy in box.copies]
        kept = [letter for letter in model.letters if letter.kept]
        expected = {
            b"k": len({copy.position for copy in copies if copy.position != copy.message.id}),
            b"m": sum(letter.form != "message" or bool(letter.own) for letter in kept),
            b"h": len(kept),
            b"t": sum(1 + len(letter.recipients) for letter in kept),
            b"C": sum(len(letter.own) for letter in kept),
            b"O": sum(len(letter.bodies()) - 1 for letter in kept),
        }
        assert {letter: counted[letter] for letter in expected} == expected
        notices = {copy.position for copy in copies if copy.shows == "deleted"}
        assert engine_of(snapshot).count("bodies") == len(kept) + expected[b"O"] + len(notices)

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
            engine = engine_of(snapshot)
            with Owned(Path(scratch) / "owned") as owned:
                list(BodyCheck(engine, StoredViews(engine, LIVE), owned, Problems(told.append)).run())
        assert told == []
        self.machine.store.close()


class MemoryNamed(OnMemory, Named):
    """On the store that forgets."""


class LmdbNamed(OnLmdb, Named):
    """On the one that lasts; a restart opens the directory again."""


TestMemoryNamed = MemoryNamed.TestCase
TestMemoryNamed.settings = settings(max_examples=examples(20), stateful_step_count=60)
TestLmdbNamed = LmdbNamed.TestCase
TestLmdbNamed.settings = settings(max_examples=examples(10), stateful_step_count=40)
