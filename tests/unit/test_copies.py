"""What some recipients of a service's message see of it that others do not: where it shows, and that no text outlives it."""

from collections.abc import Callable
from typing import Any

import pytest

from postroom.core.commands import DeleteMessage, EditMessage, ExpireHistory, RecallMessage
from postroom.core.domain import Decision
from postroom.core.errors import MessageIsRecalled, UnknownMessage
from postroom.core.events import CopiesExpired, HistoryExpired, MessageDeleted, MessageEdited, MessageRecalled
from postroom.core.expiry import DAY_MS
from postroom.core.ids import MessageId
from postroom.core.rows import ChangedRow, CopyRow
from tests.support.bureau import Bureau
from tests.support.desk import APP, Shown

EACH = ("ben", "cy", "dan")
NOTHING = (0, 0, 0, 0)


class Copies(Bureau):
    """It says `the text` to ben, cy and dan."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.id = self.say("the text", to=EACH)

    def edit_for(self, *users: str, text: str = "their text") -> Decision:
        return self.run(EditMessage(app=APP, id=self.id, by="desk", body=text.encode(), recipients=users))

    def recall_from(self, *users: str) -> Decision:
        return self.run(RecallMessage(app=APP, id=self.id, by="desk", recipients=users))

    def hide_from(self, *users: str, silent: bool = False) -> Decision:
        return self.run(DeleteMessage(app=APP, id=self.id, by="desk", recipients=users, silent=silent))

    def each(self, **fields: Any) -> list[list[str]]:
        """What each of them finds."""
        return [self.found(user, **fields) for user in EACH]

    def counted(self) -> tuple[int, int, int, int]:
        """Rows of what was changed, of changes, of copies, and of what they show."""
        return self.rows(b"m"), self.rows(b"k"), self.rows(b"C"), self.rows(b"O")

    def own(self) -> tuple[bytes, bool]:
        """The message as the service shows it."""
        message = self.message(self.id)
        assert message is not None
        return message.body, message.recalled


@pytest.fixture
def copies() -> Copies:
    return Copies()


def waiting(text: str, seq: int = 1) -> list[Shown]:
    return [Shown(seq, "message", text)]


def test_only_they_see_another_text(copies: Copies) -> None:
    decision = copies.edit_for("ben", "cy", "ben")
    event = decision.events[0]
    assert isinstance(event, MessageEdited)
    assert (event.copies, event.queued, decision.audience, decision.keeps_body) == (("ben", "cy"), (), (), True)
    assert [copies.shown(user) for user in EACH] == [waiting("their text"), waiting("their text"), waiting("the text")]
    assert copies.each() == [["their text"], ["their text"], ["the text"]]
    assert copies.own() == (b"the text", False)
    assert copies.counted() == (1, 0, 2, 1)
    assert sorted(copies.kept()) == [("edited", "their text"), ("message", "the text")]
    copies.sound()


def test_a_text_that_several_share_goes_with_the_last(copies: Copies) -> None:
    copies.edit_for("ben", "cy")
    copies.edit_for("ben", text="another")
    assert copies.each() == [["another"], ["their text"], ["the text"]]
    assert copies.holds(b"their text")
    copies.edit_for("cy", text="a third")
    assert not copies.holds(b"their text")
    assert copies.each() == [["another"], ["a third"], ["the text"]]
    assert copies.counted() == (1, 0, 2, 2)
    copies.sound()


def test_who_has_it_already_is_told_in_an_entry_of_their_own(copies: Copies) -> None:
    copies.ack(copies.id, "ben")
    copies.login("cy")
    decision = copies.edit_for("ben", "cy")
    event = decision.events[0]
    assert isinstance(event, MessageEdited)
    assert [(copy.user, copy.seq, copy.owns_body) for copy in event.queued] == [("ben", 2, False), ("cy", 2, False)]
    assert copies.shown("ben") == [Shown(2, "edited", "their text")]
    assert copies.shown("cy") == [Shown(1, "message", "their text"), Shown(2, "edited", "their text")]
    copies.edit_for("ben", text="another")
    # Each entry shows what its owner sees by now, though the text under it is still another's.
    assert copies.shown("ben") == [Shown(2, "edited", "another"), Shown(3, "edited", "another")]
    assert copies.shown("cy")[1] == Shown(2, "edited", "their text")
    assert copies.counted() == (1, 2, 2, 2)
    copies.sound()
    for user in EACH:
        copies.ack(copies.records[-1].position, user)
        copies.terms(user)
    assert copies.counted() == (1, 0, 2, 2)
    copies.sound()


def test_a_recall_of_some(copies: Copies) -> None:
    copies.edit_for("ben")
    decision = copies.recall_from("ben", "cy")
    assert isinstance(decision.events[0], MessageRecalled)
    assert [copies.shown(user) for user in EACH] == [[Shown(1, "recalled", "")]] * 2 + [waiting("the text")]
    assert copies.each() == [[], [], ["the text"]]
    assert copies.each(recalled=True) == [[""], [""], ["the text"]]
    assert copies.own() == (b"the text", False)
    assert not copies.holds(b"their text")
    assert copies.counted() == (1, 0, 2, 1)
    copies.sound()


def test_what_is_recalled_of_some_stays_so(copies: Copies) -> None:
    copies.recall_from("ben")
    before = len(copies.events)
    assert copies.receipt(copies.recall_from("ben")).duplicate
    for users in (("ben",), ("cy", "ben"), EACH):
        with pytest.raises(MessageIsRecalled):
            copies.edit_for(*users)
    assert len(copies.events) == before
    event = copies.recall_from("ben", "cy").events[0]
    assert isinstance(event, MessageRecalled)
    assert event.copies == ("cy",)
    copies.recall(copies.id)
    assert copies.receipt(copies.recall_from("dan")).duplicate
    with pytest.raises(MessageIsRecalled):
        copies.edit_for("dan")
    copies.sound()


def test_recalled_from_one_after_the_other_it_is_recalled(copies: Copies) -> None:
    copies.recall_from("cy")
    copies.hide_from("dan", silent=True)
    assert copies.own() == (b"the text", False)
    event = copies.recall_from("ben").events[0]
    assert isinstance(event, MessageRecalled)
    assert event.copies == ()
    assert copies.own() == (b"", True)
    assert not copies.holds(b"the text")
    copies.sound()


def test_to_name_all_is_to_change_the_message(copies: Copies) -> None:
    event = copies.edit_for("dan", "cy", "ben").events[0]
    assert isinstance(event, MessageEdited)
    assert event.copies == ()
    assert copies.own() == (b"their text", False)
    assert (copies.counted(), copies.kept()) == ((1, 0, 0, 0), [("edited", "their text")])
    copies.recall_from(*EACH)
    assert copies.own() == (b"", True)
    copies.hide_from(*EACH)
    assert (copies.message(copies.id), copies.counted(), copies.kept()) == (None, NOTHING, [])


@pytest.mark.parametrize(
    "change", [lambda c, *u: c.edit_for(*u), lambda c, *u: c.recall_from(*u), lambda c, *u: c.hide_from(*u)]
)
def test_whoever_is_no_recipient(copies: Copies, change: Callable[..., Decision]) -> None:
    before = len(copies.events)
    with pytest.raises(UnknownMessage):
        change(copies, "eve")
    copies.id, own = copies.send("a letter", "ben", history=True), copies.id
    with pytest.raises(UnknownMessage):
        change(copies, "ben")
    copies.id = MessageId(own + 1)
    with pytest.raises(UnknownMessage):
        change(copies, "ben")
    assert len(copies.events) == before + 1


def test_whoever_is_no_recipient_is_passed_over_beside_others(copies: Copies) -> None:
    copies.hide_from("dan", silent=True)
    event = copies.edit_for("eve", "dan", "ben").events[0]
    assert isinstance(event, MessageEdited)
    assert event.copies == ("ben",)
    assert copies.each() == [["their text"], ["the text"], []]
    event = copies.recall_from(*EACH).events[0]
    assert isinstance(event, MessageRecalled)
    assert event.copies == ()
    copies.sound()


# Hiding.


@pytest.mark.parametrize("edited", [False, True])
def test_it_is_hidden_from_some(copies: Copies, edited: bool) -> None:
    copies.ack(copies.id, "cy")
    copies.login("dan")
    if edited:
        copies.edit_for("ben", "cy", text="for both")
        copies.edit_for("cy", text="for cy")
    event = copies.hide_from("cy", "dan").events[0]
    assert isinstance(event, MessageDeleted)
    assert event.copies == ("cy", "dan")
    assert copies.shown("ben") == waiting("for both" if edited else "the text")
    assert [[shown.type for shown in copies.shown(user)] for user in ("cy", "dan")] == [["deleted"]] * 2
    assert copies.each(recalled=True) == [["for both" if edited else "the text"], [], []]
    assert not copies.holds(b"for cy")
    message = copies.message(copies.id)
    assert message is not None
    assert (message.body, message.recipients) == (b"the text", ("ben",))
    for change in (copies.edit_for, copies.recall_from, copies.hide_from):
        with pytest.raises(UnknownMessage):
            change("cy")
    copies.sound()
    # The notices end with their entries, and nothing else does.
    for user in ("cy", "dan"):
        copies.ack(copies.records[-1].position, user)
        copies.terms(user)
    assert copies.counted() == ((1, 0, 1, 1) if edited else NOTHING)
    assert copies.own() == (b"the text", False)
    copies.sound()


def test_a_notice_outlives_the_message(copies: Copies) -> None:
    copies.login("dan")
    copies.edit_for("ben")
    copies.hide_from("dan")
    copies.delete(copies.id)
    assert copies.shown("dan") == [Shown(2, "deleted", "")]
    assert copies.kept() == [("deleted", "")]
    copies.sound()
    copies.ack(copies.records[-1].position, "dan")
    assert (copies.kept(), copies.counted()) == ([], NOTHING)


def test_it_may_be_hidden_without_a_word(copies: Copies) -> None:
    copies.ack(copies.id, "ben")
    copies.login("cy")
    decision = copies.hide_from("ben", "cy", silent=True)
    event = decision.events[0]
    assert isinstance(event, MessageDeleted)
    assert (event.queued, [of.user for of in event.withdrawn], decision.keeps_body) == ((), ["cy"], False)
    assert copies.shown("cy") == []
    copies.sound()


def test_hidden_from_one_after_the_other_it_is_gone(copies: Copies) -> None:
    copies.edit_for("dan")
    for user in EACH:
        assert copies.message(copies.id) is not None
        copies.hide_from(user, silent=True)
    assert (copies.message(copies.id), copies.kept(), copies.counted()) == (None, [], NOTHING)
    assert (copies.rows(b"h"), copies.rows(b"t")) == (0, 0)
    for user in EACH:
        assert copies.terms(user).withdrawn == 1


# Changes of the message itself.


def test_when_the_message_changes_all_see_that(copies: Copies) -> None:
    copies.login("ben")
    copies.edit_for("ben", "cy")
    copies.recall_from("cy")
    copies.hide_from("dan", silent=True)
    copies.edit(copies.id, "new text")
    assert copies.each() == [["new text"], ["new text"], []]
    # What was told of ben's copy is still in his queue, and shows what he sees now.
    assert [shown.payload for shown in copies.shown("ben")] == ["new text"] * 3
    assert copies.shown("cy") == waiting("new text")
    assert copies.kept() == [("edited", "new text")]
    assert copies.counted() == (1, 2, 1, 0)
    copies.sound()
    copies.ack(copies.records[-1].position, "ben")
    copies.recall(copies.id)
    assert copies.each(recalled=True) == [[""], [""], []]
    assert copies.counted() == (1, 1, 0, 0)
    copies.sound()
    copies.delete(copies.id)
    copies.sound()


def test_what_was_told_of_a_copy_leaves_with_the_message(copies: Copies) -> None:
    copies.login("ben")
    copies.edit_for("ben")
    copies.edit(copies.id, "new text")
    copies.run(DeleteMessage(app=APP, id=copies.id, by="desk", silent=True))
    assert (copies.shown("ben"), copies.kept(), copies.counted()) == ([], [], NOTHING)
    assert copies.terms("ben").withdrawn == 3
    copies.sound()


def test_copies_of_what_was_not_queued(copies: Copies) -> None:
    copies.id = copies.say("the text", to=EACH, queue=False)
    assert copies.edit_for("ben").audience == ("ben",)
    assert copies.recall_from("cy").audience == ("cy",)
    assert copies.hide_from("dan").audience == ("dan",)
    assert [texts[-1] for texts in copies.each(recalled=True)] == ["their text", "", "the text"]
    copies.sound()


def test_copies_leave_with_the_history() -> None:
    copies = Copies(history_ttl_ms=DAY_MS, queue_ttl_ms=7 * DAY_MS)
    copies.login("ben")
    copies.edit_for("ben", "cy")
    copies.hide_from("dan")
    copies.clock.run(2 * DAY_MS)
    events = copies.run(ExpireHistory(app=APP)).events
    assert [type(event) for event in events] == [CopiesExpired, HistoryExpired]
    assert (copies.kept(), copies.counted()) == ([], NOTHING)
    assert [copies.terms(user).expired for user in EACH] == [2, 1, 0]
    copies.sound()


# What verify says.


def damaged(copies: Copies, change: Callable[[Any], None]) -> list[str]:
    assert copies.problems() == []
    with copies.store.transaction() as transaction:
        change(transaction.views)
    return copies.problems()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda views, id, at: views.put_copies_showing(at, id, 1), "2 copies show body"),
        (lambda views, id, at: views.put_copies_showing(at, id, 0), "has no owner"),
        (lambda views, id, at: views.put_copies_showing(at + 1, id, 1), "not as many rows of copies' bodies"),
        (lambda views, id, at: views.put_changed(id, ChangedRow(id, (), 3)), "counts 3 copies, there are 2"),
        (lambda views, id, at: views.put_changed(id, ChangedRow(id)), "1 messages have copies, and 0 kept ones"),
        (lambda views, id, at: views.put_copy("other", id, CopyRow("ben", None)), "a copy is not where"),
        (lambda views, id, at: views.put_copy(APP, id + 1, CopyRow("ben", None)), "counts 0 copies, there are 1"),
    ],
)
def test_what_verify_says_of_damaged_copies(copies: Copies, change: Callable[..., None], words: str) -> None:
    copies.edit_for("ben", "cy")
    position = copies.records[-1].position
    told = damaged(copies, lambda views: change(views, copies.id, position))
    assert any(words in what for what in told), told


def test_what_verify_says_of_a_timeline_that_is_not_there(copies: Copies) -> None:
    def change(views: Any) -> None:
        place, kept = next(views.oldest_kept(APP))
        views.remove_recipients(APP, place, kept, ("ben",))
        views.put_kept(APP, place, kept)
        key = next(key for key, _ in views._engine.scan("live", b"t", b"t"))
        views._engine.delete("live", key)

    told = damaged(copies, change)
    assert any("timeline rows" in what for what in told), told
    assert any("a timeline does not say the same" in what for what in told), told
