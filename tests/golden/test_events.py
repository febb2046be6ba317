"""What a log holds must be read forever: one encoded record a tag, and one body a type, in hex beside this file.

A sample is never changed. A new meaning is a new tag with a sample of its own; the old one is still decoded. To write the
sample of a new tag, put the record below and run `python -m tests.golden.test_events`; it leaves the others alone.
"""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from postroom.core.errors import Corruption
from postroom.core.events import (
    Acked,
    AnyEvent,
    ConversationCreated,
    ConversationMuted,
    ConversationRead,
    ConversationUnmuted,
    ConversationUpdated,
    CopiesExpired,
    DedupExpired,
    EpochStarted,
    GapsExpired,
    HistoryExpired,
    LoggedIn,
    LoggedOut,
    MembersAdded,
    MembersRemoved,
    MessageConfirmed,
    MessageDeleted,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    PresenceTaken,
    Queued,
    QueueExpired,
    Record,
    ResultCollected,
    ResultReserved,
    ResultsExpired,
    RoomJoined,
    RoomLeft,
    StaysExpired,
    StreamNoticesExpired,
    UserKicked,
    Withdrawn,
)
from postroom.core.events.broadcasts import (
    BroadcastDeleted,
    BroadcastEdited,
    BroadcastSent,
    BroadcastsExpired,
)
from postroom.core.events.deletion import ConversationDeleted, ConversationSwept, CopiesWithdrawn
from postroom.core.events.imports import AliasesExpired, ConversationImported, MessageImported
from postroom.core.events.lists import (
    ConversationBlocked,
    ConversationUnblocked,
    RoleRemoved,
    RoleSet,
    SilencesExpired,
    UsersBanned,
    UsersSilenced,
    UsersUnbanned,
    UsersUnsilenced,
)
from postroom.core.events.quotas import QuotaUsed
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import Conversation, group, peer, service
from postroom.core.rows import Body, Header, Replacement
from postroom.storage.records import decode_body, decode_record, encode_body, encode_record
from postroom.storage.upcast import Written, upcast

HERE = Path(__file__).resolve().parent
POSITION = Position(869_020_467_200_007)
CLOCK_MS = ExpiryMs(1_790_000_000_123)
ID = MessageId(869_020_467_200_001)
AT_MS = UnixMs(1_790_000_000_456)

EVENTS: list[AnyEvent] = [
    EpochStarted(epoch=7),
    MessageSent(
        app="demo",
        id=ID,
        conversation=Conversation("peer", "bøb", 3),
        sender="alice",
        lane="high",
        at_ms=AT_MS,
        history=True,
        queued=(
            Queued("bøb", 41, 212_163_201, evicted=2, expired=1, owns_body=True),
            Queued("carol", 1, 212_163_202, stored=False),
        ),
        dedup="k1",
        dedup_digest=bytes(range(16)),
        dedup_expires_ms=ExpiryMs(1_790_086_400_123),
        awaited=True,
        number=12,
        stream=True,
        recipients=("bøb", "carol"),
    ),
    MessageEdited(
        app="demo",
        id=ID,
        by="alice",
        at_ms=AT_MS,
        queued=(Queued("bob", 42, 212_163_203),),
        stream=service("news"),
        copies=("bob",),
    ),
    MessageRecalled(
        app="demo",
        id=ID,
        by="alice",
        at_ms=AT_MS,
        queued=(Queued("bob", 43, 212_163_204),),
        sent_ms=UnixMs(1_790_000_000_400),
        stream=service("news"),
        copies=("bob",),
    ),
    MessageDeleted(
        app="demo",
        id=ID,
        by="admin",
        at_ms=AT_MS,
        timeline=peer("bob"),
        sender="alice",
        sent_ms=UnixMs(1_790_000_000_400),
        withdrawn=(Withdrawn("bob", (Position(ID), Position(ID + 1))),),
        queued=(Queued("bob", 44, 212_163_205, owns_body=True),),
        stream=service("news"),
        copies=("bob",),
    ),
    MessageConfirmed(app="demo", id=ID, sender="alice", dedup="k1"),
    LoggedIn(
        app="demo",
        user="bob",
        session=POSITION,
        epoch=7,
        first=True,
        queued=3,
        missed=2,
        at_ms=AT_MS,
        day=20_717,
        broadcasts_from=Position(ID),
    ),
    UserKicked(app="demo", user="bøb", at_ms=AT_MS, reason="späm"),
    LoggedOut(app="demo", user="bob", session=POSITION, last=True, at_ms=AT_MS),
    RoomJoined(app="demo", room="rööm", user="bob", at_ms=AT_MS),
    RoomLeft(app="demo", room="rööm", user="bob", at_ms=AT_MS),
    PresenceTaken(app="demo", feed="rooms", count=17),
    Acked(
        app="demo",
        user="bob",
        session=POSITION,
        through=Position(ID + 2),
        count=3,
        id=ID,
        seq=44,
        streamed=4,
        evicted=5,
        expired=6,
    ),
    StreamNoticesExpired(app="demo", at_ms=AT_MS, count=4),
    QueueExpired(app="demo", user="bob", count=5),
    DedupExpired(expires_ms=ExpiryMs(1_790_086_400_123), position=Position(ID), count=9),
    ResultReserved(
        app="demo", handle="000123456789", ids=(ID, MessageId(ID + 1)), expires_ms=ExpiryMs(1_790_000_600_123)
    ),
    ResultCollected(app="demo", handle="000123456789"),
    ResultsExpired(expires_ms=ExpiryMs(1_790_000_600_123), position=Position(ID), count=4),
    HistoryExpired(app="demo", at_ms=AT_MS, id=ID, count=25),
    StaysExpired(app="demo", at_ms=AT_MS, count=6),
    GapsExpired(app="demo", rooms=("rööm", "lobby")),
    ConversationCreated(
        app="demo",
        conversation=group("gröup"),
        at_ms=AT_MS,
        attributes='{"näme":[1,null]}'.encode(),
        members=("bøb", "carol"),
        unique=True,
    ),
    ConversationUpdated(
        app="demo",
        conversation=Conversation("service", "s", 0),
        at_ms=AT_MS,
        changed=(("näme", b'"x"'), ("n", b"1.50")),
        unset=("gone",),
    ),
    MembersAdded(app="demo", conversation=group("gröup"), at_ms=AT_MS, users=("bøb", "carol")),
    MembersRemoved(app="demo", conversation=group("gröup"), at_ms=AT_MS, users=("bøb",)),
    ConversationMuted(app="demo", conversation=group("gröup"), at_ms=AT_MS, users=("bøb",)),
    ConversationUnmuted(app="demo", conversation=group("gröup"), at_ms=AT_MS, users=("carol",)),
    ConversationImported(
        app="demo",
        conversation=group("gröup"),
        created_ms=UnixMs(1_700_000_000_123),
        updated_ms=AT_MS,
        attributes=b'{"name":"tea"}',
        members=("bøb", "carol"),
        muted=("bøb",),
        unique=True,
    ),
    MessageImported(
        app="demo",
        id=ID,
        conversation=service("sërvice"),
        sender="system",
        at_ms=UnixMs(1_700_000_000_456),
        alias="EjRWeJq83vASNFZ4mrze8A",
        recipients=("bøb",),
        recalled=True,
    ),
    AliasesExpired(app="demo", at_ms=UnixMs(1_700_000_000_789), count=25),
    UsersBanned(app="demo", conversation=group("gröup"), at_ms=AT_MS, users=("bøb", "carol")),
    UsersUnbanned(app="demo", conversation=Conversation("service", "s", 0), at_ms=AT_MS, users=("bøb",)),
    UsersSilenced(
        app="demo",
        conversation=Conversation("room", "rööm", 0),
        at_ms=AT_MS,
        users=("bøb", "carol"),
        until_ms=ExpiryMs(1_790_000_060_123),
    ),
    UsersUnsilenced(app="demo", conversation=group("gröup"), at_ms=AT_MS, users=("bøb",), temporary=True),
    SilencesExpired(until_ms=ExpiryMs(1_790_000_060_123), count=4),
    RoleSet(app="demo", conversation=group("gröup"), at_ms=AT_MS, user="bøb", role="manager"),
    RoleRemoved(app="demo", conversation=group("gröup"), at_ms=AT_MS, user="bøb"),
    ConversationBlocked(app="demo", conversation=group("gröup"), at_ms=AT_MS, user="bøb"),
    ConversationUnblocked(app="demo", conversation=group("gröup"), at_ms=AT_MS, user="bøb"),
    BroadcastSent(
        app="demo",
        id=ID,
        conversation=service("news"),
        sender="söme",
        at_ms=AT_MS,
        valid_until_ms=UnixMs(1_792_592_000_456),
        transient=True,
        dedup="k1",
        dedup_digest=bytes(range(16)),
        dedup_expires_ms=ExpiryMs(1_790_086_400_123),
    ),
    BroadcastEdited(app="demo", id=ID, by="söme", at_ms=AT_MS),
    BroadcastDeleted(app="demo", id=ID, by="söme", at_ms=AT_MS),
    BroadcastsExpired(app="demo", ids=(ID, MessageId(ID + 1))),
    QuotaUsed(app="demo", name="bröadcast", day=20_717, count=30),
    CopiesExpired(app="demo", id=ID, copies=(Withdrawn("bøb", (Position(ID), Position(ID + 1))),)),
    ConversationDeleted(app="demo", conversation=group("gröup"), at_ms=AT_MS, by="admin"),
    CopiesWithdrawn(app="demo", id=ID, copies=(Withdrawn("bøb", (Position(ID), Position(ID + 1))),)),
    ConversationSwept(
        app="demo", conversation=group("gröup"), what="messages", count=25, at_ms=AT_MS, id=ID, users=("bøb",)
    ),
    ConversationRead(
        app="demo",
        conversation=service("säles"),
        at_ms=AT_MS,
        user="bøb",
        until_ms=UnixMs(1_790_000_000_400),
        read=70_000,
        own=3,
        extra=2,
    ),
]

UNKNOWN_MS = UnixMs(0)
"""What the events of old did not tell."""
BY_ID_MS = UnixMs((ID >> 12) + 1_577_836_800_000)
"""What the id of a message tells of its time, as long as the clock that made it did not jump."""
OF_OLD: dict[str, AnyEvent] = {
    "message-sent.1": MessageSent(
        app="demo",
        id=ID,
        conversation=Conversation("peer", "bøb", 3),
        sender="alice",
        lane="high",
        at_ms=AT_MS,
        history=True,
        queued=(
            Queued("bøb", 41, 212_163_201, evicted=2, expired=1, owns_body=True),
            Queued("carol", 1, 212_163_202, stored=False),
        ),
        dedup="k1",
        dedup_digest=bytes(range(16)),
        dedup_expires_ms=ExpiryMs(1_790_086_400_123),
        awaited=True,
    ),
    "message-edited.1": MessageEdited(
        app="demo", id=ID, by="alice", at_ms=AT_MS, queued=(Queued("bob", 42, 212_163_203),)
    ),
    "message-recalled.2": MessageRecalled(
        app="demo",
        id=ID,
        by="alice",
        at_ms=AT_MS,
        queued=(Queued("bob", 43, 212_163_204),),
        sent_ms=UnixMs(1_790_000_000_400),
    ),
    "message-deleted.1": MessageDeleted(
        app="demo",
        id=ID,
        by="admin",
        at_ms=AT_MS,
        timeline=peer("bob"),
        sender="alice",
        sent_ms=UnixMs(1_790_000_000_400),
        withdrawn=(Withdrawn("bob", (Position(ID), Position(ID + 1))),),
        queued=(Queued("bob", 44, 212_163_205, owns_body=True),),
    ),
    "message-recalled.1": MessageRecalled(
        app="demo", id=ID, by="alice", at_ms=AT_MS, queued=(Queued("bob", 43, 212_163_204),), sent_ms=BY_ID_MS
    ),
    "logged-in.1": LoggedIn(
        app="demo", user="bob", session=POSITION, epoch=7, first=True, queued=3, missed=2, at_ms=UNKNOWN_MS, day=0
    ),
    "logged-in.2": LoggedIn(
        app="demo", user="bob", session=POSITION, epoch=7, first=True, queued=3, missed=2, at_ms=AT_MS, day=0
    ),
    "logged-in.3": LoggedIn(
        app="demo", user="bob", session=POSITION, epoch=7, first=True, queued=3, missed=2, at_ms=AT_MS, day=20_717
    ),
    "acked.1": Acked(app="demo", user="bob", session=POSITION, through=Position(ID + 2), count=3, id=ID, seq=44),
    "logged-out.1": LoggedOut(app="demo", user="bob", session=POSITION, last=True, at_ms=UNKNOWN_MS),
}
"""What is written no more, in its present form."""


def header(type: str) -> Header:
    """A header of each kind differs in its type and in who did it."""
    return Header(
        type=type,
        app="demo",
        id=ID,
        conversation=peer("bøb"),
        sender="alice",
        lane="low",
        format="json",
        at_ms=AT_MS,
        queue=True,
        history=False,
        via="http",
        by="" if type == "message" else "admin",
    )


BODIES = {
    "message": Body(header("message"), b'{"n":1}'),
    "edited": Body(header("edited"), b"\xc3\xbc\x00"),
    "recalled": Body(header("recalled"), b""),
    "deleted": Body(header("deleted"), b""),
    "recalled-and-replaced": Body(
        header("recalled"), msgspec.msgpack.encode(Replacement("wildfire", "json", b'{"n":1}'))
    ),
    "message-to-group": Body(
        msgspec.structs.replace(
            header("message"),
            conversation=group("gröup"),
            mentions=("bøb", "carol"),
            mention_all=True,
            push=b'{"alert":"hi"}',
            sender_copy="online",
        ),
        b"hi",
    ),
}
"""The samples of the first four lack the header's last fields, which are written since there are groups."""


def tag(event: AnyEvent | type[AnyEvent]) -> str:
    """The event's name in the log."""
    return str(event.__struct_config__.tag)


def sample(kind: str, name: str) -> tuple[bytes, bytes]:
    """Key and value, as they lie on the disk."""
    key, value = (HERE / kind / f"{name}.hex").read_text(encoding="ascii").split()
    return bytes.fromhex(key), bytes.fromhex(value)


@pytest.mark.parametrize("event", EVENTS, ids=tag)
def test_a_record_of_old_is_read_as_it_was_meant(event: AnyEvent) -> None:
    assert decode_record(*sample("events", tag(event))) == Record(POSITION, CLOCK_MS, event)


@pytest.mark.parametrize("name", OF_OLD)
def test_a_record_that_is_written_no_more_is_read_in_its_present_form(name: str) -> None:
    key, value = sample("events", name)
    assert decode_record(key, value) == Record(POSITION, CLOCK_MS, OF_OLD[name])
    # And what is written in its place is the present form, which says the same.
    again = encode_record(Record(POSITION, CLOCK_MS, OF_OLD[name]))
    assert again[1] != value
    assert decode_record(*again) == Record(POSITION, CLOCK_MS, OF_OLD[name])


@pytest.mark.parametrize("name", OF_OLD)
def test_a_record_of_old_that_is_damaged_or_has_a_field_too_many_is_found(name: str) -> None:
    key, value = sample("events", name)
    for index in range(len(value)):
        damaged = bytearray(value)
        damaged[index] ^= 1 << index % 8
        with pytest.raises(Corruption, match=str(POSITION)):
            decode_record(key, bytes(damaged))
    _, event = msgspec.msgpack.decode(value[4:])
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert([*event, "newer"], Written)


@pytest.mark.parametrize("event", EVENTS, ids=tag)
def test_what_is_of_today_is_not_changed(event: AnyEvent) -> None:
    assert upcast(event) is event


@pytest.mark.parametrize("event", EVENTS, ids=tag)
def test_a_record_is_written_as_ever(event: AnyEvent) -> None:
    assert encode_record(Record(POSITION, CLOCK_MS, event)) == sample("events", tag(event))


@pytest.mark.parametrize("name", BODIES)
def test_a_body_of_old_is_read_as_it_was_meant(name: str) -> None:
    assert decode_body(*sample("bodies", name)) == BODIES[name]


@pytest.mark.parametrize("name", ["message-to-group", "recalled-and-replaced"])
def test_a_body_is_written_as_ever(name: str) -> None:
    assert encode_body(POSITION, BODIES[name]) == sample("bodies", name)


def test_every_event_has_a_sample_and_every_sample_an_event() -> None:
    tags = {tag(member) for member in get_args(AnyEvent)}
    assert {tag(event) for event in EVENTS} == tags
    assert {tag(member) for member in get_args(Written)} == tags | set(OF_OLD)
    assert not tags & set(OF_OLD)
    assert {path.stem for path in (HERE / "events").iterdir()} == tags | set(OF_OLD)


def test_every_tag_has_a_version() -> None:
    for member in get_args(Written):
        name, _, version = tag(member).rpartition(".")
        assert name
        assert int(version) >= 1


def test_samples_use_no_default() -> None:
    """A field left at its default could be read from anything."""
    used = {type(event): set() for event in EVENTS}
    for event in EVENTS:
        for field in msgspec.structs.fields(event):
            if getattr(event, field.name) != field.default:
                used[type(event)].add(field.name)
    for kind, names in used.items():
        assert names == {field.name for field in msgspec.structs.fields(kind)}


def test_an_event_with_a_field_too_many_is_refused() -> None:
    """An old build must not drop a newer fact silently."""
    newer = msgspec.msgpack.encode([*msgspec.msgpack.decode(msgspec.msgpack.encode(EVENTS[0])), "newer"])
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(newer, type=AnyEvent)


@pytest.mark.parametrize("event", EVENTS, ids=tag)
def test_any_flipped_bit_is_found(event: AnyEvent) -> None:
    key, value = encode_record(Record(POSITION, CLOCK_MS, event))
    for index in range(len(value)):
        damaged = bytearray(value)
        damaged[index] ^= 1 << index % 8
        with pytest.raises(Corruption, match=str(POSITION)):
            decode_record(key, bytes(damaged))


def test_a_record_under_another_key_is_found() -> None:
    key, value = encode_record(Record(POSITION, CLOCK_MS, EVENTS[0]))
    other = (int.from_bytes(key) + 1).to_bytes(8)
    with pytest.raises(Corruption):
        decode_record(other, value)


def test_any_flipped_bit_of_a_body_is_found() -> None:
    key, value = encode_body(POSITION, BODIES["message"])
    for index in range(len(value)):
        damaged = bytearray(value)
        damaged[index] ^= 1 << index % 8
        with pytest.raises(Corruption, match=str(POSITION)):
            decode_body(key, bytes(damaged))


@pytest.mark.parametrize("length", [0, 1, 4, 11])
def test_a_record_cut_short_is_found(length: int) -> None:
    key, value = encode_record(Record(POSITION, CLOCK_MS, EVENTS[0]))
    with pytest.raises(Corruption):
        decode_record(key, value[:length])
    key, value = encode_body(POSITION, BODIES["message"])
    with pytest.raises(Corruption):
        decode_body(key, value[:length])


def write_missing() -> None:
    """Samples of what has none yet."""
    rows = [("events", tag(event), encode_record(Record(POSITION, CLOCK_MS, event))) for event in EVENTS]
    rows += [("bodies", name, encode_body(POSITION, body)) for name, body in BODIES.items()]
    for kind, name, (key, value) in rows:
        path = HERE / kind / f"{name}.hex"
        if not path.exists():
            path.write_text(f"{key.hex()}\n{value.hex()}\n", encoding="ascii")


if __name__ == "__main__":
    write_missing()
