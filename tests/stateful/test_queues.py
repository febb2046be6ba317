"""Whatever happens to queues, in whatever order: the store shows what the model says, and replay gives the same state."""

import re
from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from postroom.core.commands import (
    Ack,
    Command,
    DeleteMessage,
    EditMessage,
    EndStaleSessions,
    ExpireDedup,
    ExpireHistory,
    ExpireQueue,
    Login,
    Logout,
    RecallMessage,
    SendMessage,
    StartEpoch,
    TakeFeed,
)
from postroom.core.domain import Decision, Presence, Welcome
from postroom.core.errors import Refusal
from postroom.core.events import HistoryExpired, LoggedIn, LoggedOut
from postroom.core.ids import ExpiryMs, MessageId, Position
from postroom.core.limits import HISTORY_EXPIRED_MAX
from postroom.core.model import Receipt, Rules, peer
from postroom.core.runtime.reading import resolve
from postroom.storage.engine import LIVE
from tests.support.thorough import examples

from ..support.desk import count_terms
from ..support.machine import Clock, Machine
from ..support.rows import engine_of, replayed, rows, values
from .model import Box, Copy, Message, Model, same
from .stores import BatchMachine, OnLmdb, OnMemory

DAY_MS = 86_400_000
USERS = (("one", "ann"), ("one", "bob"), ("two", "ann"))
SESSIONS_MAX = 3

users = st.sampled_from([USERS[0]] * 4 + [*USERS[1:]])
"""Mostly the same one: what goes wrong takes several steps in one queue."""
apps = st.sampled_from(["one", "one", "two"])
picks = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 5])
"""The newest but this many."""
flags = st.booleans()
limits = st.sampled_from([1, 2, 1_000])
mostly = st.sampled_from([True, True, True, False])
keys = st.sampled_from([None, None, "k1", "k2"])
"""Few, so that retries and mismatches are common."""
spells_ms = st.sampled_from([1, 999, 1_000, 30_000, 3_600_000, DAY_MS, 8 * DAY_MS])
rules_of_apps = st.builds(
    Rules,
    queue_messages=st.sampled_from([1, 2, 2, 3, 3, 4, 6]),
    queue_ttl_ms=st.sampled_from([1_500, 60_000, 7 * DAY_MS]),
    overflow=st.sampled_from(["oldest", "refuse"]),
    history_ttl_ms=st.sampled_from([180 * DAY_MS, 180 * DAY_MS, DAY_MS, 30_000, None]),
)


class Queues(BatchMachine):
    """Sends, changes, acks, sessions, clocks, settings, trimming and restarts over one store."""

    @initialize(rules=rules_of_apps)
    def begin(self, rules: Rules) -> None:
        self.machine = Machine(self.open(), rules, Clock())
        self.model = Model(self.machine.clock)
        self.model.rules = rules
        self.texts = 0
        self.sends: list[SendMessage] = []
        self.do(StartEpoch())
        self.model.epoch = 1

    def do(self, command: Command, refusal: type[Refusal] | None = None) -> Decision | None:
        """Run it; it must be refused with this, or not at all. Returns what was decided."""
        try:
            decision = self.machine.run(command)
        except Refusal as error:
            decision, met = None, type(error)
        else:
            met = None
        assert met is refusal, f"{command}: expected {refusal}"
        return decision

    def text(self) -> bytes:
        """A text that no other message has."""
        self.texts += 1
        return b"<text-%d>" % self.texts

    # Messages.

    @rule(to=users, queue=mostly, history=flags, dedup=keys, wait_ack_ms=st.sampled_from([None, 1_000]))
    def send(self, to: tuple[str, str], queue: bool, history: bool, dedup: str | None, wait_ack_ms: int | None) -> None:
        app, user = to
        self._send(
            SendMessage(
                app=app,
                sender="eve",
                to=peer(user),
                body=self.text(),
                queue=queue,
                history=history,
                dedup=dedup,
                wait_ack_ms=wait_ack_ms,
            )
        )

    @rule(to=users, count=st.integers(2, 6), history=flags)
    def send_some(self, to: tuple[str, str], count: int, history: bool) -> None:
        for _ in range(count):
            self.send(to, True, history, None, None)

    @rule(to=users, history=flags, forms=st.lists(st.sampled_from(["edit", "edit", "recall", "delete"]), max_size=3))
    def send_and_change(self, to: tuple[str, str], history: bool, forms: list[str]) -> None:
        """As people do: a message and, at once, what is wrong with it."""
        self.send(to, True, history, None, None)
        for form in forms:
            getattr(self, form)(0)

    @rule(pick=picks)
    def retry(self, pick: int) -> None:
        if self.sends:
            self._send(newest(self.sends, pick))

    def _send(self, command: SendMessage) -> None:
        model = self.model
        refusal, outcome = model.refuses_send(command), model.remembered(command)
        at_ms = model.at(command.app)
        online = model.online(model.box(command.app, command.to.id))
        decision = self.do(command, refusal)
        if decision is None:
            return
        receipt = decision.result
        assert isinstance(receipt, Receipt)
        if outcome is not None:
            assert same(outcome.command, command)
            assert decision.events == ()
            assert receipt == Receipt(id=MessageId(outcome.id), at_ms=outcome.at_ms, duplicate=True)
            if command.wait_ack_ms is not None:
                assert decision.wait == ("delivered" if outcome.confirmed else "pending" if online else "offline")
            return
        assert receipt == Receipt(id=receipt.id, at_ms=at_ms)
        assert decision.wait == ("pending" if online and command.wait_ack_ms is not None else "offline")
        model.send(command, receipt.id)
        if command.dedup is not None:
            self.sends.append(command)
        if command.queue:
            assert len(model.box(command.app, command.to.id).copies) <= model.rules.queue_messages

    @rule(pick=picks)
    def edit(self, pick: int) -> None:
        if not self.model.messages:
            return
        message = newest(self.model.messages, pick)
        text = self.text()
        self._change(
            message, "edited", text, EditMessage(app=message.app, id=MessageId(message.id), by="eve", body=text)
        )

    @rule(pick=picks)
    def recall(self, pick: int) -> None:
        if not self.model.messages:
            return
        message = newest(self.model.messages, pick)
        self._change(message, "recalled", b"", RecallMessage(app=message.app, id=MessageId(message.id), by="eve"))

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        if not self.model.messages:
            return
        message = newest(self.model.messages, pick)
        self._change(message, "deleted", b"", DeleteMessage(app=message.app, id=MessageId(message.id), by="eve"))

    @rule(pick=picks)
    def delete_as_another_app(self, pick: int) -> None:
        if not self.model.messages:
            return
        message = newest(self.model.messages, pick)
        app = "two" if message.app == "one" else "one"
        self.do(
            DeleteMessage(app=app, id=MessageId(message.id), by="eve"),
            self.model.refuses_change(message, app, "deleted"),
        )

    def _change(self, message: Message, form: str, text: bytes, command: Command) -> None:
        model = self.model
        refusal = model.refuses_change(message, message.app, form)
        at_ms = model.at(message.app)
        decision = self.do(command, refusal)
        if decision is None:
            return
        repeated = form == "recalled" == message.form
        assert decision.result == Receipt(id=MessageId(message.id), at_ms=at_ms, duplicate=repeated)
        if repeated:
            assert decision.events == ()
            return
        assert len(decision.events) == 1
        assert decision.keeps_body == model.change(message, form, text, self.machine.records[-1].position)

    # Sessions.

    @rule(of=users)
    def login(self, of: tuple[str, str]) -> None:
        app, user = of
        box = self.model.box(app, user)
        if sum(epoch == self.model.epoch for _, epoch in box.sessions) == SESSIONS_MAX:
            return
        at_ms = self.model.at(app)
        decision = self.do(Login(app=app, user=user))
        assert decision is not None
        self.model.sweep(box)
        session = self.machine.records[-1].position
        assert decision.result == Welcome(session, len(box.copies), box.missed)
        event = decision.events[-1]
        assert isinstance(event, LoggedIn)
        first = not self.model.online(box)
        assert (event.first, event.queued, event.missed) == (first, len(box.copies), box.missed)
        stale = [session for session, epoch in box.sessions if epoch != self.model.epoch]
        self._ended(decision, of, stale, at_ms, emptied=bool(stale) and len(stale) == len(box.sessions))
        assert event.at_ms == at_ms
        if first:
            self.model.came_or_went(app, "login", user)
        self.model.visit(of, at_ms)
        box.sessions = [row for row in box.sessions if row[1] == self.model.epoch] + [(session, self.model.epoch)]

    def _ended(
        self, decision: Decision, of: tuple[str, str], sessions: list[int], at_ms: int, *, emptied: bool
    ) -> None:
        """These sessions were logged out, and the last of them says whether the user has none left."""
        ends = [event for event in decision.events if isinstance(event, LoggedOut)]
        assert [event.session for event in ends] == sessions
        assert [event.last for event in ends] == [*[False] * (len(ends) - 1), emptied][: len(ends)]
        assert all(event.at_ms == at_ms for event in ends)
        if ends and emptied:
            self.model.came_or_went(of[0], "logout", of[1])

    @rule(of=users, pick=picks)
    def logout(self, of: tuple[str, str], pick: int) -> None:
        app, user = of
        box = self.model.box(app, user)
        ever = [event.session for event in self.machine.events if isinstance(event, LoggedIn) and event.user == user]
        if not ever:
            return
        session = newest(ever, pick)
        mine = [row for row in box.sessions if row[0] == session]
        at_ms = self.model.at(app)
        decision = self.do(Logout(app=app, user=user, session=session))
        assert decision is not None
        self._ended(decision, of, [row[0] for row in mine], at_ms, emptied=len(box.sessions) == 1)
        box.sessions = [row for row in box.sessions if row[0] != session]

    @rule(of=users, pick=picks, confirms=flags)
    def ack(self, of: tuple[str, str], pick: int, confirms: bool) -> None:
        box = self.model.box(*of)
        places = [copy.position for copy in box.copies]
        self._ack(of, newest(places, pick) if places else box.acked_through, confirms)

    @rule(of=users, pick=st.integers(0, 2))
    def ack_something_else(self, of: tuple[str, str], pick: int) -> None:
        """Nothing, what is acknowledged, and whatever there is."""
        box = self.model.box(*of)
        self._ack(of, (0, box.acked_through, self.machine.records[-1].position)[pick], False)

    def _ack(self, of: tuple[str, str], through: int, confirms: bool) -> None:
        app, user = of
        box = self.model.box(app, user)
        collected = {copy.position for copy in box.copies if copy.position <= through}
        confirmed: list[MessageId] = []
        for key, outcome in self.model.outcomes.items():
            if key[0] != app or outcome.command.to.id != user or outcome.command.wait_ack_ms is None:
                continue
            if outcome.command.queue:
                outcome.confirmed |= outcome.id in collected
            elif confirms:
                confirmed.append(MessageId(outcome.id))
                outcome.confirmed = True
        session = Position(box.sessions[0][0] if box.sessions else 1)
        command = Ack(app=app, user=user, session=session, through=Position(through), confirmed=tuple(confirmed))
        assert self.do(command) is not None
        self.model.ack(box, through)
        again = self.do(command)
        assert again is not None
        assert not again.events, "an ack repeated writes nothing"

    # Batches.

    # The house.

    @rule(of=users, limit=limits)
    def expire(self, of: tuple[str, str], limit: int) -> None:
        decision = self.do(ExpireQueue(app=of[0], user=of[1], limit=limit))
        assert decision is not None
        assert len(decision.events) == (self.model.sweep(self.model.box(*of), limit) > 0)

    @rule(limit=limits)
    def expire_dedup(self, limit: int) -> None:
        self.do(ExpireDedup(limit=limit))
        kept = self.model.outcomes
        over = [key for key, outcome in kept.items() if outcome.until_ms <= self.machine.clock.expiry_ms]
        for key in sorted(over, key=lambda key: (kept[key].until_ms, kept[key].id))[:limit]:
            del kept[key]

    @rule(app=apps, limit=limits)
    def expire_history(self, app: str, limit: int) -> None:
        decision = self.do(ExpireHistory(app=app, limit=limit))
        assert decision is not None
        assert all(isinstance(event, HistoryExpired) for event in decision.events)
        count = self.model.forget(app, limit)
        assert sum(event.count for event in decision.events) == count
        assert len(decision.events) == -(-count // HISTORY_EXPIRED_MAX)

    @rule(app=apps, limit=limits)
    def take_feed(self, app: str, limit: int) -> None:
        decision = self.do(TakeFeed(app=app, feed="users", limit=limit))
        assert decision is not None
        assert isinstance(decision.result, Presence)
        waiting = self.model.presence.get(app, [])
        taken, waiting[:limit] = waiting[:limit], []
        assert [(event.type, event.at_ms, event.user) for event in decision.result.events] == taken
        assert len(decision.events) == bool(taken)

    @rule(limit=limits)
    def end_stale_sessions(self, limit: int) -> None:
        at_ms = {app: self.model.at(app) for app in ("one", "two")}
        decision = self.do(EndStaleSessions(limit=limit))
        assert decision is not None
        boxes = self.model.boxes.values()
        stale = sum(epoch != self.model.epoch for box in boxes for _, epoch in box.sessions)
        assert len(decision.events) == min(limit, stale)
        for event in decision.events:
            assert isinstance(event, LoggedOut)
            box = self.model.box(event.app, event.user)
            row = next(row for row in box.sessions if row[0] == event.session)
            assert row[1] != self.model.epoch
            box.sessions.remove(row)
            assert event.last == (not box.sessions)
            assert event.at_ms == at_ms[event.app]
            if event.last:
                self.model.came_or_went(event.app, "logout", event.user)

    @rule(elapsed_ms=spells_ms)
    def time_passes(self, elapsed_ms: int) -> None:
        self.machine.clock.run(elapsed_ms)

    @rule(by_ms=st.sampled_from([-8 * DAY_MS, -3_600_000, -1, 1, 3_600_000, 8 * DAY_MS]))
    def wall_clock_jumps(self, by_ms: int) -> None:
        before_ms = self.machine.clock.expiry_ms
        self.machine.clock.jump(by_ms)
        assert self.machine.clock.expiry_ms == before_ms

    @rule(rules=rules_of_apps)
    def configure(self, rules: Rules) -> None:
        self.machine.rules = self.model.rules = rules

    @rule(limit=st.integers(1, 20), age_ms=st.sampled_from([-1, 0, 60_000]))
    def trim(self, limit: int, age_ms: int) -> None:
        if self.machine.in_batch:
            self.machine.commit()
        before_ms = ExpiryMs(self.machine.clock.expiry_ms - age_ms)
        old = self.machine.read(lambda snapshot: [record.clock_ms < before_ms for record in snapshot.log()])
        assert self.machine.trim(before_ms, limit) == min(limit, sum(old))

    @rule(killed=flags)
    def restart(self, killed: bool) -> None:
        if self.machine.in_batch:
            self.abort() if killed else self.machine.commit()
        self.machine.store = self.open()
        self.machine.clock.expiry_ms = self.machine.read(lambda snapshot: snapshot.views.clock_ms)
        self.do(StartEpoch())
        self.model.epoch += 1

    # What must hold.

    @invariant()
    def the_store_shows_what_the_model_says(self) -> None:
        if not hasattr(self, "model") or self.machine.in_batch:
            return
        with self.machine.store.snapshot() as snapshot:
            for (app, user), box in self.model.boxes.items():
                self._check_box(snapshot, app, user, box)
            for app in ("one", "two"):
                self._check_totals(snapshot, app)
                self._check_history(snapshot, app)
            self._check_rows(snapshot)
            self._check_texts(snapshot)

    def _check_box(self, snapshot: Any, app: str, user: str, box: Box) -> None:
        views = snapshot.views
        entries = list(views.entries(app, user))
        assert [(entry.position, entry.seq) for entry in entries] == [(copy.position, copy.seq) for copy in box.copies]
        ends = views.queue_ends(app, user)
        assert ends.count == len(entries)
        assert ends.last == (entries[-1] if entries else None)
        for entry, copy in zip(entries, box.copies, strict=True):
            assert expiry_ms(entry.expires_s) == copy.deadline_ms
            assert views.entry(app, user, entry.position) == entry
            body, type = resolve(snapshot, app, user, entry)
            assert (type, body.header.id, body.payload) == seen(copy)
        assert all(one.expires_s <= other.expires_s for one, other in pairwise(entries))
        terms = count_terms(self.machine, app, user)
        assert terms.accepted == sum(terms[1:]), terms
        assert terms._asdict() == {**box.terms, "queued": len(box.copies)}
        row = views.user(app, user)
        assert (row is None) == (box.numbered == 0)
        if row is not None:
            assert (row.acked, row.expired, row.withdrawn) == (terms.acked, terms.expired, terms.withdrawn)
        assert [tuple(row) for row in views.sessions(app, user)] == box.sessions

    def _check_totals(self, snapshot: Any, app: str) -> None:
        totals = snapshot.views.totals(app)
        boxes = [box for (of, _), box in self.model.boxes.items() if of == app]
        for term in ("accepted", "acked", "evicted", "expired", "withdrawn"):
            assert getattr(totals, term) == sum(box.terms[term] for box in boxes), term
        assert totals.queued == sum(len(box.copies) for box in boxes)
        assert totals.newest_at_ms == self.model.newest_at.get(app, 0)
        waiting = self.model.presence.get(app, [])
        assert totals.user_events - totals.user_events_gone == len(waiting)
        assert (totals.room_events, totals.room_events_gone, totals.results) == (0, 0, 0)
        assert totals.forgotten == self.model.forgotten.get(app, 0)
        assert [(event.type, event.at_ms, event.user) for event in snapshot.views.feed(app, "users")] == waiting

    def _check_history(self, snapshot: Any, app: str) -> None:
        """Every kept message is in its timelines, and says whether it was recalled."""
        views = snapshot.views
        kept = [message for message in self.model.messages if message.app == app and message.kept]
        kept.sort(key=lambda message: (message.at_ms, message.id))
        found = list(views.oldest_kept(app))
        assert [(*place, row.conversation.id, row.sender, row.queued, row.recalled) for place, row in found] == [
            (one.at_ms, one.id, one.to, "eve", one.queue, one.form == "recalled") for one in kept
        ]
        shown = [((one.at_ms, one.id), one.form != "recalled") for one in kept]
        assert list(views.timeline(app, None, "eve")) == shown
        assert list(views.timeline(app, None, "eve", newest_first=True)) == shown[::-1]
        for to in {one.to for one in kept}:
            to_one = [row for row, one in zip(shown, kept, strict=True) if one.to == to]
            assert list(views.timeline(app, peer(to), None)) == to_one
            assert list(views.timeline(app, peer(to), "eve")) == to_one
            assert list(views.timeline(app, peer(to), "ann")) == []

    def _check_rows(self, snapshot: Any) -> None:
        """No row without a reason: each kind is there as often as the model has one."""
        model = self.model
        counted = Counter(key[:1] for key, _ in rows(engine_of(snapshot), LIVE)[0])
        alive = [message for message in model.messages if model.alive(message)]
        copies = [copy for box in model.boxes.values() for copy in box.copies]
        sessions = sum(len(box.sessions) for box in model.boxes.values())
        assert counted == +Counter(
            {
                b"c": 1,
                b"p": model.epoch,
                b"a": len(model.newest_at),
                b"u": sum(box.numbered > 0 for box in model.boxes.values()),
                b"s": sessions,
                b"e": sessions,
                b"d": len(model.outcomes),
                b"x": len(model.outcomes),
                b"w": sum(
                    outcome.command.wait_ack_ms is not None and not outcome.confirmed
                    for outcome in model.outcomes.values()
                ),
                b"m": sum(message.form != "message" for message in alive),
                b"k": sum(copy.position != copy.message.id for copy in copies),
                b"h": sum(message.kept for message in alive),
                b"t": 3 * sum(message.kept for message in alive),
                b"f": sum(map(len, model.presence.values())),
                b"D": len(model.counted),
                b"L": len(model.visitors),
                b"A": len(model.days),
            }
        )
        notices = sum(copy.shows == "deleted" for copy in copies)
        assert engine_of(snapshot).count("bodies") == len(alive) + notices

    def _check_texts(self, snapshot: Any) -> None:
        """A text taken back is in no table; one that is kept is in one."""
        found = re.findall(rb"<text-\d+>", b"".join(values(engine_of(snapshot))))
        current = [message.text for message in self.model.messages if self.model.alive(message) and message.text]
        assert sorted(found) == sorted(current)

    @invariant()
    def the_log_rises(self) -> None:
        if hasattr(self, "model"):
            for one, other in pairwise(self.machine.records[-10:]):
                assert one.position < other.position
                assert one.clock_ms <= other.clock_ms

    @rule()
    def replay_gives_the_same_state(self) -> None:
        if self.machine.in_batch:
            return
        with self.machine.store.snapshot() as snapshot:
            assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)
            kept = [record.position for record in snapshot.log()]
        assert kept == [record.position for record in self.machine.records][len(self.machine.records) - len(kept) :]

    def teardown(self) -> None:
        if hasattr(self, "model"):
            if self.machine.in_batch:
                self.machine.commit()
            self.replay_gives_the_same_state()
            self.machine.store.close()


def newest(things: list[Any], pick: int) -> Any:
    """One of the newest few."""
    return things[-1 - pick % len(things)]


def expiry_ms(expires_s: int) -> int:
    """Seconds since 2020 as milliseconds since 1970."""
    return 1_577_836_800_000 + expires_s * 1000


def seen(copy: Copy) -> tuple[str, int, bytes]:
    """What the recipient of a copy is shown."""
    if copy.shows == "deleted":
        return "deleted", copy.message.id, b""
    in_place = copy.message.form == "edited" and copy.position == copy.message.id
    return "message" if in_place else copy.message.form, copy.message.id, copy.message.text


class MemoryQueues(OnMemory, Queues):
    """On the store that forgets."""


class LmdbQueues(OnLmdb, Queues):
    """On the one that lasts; a restart opens the directory again."""


TestMemoryQueues = MemoryQueues.TestCase
TestMemoryQueues.settings = settings(max_examples=examples(30), stateful_step_count=60)
TestLmdbQueues = LmdbQueues.TestCase
TestLmdbQueues.settings = settings(max_examples=examples(10), stateful_step_count=40)
