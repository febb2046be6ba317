"""Whatever happens to rooms and history, in whatever order: queries, feeds and members are what the model says."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from postroom.core.commands import (
    Ack,
    CollectResult,
    Command,
    DeleteMessage,
    EditMessage,
    EndStaleSessions,
    ExpireDedup,
    ExpireGaps,
    ExpireHistory,
    ExpireQueue,
    ExpireResults,
    Join,
    Leave,
    Login,
    Logout,
    RecallMessage,
    ReserveResult,
    SendMessage,
    StartEpoch,
    TakeFeed,
)
from postroom.core.domain import Decision, Entered, Found, Presence, Welcome
from postroom.core.domain import history as history_of_domain
from postroom.core.domain import presence as presence_of_domain
from postroom.core.domain import results as results_of_domain
from postroom.core.domain import rooms as rooms_of_domain
from postroom.core.errors import Refusal
from postroom.core.events import GapsExpired, HistoryExpired, LoggedIn, LoggedOut, RoomJoined, RoomLeft, StaysExpired
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import Conversation, Feed, Receipt, Rules
from postroom.core.queries import CountMessages, FindMessages
from postroom.core.runtime.reading import read_messages, read_missed
from postroom.core.search import Search
from postroom.storage.engine import LIVE
from tests.support.thorough import examples

from ..support.machine import Clock, Machine
from ..support.rows import engine_of, replayed, rows, values
from .model import DAY_MS, Box
from .rooms_model import Letter, Question, RoomsModel, Visit, conversations, same
from .stores import BatchMachine, OnLmdb, OnMemory

USERS = (("one", "ann"), ("one", "bob"), ("one", "cat"), ("two", "ann"))
ROOMS = ("red", "blue", "ann")
"""One is named as a user is."""
SESSIONS_MAX = 3
ROOMS_MAX = 2
FEED_MAX = 4
GAP_TTL_MS = DAY_MS
RESULTS_MAX = 3
PART = 2
"""Things one event ends."""

users = st.sampled_from([USERS[0]] * 3 + [USERS[1]] * 2 + [*USERS[2:]])
"""Mostly the same ones: what goes wrong takes several steps of one user."""
rooms = st.sampled_from([ROOMS[0]] * 4 + [ROOMS[1]] * 2 + [ROOMS[2]])
picks = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 5])
"""The newest but this many."""
flags = st.booleans()
mostly = st.sampled_from([True, True, True, False])
limits = st.sampled_from([1, 2, 3, 1_000])
keys = st.sampled_from([None, None, None, "k1", "k2"])
slices = st.sampled_from([1, 2, 3, 4, 7, 10_000])
spells_ms = st.sampled_from([1, 1, 700, 1_000, 30_000, 3_600_000, DAY_MS, 8 * DAY_MS])
jumps_ms = st.sampled_from([0, 0, 0, 0, -8 * DAY_MS, -3_600_000, -1, 1, 3_600_000, 8 * DAY_MS])
changes = st.lists(st.sampled_from(["edited", "edited", "edited", "recalled", "deleted"]), max_size=2)
ttls_ms = st.sampled_from([1, 1_500, 60_000, DAY_MS])
rules_of_apps = st.builds(
    Rules,
    queue_messages=st.sampled_from([1, 2, 3, 6]),
    queue_ttl_ms=st.sampled_from([1_500, 60_000, 7 * DAY_MS]),
    overflow=st.sampled_from(["oldest", "refuse"]),
    history_ttl_ms=st.sampled_from([1_500, 60_000, DAY_MS, 30 * DAY_MS, None]),
)
places = st.sampled_from(
    [("room", "red"), ("room", "red"), ("room", "blue"), ("room", "ann"), ("peer", "ann"), ("peer", "bob")]
)
names = st.sampled_from([None, None, "ann", "bob", "cat", "red"])


@st.composite
def questions(draw: Any) -> Question:
    """Something to ask, with no times yet."""
    app = draw(st.sampled_from(["one", "one", "one", "two"]))
    sender, receiver = draw(names), draw(names)
    to = tuple(draw(st.lists(places, max_size=3)))
    if sender is receiver is None and not to:
        receiver = "ann"
    return Question(app, sender, to, receiver)


@dataclass
class Asked:
    """A query under way while other things happen."""

    question: Question
    search: Search
    horizon: int
    newest_first: bool
    at_first: list[int]


class Rooms(BatchMachine):
    """Rooms, messages, queries, sessions, clocks, settings, trimming and restarts over one store."""

    @initialize(rules=rules_of_apps)
    def begin(self, rules: Rules) -> None:
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(rooms_of_domain, "ROOMS_PER_USER_MAX", ROOMS_MAX)
        self.patches.setattr(rooms_of_domain, "HISTORY_EXPIRED_MAX", PART)
        self.patches.setattr(history_of_domain, "HISTORY_EXPIRED_MAX", PART)
        self.patches.setattr(results_of_domain, "DEDUP_EXPIRED_MAX", PART)
        self.patches.setattr(results_of_domain, "RESULTS_PER_APP_MAX", RESULTS_MAX)
        self.patches.setattr(presence_of_domain, "FEED_EVENTS_MAX", FEED_MAX)
        self.patches.setattr(rooms_of_domain, "GAP_TTL_MS", GAP_TTL_MS)
        self.machine = Machine(self.open(), rules, Clock())
        self.model = RoomsModel(self.machine.clock, rooms_max=ROOMS_MAX, feed_max=FEED_MAX, results_max=RESULTS_MAX)
        self.model.rules = rules
        self.texts = 0
        self.sends: list[SendMessage] = []
        self.handles: list[tuple[str, str]] = []
        self.asked: list[Asked] = []
        self.do(StartEpoch())
        self.model.begin_epoch(self.machine.records[-1].position)

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

    def carried_out(self, command: Command) -> Decision:
        """It is not refused."""
        decision = self.do(command)
        assert decision is not None
        return decision

    def text(self) -> bytes:
        """A text that no other message has."""
        self.texts += 1
        return b"<text-%d>" % self.texts

    # Messages.

    @rule(
        by=users, to=rooms, history=mostly, dedup=keys, some=st.sampled_from([(), (), (), ("ann",), ("bob", "nobody")])
    )
    def send_to_room(
        self, by: tuple[str, str], to: str, history: bool, dedup: str | None, some: tuple[str, ...]
    ) -> None:
        self._send(by, Conversation("room", to), history=history and not some, dedup=dedup, recipients=some)

    @rule(by=users, to=rooms, count=st.integers(2, 5))
    def send_some_to_room(self, by: tuple[str, str], to: str, count: int) -> None:
        for _ in range(count):
            self._send(by, Conversation("room", to), history=True)

    @rule(by=users, to=st.sampled_from(["ann", "bob"]), queue=mostly, history=mostly, dedup=keys)
    def send_to_peer(self, by: tuple[str, str], to: str, queue: bool, history: bool, dedup: str | None) -> None:
        self._send(by, Conversation("peer", to), queue=queue, history=history, dedup=dedup)

    @rule(
        of=users,
        history=mostly,
        forms=changes,
    )
    def send_and_change(self, of: tuple[str, str], history: bool, forms: list[str]) -> None:
        """To somebody who is online, so that each change is an entry of its own."""
        if not self.model.online(self.model.box(*of)):
            self.login(of)
        count = len(self.model.letters)
        self._send(("one", "bob") if of[0] == "one" else of, Conversation("peer", of[1]), queue=True, history=history)
        if len(self.model.letters) > count:
            for form in forms:
                self._change(self.model.letters[-1], form)

    @rule(pick=picks)
    def retry(self, pick: int) -> None:
        if self.sends:
            self._submit(newest(self.sends, pick))

    def _send(self, by: tuple[str, str], to: Conversation, **how: Any) -> None:
        app, sender = by
        self._submit(SendMessage(app=app, sender=sender, to=to, body=self.text(), **how))

    def _submit(self, command: SendMessage) -> None:
        model = self.model
        refusal, outcome = model.refuses_send(command), model.remembered(command)
        at_ms = model.at(command.app)
        decision = self.do(command, refusal)
        if decision is None:
            return
        receipt = decision.result
        assert isinstance(receipt, Receipt)
        if outcome is not None:
            assert same(outcome.command, command)
            assert decision.events == ()
            assert receipt == Receipt(id=MessageId(outcome.id), at_ms=outcome.at_ms, duplicate=True)
            return
        new = command.to.kind == "room" and model.first_use(command.app, command.to.id)
        assert len(decision.events) == 1 + new
        assert receipt == Receipt(id=receipt.id, at_ms=at_ms)
        assert decision.keeps_body == (command.queue or command.history)
        model.send(command, receipt.id)
        if command.dedup is not None:
            self.sends.append(command)

    @rule(pick=picks, form=st.sampled_from(["edited", "edited", "recalled", "deleted", "deleted elsewhere"]))
    def change(self, pick: int, form: str) -> None:
        if not self.model.letters:
            return
        letter = newest(self.model.letters, pick)
        if form == "deleted elsewhere":
            app = "two" if letter.app == "one" else "one"
            refusal = self.model.refuses_change(letter, app, "deleted")
            self.do(DeleteMessage(app=app, id=MessageId(letter.id), by="eve"), refusal)
        else:
            self._change(letter, form)

    def _change(self, letter: Letter, form: str) -> None:
        model = self.model
        text = self.text() if form == "edited" else b""
        app, id = letter.app, MessageId(letter.id)
        command: Command = DeleteMessage(app=app, id=id, by="eve")
        if form == "edited":
            command = EditMessage(app=app, id=id, by="eve", body=text)
        elif form == "recalled":
            command = RecallMessage(app=app, id=id, by="eve")
        at_ms = model.at(app)
        decision = self.do(command, model.refuses_change(letter, app, form))
        if decision is None:
            return
        repeated = form == "recalled" == letter.form
        assert decision.result == Receipt(id=id, at_ms=at_ms, duplicate=repeated)
        if repeated:
            assert decision.events == ()
            return
        assert len(decision.events) == 1
        assert decision.keeps_body == model.change(letter, form, text, self.machine.records[-1].position)

    @rule(of=users, pick=picks)
    def ack(self, of: tuple[str, str], pick: int) -> None:
        app, user = of
        box = self.model.box(app, user)
        through = newest(box.copies, pick).position if box.copies else box.acked_through
        for outcome in self.model.outcomes.values():
            assert outcome.command.wait_ack_ms is None
        self.do(Ack(app=app, user=user, session=Position(1), through=Position(through)))
        self.model.ack(box, through)

    # Sessions and rooms.

    @rule(of=users)
    def login(self, of: tuple[str, str]) -> None:
        app, user = of
        model = self.model
        box = model.box(app, user)
        if sum(epoch == model.epoch for _, epoch in box.sessions) == SESSIONS_MAX:
            return
        stale = [session for session, epoch in box.sessions if epoch != model.epoch]
        leaving = len(model.open_visits(app, user)) if stale else 0
        decision = self.carried_out(Login(app=app, user=user))
        self._ended(decision, leaves=leaving, logouts=len(stale))
        model.sweep(box)
        event, session = decision.events[-1], self.machine.records[-1].position
        assert decision.result == Welcome(session, len(box.copies), box.missed)
        assert isinstance(event, LoggedIn)
        assert event.first == model.log_in(app, user, session)

    @rule(of=users, pick=picks, rooms_max=st.sampled_from([1, 256, 256]))
    def logout(self, of: tuple[str, str], pick: int, rooms_max: int) -> None:
        app, user = of
        ever = [
            event.session
            for event in self.machine.events
            if isinstance(event, LoggedIn) and (event.app, event.user) == of
        ]
        if not ever:
            return
        session = newest(ever, pick)
        sessions = self.model.box(app, user).sessions
        there = session in [session for session, _ in sessions]
        leaving = len(self.model.open_visits(app, user)) if there and len(sessions) == 1 else 0
        decision = self.carried_out(Logout(app=app, user=user, session=session, rooms_max=rooms_max))
        if leaving > rooms_max:
            self._ended(decision, leaves=rooms_max, logouts=0)
        else:
            self._ended(decision, leaves=leaving, logouts=there)

    def _ended(self, decision: Decision, *, leaves: int, logouts: int) -> None:
        """These, in this order for each user; what they do is done in the model."""
        first = len(self.machine.records) - len(decision.events)
        met: Counter[str] = Counter()
        for record in self.machine.records[first:]:
            match record.event:
                case RoomLeft() as event:
                    assert event.at_ms == self.model.at(event.app)
                    self.model.leave_room(event.app, event.user, event.room, record.position)
                    met["leaves"] += 1
                case LoggedOut() as event:
                    assert event.last == self.model.log_out(event.app, event.user, event.session)
                    met["logouts"] += 1
        assert (met["leaves"], met["logouts"]) == (leaves, logouts)

    @rule(of=users, to=rooms, pick=picks)
    def join(self, of: tuple[str, str], to: str, pick: int) -> None:
        app, user = of
        model = self.model
        session = self._session(of, pick)
        if session is None:
            return
        inside = user in model.inside(app, to)
        decision = self.do(
            Join(app=app, user=user, session=session, room=to), model.refuses_join(app, user, session, to)
        )
        if decision is None:
            return
        assert isinstance(decision.result, Entered)
        if inside:
            assert decision.events == ()
        else:
            record = self.machine.records[-1]
            assert record.event == RoomJoined(app=app, room=to, user=user, at_ms=UnixMs(model.at(app)))
            assert len(decision.events) == 1 + model.first_use(app, to)
            assert decision.result.through == record.position
            model.join(app, user, to, record.position)

    @rule(of=users, to=rooms, pick=picks)
    def leave(self, of: tuple[str, str], to: str, pick: int) -> None:
        app, user = of
        session = self._session(of, pick)
        if session is None:
            return
        inside = user in self.model.inside(app, to)
        there = self.model.has_session(app, user, session)
        command = Leave(app=app, user=user, session=session, room=to)
        decision = self.do(command, None if there else rooms_of_domain.SessionEnded)
        if decision is not None:
            self._ended(decision, leaves=inside, logouts=0)

    def _session(self, of: tuple[str, str], pick: int) -> Position | None:
        """One of this process, open or closed: no other can ask."""
        mine = [
            event.session
            for event in self.machine.events
            if isinstance(event, LoggedIn) and (event.app, event.user) == of and event.epoch == self.model.epoch
        ]
        return newest(mine, pick) if mine else None

    @rule(of=users, to=rooms)
    def come(self, of: tuple[str, str], to: str) -> None:
        """As people do: online, and into a room."""
        if not self.model.online(self.model.box(*of)):
            self.login(of)
        self.join(of, to, 0)

    @rule(of=users, to=rooms, others=st.lists(users, max_size=3), history=mostly)
    def visit(self, of: tuple[str, str], to: str, others: list[tuple[str, str]], history: bool) -> None:
        """Into a room for as long as some others speak."""
        self.come(of, to)
        for other in others:
            self._send(other, Conversation("room", to), history=history)
        self.leave(of, to, 0)

    @rule(of=users, to=rooms, since=st.sampled_from([-1, 0, 1, 2, 4]), later=flags)
    def come_back(self, of: tuple[str, str], to: str, since: int, later: bool) -> None:
        """What a join replays; into a room where the user is already, which writes nothing."""
        app, user = of
        model = self.model
        if self.machine.in_batch:
            return
        self.come(of, to)
        if user not in model.inside(app, to):  # there are too many others
            return
        session = model.box(app, user).sessions[-1][0]
        entered = self.carried_out(Join(app=app, user=user, session=Position(session), room=to)).result
        assert isinstance(entered, Entered)
        ids = [letter.id for letter in model.letters if letter.app == app]
        after = newest(ids, since) if ids and since >= 0 else 0
        after = entered.through + 1 if later and since == 4 else after

        def read(size: int) -> tuple[list[tuple[int, str, bytes]], bool]:
            missed = self.machine.read(
                lambda snapshot: read_missed(snapshot, app, user, to, MessageId(after), entered, size)
            )
            return [(frame.id, frame.type, frame.body) for frame in missed.deliveries], missed.complete

        expected, complete = model.replay(app, user, to, after, entered.through)
        given, recovered = read(1 << 30)
        by_id = {letter.id: letter for letter in model.letters}
        assert given == [
            (id, "recalled" if by_id[id].form == "recalled" else "message", by_id[id].text) for id in expected
        ]
        assert recovered == complete
        if recovered:
            assert model.lacks(app, user, to, after, expected) == []
        if given:
            shorter, recovered = read(300)  # room for one frame
            assert (shorter, recovered) == (given[-1:], complete and len(given) == 1)

    # Queries.

    @rule(
        question=questions(),
        window=st.tuples(st.sampled_from([None, None, 0, 1, 3]), st.sampled_from([None, None, 0, 1, 3])),
        nudge=st.sampled_from([-1, 0, 0, 1]),
        offset=st.sampled_from([0, 0, 1, 2, 5]),
        limit=st.sampled_from([1, 2, 3, 1_000]),
        rows_max=slices,
    )
    def ask(
        self,
        question: Question,
        window: tuple[int | None, int | None],
        nudge: int,
        offset: int,
        limit: int,
        rows_max: int,
    ) -> None:
        if self.machine.in_batch:
            return
        times = sorted(letter.at_ms for letter in self.model.letters if letter.app == question.app)
        if times:
            start, end = (None if pick is None else newest(times, pick) + nudge for pick in window)
            start = 0 if start is None else start
            end = 1 << 62 if end is None else max(start, end)
            question = Question(question.app, question.sender, question.conversations, question.receiver, start, end)
        self._ask(question, offset, limit, rows_max)
        if limit < 1_000:
            self._turn_pages(question, limit, rows_max)

    def _turn_pages(self, question: Question, limit: int, rows_max: int) -> None:
        """All pages together are what is counted."""
        pages: list[MessageId] = []
        while True:
            page = FindMessages(**as_fields(question), offset=len(pages), limit=limit)
            found = self._look(page, rows_max).ids
            pages += found
            if len(found) < limit:
                break
        assert pages == self.model.answer(question)

    def _ask(self, question: Question, offset: int, limit: int, rows_max: int) -> None:
        expected = self.model.answer(question)
        asked = as_fields(question)
        assert self._look(CountMessages(**asked), rows_max).count == len(expected)
        for newest_first in (False, True):
            ordered = expected[::-1] if newest_first else expected
            page = FindMessages(**asked, newest_first=newest_first, offset=offset, limit=limit)
            page.check()
            assert self._look(page, rows_max).ids == ordered[offset : offset + limit]

    def _look(self, query: Any, rows_max: int) -> Search:
        """Through to the end, each slice in a snapshot of its own."""
        search = self._search(query)
        for _ in range(1_000):
            if not self.machine.read(lambda snapshot: search.go_on(snapshot.views, rows_max)):
                return search
        raise AssertionError(f"{query} does not come to an end")

    def _search(self, query: Any) -> Search:
        position = self.machine.read(lambda snapshot: snapshot.views.position)
        return Search(query, position, self.machine.rules.history_horizon(self.machine.clock.expiry_ms))

    @rule(question=questions(), newest_first=flags, to=rooms, rows_max=slices)
    def begin_to_ask(self, question: Question, newest_first: bool, to: str, rows_max: int) -> None:
        """A query that others act between the slices of."""
        if not self.machine.in_batch and len(self.asked) < 2:
            self.send_some_to_room(("one", "bob"), to, 2)
            search = self._search(FindMessages(**as_fields(question), newest_first=newest_first, limit=1_000))
            self.asked.append(Asked(question, search, self.model.horizon(), newest_first, self.model.answer(question)))
            self.go_on_asking(rows_max)
            self.send_some_to_room(("one", "ann"), to, 1)

    @precondition(lambda self: getattr(self, "asked", None) and not self.machine.in_batch)
    @rule(rows_max=slices)
    def go_on_asking(self, rows_max: int) -> None:
        if not self.asked:
            return
        asked = self.asked[0]
        if self.machine.read(lambda snapshot: asked.search.go_on(snapshot.views, rows_max)):
            return
        del self.asked[0]
        still = set(self.model.answer(asked.question, asked.horizon))
        found = asked.search.ids[::-1] if asked.newest_first else asked.search.ids
        # What was taken away meanwhile may be there or not; nothing else is missing, and nothing is new.
        assert [id for id in found if id in still] == [id for id in asked.at_first if id in still]
        assert found == [id for id in asked.at_first if id in set(found)]

    # Presence and results.

    @rule(app=st.sampled_from(["one", "one", "two"]), feed=st.sampled_from(["users", "rooms"]), limit=limits)
    def take_feed(self, app: str, feed: Feed, limit: int) -> None:
        decision = self.carried_out(TakeFeed(app=app, feed=feed, limit=limit))
        assert isinstance(decision.result, Presence)
        expected = self.model.take(app, feed, limit)
        assert [(event.type, event.at_ms, event.user, event.room) for event in decision.result.events] == expected
        assert len(decision.events) == bool(expected)

    @rule(app=st.sampled_from(["one", "one", "two"]), count=st.integers(0, 3), ttl_ms=ttls_ms)
    def reserve(self, app: str, count: int, ttl_ms: int) -> None:
        handle = str(1_000 + len(self.handles))
        mine = [letter.id for letter in self.model.letters if letter.app == app]
        ids = tuple(MessageId(id) for id in mine[len(mine) - count :])
        command = ReserveResult(app=app, handle=handle, ids=ids, ttl_ms=ttl_ms)
        if self.do(command, self.model.refuses_reserve(app)) is not None:
            self.model.reserve(app, handle, ids, ttl_ms, self.machine.records[-1].position)
            self.handles.append((app, handle))

    @rule(pick=picks, elsewhere=st.sampled_from([False, False, False, True]))
    def collect(self, pick: int, elsewhere: bool) -> None:
        if not self.handles:
            return
        app, handle = newest(self.handles, pick)
        if elsewhere:
            app = "two" if app == "one" else "one"
        decision = self.do(CollectResult(app=app, handle=handle), self.model.refuses_collect(app, handle))
        if decision is not None:
            assert decision.result == Found(tuple(MessageId(id) for id in self.model.results.pop(handle).ids))

    def _expire_results(self, limit: int) -> None:
        decision = self.carried_out(ExpireResults(limit=limit))
        assert len(decision.events) == parts(self.model.expire_results(limit))

    # Batches.

    # The house.

    @rule(app=st.sampled_from(["one", "one", "two"]), limit=limits)
    def expire_history(self, app: str, limit: int) -> None:
        if self.machine.in_batch:
            self.machine.commit()  # which stays are forgotten first, of those that ended at once, is up to the store
        model = self.model
        before = [visit for visit in model.past_visits(app)]
        decision = self.carried_out(ExpireHistory(app=app, limit=limit))
        kinds = Counter(type(event) for event in decision.events)
        count = model.expire_messages(app, limit)
        assert kinds[HistoryExpired] == parts(count)
        if count:
            assert len(kinds) == 1
            return
        self._forget_visits(app, before, limit)
        assert kinds[StaysExpired] == parts(min(limit, len(before)))

    @rule(app=st.sampled_from(["one", "two"]), limit=limits)
    def expire_gaps(self, app: str, limit: int) -> None:
        past = self.model.past_gaps(app, GAP_TTL_MS)
        decision = self.carried_out(ExpireGaps(app=app, rooms=tuple(ROOMS), limit=limit))
        gone = [room for event in decision.events if isinstance(event, GapsExpired) for room in event.rooms]
        assert len(gone) == len(set(gone)) == min(limit, len(past))
        assert len(decision.events) == parts(len(gone))
        assert past.issuperset(gone)
        for room in gone:
            self.model.forget_gap(app, room)

    def _forget_visits(self, app: str, past: list[Visit], limit: int) -> None:
        """The store forgot some of these: as many as it could, and those that ended first."""
        there = {
            (user, stay.room, stay.since)
            for user in {visit.user for visit in past}
            for stay in self.machine.read(lambda snapshot, user=user: list(snapshot.views.stays(app, user)))
        }
        staying = [visit for visit in past if (visit.user, visit.room, visit.since) in there]
        gone = [visit for visit in past if visit not in staying]
        assert len(gone) == min(limit, len(past))
        assert all(one.until <= other.until for one in gone for other in staying)
        for visit in gone:
            self.model.visits.remove(visit)

    def _expire_queue(self, of: tuple[str, str], limit: int) -> None:
        decision = self.carried_out(ExpireQueue(app=of[0], user=of[1], limit=limit))
        assert len(decision.events) == (self.model.sweep(self.model.box(*of), limit) > 0)

    def _expire_dedup(self, limit: int) -> None:
        self.do(ExpireDedup(limit=limit))
        kept = self.model.outcomes
        over = [key for key, outcome in kept.items() if outcome.until_ms <= self.machine.clock.expiry_ms]
        for key in sorted(over, key=lambda key: (kept[key].until_ms, kept[key].id))[:limit]:
            del kept[key]

    def _end_stale_sessions(self, limit: int) -> None:
        model = self.model
        stale = {of for of, box in model.boxes.items() if any(epoch != model.epoch for _, epoch in box.sessions)}
        logouts = sum(len(model.box(*of).sessions) for of in stale)
        leaves = sum(len(model.open_visits(*of)) for of in stale)
        decision = self.carried_out(EndStaleSessions(limit=limit))
        assert len(decision.events) == min(limit, logouts + leaves)
        left = sum(isinstance(event, RoomLeft) for event in decision.events)
        self._ended(decision, leaves=left, logouts=len(decision.events) - left)

    @rule(what=st.sampled_from(["results", "queue", "dedup", "sessions", "sessions"]), of=users, limit=limits)
    def sweep(self, what: str, of: tuple[str, str], limit: int) -> None:
        match what:
            case "results":
                self._expire_results(limit)
            case "queue":
                self._expire_queue(of, limit)
            case "dedup":
                self._expire_dedup(limit)
            case "sessions":
                self._end_stale_sessions(limit)

    @rule(app=st.sampled_from(["one", "one", "two"]), limit=limits, times=st.integers(1, 6))
    def grow_old(self, app: str, limit: int, times: int) -> None:
        """Until the history of now is over; then it is swept, perhaps not to its end."""
        self.machine.clock.run(self.model.rules.history_ttl_ms or 1_000)
        for _ in range(times):
            self.expire_history(app, limit)
        if times % 2:
            self.machine.clock.run(GAP_TTL_MS)
            self.expire_gaps(app, limit)

    @rule(of=users, before=changes, after=changes, pick=picks, then=rules_of_apps, elapsed_ms=spells_ms, last=changes)
    def outlive_the_history(
        self,
        of: tuple[str, str],
        before: list[str],
        after: list[str],
        pick: int,
        then: Rules,
        elapsed_ms: int,
        last: list[str],
    ) -> None:
        """A copy that waits for longer than the history lasts, perhaps under other settings in the end."""
        self.configure(Rules(queue_messages=6, queue_ttl_ms=60_000, history_ttl_ms=1_500))
        self.send_and_change(of, True, before)
        self.grow_old(of[0], 1_000, 2)
        self.configure(then)
        for form in after:
            self.change(0, form)
        self.ack(of, pick)
        self.machine.clock.run(elapsed_ms)
        for form in last:
            self.change(0, form)

    @rule(elapsed_ms=spells_ms, jump_ms=jumps_ms)
    def time_passes(self, elapsed_ms: int, jump_ms: int) -> None:
        self.machine.clock.run(elapsed_ms)
        self.machine.clock.jump(jump_ms)

    @rule(rules=rules_of_apps)
    def configure(self, rules: Rules) -> None:
        self.machine.rules = self.model.rules = rules

    @rule(limit=st.integers(1, 20), age_ms=st.sampled_from([-1, 0, 60_000]))
    def trim(self, limit: int, age_ms: int) -> None:
        if self.machine.in_batch:
            self.machine.commit()
        self.machine.trim(ExpiryMs(self.machine.clock.expiry_ms - age_ms), limit)
        self._replay()

    @rule(killed=flags)
    def restart(self, killed: bool) -> None:
        if self.machine.in_batch:
            self.abort() if killed else self.machine.commit()
        self.machine.store = self.open()
        self.machine.clock.expiry_ms = self.machine.read(lambda snapshot: snapshot.views.clock_ms)
        self.do(StartEpoch())
        self.model.begin_epoch(self.machine.records[-1].position)

    @rule(of=users, to=rooms, others=st.lists(users, min_size=1, max_size=3), limit=limits)
    def die(self, of: tuple[str, str], to: str, others: list[tuple[str, str]], limit: int) -> None:
        """A process that is killed while somebody is in a room; the next one goes on, and then writes that they left."""
        self.come(of, to)
        self._send(others[0], Conversation("room", to), history=True)
        if self.machine.in_batch:
            self.machine.commit()
        self.restart(killed=True)
        for other in others:
            self._send(other, Conversation("room", to), history=True)
        self._end_stale_sessions(limit)

    # What must hold.

    @invariant()
    def the_store_shows_what_the_model_says(self) -> None:
        if not hasattr(self, "model") or self.machine.in_batch:
            return
        with self.machine.store.snapshot() as snapshot:
            for app, user in USERS:
                self._check_queue(snapshot, app, user, self.model.box(app, user))
                self._check_stays(snapshot, app, user)
            for app in ("one", "two"):
                self._check_app(snapshot, app)
            self._check_rows(snapshot)
            self._check_texts(snapshot)
            self._check_bodies(snapshot)

    @invariant()
    def some_questions_are_answered(self) -> None:
        if not hasattr(self, "model") or self.machine.in_batch:
            return
        for app, user in USERS:
            self._ask(Question(app, receiver=user), 0, 1_000, 1)
        self._ask(Question("one", sender="ann"), 1, 2, 1)
        self._ask(Question("one", conversations=(("room", "red"), ("peer", "bob"))), 1, 2, 2)

    def _check_queue(self, snapshot: Any, app: str, user: str, box: Box) -> None:
        entries = list(snapshot.views.entries(app, user))
        assert [(entry.position, entry.seq) for entry in entries] == [(copy.position, copy.seq) for copy in box.copies]
        assert [tuple(row) for row in snapshot.views.sessions(app, user)] == box.sessions

    def _check_stays(self, snapshot: Any, app: str, user: str) -> None:
        views, model = snapshot.views, self.model
        mine = [visit for visit in model.visits if (visit.app, visit.user) == (app, user)]
        ended = sorted((visit for visit in mine if visit.until), key=lambda visit: (visit.until, visit.since[1]))
        still = sorted((visit for visit in mine if not visit.until), key=lambda visit: visit.since[1])
        for found, expected in ((views.stays(app, user), [*ended, *still]), (views.open_stays(app, user), still)):
            assert [(stay.room, stay.since, stay.until) for stay in found] == [
                (visit.room, visit.since, visit.until) for visit in expected
            ]
        for room in ROOMS:
            stay = views.open_stay(app, room, user)
            there = [visit.since for visit in still if visit.room == room]
            assert ([] if stay is None else [stay.since]) == there

    def _check_app(self, snapshot: Any, app: str) -> None:
        views, model = snapshot.views, self.model
        for room in ROOMS:
            members = list(views.members(app, room))
            assert len(members) == len(set(members))
            assert set(members) == model.inside(app, room)
            gap = views.gap(app, room)
            assert (gap and (gap.at_ms, gap.id)) == model.gaps.get((app, room))
        assert {(gap.app, gap.room): (gap.at_ms, gap.id) for _, gap in views.gaps()} == model.gaps
        for feed in ("users", "rooms"):
            found = [(event.type, event.at_ms, event.user, event.room) for event in views.feed(app, feed)]
            assert found == model.feeds.get((app, feed), [])
        totals = views.totals(app)
        assert totals.newest_at_ms == model.newest_at.get(app, 0)
        assert totals.forgotten == model.forgotten.get(app, 0)
        assert totals.results == sum(result.app == app for result in model.results.values())
        lost = totals.evicted + totals.expired + totals.withdrawn
        assert totals.accepted == totals.acked + totals.queued + lost
        ends = [visit.until[0] for visit in model.visits if visit.app == app and visit.until]
        assert list(views.ended_stays(app)) == sorted(ends)
        oldest = sorted(letter.place for letter in model.letters if letter.app == app and letter.kept)
        assert [place for place, _ in views.oldest_kept(app)] == oldest

    def _check_rows(self, snapshot: Any) -> None:
        """No row without a reason: each kind is there as often as the model has one."""
        model = self.model
        counted = Counter(key[:1] for key, _ in rows(engine_of(snapshot), LIVE)[0])
        alive = [letter for letter in model.letters if model.alive(letter)]
        kept = sum(letter.kept for letter in model.letters)
        copies = [copy for box in model.boxes.values() for copy in box.copies]
        sessions = sum(len(box.sessions) for box in model.boxes.values())
        ended = sum(visit.until is not None for visit in model.visits)
        assert counted == +Counter(
            {
                b"c": 1,
                b"a": len(model.apps),
                b"u": sum(box.numbered > 0 for box in model.boxes.values()),
                b"s": sessions,
                b"e": sessions,
                b"d": len(model.outcomes),
                b"x": len(model.outcomes),
                b"m": sum(letter.form != "message" for letter in alive),
                b"k": sum(copy.position != copy.message.id for copy in copies),
                b"h": kept,
                b"t": 3 * kept,
                b"r": len(model.visits) - ended,
                b"i": len(model.visits),
                b"j": ended,
                b"g": len(model.gaps),
                b"p": model.epoch,
                b"f": sum(map(len, model.feeds.values())),
                b"q": len(model.results),
                b"z": len(model.results),
                b"D": len(model.counted),
                b"L": len(model.visitors),
                b"A": len(model.days),
                b"o": len(model.used),
                b"n": len(model.used),
            }
        )
        notices = sum(copy.shows == "deleted" for copy in copies)
        assert engine_of(snapshot).count("bodies") == len(alive) + notices

    def _check_texts(self, snapshot: Any) -> None:
        """A text taken back is in no table; one that is kept is in one."""
        found = re.findall(rb"<text-\d+>", b"".join(values(engine_of(snapshot))))
        current = [letter.text for letter in self.model.letters if self.model.alive(letter) and letter.text]
        assert sorted(found) == sorted(current)

    def _check_bodies(self, snapshot: Any) -> None:
        """Whatever is alive is found by its id, as it is now."""
        alive = [letter for letter in self.model.letters if letter.kept and letter.form != "recalled"]
        found = read_messages(snapshot, [MessageId(letter.id) for letter in alive], UnixMs(-1))
        assert [(message.id, message.body, message.sender, message.at_ms) for message in found] == [
            (letter.id, letter.text, letter.sender, letter.at_ms) for letter in alive
        ]

    def _replay(self) -> None:
        """Base and log tell how live came about."""
        with self.machine.store.snapshot() as snapshot:
            assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)

    def teardown(self) -> None:
        if hasattr(self, "model"):
            try:
                if self.machine.in_batch:
                    self.machine.commit()
                self._replay()
            finally:
                self.patches.undo()
                self.machine.store.close()


def newest(things: list[Any], pick: int) -> Any:
    """One of the newest few."""
    return things[-1 - pick % len(things)]


def parts(count: int) -> int:
    """Events that so many things end in."""
    return -(-count // PART)


def as_fields(question: Question) -> dict[str, Any]:
    """The same for the core."""
    return {
        "app": question.app,
        "sender": question.sender,
        "conversations": conversations(question.conversations),
        "receiver": question.receiver,
        "start_ms": UnixMs(question.start_ms),
        "end_ms": UnixMs(question.end_ms),
    }


class MemoryRooms(OnMemory, Rooms):
    """On the store that forgets."""


class LmdbRooms(OnLmdb, Rooms):
    """On the one that lasts; a restart opens the directory again."""


TestMemoryRooms = MemoryRooms.TestCase
TestMemoryRooms.settings = settings(max_examples=examples(25), stateful_step_count=50)
TestLmdbRooms = LmdbRooms.TestCase
TestLmdbRooms.settings = settings(max_examples=examples(10), stateful_step_count=40)
