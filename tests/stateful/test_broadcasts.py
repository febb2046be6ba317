"""Whatever happens to broadcasts, in whatever order: everybody is given what a plain model says, a text that was replaced or
deleted is nowhere, quotas count what was done, and replay gives the same state."""

from dataclasses import dataclass
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from postroom.core.commands import (
    Ack,
    Command,
    CreateConversation,
    DeleteBroadcast,
    EditBroadcast,
    EndStaleSessions,
    ExpireBroadcasts,
    Login,
    Logout,
    SendBroadcast,
    SendMessage,
    StartEpoch,
)
from postroom.core.domain import Welcome
from postroom.core.errors import InvalidCommand, QuotaExceeded, Refusal, UnknownMessage
from postroom.core.events import Acked
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import Quota, Receipt, Rules, peer, service
from postroom.core.queries import FindBroadcasts
from postroom.core.rows import Opened
from postroom.core.runtime.broadcasts import find_broadcasts, read_broadcasts
from postroom.core.runtime.reading import read_page
from postroom.storage.checking.accounts import AccountCheck
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from tests.support.thorough import examples

from ..support.machine import Machine
from ..support.rows import engine_of, replayed, rows, values
from .stores import OnLmdb, OnMemory, StoreMachine

APP: Final = "one"
SERVICES: Final = (service("news"), service("weather"))
HOUR_MS: Final = 3_600_000
DEDUP_MS: Final = 24 * HOUR_MS

users = st.sampled_from(["ann", "bob", "cy"])
services = st.sampled_from(SERVICES)
picks = st.integers(0, 9)
spells_ms = st.sampled_from([1, 500, 5_000, HOUR_MS, 9 * HOUR_MS])
lasting_ms = st.sampled_from([None, -5_000, 0, 1, 5_000, HOUR_MS, 30 * HOUR_MS])
quotas = st.sampled_from([None, Quota(name="q", per_day=1), Quota(name="q", per_day=3), Quota(name="r", per_day=2)])


@dataclass
class Told:
    """A broadcast that is kept."""

    text: str
    service: Any
    at_ms: int
    until_ms: int | None


class Broadcasts(StoreMachine):
    """Two services and three users, over one store."""

    @initialize()
    def begin(self) -> None:
        self.machine = Machine(self.open())
        self.machine.run(StartEpoch())
        for each in SERVICES:
            self.machine.run(CreateConversation(app=APP, conversation=each))
        self.kept: dict[MessageId, Told] = {}
        self.gone: list[MessageId] = []
        self.gone_texts: set[str] = set()
        self.queues: dict[str, dict[Position, str]] = {}
        self.begins: dict[str, int] = {}
        self.acked: dict[str, int] = {}
        self.sessions: list[tuple[str, Opened]] = []
        self.used: dict[str, tuple[int, int]] = {}
        self.sent: list[tuple[SendBroadcast, MessageId, int]] = []
        self.count = 0

    def text(self) -> str:
        """One that nothing else has."""
        self.count += 1
        return f"text-{self.count:04}."

    @property
    def wall_ms(self) -> int:
        return self.machine.clock.wall_ms

    def valid(self, id: MessageId) -> bool:
        """Whether a broadcast that is kept is given to anybody."""
        until_ms = self.kept[id].until_ms
        return until_ms is None or self.wall_ms < until_ms

    def expected(self, user: str) -> list[str]:
        """What waits for a user, in order."""
        found = {int(position): text for position, text in self.queues.get(user, {}).items()}
        for id, told in self.kept.items():
            if self.valid(id) and id >= self.begins[user] and id > self.acked.get(user, 0):
                found[id] = told.text
        return [text for _, text in sorted(found.items())]

    def page(self, user: str, login: Opened) -> list[Any]:
        """What a session is given, were it to begin now."""
        clock = self.machine.clock
        with self.machine.store.snapshot() as snapshot:
            page = read_page(snapshot, APP, user, Position(0), clock.expiry_ms, login, clock.wall_ms)
        assert page.complete
        return page.deliveries

    def run(self, command: Command, quota: Quota | None) -> Receipt | Refusal:
        """Carry it out; whether the quota allows that is as the model says."""
        day, used = self.used.get(quota.name, (0, 0)) if quota else (0, 0)
        with self.machine.store.snapshot() as snapshot:
            newest = max(self.wall_ms, snapshot.views.totals(APP).newest_at_ms)
        today = max(day, self.machine.rules.day(UnixMs(newest)))
        used = used if today == day else 0
        try:
            decision = self.machine.run(command)
        except Refusal as refusal:
            told = refusal
        else:
            assert isinstance(decision.result, Receipt)
            if quota is not None and decision.events:
                assert used < quota.per_day
                self.used[quota.name] = (today, used + 1)
            return decision.result
        if isinstance(told, QuotaExceeded):
            assert quota is not None
            assert used >= quota.per_day
            assert told.retry_after_ms is not None
            assert self.machine.rules.day(UnixMs(newest + told.retry_after_ms)) == today + 1
        return told

    @rule(conversation=services, lasting_ms=lasting_ms, transient=st.integers(0, 3), quota=quotas, dedup=st.booleans())
    def send(self, conversation: Any, lasting_ms: int | None, transient: int, quota: Quota | None, dedup: bool) -> None:
        """To everybody."""
        text = self.text()
        until_ms = None if lasting_ms is None else UnixMs(self.wall_ms + lasting_ms)
        command = SendBroadcast(
            app=APP,
            sender="desk",
            conversation=conversation,
            body=text.encode(),
            valid_until_ms=until_ms,
            transient=not transient,
            quota=quota,
            dedup=f"key-{self.count}" if dedup else None,
        )
        receipt = self.run(command, quota)
        if isinstance(receipt, Refusal):
            over = transient and lasting_ms is not None and lasting_ms <= 0
            assert isinstance(receipt, QuotaExceeded | InvalidCommand if over else QuotaExceeded)
            self.gone_texts.add(text)
            return
        if transient:
            self.kept[receipt.id] = Told(text, conversation, receipt.at_ms, until_ms)
        else:
            self.gone_texts.add(text)
            self.gone.append(receipt.id)
        if dedup:
            clock = self.machine.clock
            ends_ms = max(clock.wall_ms, clock.expiry_ms) + DEDUP_MS
            self.sent.append((command, receipt.id, ends_ms))

    @rule(pick=picks)
    def retry(self, pick: int) -> None:
        """Whoever sent it asks again."""
        if self.sent:
            command, id, ends_ms = self.sent[pick % len(self.sent)]
            if ends_ms > self.machine.clock.expiry_ms:
                decision = self.machine.run(command)
                assert decision.events == ()
                assert isinstance(decision.result, Receipt)
                assert (decision.result.id, decision.result.duplicate) == (id, True)

    def one(self, pick: int) -> MessageId:
        """One that was sent, as far as there is one; it may be gone."""
        ids = [*list(self.kept)[-6:], *self.gone[-2:]]
        return ids[pick % len(ids)] if ids else MessageId(7)

    @rule(pick=picks, quota=quotas)
    def edit(self, pick: int, quota: Quota | None) -> None:
        """It has another text."""
        id, text = self.one(pick), self.text()
        receipt = self.run(EditBroadcast(app=APP, id=id, by="desk", body=text.encode(), quota=quota), quota)
        if isinstance(receipt, Refusal):
            assert isinstance(receipt, QuotaExceeded) or id not in self.kept
            self.gone_texts.add(text)
        else:
            self.gone_texts.add(self.kept[id].text)
            self.kept[id].text = text

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        """It is gone."""
        id = self.one(pick)
        receipt = self.run(DeleteBroadcast(app=APP, id=id, by="desk"), None)
        assert isinstance(receipt, UnknownMessage if id not in self.kept else Receipt)
        self.forget(id)

    def forget(self, id: MessageId) -> None:
        told = self.kept.pop(id, None)
        if told is not None:
            self.gone_texts.add(told.text)
            self.gone.append(id)

    @rule(user=users)
    def message(self, user: str) -> None:
        """Something else that waits."""
        text = self.text()
        command = SendMessage(app=APP, sender="desk", to=peer(user), body=text.encode(), queue=True)
        receipt = self.machine.run(command).result
        assert isinstance(receipt, Receipt)
        self.queues.setdefault(user, {})[Position(receipt.id)] = text

    @rule(user=users)
    def login(self, user: str) -> None:
        """Somebody comes; for the first time, the newest that is valid is theirs."""
        decision = self.machine.run(Login(app=APP, user=user))
        welcome, opening = decision.result, decision.opening
        assert isinstance(welcome, Welcome)
        assert opening is not None
        if user not in self.begins:
            self.begins[user] = max((id for id in self.kept if self.valid(id)), default=welcome.session)
        assert welcome.queued == len(self.expected(user))
        self.sessions.append((user, opening.login))

    @rule(pick=picks, frames=st.integers(0, 4))
    def ack(self, pick: int, frames: int) -> None:
        """Up to one of what waits."""
        if not self.sessions:
            return
        user, login = self.sessions[pick % len(self.sessions)]
        waiting = self.page(user, login)
        through = waiting[min(frames, len(waiting) - 1)].position if waiting else login.position
        command = Ack(app=APP, user=user, session=login.position, through=through, opened=login)
        acked = [event for event in self.machine.run(command).events if isinstance(event, Acked)]
        assert acked or not waiting
        if acked:
            assert acked[0].id == (waiting[min(frames, len(waiting) - 1)].id if waiting else 0)
            self.acked[user] = max(self.acked.get(user, 0), through)
            queue = self.queues.get(user, {})
            for position in [each for each in queue if each <= through]:
                self.gone_texts.add(queue.pop(position))

    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        """Somebody goes."""
        if self.sessions:
            user, login = self.sessions.pop(pick % len(self.sessions))
            self.machine.run(Logout(app=APP, user=user, session=login.position))

    @rule()
    def restart(self) -> None:
        """A new process."""
        self.machine.run(StartEpoch())
        while self.machine.run(EndStaleSessions()).events:
            pass
        self.sessions.clear()

    @rule(limit=st.sampled_from([1, 1_000]))
    def sweep(self, limit: int) -> None:
        """What is long over is forgotten, the oldest first."""
        clock = self.machine.clock
        horizon = self.machine.rules.history_horizon(clock.expiry_ms)
        over = [
            id
            for id, told in self.kept.items()
            if told.until_ms is not None
            and told.until_ms <= min(clock.wall_ms, clock.expiry_ms)
            and told.at_ms <= horizon
        ]
        self.machine.run(ExpireBroadcasts(app=APP, limit=limit))
        for id in over[:limit]:
            self.forget(id)

    @rule(spell_ms=spells_ms)
    def wait(self, spell_ms: int) -> None:
        """Time passes."""
        self.machine.clock.run(spell_ms)

    @rule(by_ms=spells_ms, back=st.booleans())
    def set_clock(self, by_ms: int, back: bool) -> None:
        """Somebody sets the wall clock."""
        self.machine.clock.jump(-by_ms if back else by_ms)

    @rule(hours=st.sampled_from([0, 8, -8]), ttl_ms=st.sampled_from([1, HOUR_MS, None]))
    def configure(self, hours: int, ttl_ms: int | None) -> None:
        """The app's day begins elsewhere, and its history is as long as that."""
        self.machine.rules = Rules(day_offset_ms=hours * HOUR_MS, history_ttl_ms=ttl_ms)

    @rule(limit=st.integers(1, 20))
    def trim(self, limit: int) -> None:
        """The oldest events become base."""
        self.machine.trim(ExpiryMs(1 << 60), limit)

    @invariant()
    def everybody_is_given_what_is_theirs(self) -> None:
        """In one order, each once, as it is now."""
        login = Opened(Position(1 << 52))
        for user in self.begins:
            frames = self.page(user, login)
            assert [frame.body.decode() for frame in frames] == self.expected(user)
            assert all(frame.queued and frame.type == "message" and frame.by == "" for frame in frames)

    @invariant()
    def those_that_are_valid_are_found(self) -> None:
        """The newest first."""
        with self.machine.store.snapshot() as snapshot:
            for conversation in (None, *SERVICES):
                query = FindBroadcasts(app=APP, conversation=conversation)
                ids = find_broadcasts(snapshot, query, UnixMs(self.wall_ms))
                found = [(message.id, message.body.decode()) for message in read_broadcasts(snapshot, APP, ids)]
                assert found == [
                    (id, told.text)
                    for id, told in reversed(self.kept.items())
                    if self.valid(id) and conversation in (None, told.service)
                ]

    @invariant()
    def the_store_is_sound(self) -> None:
        """What is gone is nowhere, the accounts are even, quotas are as counted, and replay agrees."""
        told: list[Problem] = []
        with self.machine.store.snapshot() as snapshot:
            every = b"".join(values(engine_of(snapshot)))
            assert not [text for text in self.gone_texts if text.encode() in every]
            for name, (day, used) in self.used.items():
                assert snapshot.views.quota_used(APP, name) == (day, used)
            for _ in AccountCheck(engine_of(snapshot), Problems(told.append)).run():
                pass
            assert told == []
            assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)


class BroadcastsOnMemory(OnMemory, Broadcasts):
    """On the store that forgets."""


class BroadcastsOnLmdb(OnLmdb, Broadcasts):
    """On the store that lasts."""


TestBroadcastsOnMemory = BroadcastsOnMemory.TestCase
TestBroadcastsOnMemory.settings = settings(max_examples=examples(30), stateful_step_count=40, deadline=None)
TestBroadcastsOnLmdb = BroadcastsOnLmdb.TestCase
TestBroadcastsOnLmdb.settings = settings(max_examples=examples(10), stateful_step_count=30, deadline=None)
