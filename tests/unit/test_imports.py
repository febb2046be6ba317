"""What is imported: known again by its name, for the history alone, and no part of what the app does itself."""

from typing import Any

import pytest

from postroom.core.commands import (
    CreateConversation,
    DeleteConversation,
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    ImportConversation,
    ImportMessage,
    Join,
    Leave,
    Login,
    RecallMessage,
    SendMessage,
    SweepConversation,
)
from postroom.core.domain import Decision, Entered, Welcome
from postroom.core.errors import (
    ConversationExists,
    ConversationFull,
    InTheFuture,
    InvalidCommand,
    MessageIsRecalled,
    TooOld,
    UnknownConversation,
    UnknownMessage,
)
from postroom.core.events import AliasesExpired, ConversationImported, HistoryExpired, MessageImported
from postroom.core.expiry import DAY_MS
from postroom.core.ids import MessageId, Place, Position, UnixMs
from postroom.core.limits import MEMBERS_MAX
from postroom.core.model import Conversation, Message, Receipt, group, peer, room, service
from postroom.core.queries import Bound, FindMessages
from postroom.core.runtime import reading
from postroom.core.runtime.reading import read_messages, read_missed
from postroom.core.search import Search, places
from postroom.storage.engine import LIVE
from tests.support.desk import APP, Desk
from tests.support.machine import START_MS
from tests.support.rows import engine_of, replayed, rows

G, OLD_MS = group("g"), UnixMs(START_MS - 30 * DAY_MS)


class Office(Desk):
    """Imports, in short words."""

    def conversation(self, conversation: Conversation = G, **fields: Any) -> Receipt:
        """One that was made some time ago."""
        times = {"created_ms": OLD_MS, "updated_ms": UnixMs(OLD_MS + 1)}
        return self.receipt(self.run(ImportConversation(app=APP, conversation=conversation, **times | fields)))

    def message(self, alias: str = "m1", at_ms: int = OLD_MS, **fields: Any) -> Receipt:
        """One that alice sent to the group."""
        given = {"conversation": G, "sender": "alice", "body": alias.encode(), **fields}
        return self.receipt(self.run(ImportMessage(app=APP, alias=alias, at_ms=UnixMs(at_ms), **given)))

    def find(self, **query: Any) -> list[Message]:
        """What the history shows."""
        find = FindMessages(app=APP, **{"conversations": (G,), "recalled": True, **query})

        def read(snapshot: Any) -> list[Message]:
            between = places(find, snapshot.views, snapshot.bodies)
            search = Search(find, snapshot.views.position, self.rules.history_horizon(self.clock.expiry_ms), between)
            while search.go_on(snapshot.views):
                pass
            return read_messages(snapshot, search.ids, UnixMs(-1), recalled=True)

        return self.read(read)

    def texts(self, **query: Any) -> list[str]:
        """Their texts."""
        return [message.body.decode() for message in self.find(**query)]

    def expire(self) -> list[object]:
        """Sweep the history until nothing is left to sweep."""
        swept: list[object] = []
        while (events := self.run(ExpireHistory(app=APP)).events) != ():
            swept += events
        return swept

    def alias(self, alias: str) -> Place | None:
        """Where it leads."""
        return self.read(lambda snapshot: snapshot.views.alias(APP, alias))


@pytest.fixture
def office() -> Any:
    """One app, whose log still tells in the end how its rows came about."""
    office = Office()
    yield office
    with office.store.snapshot() as snapshot:
        assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)


def test_a_conversation_as_it_was(office: Office) -> None:
    receipt = office.conversation(attributes=b'{ "name": "tea", "price": 1.50 }', members=("a", "b", "a"), muted=("c",))
    assert receipt.conversation == G
    assert not receipt.duplicate
    assert receipt.at_ms == OLD_MS
    row = office.read(lambda snapshot: snapshot.views.conversation(APP, G))
    assert (row.created_ms, row.updated_ms) == (OLD_MS, OLD_MS + 1)
    assert row.attributes == b'{"name":"tea","price":1.50}'
    listed = office.read(lambda snapshot: [list(snapshot.views.listed(row.number, of)) for of in ("members", "muted")])
    assert listed == [["a", "b"], ["c"]]
    assert office.events == [
        ConversationImported(
            app=APP,
            conversation=G,
            created_ms=OLD_MS,
            updated_ms=UnixMs(OLD_MS + 1),
            attributes=row.attributes,
            members=("a", "b"),
            muted=("c",),
        )
    ]


def test_a_conversation_that_is_there_is_left_alone(office: Office) -> None:
    office.run(CreateConversation(app=APP, conversation=G, attributes=b'{"name":"ours"}'))
    assert office.conversation(attributes=b'{"name":"theirs"}').duplicate
    first = office.conversation(room("r"))
    again = office.conversation(room("r"), members=())
    assert again.duplicate
    assert again.id == first.id
    assert len(office.events) == 2
    with pytest.raises(ConversationExists):
        office.run(CreateConversation(app=APP, conversation=room("r")))


def test_a_name_is_imported_once_of_whatever_kind(office: Office) -> None:
    office.conversation(room("x"))
    assert office.conversation(group("x")).duplicate
    assert office.read(lambda snapshot: snapshot.views.conversation(APP, group("x"))) is None
    assert office.read(lambda snapshot: snapshot.views.was_imported(APP, "x"))
    assert not office.read(lambda snapshot: snapshot.views.was_imported("other", "x"))


def test_what_was_imported_and_deleted_is_not_imported_again_and_what_was_created_here_is(office: Office) -> None:
    office.conversation()
    office.run(CreateConversation(app=APP, conversation=group("ours")))
    for conversation in (G, group("ours")):
        office.run(DeleteConversation(app=APP, conversation=conversation, by="al"))
    assert office.conversation().duplicate
    with pytest.raises(ConversationExists):
        office.conversation(group("ours"))
    for conversation in (G, group("ours")):
        while office.run(SweepConversation(app=APP, conversation=conversation, unblocked=True)).events:
            pass
    assert office.conversation().duplicate
    assert not office.conversation(group("ours")).duplicate


def test_one_that_is_unique_by_its_members_is_found_by_them(office: Office) -> None:
    office.conversation(members=("b", "a"), unique=True)
    create = CreateConversation(app=APP, conversation=group("new"), members=("a", "b"), unique=True)
    assert office.receipt(office.run(create)).conversation == G


def test_conversations_that_are_refused(office: Office) -> None:
    with pytest.raises(InTheFuture):
        office.conversation(updated_ms=UnixMs(START_MS + DAY_MS + 1))
    many = tuple(str(number) for number in range(MEMBERS_MAX + 1))
    for users in ({"members": many}, {"muted": many}):
        with pytest.raises(ConversationFull):
            office.conversation(**users)
    with pytest.raises(InvalidCommand, match="attributes"):
        office.conversation(attributes=b'{"a":"%s"}' % (b"x" * 131_072))
    assert office.events == []


def test_messages_stand_by_the_time_they_had(office: Office) -> None:
    office.conversation()
    office.run(SendMessage(app=APP, sender="bob", to=G, body=b"live", history=True))
    for alias, at_ms in (("m3", 3), ("m1", 1), ("m2", 2), ("m2b", 2)):
        office.message(alias, OLD_MS + at_ms)
    office.message("ahead", START_MS + DAY_MS)
    found = office.find()
    assert [message.body for message in found] == [b"m1", b"m2", b"m2b", b"m3", b"live", b"ahead"]
    assert [message.alias for message in found] == ["m1", "m2", "m2b", "m3", None, "ahead"]
    assert found[0].at_ms == OLD_MS + 1
    assert office.texts(newest_first=True, limit=2) == ["ahead", "live"]
    assert office.texts(conversations=(), sender="alice", limit=2) == ["m1", "m2"]
    assert office.texts(conversations=(), everything=True, newest_first=True, limit=1) == ["ahead"]


def test_nothing_of_the_app_moves(office: Office) -> None:
    office.conversation(members=("bob", "carol"))
    office.login("bob")
    office.message("m1", START_MS + DAY_MS)
    assert office.shown() == []
    assert office.read(lambda snapshot: snapshot.views.totals(APP).newest_at_ms) == START_MS  # the login's
    sent = SendMessage(app=APP, sender="carol", to=G, body=b"hi", queue=True, history=True)
    assert office.receipt(office.run(sent)).at_ms == START_MS
    assert office.events[-1].number == 1  # type: ignore[union-attr]


def test_a_message_is_imported_once(office: Office) -> None:
    office.conversation()
    first = office.message()
    again = office.message(body=b"another text", at_ms=OLD_MS + 5)
    assert (again.id, again.at_ms, again.duplicate) == (first.id, OLD_MS, True)
    assert office.texts() == ["m1"]
    assert office.alias("m1") == Place(OLD_MS, first.id)
    assert office.alias("m2") is None


def test_a_message_of_two(office: Office) -> None:
    office.message(conversation=peer("bob"))
    assert office.shown() == []
    assert office.texts(conversations=(peer("bob"),)) == ["m1"]


def test_messages_that_are_refused(office: Office) -> None:
    with pytest.raises(UnknownConversation):
        office.message()
    office.conversation()
    with pytest.raises(InTheFuture):
        office.message(at_ms=START_MS + DAY_MS + 1)
    with pytest.raises(TooOld):
        office.message(at_ms=START_MS - 180 * DAY_MS)
    assert not office.message(at_ms=START_MS - 180 * DAY_MS + 1).duplicate
    office.configure(history_ttl_ms=None)
    assert not office.message("ancient", at_ms=0).duplicate


def test_a_known_message_of_a_conversation_that_is_not_there_is_known(office: Office) -> None:
    office.conversation(room("r"))
    office.message(conversation=room("r"))
    assert office.message(conversation=group("r")).duplicate


@pytest.mark.parametrize("recalled", [False, True])
def test_changes(office: Office, recalled: bool) -> None:
    office.conversation()
    id = office.message("m1", recalled=recalled, body=b"" if recalled else b"text").id
    if recalled:
        assert [message.recalled for message in office.find()] == [True]
        assert office.recall(id).duplicate
        with pytest.raises(MessageIsRecalled):
            office.edit(id, "new")
    else:
        office.edit(id, "new")
        assert office.texts() == ["new"]
        assert office.find()[0].alias == "m1"
        office.recall(id)
    assert [(message.recalled, message.alias) for message in office.find()] == [(True, "m1")]
    office.delete(id)
    assert office.find() == []
    assert office.kept() == []
    with pytest.raises(UnknownMessage):
        office.recall(id)


def test_a_change_names_the_message_as_it_was(office: Office) -> None:
    office.conversation()
    id = office.message().id
    named = {"app": APP, "id": id, "by": "alice", "conversation": G, "sender": "alice"}
    with pytest.raises(UnknownMessage):
        office.run(EditMessage(**named, sent_ms=UnixMs(OLD_MS + 1), body=b"x"))
    office.run(RecallMessage(**named, sent_ms=OLD_MS))
    office.run(DeleteMessage(**named, sent_ms=OLD_MS))


def test_a_deleted_message_is_known_until_it_would_have_left(office: Office) -> None:
    office.conversation()
    for alias, at_ms in (("m1", 1), ("m2", 2), ("m3", 3), ("m4", 4)):
        office.message(alias, OLD_MS + at_ms)
    for alias in ("m3", "m1", "m4"):
        place = office.alias(alias)
        assert place is not None
        office.delete(place.id)
        assert office.message(alias, OLD_MS).duplicate
    assert office.texts() == ["m2"]
    office.clock.run(150 * DAY_MS + 3)
    swept = office.expire()
    assert swept == [
        HistoryExpired(app=APP, at_ms=UnixMs(OLD_MS + 2), id=swept[0].id, count=1),  # type: ignore[attr-defined]
        AliasesExpired(app=APP, at_ms=UnixMs(OLD_MS + 3), count=2),
    ]
    assert [office.alias(alias) is not None for alias in ("m1", "m2", "m3", "m4")] == [False, False, False, True]
    with pytest.raises(TooOld):
        office.message("m1", OLD_MS + 1)
    assert office.totals().forgotten == 0
    office.clock.run(1)
    assert office.expire() == [AliasesExpired(app=APP, at_ms=UnixMs(OLD_MS + 4), count=1)]
    assert [key for key, _ in rows(engine_of_store(office), LIVE)[0] if key[:1] in b"Mht"] == []


def engine_of_store(office: Office) -> Any:
    return office.store._engine


def test_what_is_deleted_is_forgotten_in_parts(office: Office) -> None:
    office.conversation()
    for number in range(60):
        office.delete(office.message(f"m{number}", OLD_MS + number // 2).id)
    office.clock.run(180 * DAY_MS)
    assert [event.count for event in office.run(ExpireHistory(app=APP, limit=55)).events] == [25, 25, 5]  # type: ignore[union-attr]
    assert [event.count for event in office.run(ExpireHistory(app=APP, limit=55)).events] == [5]  # type: ignore[union-attr]


def test_imported_messages_leave_by_their_own_time(office: Office) -> None:
    """An app that has nothing else is swept as well; what leaves is missed by nobody."""
    office.conversation()
    office.message("old", OLD_MS - 100 * DAY_MS, recalled=True, body=b"")
    office.message("new")
    assert list(office.read(lambda snapshot: snapshot.views.all_totals())) == [APP]
    office.clock.run(50 * DAY_MS)
    assert [type(event) for event in office.expire()] == [HistoryExpired]
    assert office.texts() == ["new"]
    assert [type for type, _ in office.kept()] == ["message"]
    assert office.totals().forgotten == 0


def test_bounds_by_alias(office: Office) -> None:
    office.conversation()
    for number in range(1, 5):
        office.message(f"m{number}", OLD_MS + number // 2)  # m2 and m3 at one time
    at = UnixMs(OLD_MS + 99)
    assert office.texts(start=Bound(at, alias="m2")) == ["m3", "m4"]
    assert office.texts(start=Bound(at, alias="m2", included=True), stop=Bound(at, alias="m4")) == ["m2", "m3"]
    assert office.texts(newest_first=True, start=Bound(at, alias="m3")) == ["m2", "m1"]
    assert office.texts(start=Bound(UnixMs(OLD_MS + 1), alias="unknown")) == ["m4"]
    place = office.alias("m3")
    assert place is not None
    assert office.texts(start=Bound(at, id=MessageId(7), alias="m3")) == ["m4"]
    assert office.texts(start=Bound(at, id=place.id, alias="unknown")) == ["m4"]
    office.delete(place.id)
    assert office.texts(start=Bound(at, alias="m3")) == ["m4"]


class Den(Office):
    """A room with somebody in it."""

    def enter(self, user: str = "bob") -> Position:
        """A session that joins."""
        session = self.login(user).session
        self.run(Join(app=APP, user=user, session=session, room="den"))
        return session

    def say(self, text: str) -> MessageId:
        """Kept."""
        return self.receipt(
            self.run(SendMessage(app=APP, sender="al", to=room("den"), body=text.encode(), history=True))
        ).id

    def missed(self, since: MessageId) -> tuple[list[str], bool]:
        """What bob's next join is told, and whether that is all."""
        entered = Entered(self.read(lambda snapshot: snapshot.views.position), MessageId(0))
        found = self.read(lambda snapshot: read_missed(snapshot, APP, "bob", "den", since, entered, 1 << 20))
        return [frame.body.decode() for frame in found.deliveries], found.complete


def test_who_comes_back_to_a_room_is_not_told_of_imports() -> None:
    """Wherever their times put them: also not of fewer messages for their sake."""
    den = Den()
    den.enter("al")
    first = den.say("first")
    for alias, at_ms in (("before", OLD_MS), ("at once", START_MS), ("ahead", START_MS + DAY_MS)):
        den.message(alias, at_ms, conversation=room("den"))
    den.clock.run(5)
    second = den.say("second")
    den.say("third")
    assert den.missed(first) == (["second", "third"], True)
    assert den.missed(second) == (["third"], True)
    assert den.missed(MessageId(1)) == (["first", "second", "third"], True)


def test_a_large_import_hides_nothing_from_who_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither before what they missed nor among it; there is a bound to what is passed over, too."""
    monkeypatch.setattr(reading, "RECOVERED_ROWS_MAX", 2)
    den = Den()
    den.enter("al")
    for number in range(5):
        den.message(f"before {number}", OLD_MS, conversation=room("den"))
    first = den.say("first")
    den.say("second")
    for number in range(5):
        den.message(f"ahead {number}", START_MS + DAY_MS, conversation=room("den"))
    assert den.missed(MessageId(0)) == (["first", "second"], True)
    assert den.missed(first) == (["second"], True)
    monkeypatch.setattr(reading, "RECOVERED_PASSED_MAX", 5)
    assert den.missed(first) == (["second"], True)
    monkeypatch.setattr(reading, "RECOVERED_PASSED_MAX", 4)
    assert den.missed(first) == ([], False)


def test_what_was_received_in_a_room_is_what_was_sent_while_one_was_in_it() -> None:
    """A stay that a crash ended, and messages of that time that were imported later."""
    den = Den()
    session = den.enter()
    den.clock.run(10)
    den.say("one")
    den.clock.run(10)
    den.say("two")
    den.restart()
    den.message("import", START_MS + 15, conversation=room("den"))
    received = {"conversations": (), "receiver": "bob"}
    assert den.texts(**received) == den.texts(**received, newest_first=True)[::-1] == ["one", "two"]
    den.end_stale()
    assert den.texts(**received) == ["one", "two"]
    assert session


def test_leaving_a_room_after_an_import() -> None:
    den = Den()
    session = den.enter()
    den.message("import", START_MS, conversation=room("den"))
    assert isinstance(den.run(Leave(app=APP, user="bob", session=session, room="den")), Decision)
    assert isinstance(den.run(Login(app=APP, user="bob")).result, Welcome)


def test_a_message_of_a_service_to_some(office: Office) -> None:
    office.conversation(service("s"))
    office.message(conversation=service("s"), recipients=("bob", "bob"))
    assert isinstance(office.events[-1], MessageImported)
    assert office.events[-1].recipients == ("bob",)
    kept = office.read(lambda snapshot: next(snapshot.views.oldest_kept(APP))[1])
    assert (kept.recipients, kept.alias, kept.number) == (("bob",), "m1", 0)
    office.delete(office.message(conversation=service("s")).id)
    office.clock.run(180 * DAY_MS)
    assert [type(event) for event in office.expire()] == [AliasesExpired]
