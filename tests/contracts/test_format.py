"""FORMAT.md draws what is written: its samples, letters, tables and bits are those of the code."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from postroom.core.events import EpochStarted, Record
from postroom.core.ids import ExpiryMs, MessageId, Place, Position, UnixMs
from postroom.core.model import Conversation, Feed, PresenceEvent, UserList, group, peer, service
from postroom.core.rows import (
    Body,
    BroadcastRow,
    ChangedRow,
    ConversationRow,
    CopyRow,
    DayUsers,
    DedupRow,
    Entry,
    Gap,
    Header,
    Kept,
    Membership,
    QuotaRow,
    ResultRow,
    RoleRow,
    Stay,
    StreamEntry,
    SubscriptionRow,
    Totals,
    UnreadRow,
    UserRow,
)
from postroom.storage import keys
from postroom.storage.checking.rows import KINDS
from postroom.storage.engine import SETS, TABLES
from postroom.storage.lmdb.environment import Versions
from postroom.storage.memory import MemoryStore
from postroom.storage.records import encode_body, encode_record
from postroom.storage.views import StoredViews
from tests.support.rows import engine_of

TEXT = (Path(__file__).resolve().parents[2] / "storage" / "FORMAT.md").read_text(encoding="utf-8")
HEADER = Header(
    type="message",
    app="demo",
    id=MessageId(5),
    conversation=peer("bob"),
    sender="alice",
    lane="normal",
    format="text",
    at_ms=UnixMs(7),
    queue=True,
    history=False,
    via="embedded",
)
POSITION = Position((3 << 40) + 5)


def test_every_kind_of_row_is_drawn() -> None:
    letters = {getattr(keys, name) for name in vars(keys) if name.isupper() and isinstance(getattr(keys, name), bytes)}
    letters = {letter for letter in letters if len(letter) == 1}
    drawn = {letter.encode() for letter in re.findall(r"^\| `(\w)` \|", TEXT, re.MULTILINE)}
    assert letters == drawn == set(KINDS)


def test_every_table_is_drawn() -> None:
    headings = " ".join(re.findall(r"^### (.*)$", TEXT, re.MULTILINE))
    assert all(name in headings for name in (*TABLES, *SETS))


def test_the_versions_are_those_of_the_code() -> None:
    assert f"Format {Versions().format}, views {Versions().views}." in TEXT


@pytest.mark.parametrize(
    ("row", "letter"),
    [
        (Totals, "a"),
        (UserRow, "u"),
        (DedupRow, "d"),
        (ChangedRow, "m"),
        (Kept, "h"),
        (Gap, "g"),
        (PresenceEvent, "f"),
        (ResultRow, "q"),
        (ConversationRow, "o"),
        (RoleRow, "R"),
        (UnreadRow, "V"),
        (BroadcastRow, "G"),
        (CopyRow, "C"),
    ],
    ids=lambda value: str(value),
)
def test_the_fields_of_a_row_are_drawn(row: type[msgspec.Struct], letter: str) -> None:
    line = next(line for line in TEXT.splitlines() if line.startswith(f"| `{letter}` |"))
    value = line.split("|")[3]
    names = {"digest": "digest of the command", "body": "position of the body", "changes": "positions of changes"}
    places = [value.index(names.get(field, field)) for field in row.__struct_fields__]
    assert places == sorted(places)


def test_the_fields_of_a_header_are_drawn() -> None:
    drawn = re.search(r"^header +\[(.*)\]$", TEXT, re.MULTILINE)
    assert drawn is not None
    assert tuple(drawn[1].split(", ")) == Header.__struct_fields__


def test_a_log_record() -> None:
    key, value = encode_record(Record(POSITION, ExpiryMs(1_000), EpochStarted(epoch=9)))
    assert key == POSITION.to_bytes(8)
    assert msgspec.msgpack.decode(value[4:]) == [1_000, ["epoch-started.1", 9]]
    assert value[:4] == crc32(value[4:], POSITION & 0xFFFF_FFFF).to_bytes(4)


def test_a_body() -> None:
    key, value = encode_body(POSITION, Body(HEADER, b"hi"))
    assert key == POSITION.to_bytes(8)
    header, payload = msgspec.msgpack.decode(value[4:])
    assert header[:4] == ["message", "demo", 5, ["peer", "bob", 0]]
    assert payload == b"hi"
    assert value[:4] == crc32(value[4:], POSITION & 0xFFFF_FFFF).to_bytes(4)


def test_an_entry() -> None:
    value = keys.pack_entry(Entry(POSITION, 17, 200_000_000, owns_body=True))
    assert value == POSITION.to_bytes(8) + (17).to_bytes(4) + (200_000_000 | 1 << 31).to_bytes(4)
    assert keys.unpack_entry(value) == Entry(POSITION, 17, 200_000_000, owns_body=True)


def test_names_become_digests_part_by_part() -> None:
    assert len(keys.digest("demo", "bob")) == 16
    assert keys.digest("demo", "bob") != keys.digest("demob", "ob")
    assert keys.user_key("demo", "bob") == keys.digest("demo", "bob")


PLACE = Place(UnixMs(7), MessageId(5))
AT = (7).to_bytes(8) + (5).to_bytes(8)


def written(change: Callable[[StoredViews], None]) -> dict[bytes, bytes]:
    """The live rows that a change writes."""
    store = MemoryStore()
    with store.transaction() as transaction:
        change(transaction.views)
    with store.snapshot() as snapshot:
        return dict(engine_of(snapshot).scan("live", b""))


def test_a_clock_row() -> None:
    def change(views: StoredViews) -> None:
        views.start_epoch(9, Position(3))
        views.advance(Record(POSITION, ExpiryMs(1_000), EpochStarted(epoch=9)))

    value = POSITION.to_bytes(8) + (1_000).to_bytes(8) + (9).to_bytes(4) + (3).to_bytes(8)
    assert written(change)[b"c"] == value


@pytest.mark.parametrize(
    "conversation", [peer("bob"), group("g"), Conversation("room", "r", 2)], ids=lambda conversation: conversation.kind
)
@pytest.mark.parametrize("recalled", [False, True])
def test_a_kept_message(conversation: Conversation, recalled: bool) -> None:
    kept = Kept(conversation, "alice", queued=True, recalled=recalled)
    to = keys.digest("demo", "to", conversation.kind, str(conversation.line), conversation.id)
    alice, flag = keys.digest("demo", "alice"), bytes([recalled])
    listed = [conversation.kind, conversation.id, conversation.line]
    assert written(lambda views: views.put_kept("demo", PLACE, kept)) == {
        b"h" + keys.digest("demo") + AT: msgspec.msgpack.encode([listed, "alice", True, recalled]),
        b"t" + to + bytes(16) + AT: flag + alice,
        b"t" + to + alice + AT: flag,
        b"t" + keys.digest("demo", "from", "alice") + bytes(16) + AT: flag,
    }


def test_a_message_to_users_by_name() -> None:
    kept = Kept(service("s"), "alice", queued=True, recipients=("ann", "bob"))
    to, listed = keys.digest("demo", "for", "service", "0", "s"), ["service", "s", 0]
    kept_row = {b"h" + keys.digest("demo") + AT: msgspec.msgpack.encode([listed, "alice", True, False, ["ann", "bob"]])}
    sent = {b"t" + keys.digest("demo", "from", "alice") + bytes(16) + AT: b"\0"}
    ann, bob = ({b"t" + to + keys.digest("demo", user) + AT: b"\0"} for user in ("ann", "bob"))
    assert written(lambda views: views.put_kept("demo", PLACE, kept)) == kept_row | sent | ann | bob

    def hide(views: StoredViews) -> None:
        views.put_kept("demo", PLACE, kept)
        views.remove_recipients("demo", PLACE, kept, {"bob"})

    kept_row = {b"h" + keys.digest("demo") + AT: msgspec.msgpack.encode([listed, "alice", True, False, ["ann"]])}
    assert written(hide) == kept_row | sent | ann


def test_copies() -> None:
    def change(views: StoredViews) -> None:
        views.put_copy("demo", PLACE.id, CopyRow("bob", Position(9), recalled=True, changes=(Position(8),)))
        views.put_copies_showing(Position(9), PLACE.id, 2)
        views.put_changed(PLACE.id, ChangedRow(Position(6), (Position(7),), 3))

    assert written(change) == {
        b"C" + AT[8:] + keys.digest("demo", "bob"): msgspec.msgpack.encode(["bob", 9, True, [8]]),
        b"O" + (9).to_bytes(8): AT[8:] + (2).to_bytes(4),
        b"m" + AT[8:]: msgspec.msgpack.encode([6, [7], 3]),
    }
    changed = written(lambda views: views.put_changed(PLACE.id, ChangedRow(Position(6), (Position(7),))))
    assert changed == {b"m" + AT[8:]: msgspec.msgpack.encode([6, [7]])}


def test_a_stay() -> None:
    bob = keys.digest("demo", "bob")
    assert written(lambda views: views.put_stay("demo", "bob", Stay("r", PLACE))) == {
        b"r" + keys.digest("demo", "r") + bob: msgspec.msgpack.encode(["bob", 7, 5]),
        b"i" + bob + b"\xff" * 16 + (5).to_bytes(8): msgspec.msgpack.encode(["r", 7]),
    }
    until = (8).to_bytes(8) + (9).to_bytes(8)
    ended = Stay("r", PLACE, Place(UnixMs(8), MessageId(9)))
    assert written(lambda views: views.put_stay("demo", "bob", ended)) == {
        b"i" + bob + until + (5).to_bytes(8): msgspec.msgpack.encode(["r", 7]),
        b"j" + keys.digest("demo") + until + bob + (5).to_bytes(8): b"",
    }


def test_a_gap() -> None:
    assert written(lambda views: views.put_gap(Gap("demo", "r", MessageId(5), UnixMs(7)))) == {
        b"g" + keys.digest("demo", "r"): msgspec.msgpack.encode(["demo", "r", 5, 7])
    }


def test_where_an_epoch_began() -> None:
    rows = written(lambda views: views.start_epoch(9, Position(3)))
    assert rows == {b"p" + (3).to_bytes(8): (9).to_bytes(4)}


ROW = ConversationRow(POSITION, "group", "g", UnixMs(7), UnixMs(8), True, b'{"a":[1.0,"x"]}', 2, 1, 3, 4, 6, 5)
NUMBER = POSITION.to_bytes(8)
NAMED = msgspec.msgpack.encode(["group", "g"])


def test_a_conversation() -> None:
    listed = ["group", "g", 7, 8, True, b'{"a":[1.0,"x"]}', 2, 1, 3, 4, 6, 5]
    demo = keys.digest("demo")
    assert written(lambda views: views.put_conversation("demo", ROW)) == {
        b"o" + keys.digest("demo", "group", "g"): msgspec.msgpack.encode([POSITION, *listed]),
        b"n" + demo + b"g" + NUMBER: b"g",
        b"y" + demo + keys.digest("a", "1") + NUMBER: NAMED,
        b"y" + demo + keys.digest("a", '"x"') + NUMBER: NAMED,
    }


def test_a_deleted_conversation() -> None:
    def delete(views: StoredViews) -> None:
        views.put_conversation("demo", ROW)
        views.remove_conversation("demo", ROW)

    left = msgspec.structs.replace(ROW, unique=False, attributes=b"")
    key = b"X" + keys.digest("demo") + keys.digest("demo", "group", "g")
    assert written(delete) == {key: msgspec.msgpack.encode(left)}


@pytest.mark.parametrize(
    ("users", "letter"), [("members", b"m"), ("muted", b"q"), ("silenced", b"s"), ("banned", b"x")]
)
def test_users_of_a_conversation(users: UserList, letter: bytes) -> None:
    bob, place = keys.digest("demo", "bob"), (9).to_bytes(8) + (0).to_bytes(4)
    rows = written(lambda views: views.list_users("demo", ROW, users, ("bob",), Position(9)))
    assert rows == {
        b"b" + NUMBER + letter + place: b"bob",
        b"l" + NUMBER + letter + bob: place,
    } | ({b"v" + bob + NUMBER: NAMED} if users == "members" else {})


def test_a_conversation_without_its_last_fields_is_read() -> None:
    """As it was written when there were only members."""
    of_old = [POSITION, "group", "g", 7, 8, True, b"{}", 2, 1]
    store = MemoryStore()
    with store.transaction() as transaction:
        engine_of(transaction).put("live", b"o" + keys.digest("demo", "group", "g"), msgspec.msgpack.encode(of_old))
    with store.snapshot() as snapshot:
        row = snapshot.views.conversation("demo", group("g"))
    assert row is not None
    assert (row.members, row.muted, row.silenced, row.banned, row.roles, row.owners) == (2, 1, 0, 0, 0, 0)


BOB = keys.digest("demo", "bob")


def test_a_silence_for_a_while() -> None:
    def change(views: StoredViews) -> None:
        for until in (6, 7):
            views.put_silence("demo", POSITION, "bob", ExpiryMs(until))

    assert written(change) == {
        b"S" + NUMBER + BOB: msgspec.msgpack.encode(["bob", 7]),
        b"E" + (7).to_bytes(8) + NUMBER + BOB: b"",
    }


def test_an_entry_of_a_stream() -> None:
    entry = StreamEntry(Position(9), MessageId(5), 3, 4, 200_000_000)
    key = b"T" + NUMBER + (9).to_bytes(8)
    for sender, deleted, told in (("", False, []), ("ann", False, ["ann"]), ("", True, ["", True])):
        shown = msgspec.structs.replace(entry, sender=sender, deleted=deleted)
        rows = written(partial(StoredViews.put_stream_entry, number=POSITION, entry=shown))
        assert rows == {key: msgspec.msgpack.encode([5, 3, 4, 200_000_000, *told])}
    assert written(lambda views: views.put_notice_end("demo", POSITION, UnixMs(7), Position(9))) == {
        b"T" + bytes(8) + keys.digest("demo") + (9).to_bytes(8): NUMBER + (7).to_bytes(8)
    }


def test_a_subscription_and_a_membership_that_ended() -> None:
    row = SubscriptionRow(Position(9), POSITION, "s", UnixMs(7))
    assert written(lambda views: views.put_subscription("demo", "bob", row)) == {
        b"P" + BOB + (9).to_bytes(8): msgspec.msgpack.encode([POSITION, "s", 7])
    }
    until, member = (8).to_bytes(8) + (10).to_bytes(8), keys.digest("demo", "bob", "member")
    ended = Membership(POSITION, Conversation("service", "s"), Position(9), Position(10))
    place = Place(UnixMs(8), MessageId(10))
    assert written(lambda views: views.put_left("demo", "bob", ended, place)) == {
        b"i" + member + until + (9).to_bytes(8): msgspec.msgpack.encode(["s", "service", POSITION]),
        b"j" + keys.digest("demo") + until + member + (9).to_bytes(8): b"",
    }


def test_a_role() -> None:
    rows = written(lambda views: views.put_role("demo", POSITION, RoleRow("bob", "owner", Position(9))))
    assert rows == {b"R" + NUMBER + BOB: msgspec.msgpack.encode(["bob", "owner", 9])}


def test_a_block() -> None:
    rows = written(lambda views: views.put_block("demo", "bob", ROW))
    assert rows == {b"B" + BOB + NUMBER: msgspec.msgpack.encode(["demo", "bob", "group", "g"])}


@pytest.mark.parametrize("guest", [False, True])
def test_what_somebody_has_read(guest: bool) -> None:
    row = UnreadRow("group", "g", 300, 2, 1, guest)
    rows = {b"V" + BOB + NUMBER: msgspec.msgpack.encode(["group", "g", 300, 2, 1, guest])}
    if guest:
        rows[b"W" + NUMBER + BOB] = b"bob"
    assert written(lambda views: views.put_unread("demo", "bob", POSITION, row)) == rows

    def change(views: StoredViews) -> None:
        views.put_unread("demo", "bob", POSITION, row)
        views.remove_unread("demo", "bob", POSITION)

    assert written(change) == {}


def test_a_group_that_is_the_one_of_its_members() -> None:
    rows = written(lambda views: views.put_unique("demo", ROW, ("bob", "ann")))
    assert rows == {b"U" + keys.digest("demo", "ann", "bob") + NUMBER: b"g"}


def test_users() -> None:
    demo, bob = keys.digest("demo"), keys.digest("demo", "bob")
    assert written(lambda views: views.put_kicked("demo", "bob", UnixMs(7))) == {b"K" + bob: (7).to_bytes(8)}
    assert written(lambda views: views.put_login_day("demo", "bob", 9)) == {b"D" + demo + bob: (9).to_bytes(4)}
    day = (9).to_bytes(4) + (3).to_bytes(8)
    assert written(lambda views: views.put_day_users("demo", DayUsers(9, 3))) == {b"A" + demo: day}


def test_a_broadcast() -> None:
    row = BroadcastRow(service("news"), POSITION, UnixMs(7), None, Position(9))
    listed = [["service", "news", 0], POSITION, 7, None, 9]
    assert written(lambda views: views.put_broadcast("demo", MessageId(5), row)) == {
        b"G" + keys.digest("demo") + (5).to_bytes(8): msgspec.msgpack.encode(listed)
    }
    rows = written(lambda views: views.put_broadcasts_from("demo", "bob", Position(5)))
    assert rows == {b"L" + BOB: (5).to_bytes(8)}


def test_a_quota() -> None:
    rows = written(lambda views: views.put_quota_used("demo", "q", QuotaRow(9, 30)))
    assert rows == {b"Q" + keys.digest("demo", "q"): (9).to_bytes(4) + (30).to_bytes(8)}


def test_what_was_imported() -> None:
    demo, name = keys.digest("demo"), keys.digest("demo", "EjRW")
    assert written(lambda views: views.put_alias("demo", "EjRW", PLACE)) == {b"M" + name: AT}
    assert written(lambda views: views.outlive("demo", "EjRW", PLACE)) == {b"M" + demo + AT: name}
    assert written(lambda views: views.put_imported("demo", group("g"), Position(5))) == {
        b"I" + keys.digest("demo", "g"): (5).to_bytes(8)
    }


@pytest.mark.parametrize(("recalled", "flags"), [(False, b"\2"), (True, b"\3")])
def test_a_message_that_was_imported(recalled: bool, flags: bytes) -> None:
    kept = Kept(group("g"), "alice", recalled=recalled, alias="EjRW")
    rows = written(lambda views: views.put_kept("demo", PLACE, kept))
    assert rows.pop(b"h" + keys.digest("demo") + AT) == msgspec.msgpack.encode(kept)
    assert sorted(value[:1] for value in rows.values()) == [flags] * 3


@pytest.mark.parametrize(("feed", "letter"), [("users", b"u"), ("rooms", b"r")])
def test_a_presence_event(feed: Feed, letter: bytes) -> None:
    event = PresenceEvent("join", UnixMs(7), "bob", "r")
    assert written(lambda views: views.put_presence("demo", feed, 3, event)) == {
        b"f" + keys.digest("demo") + letter + (3).to_bytes(8): msgspec.msgpack.encode(["join", 7, "bob", "r"])
    }


def test_a_result() -> None:
    row = ResultRow((MessageId(5), MessageId(6)), ExpiryMs(7), Position(8))
    assert written(lambda views: views.put_result("demo", "1", row)) == {
        b"q" + keys.digest("demo", "1"): msgspec.msgpack.encode([[5, 6], 7, 8]),
        b"z" + (7).to_bytes(8) + (8).to_bytes(8): msgspec.msgpack.encode(["demo", "1"]),
    }


def test_totals_without_their_last_fields_are_read() -> None:
    """As views 1 wrote them."""
    of_old = ["demo", [7, 6, 5, 4, 3, 2, 1]]
    store = MemoryStore()
    with store.transaction() as transaction:
        engine_of(transaction).put("live", b"a" + keys.digest("demo"), msgspec.msgpack.encode(of_old))
    with store.snapshot() as snapshot:
        totals = snapshot.views.totals("demo")
    assert msgspec.structs.astuple(totals) == (7, 6, 5, 4, 3, 2, 1, *[0] * 6)
