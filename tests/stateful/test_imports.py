"""Whatever is imported, changed, deleted, swept and imported again: the history is what a plain model says, nothing comes
back, and replay gives the same state."""

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from postroom.core.commands import (
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    ImportConversation,
    ImportMessage,
    RecallMessage,
    SendMessage,
    StartEpoch,
)
from postroom.core.errors import MessageIsRecalled, TooOld, UnknownConversation, UnknownMessage
from postroom.core.ids import ExpiryMs, MessageId, Place, UnixMs
from postroom.core.model import Conversation, Receipt, Rules, group, peer, room, service
from postroom.core.queries import FindMessages
from postroom.core.runtime.reading import read_messages
from postroom.core.search import Search
from postroom.storage.checking.bodies import BodyCheck
from postroom.storage.checking.conversations import ConversationCheck
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from tests.support.thorough import examples

from ..support.machine import Machine
from ..support.rows import engine_of, replayed, rows
from .stores import OnLmdb, OnMemory, StoreMachine

APP, TTL_MS = "demo", 10_000
CONVERSATIONS = (group("g"), room("r"), service("s"), peer("bob"))

conversations = st.sampled_from(CONVERSATIONS)
aliases = st.sampled_from([f"m{number}" for number in range(8)])
spells_ms = st.sampled_from([0, 1, 1_000, 4_000, 10_000])


class Entry(NamedTuple):
    """A message that is kept."""

    place: Place
    conversation: Conversation
    text: str
    recalled: bool


class Move(StoreMachine):
    """One app that imports and lives at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(self.open(), Rules(history_ttl_ms=TTL_MS))
        self.there: set[Conversation] = set()
        self.known: dict[str, Place] = {}
        self.kept: dict[MessageId, Entry] = {}

    @initialize()
    def begin(self) -> None:
        """The first process."""
        self.machine.run(StartEpoch())

    @property
    def horizon(self) -> int:
        """What is as old as this is over."""
        return self.machine.clock.expiry_ms - TTL_MS

    @rule(conversation=conversations)
    def take_conversation(self, conversation: Conversation) -> None:
        """A conversation, maybe again."""
        if conversation.kind == "peer":
            return
        command = ImportConversation(
            app=APP, conversation=conversation, created_ms=UnixMs(5), updated_ms=UnixMs(6), attributes=b'{"a":1}'
        )
        receipt = self.machine.run(command).result
        assert isinstance(receipt, Receipt)
        assert receipt.duplicate == (conversation in self.there)
        self.there.add(conversation)

    @rule(conversation=conversations, alias=aliases, ago_ms=spells_ms, recalled=st.booleans())
    def take_message(self, conversation: Conversation, alias: str, ago_ms: int, recalled: bool) -> None:
        """A message, maybe again, maybe too late."""
        at_ms = UnixMs(self.machine.clock.wall_ms - ago_ms)
        text = "" if recalled else f"{alias} of {conversation.kind}"
        command = ImportMessage(
            app=APP,
            conversation=conversation,
            sender="alice",
            body=text.encode(),
            at_ms=at_ms,
            alias=alias,
            recalled=recalled,
        )
        try:
            receipt = self.machine.run(command).result
        except TooOld:
            assert at_ms <= self.horizon
            return
        except UnknownConversation:
            assert conversation not in self.there
            return
        assert isinstance(receipt, Receipt)
        if alias in self.known and not receipt.duplicate:
            assert self.known[alias].at_ms <= self.horizon  # and was forgotten
        if receipt.duplicate:
            assert self.known[alias] == (receipt.at_ms, receipt.id)
            return
        self.known[alias] = Place(at_ms, receipt.id)
        self.kept[receipt.id] = Entry(self.known[alias], conversation, text, recalled)

    @rule(live=st.sampled_from([peer("bob"), room("r")]))
    def send(self, live: Conversation) -> None:
        """Live traffic in between."""
        command = SendMessage(app=APP, sender="alice", to=live, body=b"live", history=True)
        receipt = self.machine.run(command).result
        assert isinstance(receipt, Receipt)
        self.there.add(live)
        self.kept[receipt.id] = Entry(Place(receipt.at_ms, receipt.id), live, "live", recalled=False)

    @rule(pick=st.integers(0, 20), kind=st.sampled_from([EditMessage, RecallMessage, DeleteMessage]))
    def change(self, pick: int, kind: type[EditMessage | RecallMessage | DeleteMessage]) -> None:
        """One of what is kept, or was."""
        if not self.kept:
            return
        id, entry = list(self.kept.items())[pick % len(self.kept)]
        body = {"body": b"edited"} if kind is EditMessage else {}
        try:
            self.machine.run(kind(app=APP, id=id, by="alice", **body))
        except UnknownMessage:
            assert entry.place.at_ms <= self.horizon
            return
        except MessageIsRecalled:
            assert entry.recalled
            return
        match kind:
            case _ if kind is DeleteMessage:
                del self.kept[id]
            case _ if kind is RecallMessage:
                self.kept[id] = entry._replace(text="", recalled=True)
            case _:
                self.kept[id] = entry._replace(text="edited")

    @rule(spell_ms=spells_ms)
    def wait(self, spell_ms: int) -> None:
        """Time passes."""
        self.machine.clock.run(spell_ms)

    @rule(limit=st.integers(1, 6))
    def sweep(self, limit: int) -> None:
        """A step."""
        self.machine.run(ExpireHistory(app=APP, limit=limit))

    @rule(limit=st.integers(1, 20))
    def trim(self, limit: int) -> None:
        """The oldest events become base."""
        self.machine.trim(ExpiryMs(1 << 60), limit)

    @rule()
    def restart(self) -> None:
        """A new process opens the store."""
        self.machine.store = self.open()
        self.machine.run(StartEpoch())

    @invariant()
    def holds(self) -> None:
        """The history, every row by replay, and what `verify` would say."""
        told: list[Problem] = []
        find = FindMessages(app=APP, everything=True, recalled=True, limit=1_000)
        with self.machine.store.snapshot() as snapshot:
            search = Search(find, snapshot.views.position, UnixMs(max(self.horizon, -1)))
            assert not search.go_on(snapshot.views)
            found = read_messages(snapshot, search.ids, UnixMs(-1), recalled=True)
            shown = [
                Entry(Place(each.at_ms, each.id), each.conversation, each.body.decode(), each.recalled)
                for each in found
            ]
            assert shown == sorted(entry for entry in self.kept.values() if entry.place.at_ms > self.horizon)
            for alias, place in self.known.items():
                if place.at_ms > self.horizon:
                    assert snapshot.views.alias(APP, alias) == place
            engine = engine_of(snapshot)
            for check in (
                BodyCheck(engine, snapshot.views, _Owned(), Problems(told.append)),
                ConversationCheck(engine, snapshot.views, Problems(told.append)),
            ):
                for _ in check.run():
                    pass
            assert told == []
            assert replayed(snapshot) == rows(engine, LIVE)


class _Owned:
    """Positions in memory: there are few here."""

    def __init__(self) -> None:
        self._all: set[int] = set()

    def add(self, position: int) -> None:
        """Somebody owns the body at this position."""
        self._all.add(position)

    def positions(self) -> object:
        """All of them, rising."""
        return iter(sorted(self._all))


class MoveOnMemory(OnMemory, Move):
    """On the store that forgets."""


class MoveOnLmdb(OnLmdb, Move):
    """On the one that lasts."""


TestMoveOnMemory = MoveOnMemory.TestCase
TestMoveOnMemory.settings = settings(max_examples=examples(30), stateful_step_count=40, deadline=None)
TestMoveOnLmdb = MoveOnLmdb.TestCase
TestMoveOnLmdb.settings = settings(max_examples=examples(10), stateful_step_count=40, deadline=None)
