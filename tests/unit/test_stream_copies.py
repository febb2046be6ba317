"""Copies of what a service sent its subscribers: whoever reads the stream sees their own, and everybody else the message."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from postroom.core.commands import (
    Ack,
    AddMembers,
    CreateConversation,
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    RecallMessage,
    RemoveMembers,
)
from postroom.core.domain import Decision, copy_changes, stream_reading
from postroom.core.errors import CopiesFull, MessageIsRecalled, UnknownMessage
from postroom.core.events import CopiesExpired, HistoryExpired, MessageDeleted, MessageEdited
from postroom.core.expiry import DAY_MS
from postroom.core.ids import Position
from postroom.core.limits import GROUP_COPIES_MAX
from postroom.core.model import group
from postroom.core.rows import Membership
from postroom.core.runtime.reading import read_page
from postroom.storage.views import StoredViews
from tests.support.bureau import NEWS, Bureau
from tests.support.desk import APP, Shown

EACH = ("ben", "cy", "dan")


class Press(Bureau):
    """It says `the text` to ben, cy and dan, who subscribe; eve does later."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.run(AddMembers(app=APP, conversation=NEWS, users=EACH))
        self.id = self.say("the text", to=())
        self.run(AddMembers(app=APP, conversation=NEWS, users=("eve",)))

    def edit_for(self, *users: str, text: str = "their text") -> Decision:
        return self.run(EditMessage(app=APP, id=self.id, by="desk", body=text.encode(), recipients=users))

    def recall_from(self, *users: str) -> Decision:
        return self.run(RecallMessage(app=APP, id=self.id, by="desk", recipients=users))

    def hide_from(self, *users: str, silent: bool = False) -> Decision:
        return self.run(DeleteMessage(app=APP, id=self.id, by="desk", recipients=users, silent=silent))

    def reads(self, user: str) -> list[tuple[str, str]]:
        """What a session opened now would be given: type and text. Nothing is acknowledged, and nobody logs in."""
        session = Position(self.records[-1].position + 1)
        login, _ = self.read(
            lambda snapshot: stream_reading.opened(snapshot.views, APP, user, session, self.clock.expiry_ms, self.rules)
        )
        frames = self.read(
            lambda snapshot: read_page(
                snapshot, APP, user, Position(0), self.clock.expiry_ms, login, self.clock.wall_ms
            )
        )
        return [(frame.type, frame.body.decode()) for frame in frames.deliveries]

    def acks(self, user: str) -> None:
        login = self.open(user)
        self.run(Ack(app=APP, user=user, session=login.position, through=self.records[-1].position, opened=login))
        for row in self.read(lambda snapshot: list(snapshot.views.sessions(APP, user))):
            self.logout(row.session, user)

    def each(self, **fields: Any) -> list[list[str]]:
        """What each of them finds."""
        return [self.found(user, **fields) for user in EACH]

    def own(self) -> tuple[bytes, bool]:
        message = self.message(self.id)
        assert message is not None
        return message.body, message.recalled

    def counted(self) -> tuple[int, int, int, int]:
        """Rows of what was changed, of changes, of copies, and of what they show."""
        return self.rows(b"m"), self.rows(b"k"), self.rows(b"C"), self.rows(b"O")


@pytest.fixture
def press() -> Press:
    return Press()


def test_what_each_finds_and_reads(press: Press) -> None:
    event = press.edit_for("ben", "cy").events[0]
    assert isinstance(event, MessageEdited)
    assert (event.copies, event.queued, event.stream) == (("ben", "cy"), (), None)
    assert [press.reads(user) for user in EACH] == [[("message", text)] for text in ("their text",) * 2 + ("the text",)]
    assert press.each() == [["their text"], ["their text"], ["the text"]]
    assert (press.found("eve"), press.reads("eve")) == ([], [])
    assert press.ids(conversations=(NEWS,)) == [press.id]
    assert press.own() == (b"the text", False)
    assert press.counted() == (1, 0, 2, 1)
    press.recall_from("cy")
    assert press.reads("cy") == [("recalled", "")]
    assert press.each() == [["their text"], [], ["the text"]]
    assert press.each(recalled=True) == [["their text"], [""], ["the text"]]
    with pytest.raises(MessageIsRecalled):
        press.edit_for("dan", "cy")
    press.sound()


def test_who_has_it_already_is_told_in_an_entry_of_their_own(press: Press) -> None:
    press.acks("ben")
    press.login("cy")
    event = press.edit_for(*EACH).events[0]
    assert isinstance(event, MessageEdited)
    assert [copy.user for copy in event.queued] == ["ben", "cy"]
    assert press.reads("ben") == [("edited", "their text")]
    assert press.reads("cy") == [("message", "their text"), ("edited", "their text")]
    assert press.reads("dan") == [("message", "their text")]
    press.sound()
    press.acks("ben")
    assert press.shown("ben") == []
    assert press.counted() == (1, 1, 3, 1)


def test_it_is_hidden_from_some(press: Press) -> None:
    press.edit_for("ben")
    press.acks("ben")
    press.edit_for("ben", text="once more")
    event = press.hide_from("ben", "dan").events[0]
    assert isinstance(event, MessageDeleted)
    assert (event.copies, event.stream) == (("ben", "dan"), None)
    assert (press.shown("ben"), press.reads("dan")) == ([Shown(3, "deleted", "")], [])
    assert press.each(recalled=True) == [[], ["the text"], []]
    assert not press.holds(b"once more")
    assert press.own() == (b"the text", False)
    for change in (press.edit_for, press.recall_from, press.hide_from):
        with pytest.raises(UnknownMessage):
            change("dan")
    press.sound()
    # Of what becomes of it later, they are given nothing either.
    decision = press.run(EditMessage(app=APP, id=press.id, by="desk", body=b"new text"))
    assert sorted(decision.hidden_from) == ["ben", "dan"]
    assert press.each() == [[], ["new text"], []]
    assert press.reads("ben") == [("deleted", "")]
    assert press.reads("dan") == []
    assert press.reads("cy") == [("message", "new text")]
    press.acks("dan")
    press.sound()
    press.delete(press.id)
    assert press.counted() == (0, 1, 0, 0)
    press.sound()


def test_hidden_from_all_it_is_still_the_service_s(press: Press) -> None:
    press.hide_from(*EACH, silent=True)
    assert press.own() == (b"the text", False)
    assert press.each() == [[], [], []]
    assert press.counted() == (1, 0, 3, 0)
    press.sound()


def test_when_the_message_changes_all_see_that(press: Press) -> None:
    press.login("ben")
    press.edit_for("ben", "cy")
    press.edit(press.id, "new text")
    assert press.each() == [["new text"]] * 3
    assert press.reads("cy") == [("message", "new text")]
    assert press.reads("ben") == [("message", "new text"), ("edited", "new text")]
    assert not press.holds(b"their text")
    press.sound()
    press.edit_for("cy", text="cy's alone")
    assert press.reads("cy") == [("message", "cy's alone")]
    press.recall(press.id)
    assert press.each(recalled=True) == [[""]] * 3
    press.sound()


@pytest.mark.parametrize("silent", [False, True])
def test_what_was_told_of_a_copy_leaves_with_the_message(press: Press, silent: bool) -> None:
    press.login("ben")
    press.edit_for("ben")
    event = press.run(DeleteMessage(app=APP, id=press.id, by="desk", silent=silent)).events[0]
    assert isinstance(event, MessageDeleted)
    assert [of.user for of in event.withdrawn] == ["ben"]
    assert press.shown("ben") == []
    assert press.kept() == ([] if silent else [("deleted", "")])
    assert press.counted() == (0, 0, 0, 0)
    press.sound()


def test_copies_leave_with_the_history() -> None:
    press = Press(history_ttl_ms=DAY_MS, queue_ttl_ms=7 * DAY_MS)
    press.login("ben")
    press.edit_for("ben", "cy")
    press.hide_from("dan")
    press.clock.run(2 * DAY_MS)
    events = press.run(ExpireHistory(app=APP)).events
    assert [type(event) for event in events][:2] == [CopiesExpired, HistoryExpired]
    assert (press.kept(), press.counted(), press.shown("ben")) == ([], (0, 0, 0, 0), [])
    press.sound()


def test_whose_it_is_depends_on_when_they_subscribed(press: Press) -> None:
    press.run(RemoveMembers(app=APP, conversation=NEWS, users=("ben", "cy")))
    second = press.say("second", to=())
    press.run(AddMembers(app=APP, conversation=NEWS, users=("ben",)))
    press.say("third", to=())
    press.say("for you", to=("ben",))
    assert press.found("ben") == ["the text", "third", "for you"]
    assert press.found("ben", newest_first=True, limit=2) == ["for you", "third"]
    assert [press.found(user) for user in ("cy", "eve")] == [["the text"], ["second", "third"]]
    press.edit_for("cy")
    assert press.found("cy") == ["their text"]
    press.id = second
    for user in ("ben", "cy", "stranger"):
        with pytest.raises(UnknownMessage):
            press.edit_for("eve", user)
    press.edit_for("eve")
    assert press.found("eve") == ["their text", "third"]
    press.sound()


def test_copies_of_what_was_kept_and_not_queued(press: Press) -> None:
    press.id = press.say("the text", to=(), queue=False)
    assert press.edit_for("ben").audience == ("ben",)
    assert press.hide_from("dan").audience == ("dan",)
    assert [press.found(user)[-1] for user in ("ben", "cy", "eve")] == ["their text", "the text", "the text"]
    assert len(press.found("dan")) == 1
    decision = press.run(RecallMessage(app=APP, id=press.id, by="desk"))
    assert (decision.audience, decision.hidden_from) == ((), ("dan",))
    press.sound()


def test_whose_a_message_is_is_asked_of_no_membership_that_ended_before_it(
    press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        press.run(RemoveMembers(app=APP, conversation=NEWS, users=EACH))
        press.run(AddMembers(app=APP, conversation=NEWS, users=EACH))
        press.id = press.say("next", to=())
    press.run(RemoveMembers(app=APP, conversation=NEWS, users=("cy",)))
    looked: list[Membership] = []
    left = StoredViews.left

    def noted(*of: Any, **where: Any) -> Iterator[Membership]:
        for each in left(*of, **where):
            looked.append(each)
            yield each

    monkeypatch.setattr(StoredViews, "left", noted)
    press.edit_for("ben", "cy")
    assert len(looked) == 1
    with pytest.raises(UnknownMessage):
        press.edit_for("eve", "stranger")
    assert len(looked) == 1


def test_a_large_group_has_no_copies(press: Press) -> None:
    crowd = tuple(f"u{number}" for number in range(GROUP_COPIES_MAX + 1))
    press.run(CreateConversation(app=APP, conversation=group("g"), members=crowd))
    press.id = press.say("hi", to=(), kind="group", service="g")
    with pytest.raises(UnknownMessage):
        press.edit_for("u1")


def test_so_many_and_no_more(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_changes, "COPIES_MAX", 2)
    press.edit_for("ben")
    press.hide_from("cy")
    press.edit_for("ben", text="again")
    changes: tuple[Callable[..., Decision], ...] = (press.edit_for, press.recall_from, press.hide_from)
    for change in changes:
        with pytest.raises(CopiesFull):
            change("dan")
    press.edit(press.id, "new text")
    press.edit_for("dan")


def test_what_was_kept_and_not_queued_is_found_by_who_left(press: Press) -> None:
    press.run(AddMembers(app=APP, conversation=NEWS, users=("late",)))
    press.say("for the record", to=(), queue=False)
    press.run(RemoveMembers(app=APP, conversation=NEWS, users=("late",)))
    press.say("after", to=(), queue=False)
    assert press.found("late") == ["for the record"]
