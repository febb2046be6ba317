"""What is imported of a service: of users whom it names, or of nobody in particular. When the import ran says nothing."""

from typing import Any

import pytest

from postroom.core.commands import (
    AddMembers,
    DeleteMessage,
    EditMessage,
    ImportMessage,
    MarkRead,
    RecallMessage,
    RemoveMembers,
)
from postroom.core.errors import UnknownMessage
from postroom.core.expiry import DAY_MS
from postroom.core.ids import MessageId, UnixMs
from tests.support.bureau import NEWS, Bureau
from tests.support.desk import APP
from tests.support.machine import START_MS

OLD_MS = START_MS - DAY_MS


class Archive(Bureau):
    """It takes over what the service sent elsewhere."""

    def take(self, text: str, at_ms: int = OLD_MS, *, to: tuple[str, ...] = ()) -> MessageId:
        """To all who subscribed there, unless it names users."""
        command = ImportMessage(
            app=APP,
            conversation=NEWS,
            sender="desk",
            body=text.encode(),
            at_ms=UnixMs(at_ms),
            alias=text,
            recipients=to,
        )
        return self.receipt(self.run(command)).id

    def subscribe(self, *users: str) -> None:
        self.run(AddMembers(app=APP, conversation=NEWS, users=users))

    def leave(self, *users: str) -> None:
        self.run(RemoveMembers(app=APP, conversation=NEWS, users=users))


@pytest.fixture
def archive() -> Any:
    """One app, which is sound in the end."""
    archive = Archive()
    yield archive
    archive.sound()


def test_whose_it_is_does_not_depend_on_when_it_was_imported(archive: Archive) -> None:
    archive.take("before")
    archive.subscribe("ben")
    archive.take("while", OLD_MS + 1)
    archive.take("by name", OLD_MS + 2, to=("ben", "cy"))
    archive.say("live", to=())
    assert (archive.found("ben"), archive.found("cy")) == (["by name", "live"], ["by name"])
    assert len(archive.ids(conversations=(NEWS,))) == 3
    archive.leave("ben")
    assert archive.found("ben", newest_first=True) == ["live", "by name"]


def test_nobody_has_a_copy_of_what_is_nobody_s(archive: Archive) -> None:
    archive.subscribe("ben", "cy")
    id, named = archive.take("to all"), archive.take("by name", to=("ben", "cy"))
    for command in (
        EditMessage(app=APP, id=id, by="desk", body=b"x", recipients=("ben",)),
        RecallMessage(app=APP, id=id, by="desk", recipients=("ben",)),
        DeleteMessage(app=APP, id=id, by="desk", recipients=("ben",)),
    ):
        with pytest.raises(UnknownMessage):
            archive.run(command)
    archive.run(EditMessage(app=APP, id=named, by="desk", body=b"for ben", recipients=("ben",)))
    archive.run(EditMessage(app=APP, id=id, by="desk", body=b"for all"))
    assert (archive.found("ben"), archive.found("cy")) == (["for ben"], ["by name"])
    message = archive.message(id)
    assert message is not None
    assert message.body == b"for all"


@pytest.mark.parametrize("subscribes", [False, True])
def test_what_was_imported_is_never_unread(archive: Archive, subscribes: bool) -> None:
    """Also when a mark counts anew what is behind it."""
    if subscribes:
        archive.subscribe("ben")
    archive.clock.run(10)
    archive.say("first")
    first_ms = archive.clock.wall_ms
    archive.clock.run(10)
    archive.say("second")
    archive.take("imported", first_ms + 1, to=("ben",))

    def extra() -> int:
        row = archive.read(
            lambda snapshot: snapshot.views.unread(APP, "ben", snapshot.views.conversation(APP, NEWS).number)
        )
        assert row is not None
        return int(row.extra)

    assert extra() == 2
    archive.run(MarkRead(app=APP, user="ben", conversation=NEWS, until_ms=first_ms))
    assert extra() == 1


@pytest.mark.parametrize("recalled", [False, True])
def test_who_leaves_keeps_what_was_kept_behind_imports(archive: Archive, recalled: bool) -> None:
    """One from ahead, which came before they did, and has the newest place."""
    archive.take("ahead", START_MS + DAY_MS)
    archive.subscribe("ben")
    id = archive.say("kept", to=(), queue=False)
    if recalled:
        archive.run(RecallMessage(app=APP, id=id, by="desk"))
    archive.leave("ben")
    assert archive.found("ben", recalled=True) == ["" if recalled else "kept"]


def test_who_leaves_with_nothing_but_imports_has_had_nothing(archive: Archive) -> None:
    """So far as a bounded look can tell: it is done for each who leaves."""
    archive.say("before they came", to=(), queue=False)
    archive.subscribe("ben", "cy")
    archive.take("one", START_MS + 1)
    archive.leave("ben")
    assert archive.rows(b"j") == 0
    for number in range(100):
        archive.take(str(number), START_MS + 2)
    archive.leave("cy")
    assert archive.rows(b"j") == 1
    assert archive.found("cy") == []
