"""Whatever is sent, marked, joined and left, in whatever order: what is unread is what a plain model says, message by message,
a mark never makes it more, and replay gives the same state.

Of what was deleted or forgotten the store has no row any more, and a mark may take some of it for read: in half of the runs
there is such, and then what is unread lies between what is still there and what was unread before.
"""

from dataclasses import dataclass, field
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from postroom.core.commands import (
    AddMembers,
    Command,
    CreateConversation,
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    MarkRead,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    StartEpoch,
)
from postroom.core.domain import Decision
from postroom.core.ids import ExpiryMs, MessageId, UnixMs
from postroom.core.model import Conversation, Receipt, Rules, group, service
from postroom.core.queries import CountUnread
from postroom.core.search import UnreadSearch
from postroom.storage.checking.conversations import ConversationCheck
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from postroom.storage.views import StoredViews
from tests.support.thorough import examples

from ..support.machine import Machine
from ..support.rows import engine_of, replayed, rows
from .stores import OnLmdb, OnMemory, StoreMachine

APP: Final = "one"
G, H, S = group("g"), group("h"), service("s")
USERS: Final = ("ann", "bob", "cy")
HISTORY_MS: Final = 60_000

users = st.sampled_from(USERS)
crowds = st.lists(users, max_size=3).map(tuple)
joined = st.sampled_from([G, G, G, H, S])
everywhere = st.sampled_from([G, G, H, S])
senders = st.sampled_from([*USERS, "eve"])
flags = st.booleans()


@dataclass(eq=False)
class Letter:
    """A message that somebody may not have read."""

    id: MessageId
    sender: str
    at_ms: UnixMs
    there: bool = True
    recalled: bool = False


@dataclass
class Place:
    """A conversation: who is in it, and what each has not read."""

    members: set[str] = field(default_factory=set)
    letters: list[Letter] = field(default_factory=list)
    unread: dict[str, list[Letter]] = field(default_factory=lambda: {user: [] for user in USERS})


class Unread(StoreMachine):
    """Two groups and a service over one store."""

    @initialize(loses=flags)
    def begin(self, loses: bool) -> None:
        self.machine = Machine(self.open(), Rules(history_ttl_ms=HISTORY_MS))
        self.loses = loses
        self.places = {G: Place(), H: Place(), S: Place()}
        self.told = {(user, of): 0 for user in USERS for of in self.places}
        self.do(StartEpoch())
        for conversation in self.places:
            self.do(CreateConversation(app=APP, conversation=conversation))

    def do(self, command: Command) -> Decision:
        return self.machine.run(command)

    def count(self, user: str, of: Conversation | None) -> int:
        """As a query finds it."""
        search = UnreadSearch(CountUnread(app=APP, user=user, conversation=of))
        with self.machine.store.snapshot() as snapshot:
            while search.go_on(snapshot.views):
                pass
        return search.count

    def shown(self, of: Conversation) -> list[Letter]:
        """What may still be changed, swept or not."""
        horizon = self.machine.clock.expiry_ms - HISTORY_MS
        return [letter for letter in self.places[of].letters if letter.there and letter.at_ms > horizon]

    def sent(self, to: Conversation, sender: str, readers: set[str], **fields: object) -> None:
        command = SendMessage(app=APP, sender=sender, to=to, body=b"hi", **fields)  # type: ignore[arg-type]
        receipt = self.do(command).result
        assert isinstance(receipt, Receipt)
        if not command.history:
            return
        letter = Letter(receipt.id, sender, receipt.at_ms)
        self.places[to].letters.append(letter)
        for user in readers - {sender}:
            if user in USERS:
                self.places[to].unread[user].append(letter)
                self.told[user, to] += 1

    @rule(to=joined, sender=senders, history=st.sampled_from([True, True, False]), queue=flags)
    def send(self, to: Conversation, sender: str, history: bool, queue: bool) -> None:
        self.sent(to, sender, self.places[to].members, history=history, queue=queue and history)

    @rule(sender=senders, recipients=crowds, queue=flags)
    def name(self, sender: str, recipients: tuple[str, ...], queue: bool) -> None:
        recipients = tuple(dict.fromkeys((*recipients, "eve")))
        self.sent(S, sender, set(recipients), history=True, queue=queue, recipients=recipients)

    @rule(to=joined, who=crowds)
    def add(self, to: Conversation, who: tuple[str, ...]) -> None:
        self.do(AddMembers(app=APP, conversation=to, users=who))
        self.places[to].members |= set(who)

    @rule(to=joined, who=crowds)
    def remove(self, to: Conversation, who: tuple[str, ...]) -> None:
        self.do(RemoveMembers(app=APP, conversation=to, users=who))
        place = self.places[to]
        for user in set(who) & place.members:
            place.unread[user].clear()
            self.told[user, to] = 0
        place.members -= set(who)

    @rule(of=everywhere, user=users, which=st.integers(0, 12), early_ms=st.sampled_from([0, 0, 0, 1, -1]))
    def mark(self, of: Conversation, user: str, which: int, early_ms: int) -> None:
        """At the time of one of the last messages, or a little before or after, or far ahead."""
        letters = self.places[of].letters[-12:]
        until_ms = UnixMs(letters[-which].at_ms - early_ms if 0 < which <= len(letters) else 1 << 60)
        unread = self.places[of].unread[user]
        before = self.count(user, of)
        decision = self.do(MarkRead(app=APP, user=user, conversation=of, until_ms=until_ms))
        unread[:] = [letter for letter in unread if letter.at_ms > until_ms]
        after = self.told[user, of] = self.count(user, of)
        assert after <= before
        assert bool(decision.events) or after == before
        assert after >= sum(letter.there for letter in unread) if self.loses else after == len(unread)
        if until_ms == 1 << 60:
            assert after == 0

    @rule(of=everywhere, which=st.integers(1, 12), recall=flags)
    def change(self, of: Conversation, which: int, recall: bool) -> None:
        """It is there as before: nothing that matters here."""
        letters = self.shown(of)
        if len(letters) >= which:
            letter = letters[-which]
            if recall:
                self.do(RecallMessage(app=APP, id=letter.id, by=letter.sender))
                letter.recalled = True
            elif not letter.recalled:
                self.do(EditMessage(app=APP, id=letter.id, by=letter.sender, body=b"ho"))

    @precondition(lambda self: getattr(self, "loses", False))
    @rule(of=everywhere, which=st.integers(1, 12))
    def delete(self, of: Conversation, which: int) -> None:
        letters = self.shown(of)
        if len(letters) >= which:
            letters[-which].there = False
            self.do(DeleteMessage(app=APP, id=letters[-which].id, by=letters[-which].sender))

    @rule(spell_ms=st.sampled_from([0, 1, 1, 1_000]), jump_ms=st.sampled_from([0, 0, 0, -86_400_000]))
    def time_passes(self, spell_ms: int, jump_ms: int) -> None:
        self.machine.clock.run(spell_ms)
        self.machine.clock.jump(jump_ms)

    @precondition(lambda self: getattr(self, "loses", False))
    @rule(limit=st.sampled_from([1, 3, 250]), spell_ms=st.sampled_from([0, HISTORY_MS // 2, HISTORY_MS]))
    def forget(self, limit: int, spell_ms: int) -> None:
        self.machine.clock.run(spell_ms)
        self.do(ExpireHistory(app=APP, limit=limit))
        with self.machine.store.snapshot() as snapshot:
            kept = {place.id for place, _ in snapshot.views.oldest_kept(APP)}
        for place in self.places.values():
            for letter in place.letters:
                letter.there &= letter.id in kept

    @rule(share=st.sampled_from([1, 7, 1_000]))
    def trim(self, share: int) -> None:
        self.machine.trim(ExpiryMs(1 << 60), share)

    @rule()
    def restart(self) -> None:
        self.machine.store = self.open()
        self.do(StartEpoch())

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        if not hasattr(self, "told"):
            return
        for user in USERS:
            for of, place in self.places.items():
                count = self.count(user, of)
                if not self.loses:
                    assert count == len(place.unread[user])
                assert self.told[user, of] == count  # nothing but a mark, a message and a leave changes it
            assert self.count(user, None) == sum(self.told[user, of] for of in self.places)
        assert self.count("nobody", None) == 0

    def teardown(self) -> None:
        if not hasattr(self, "told"):
            return
        told: list[Problem] = []
        with self.machine.store.snapshot() as snapshot:
            engine = engine_of(snapshot)
            assert replayed(snapshot) == rows(engine, LIVE)
            list(ConversationCheck(engine, StoredViews(engine, LIVE), Problems(told.append)).run())
        assert told == []
        self.machine.store.close()


class MemoryUnread(OnMemory, Unread):
    """On the store that forgets."""


class LmdbUnread(OnLmdb, Unread):
    """On the one that lasts; a restart opens the directory again."""


TestMemoryUnread = MemoryUnread.TestCase
TestMemoryUnread.settings = settings(max_examples=examples(30), stateful_step_count=50)
TestLmdbUnread = LmdbUnread.TestCase
TestLmdbUnread.settings = settings(max_examples=examples(10), stateful_step_count=40)
