"""What was taken back is nowhere: after any sequence, no reader, no log, no table and no new backup has a text that was edited,
recalled or deleted, alone or with its conversation; and whatever was not taken back is where it belongs."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from postroom.core import Broker, Options, open_broker
from postroom.core.commands import (
    Ack,
    AddMembers,
    Command,
    CreateConversation,
    DeleteConversation,
    DeleteMessage,
    EditMessage,
    EndStaleSessions,
    Join,
    Login,
    Logout,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    StartEpoch,
    SweepConversation,
)
from postroom.core.domain import Welcome
from postroom.core.domain.stream_reading import opened
from postroom.core.errors import Refusal
from postroom.core.events.deletion import ConversationSwept
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.limits import FIND_MESSAGES_MAX
from postroom.core.model import Conversation, Receipt, Rules, group, peer, room, service
from postroom.core.queries import FindMessages
from postroom.core.runtime.reading import read_messages, read_page
from postroom.core.search import Search
from postroom.storage.backup import backup
from postroom.storage.engine import LIVE
from postroom.transports.cli.wording import line
from tests.support.thorough import examples

from ..support.machine import Clock, Machine
from ..support.office import until
from ..support.rows import engine_of, replayed, rows, values
from .stores import OnLmdb, OnMemory, StoreMachine

APP = "demo"
USERS = ("ann", "bob", "cy")
TEXT = re.compile(rb"<text-\d+>")

users = st.sampled_from(USERS)
records = st.sampled_from([group("g"), group("h"), room("r"), service("s")])
conversations = st.sampled_from(
    [group("g"), group("g"), group("h"), service("s"), service("s"), room("r"), peer("bob"), peer("cy")]
)
flags = st.booleans()
mostly = st.sampled_from([True, True, True, False])
picks = st.integers(0, 30)


@dataclass
class Letter:
    """A message that was sent and is kept."""

    id: MessageId
    to: Conversation
    text: bytes
    push: bytes = b""
    replacement: bytes = b""
    recalled: bool = False


class Texts(StoreMachine):
    """Messages of all kinds, what becomes of them, and of their conversations. Everything is kept for history: what age ends
    is another machine's."""

    @initialize(queue_messages=st.integers(1, 5))
    def begin(self, queue_messages: int) -> None:
        self.machine = Machine(self.open(), Rules(queue_messages=queue_messages), Clock())
        self.letters: list[Letter] = []
        self.hidden: list[Letter] = []
        """Of conversations that are deleted and not swept."""
        self.gone = False
        """Something was deleted."""
        self.texts = 0
        self.sessions: list[tuple[str, Position]] = []
        for conversation in (group("g"), group("h"), service("s")):
            self.create(conversation, set(USERS))

    def text(self) -> bytes:
        self.texts += 1
        return b"<text-%d>" % self.texts

    def do(self, command: Command) -> Any:
        """Its result; None if it is refused, as things are."""
        try:
            return self.machine.run(command).result
        except Refusal:
            return None

    # What happens.

    @rule(conversation=records, members=st.sets(users))
    def create(self, conversation: Conversation, members: set[str]) -> None:
        """And whoever is a member, or subscribes, from now on."""
        users = tuple(sorted(members))
        self.do(CreateConversation(app=APP, conversation=conversation))
        if conversation.kind != "room":
            self.do(AddMembers(app=APP, conversation=conversation, users=users))

    @rule(conversation=records, user=users)
    def leave(self, conversation: Conversation, user: str) -> None:
        if conversation.kind != "room":
            self.do(RemoveMembers(app=APP, conversation=conversation, users=(user,)))

    @rule(to=conversations, sender=users, queue=mostly, count=st.integers(1, 4))
    def send(self, to: Conversation, sender: str, queue: bool, count: int) -> None:
        for number in range(count):
            self._send(to, sender, queue=queue, push=number % 2 == 0)

    def _send(self, to: Conversation, sender: str, *, queue: bool, push: bool) -> None:
        letter = Letter(MessageId(0), to, self.text(), self.text() if push else b"")
        command = SendMessage(
            app=APP,
            sender=sender,
            to=to,
            body=letter.text,
            push=letter.push,
            queue=queue and to.kind != "room",
            history=True,
            dedup=f"k{self.texts}",
        )
        receipt = self.do(command)
        if receipt is not None:
            letter.id = receipt.id
            self.letters.append(letter)

    def pick(self, pick: int) -> Letter:
        return self.letters[-1 - pick % len(self.letters)]

    @precondition(lambda self: self.letters)
    @rule(pick=picks)
    def edit(self, pick: int) -> None:
        letter, text = self.pick(pick), self.text()
        if not letter.recalled:
            assert isinstance(self.do(EditMessage(app=APP, id=letter.id, by="eve", body=text)), Receipt)
            letter.text, letter.push = text, b""

    @precondition(lambda self: self.letters)
    @rule(pick=picks, replaces=flags)
    def recall(self, pick: int, replaces: bool) -> None:
        letter, text = self.pick(pick), self.text()
        brings: dict[str, Any] = {"replacement": text, "via": "wildfire"} if replaces else {}
        assert isinstance(self.do(RecallMessage(app=APP, id=letter.id, by="eve", **brings)), Receipt)
        if not letter.recalled:
            letter.text, letter.push, letter.recalled = b"", b"", True
            letter.replacement = text if replaces else b""

    @precondition(lambda self: self.letters)
    @rule(pick=picks, silent=flags)
    def delete(self, pick: int, silent: bool) -> None:
        letter = self.pick(pick)
        assert isinstance(self.do(DeleteMessage(app=APP, id=letter.id, by="eve", silent=silent)), Receipt)
        self.letters.remove(letter)

    @precondition(lambda self: len(self.letters) > len(self.hidden))
    @rule(conversation=records)
    def delete_conversation(self, conversation: Conversation) -> None:
        if self.do(DeleteConversation(app=APP, conversation=conversation, by="eve")) is not None:
            self.gone = True
            self.hidden += [letter for letter in self.letters if letter.to == conversation]
            self.letters = [letter for letter in self.letters if letter.to != conversation]

    @precondition(lambda self: self.gone)
    @rule(conversation=records, limit=st.sampled_from([1, 2, 1_000]))
    def sweep(self, conversation: Conversation, limit: int) -> None:
        command = SweepConversation(app=APP, conversation=conversation, limit=limit, unblocked=True)
        for event in self.machine.run(command).events:
            if isinstance(event, ConversationSwept) and event.what == "messages":
                self.hidden = [one for one in self.hidden if one.to != conversation or one.id > event.id]

    @rule(user=users)
    def login(self, user: str) -> None:
        welcome = self.do(Login(app=APP, user=user))
        if isinstance(welcome, Welcome):
            self.sessions.append((user, welcome.session))

    @precondition(lambda self: self.sessions)
    @rule(pick=picks)
    def logout(self, pick: int) -> None:
        user, session = self.sessions.pop(-1 - pick % len(self.sessions))
        self.do(Logout(app=APP, user=user, session=session))

    @precondition(lambda self: self.sessions)
    @rule(pick=picks)
    def join(self, pick: int) -> None:
        user, session = self.sessions[-1 - pick % len(self.sessions)]
        self.do(Join(app=APP, user=user, session=session, room="r"))

    @rule(user=users, pick=picks)
    def ack(self, user: str, pick: int) -> None:
        queue = self.machine.queue(APP, user)
        if queue:
            through = queue[-1 - pick % len(queue)].position
            self.do(Ack(app=APP, user=user, session=Position(1), through=through))

    @rule(limit=st.integers(1, 20))
    def trim(self, limit: int) -> None:
        self.machine.trim(ExpiryMs(self.machine.clock.expiry_ms + 1), limit)

    @precondition(lambda self: self.texts % 5 == 4)
    @rule()
    def restart(self) -> None:
        self.replay_gives_the_same_state()
        self.machine.store = self.open()
        self.machine.run(StartEpoch())
        self.machine.run(EndStaleSessions())
        self.sessions.clear()

    # What must hold.

    @invariant()
    def only_what_was_not_taken_back_is_there(self) -> None:
        if not hasattr(self, "letters"):
            return
        with self.machine.store.snapshot() as snapshot:
            self._check_queues(snapshot)
            self._check_history(snapshot)
            every = b"".join(values(engine_of(snapshot)))
        assert sorted(TEXT.findall(every)) == self._kept(self.letters + self.hidden)
        told = "\n".join(map(line, self.machine.records)).encode()
        assert TEXT.findall(told) == []

    @staticmethod
    def _kept(letters: list[Letter]) -> list[bytes]:
        """What tables have of these: each text once."""
        return sorted(text for one in letters for text in (one.text, one.push, one.replacement) if text)

    def _check_queues(self, snapshot: Any) -> None:
        """A session that opens now is given no text but those of today, each by the message that has it."""
        now = {one.id: one for one in self.letters}
        clock = self.machine.clock.expiry_ms
        for user in USERS:
            login, _ = opened(snapshot.views, APP, user, snapshot.views.position, clock, self.machine.rules)
            page = read_page(snapshot, APP, user, Position(0), clock, login, self.machine.clock.wall_ms)
            for frame in page.deliveries:
                assert frame.body == (now[frame.id].text if frame.type in ("message", "edited") else b"")

    def _check_history(self, snapshot: Any) -> None:
        """Every way to ask gives the messages that there are, as they are."""
        senders: list[dict[str, Any]] = [{"sender": user} for user in USERS]
        places: list[dict[str, Any]] = [
            {"conversations": (to,)}
            for to in (group("g"), group("h"), room("r"), service("s"), peer("bob"), peer("cy"))
        ]
        for questions in ([{"everything": True}], senders, places):
            found = []
            for which in questions:
                query = FindMessages(app=APP, recalled=True, limit=FIND_MESSAGES_MAX, **which)
                search = Search(query, snapshot.views.position, UnixMs(-1))
                assert not search.go_on(snapshot.views)
                found += read_messages(snapshot, search.ids, UnixMs(-1), recalled=True)
            shown = {message.id: (message.body, message.replacement) for message in found}
            assert shown == {one.id: (one.text, one.replacement) for one in self.letters}
            assert len(found) == len(shown)
        every = [MessageId(record.position) for record in self.machine.records]
        assert len(read_messages(snapshot, every, UnixMs(-1), recalled=True)) == len(self.letters)

    def replay_gives_the_same_state(self) -> None:
        with self.machine.store.snapshot() as snapshot:
            assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)

    def teardown(self) -> None:
        if hasattr(self, "letters"):
            self.replay_gives_the_same_state()
            self.end()

    def end(self) -> None:
        """What else is looked at, once."""


class MemoryTexts(OnMemory, Texts):
    """On the store that forgets."""


class LmdbTexts(OnLmdb, Texts):
    """On the one that lasts: at the end a broker opens it, and a backup is made."""

    def end(self) -> None:
        for user in USERS:
            self.do(SendMessage(app=APP, sender="eve", to=peer(user), body=b"<end>", queue=True))
        trio.run(self._open)
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "copy"
            backup(Path(self.home), copy, progress=lambda _: None)
            content = b"".join(path.read_bytes() for path in copy.iterdir())
        assert set(TEXT.findall(content)) == set(self._kept(self.letters))

    async def _open(self) -> None:
        """Every user comes, everything is asked for, and the sweeper ends what is deleted."""
        now = {one.id: one for one in self.letters}
        rules = {APP: self.machine.rules}
        with trio.fail_after(30):
            async with open_broker(self.store, rules=rules, options=Options(sweep_every_s=3_600)) as broker:
                for user in USERS:
                    async with broker.connect(app=APP, user=user) as session:
                        async for frame in session:
                            if frame.body == b"<end>":
                                break
                            assert frame.body == (now[frame.id].text if frame.type in ("message", "edited") else b"")
                await self._ask(broker)
                await until(lambda: not self._deleted())
                await self._ask(broker)

    def _deleted(self) -> list[Conversation]:
        return self.machine.read(lambda snapshot: list(snapshot.views.deleted_conversations(APP)))

    async def _ask(self, broker: Broker) -> None:
        found = await broker.ask(FindMessages(app=APP, everything=True, recalled=True, limit=FIND_MESSAGES_MAX))
        assert {message.id: message.body for message in found} == {one.id: one.text for one in self.letters}


TestMemoryTexts = MemoryTexts.TestCase
TestMemoryTexts.settings = settings(max_examples=examples(25), stateful_step_count=50)
TestLmdbTexts = LmdbTexts.TestCase
TestLmdbTexts.settings = settings(max_examples=examples(10), stateful_step_count=50)
