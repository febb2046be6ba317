"""Recalls that bring a body: who sees it, where it lies, and when it is gone."""

from typing import Any

import pytest

from postroom.core.checks import check
from postroom.core.commands import CreateConversation, EditMessage, ExpireHistory, RecallMessage, SendMessage
from postroom.core.domain import Decision
from postroom.core.errors import InvalidCommand, MessageIsRecalled
from postroom.core.ids import MessageId, Position, UnixMs
from postroom.core.limits import BODY_BYTES_MAX
from postroom.core.model import Conversation, Message, Rules, group, peer
from postroom.core.rows import Opened
from postroom.core.runtime.delivery import delivery
from postroom.core.runtime.reading import read_messages, read_page
from postroom.core.space import BATCH_BYTES, Room, admit, estimate, leaves
from postroom.storage.engine import LIVE
from postroom.transports.leancloud.records import RECALLED, record
from tests.support.desk import APP, Desk
from tests.support.rows import engine_of, rows, values

G = group("g")
INSTEAD = b'{"tip":"taken back"}'
DAY_MS = 86_400_000


class Office(Desk):
    """A desk with a group."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.run(CreateConversation(app=APP, conversation=G, members=("ann", "bob", "cy")))

    def say(self, to: Conversation, text: str = "<text>") -> MessageId:
        command = SendMessage(
            app=APP, sender="ann", to=to, body=text.encode(), queue=True, history=True, push=b"<push>"
        )
        return self.receipt(self.run(command)).id

    def replace(self, id: MessageId) -> Decision:
        command = RecallMessage(app=APP, id=id, by="ann", replacement=INSTEAD, format="json", via="wildfire")
        check(command)
        return self.run(command)

    def message(self, id: MessageId) -> Message:
        """As the history has it for who asks for recalled ones, too; others do not see it."""
        assert self.read(lambda snapshot: read_messages(snapshot, (id,), UnixMs(-1))) == []
        found = self.read(lambda snapshot: read_messages(snapshot, (id,), UnixMs(-1), recalled=True))
        assert len(found) == 1
        return found[0]

    def holds(self, text: bytes) -> bool:
        """Whether any table has it."""
        return self.read(lambda snapshot: any(text in value for value in values(engine_of(snapshot))))


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.mark.parametrize("to", [peer("bob"), G], ids=str)
def test_the_history_has_it_beside_an_empty_text(office: Office, to: Conversation) -> None:
    id = office.say(to)
    office.replace(id)
    message = office.message(id)
    assert (message.recalled, message.body) == (True, b"")
    assert (message.replacement, message.format, message.replaced_via) == (INSTEAD, "json", "wildfire")
    assert not office.holds(b"<text>")
    assert not office.holds(b"<push>")


def test_one_that_brings_nothing_leaves_nothing(office: Office) -> None:
    id = office.say(peer("bob"))
    office.recall(id)
    message = office.message(id)
    assert (message.body, message.replacement, message.replaced_via, message.format) == (b"", b"", "", "text")


@pytest.mark.parametrize("to", [peer("bob"), G], ids=str)
def test_no_frame_and_no_other_dialect_shows_it(office: Office, to: Conversation) -> None:
    office.login("bob")
    id = office.say(to)
    decision = office.replace(id)
    assert decision.body is not None
    login = Opened(Position(1))
    told = delivery(decision.body, "recalled", "bob", Position(1), 1)
    page = office.read(
        lambda snapshot: read_page(
            snapshot, APP, "bob", Position(0), office.clock.expiry_ms, login, office.clock.wall_ms
        )
    )
    for frame in (told, *page.deliveries):
        assert (frame.type, frame.body) == ("recalled", b"")
    assert record(office.message(id))["data"] == RECALLED


def test_a_second_recall_changes_nothing(office: Office) -> None:
    id, other = office.say(peer("bob")), office.say(peer("bob"))
    office.recall(id)
    assert office.receipt(office.replace(id)).duplicate
    assert office.message(id).replacement == b""
    office.replace(other)
    assert office.recall(other).duplicate
    assert office.message(other).replacement == INSTEAD
    with pytest.raises(MessageIsRecalled):
        office.run(EditMessage(app=APP, id=other, by="ann", body=b"x"))


def test_it_goes_with_the_message(office: Office) -> None:
    id = office.say(G)
    office.replace(id)
    assert office.holds(INSTEAD)
    office.delete(id)
    assert not office.holds(INSTEAD)


def test_it_goes_with_the_history() -> None:
    office = Office(history_ttl_ms=10 * DAY_MS)
    office.replace(office.say(G))
    office.clock.run(11 * DAY_MS)
    office.run(ExpireHistory(app=APP))
    assert not office.holds(INSTEAD)
    assert b"h" not in office.read(lambda snapshot: {key[:1] for key, _ in rows(engine_of(snapshot), LIVE)[0]})


def test_without_history_it_goes_with_the_entry(office: Office) -> None:
    id = office.send("<text>")
    office.replace(id)
    assert office.holds(INSTEAD)
    office.ack(id)
    assert not office.holds(INSTEAD)
    assert office.body_places() == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"via": ""}, "via"),
        ({"format": "xml"}, "format"),
        ({"replacement": b"{", "format": "json"}, "body"),
        ({"replacement": b"x" * (BODY_BYTES_MAX + 1)}, "body"),
    ],
    ids=str,
)
def test_what_it_must_look_like(wrong: dict[str, Any], field: str) -> None:
    which: dict[str, Any] = {"replacement": b"{}", "via": "wildfire", **wrong}
    with pytest.raises(InvalidCommand, match=field):
        check(RecallMessage(app=APP, id=MessageId(1), by="ann", **which))


def test_on_a_full_disk_it_is_a_message() -> None:
    """A recall gives room back, but not one that brings as much."""
    plain = RecallMessage(app=APP, id=MessageId(1), by="ann")
    brings = RecallMessage(app=APP, id=MessageId(1), by="ann", replacement=b"x" * 10_000, via="wildfire")
    reserve = 16 << 20
    assert leaves(plain, reserve) < leaves(brings, reserve) == reserve
    assert estimate(brings, Rules())[1] >= estimate(plain, Rules())[1] + 10_000
    cost = estimate(brings, Rules())[1]
    assert admit([(brings, cost)], Room(BATCH_BYTES + cost + reserve, 0, reserve)) == [True]
    assert admit([(brings, cost)], Room(BATCH_BYTES, cost + reserve, reserve)) == [False]  # no room side by side
