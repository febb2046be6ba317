"""A desk with the service `news`, which sends to ben and cy by name."""

import tempfile
from pathlib import Path
from typing import Any, Final

from postroom.core.checks import check
from postroom.core.commands import CreateConversation, SendMessage
from postroom.core.domain import Decision
from postroom.core.ids import MessageId
from postroom.core.model import Conversation, Kind, Message, service
from postroom.core.queries import FindMessages
from postroom.core.runtime.reading import read_message, read_messages
from postroom.core.search import Search
from postroom.storage.checking.bodies import BodyCheck
from postroom.storage.checking.owned import Owned
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from postroom.storage.views import StoredViews

from .desk import APP, Desk
from .rows import engine_of, replayed, rows, values

NEWS: Final = service("news")
BEN_AND_CY: Final = ("ben", "cy")


class Bureau(Desk):
    """One app with one service, from which `desk` sends."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.run(CreateConversation(app=APP, conversation=NEWS))

    def decide(
        self,
        text: str = "hi",
        *,
        to: tuple[str, ...] = BEN_AND_CY,
        kind: Kind = "service",
        service: str = "news",
        **fields: Any,
    ) -> Decision:
        """Queued and kept unless said otherwise."""
        fields = {"queue": True, "history": True, "sender": "desk", **fields}
        conversation = Conversation(kind, service)
        command = SendMessage(app=APP, to=conversation, body=text.encode(), recipients=to, **fields)
        check(command)
        return self.run(command)

    def say(self, text: str = "hi", **fields: Any) -> MessageId:
        """The message's id."""
        return self.receipt(self.decide(text, **fields)).id

    def ids(self, **fields: Any) -> list[MessageId]:
        """What a query for messages finds."""
        query = FindMessages(app=APP, **fields)
        query.check()

        def look(snapshot: Any) -> list[MessageId]:
            search = Search(query, snapshot.views.position, self.rules.history_horizon(self.clock.expiry_ms))
            while search.go_on(snapshot.views):
                pass
            return search.ids

        return self.read(look)

    def found(self, recipient: str, conversation: Conversation = NEWS, **fields: Any) -> list[str]:
        """The texts that a user finds of a service."""
        ids = self.ids(conversations=(conversation,), recipient=recipient, **fields)
        horizon_ms = self.rules.history_horizon(self.clock.expiry_ms)
        recalled = fields.get("recalled", False)
        messages = self.read(
            lambda snapshot: read_messages(snapshot, ids, horizon_ms, recalled=recalled, recipient=recipient)
        )
        assert [message.id for message in messages] == ids
        return [message.body.decode() for message in messages]

    def message(self, id: MessageId, conversation: Conversation = NEWS, app: str = APP) -> Message | None:
        """What is shown of a message to whoever asks for it by its id."""
        horizon_ms = self.rules.history_horizon(self.clock.expiry_ms)
        return self.read(lambda snapshot: read_message(snapshot, app, conversation, id, horizon_ms))

    def rows(self, letter: bytes) -> int:
        """How many rows of a kind there are."""
        return self.read(lambda snapshot: len(list(engine_of(snapshot).scan("live", letter, letter))))

    def holds(self, text: bytes) -> bool:
        """Whether any table has it."""
        return self.read(lambda snapshot: any(text in value for value in values(engine_of(snapshot))))

    def problems(self) -> list[str]:
        """What verify says of bodies and what needs them."""
        told: list[Problem] = []
        with tempfile.TemporaryDirectory() as scratch, self.store.snapshot() as snapshot:
            engine = engine_of(snapshot)
            with Owned(Path(scratch) / "owned") as owned:
                list(BodyCheck(engine, StoredViews(engine, LIVE), owned, Problems(told.append)).run())
        return [problem.what for problem in told]

    def sound(self) -> None:
        """Nothing is wrong, and the log still tells how everything came about."""
        assert self.problems() == []
        with self.store.snapshot() as snapshot:
            assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)
