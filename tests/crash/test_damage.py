"""Damage is noticed and named, and nothing is done about it behind anybody's back."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from struct import Struct

import msgspec
import pytest

from postroom.core.errors import Corruption, StorageFailure
from postroom.core.ids import MessageId, Position
from postroom.core.rows import ConversationRow, UnreadRow, UserRow
from postroom.storage import keys
from postroom.storage.checking.check import check
from postroom.storage.checking.rows import KINDS
from postroom.storage.keys import (
    AWAITED,
    CHANGE,
    CLOCK,
    DAY_ROW,
    DAY_USERS,
    DELETED,
    KEPT,
    TIMELINE,
    U64,
    USER,
    alias_key,
    deleted_key,
    digest,
    unpack_entry,
)
from postroom.storage.lmdb import LmdbStore
from postroom.storage.lmdb.environment import data_file
from postroom.storage.reading import Reader
from postroom.storage.rebuild import rebuild
from postroom.storage.verify import Progress, Report, verify
from postroom.transports.cli import tools
from tests.support.damage import cut, flip, populated, raw, tables

PAGE_BYTES = 4096
BOB = digest("demo", "bob1")
BODY_POSITION = Struct(">Q")

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A sound data directory."""
    populated(tmp_path / "data")
    return tmp_path / "data"


def quiet(_: Progress) -> None:
    """Nobody watches."""


def checked(directory: Path) -> Report:
    """What a check finds, in this process: rows are wrong, but no page is missing."""
    with tempfile.TemporaryDirectory() as scratch:
        return check(directory, Path(scratch), lambda _: None)


def verified(directory: Path) -> Report:
    """What verify finds, in a process of its own, which the file may end."""
    return verify(directory, progress=quiet)


def told(directory: Path, find: Callable[[Path], Report] = checked) -> str:
    """The problems that are found, and nothing is changed; there are some."""
    before = data_file(directory).read_bytes()
    report = find(directory)
    assert data_file(directory).read_bytes() == before
    assert not report.sound
    assert report.problems_total >= len(report.problems) > 0
    return "\n".join(f"{problem.check}: {problem.what}" for problem in report.problems)


def test_a_sound_directory_is_found_sound(data: Path) -> None:
    report = checked(data)
    assert report.problems == ()
    assert min(report.log_records, report.bodies, report.entries, report.kept, report.base_position) > 0


def test_a_flipped_bit_in_a_log_record(data: Path, capsys: Capture) -> None:
    key, value = tables(data)["log"][3]
    flip(data, value, at=len(value) - 1)
    position = int.from_bytes(key)
    assert f"log: log record {position}: CRC mismatch" in told(data)
    with Reader(data) as reader:
        sound = reader.log(Position(0)).records
        assert len(sound) == 3
        with pytest.raises(Corruption, match=str(position)):
            reader.log(sound[-1].position)
    assert tools.verify(data) == 1
    assert "NOT SOUND" in capsys.readouterr().out


def test_a_corrupt_log_record_stops_a_rebuild(data: Path) -> None:
    key, value = tables(data)["log"][3]
    flip(data, value, at=20)
    before = tables(data)
    with pytest.raises(Corruption, match=str(int.from_bytes(key))):
        rebuild(data, progress=quiet)
    assert tables(data) == before


@pytest.mark.parametrize("payload", [b"edited for the offline.", b"text number 14."])
def test_a_flipped_bit_in_a_body(data: Path, payload: bytes) -> None:
    position = next(int.from_bytes(key) for key, value in tables(data)["bodies"] if value.endswith(payload))
    flip(data, payload, at=2)
    assert told(data) == f"bodies: body {position}: CRC mismatch"
    store = LmdbStore(data)
    try:
        with store.snapshot() as snapshot, pytest.raises(Corruption, match=f"body {position}"):
            snapshot.bodies.body(Position(position))
        with store.snapshot() as snapshot:  # what is damaged stays where it is
            assert payload not in dict(tables_of(snapshot))[position]
    finally:
        store.close()


def tables_of(snapshot: object) -> list[tuple[int, bytes]]:
    """The bodies table as it is."""
    rows = snapshot._engine.scan("bodies", b"")  # type: ignore[attr-defined]
    return [(int.from_bytes(key), value) for key, value in rows]


def test_a_flipped_bit_in_a_body_s_header(data: Path) -> None:
    key, value = tables(data)["bodies"][0]
    flip(data, value, at=8)
    assert f"bodies: body {int.from_bytes(key)}: CRC mismatch" in told(data)


def user_row(directory: Path, table: str) -> bytes:
    """The value of bob1's row."""
    return dict(tables(directory)[table])[USER + BOB]


def change(directory: Path, table: str, key: bytes, value: bytes | None) -> None:
    """Put another value under a key, or none."""
    with raw(directory) as (transaction, databases):
        if value is None:
            assert transaction.delete(key, db=databases[table])
        else:
            transaction.put(key, value, db=databases[table])


def flipped(value: bytes, at: int = -1) -> bytes:
    """The value with a bit flipped."""
    changed = bytearray(value)
    changed[at] ^= 1
    return bytes(changed)


def test_a_flipped_bit_in_a_live_row(data: Path) -> None:
    change(data, "live", USER + BOB, flipped(user_row(data, "live"), -2))
    problems = told(data)
    assert f"live: live: user row 'u' {BOB.hex()} (app 'demo', user 'bob1') is not what base + log give" in problems
    assert rebuild(data, progress=quiet).rows > 0
    assert checked(data).sound


def test_a_flipped_bit_in_a_base_row(data: Path) -> None:
    change(data, "base", USER + BOB, flipped(user_row(data, "base"), -2))
    assert "(app 'demo', user 'bob1') is not what base + log give: lost_at_ack is" in told(data)


def test_a_base_row_that_cannot_be_read(data: Path, capsys: Capture) -> None:
    change(data, "base", USER + BOB, b"\xc1")
    problems = told(data)
    assert f"base: base: user row 'u' {BOB.hex()}" in problems
    before = tables(data)
    with pytest.raises(Corruption, match="base: user row 'u'"):
        rebuild(data, progress=quiet)
    assert tables(data) == before
    assert tools.rebuild(data) == 1
    assert "restore the newest backup" in capsys.readouterr().err


@pytest.mark.parametrize("key", sorted(KINDS.keys() - {AWAITED}))
def test_a_live_row_that_is_gone(data: Path, key: bytes) -> None:
    found = next(row for row, _ in tables(data)["live"] if row.startswith(key))
    change(data, "live", found, None)
    problems = told(data)
    assert f"row '{key.decode()}' {found[1:].hex() or '-'}" in problems
    assert "is missing; base + log give one" in problems
    rebuild(data, progress=quiet)
    assert checked(data).sound


def test_live_rows_that_are_all_gone(data: Path) -> None:
    before = tables(data)
    with raw(data) as (transaction, databases):
        transaction.drop(databases["live"], delete=False)
        transaction.drop(databases["live-queues"], delete=False)
    report = checked(data)
    assert report.problems_total > len(report.problems)
    rebuilt = rebuild(data, progress=quiet)
    assert (rebuilt.rows_before, rebuilt.entries_before) == (0, 0)
    assert tables(data) == before
    assert checked(data).sound


def test_a_queue_entry_that_is_gone_or_should_not_be_there(data: Path) -> None:
    key, value = next((key, value) for key, value in tables(data)["live-queues"] if key == BOB)
    lost = unpack_entry(value)
    with raw(data) as (transaction, databases):
        transaction.delete(key, value, db=databases["live-queues"])
    problems = told(data)
    assert f"queue {BOB.hex()} (app 'demo', user 'bob1') lacks entry {lost.position} (seq {lost.seq}" in problems
    assert "accounts: app row" in problems
    with raw(data) as (transaction, databases):
        transaction.put(key, value, db=databases["live-queues"])
        transaction.put(digest("demo", "nobody"), value, db=databases["live-queues"])
    problems = told(data)
    assert f"queue {digest('demo', 'nobody').hex()} should not hold entry {lost.position}" in problems
    assert f"queue {digest('demo', 'nobody').hex()} has no user row" in problems


def test_a_body_that_is_gone(data: Path) -> None:
    entries = [unpack_entry(value) for key, value in tables(data)["live-queues"] if key == BOB]
    bodies = {int.from_bytes(key) for key, _ in tables(data)["bodies"]}
    entry = next(entry for entry in entries if entry.position in bodies)
    change(data, "bodies", U64.pack(entry.position), None)
    assert f"(app 'demo', user 'bob1'): entry {entry.position} (seq {entry.seq}) has no body" in told(data)
    assert tools.inspect(data, app="demo", user="bob1") == 1


def test_a_message_of_a_timeline_without_body(data: Path) -> None:
    ids = [int.from_bytes(key[-8:]) for key, _ in tables(data)["live"] if key.startswith(KEPT)]
    bodies = {int.from_bytes(key) for key, _ in tables(data)["bodies"]}
    id = next(id for id in ids if id in bodies)
    change(data, "bodies", U64.pack(id), None)
    assert f"message {id} has no body at {id}" in told(data)


def both(directory: Path, key: bytes, value: bytes | None) -> None:
    """Change a row of live and base, so that they agree."""
    with raw(directory) as (transaction, databases):
        for table in ("live", "base"):
            assert transaction.delete(key, db=databases[table])
            if value is not None:
                transaction.put(key, value, db=databases[table])


def test_timelines_that_do_not_agree(data: Path) -> None:
    """In base already, so base + log give the same: only the message's own row tells what should be there."""
    kept = next(key for key, _ in tables(data)["base"] if key.startswith(KEPT))
    rows = [row for row in tables(data)["base"] if row[0].startswith(TIMELINE) and row[0].endswith(kept[-16:])]
    assert len(rows) == 3
    for key, value in rows:
        both(data, key, b"\1" + value[1:])
        assert f"history: kept message row 'h' {kept[1:].hex()}: a timeline does not say the same of it" in told(data)
        both(data, key, None)
        problems = told(data)
        assert f"history: kept message row 'h' {kept[1:].hex()}: a timeline does not say the same of it" in problems
        assert "timeline rows, not " in problems
        with raw(data) as (transaction, databases):
            for table in ("live", "base"):
                transaction.put(key, value, db=databases[table])
    assert checked(data).sound


def test_timeline_rows_of_no_message(data: Path) -> None:
    kept = next(key for key, _ in tables(data)["base"] if key.startswith(KEPT))
    both(data, kept, None)
    problems = told(data)
    assert "timeline rows, not " in problems
    id = int.from_bytes(kept[-8:])
    assert f"body {id} has no owner" in problems


@pytest.mark.parametrize("kind", [b"h", b"t", b"i", b"g", b"f", b"q"])
def test_a_base_row_of_rooms_or_history_that_cannot_be_read(data: Path, kind: bytes) -> None:
    key = next((key for key, _ in tables(data)["base"] if key.startswith(kind)), kind + b"anything")
    change(data, "base", key, b"\xc1")
    assert f"base: base: {KINDS[kind]} row '{kind.decode()}' {key[1:].hex()}: not a row of this kind" in told(data)
    with pytest.raises(Corruption, match="not a row of this kind"):
        rebuild(data, progress=quiet)


def test_a_body_that_nothing_needs(data: Path) -> None:
    ids = {int.from_bytes(key): value for key, value in tables(data)["bodies"]}
    gone = Position(min(ids) - 1)
    change(data, "bodies", U64.pack(gone), next(iter(ids.values())))
    problems = told(data)
    assert f"body {gone} has no owner" in problems
    assert f"body {gone}: CRC mismatch" in problems  # it was written for another place


def test_a_log_record_that_is_gone(data: Path) -> None:
    """The next one that needs it, or the comparison at the end, shows it."""
    change(data, "log", tables(data)["log"][4][0], None)
    assert told(data)


def test_a_log_record_that_does_not_fit(data: Path) -> None:
    """An ack of entries that base never had."""
    change(data, "base", CLOCK, None)
    with raw(data) as (transaction, databases):
        transaction.drop(databases["base-queues"], delete=False)
    problems = told(data)
    assert "does not fit base and the records before it" in problems
    assert "live was not compared" in problems
    before = tables(data)
    with pytest.raises(Corruption, match="does not fit base"):
        rebuild(data, progress=quiet)
    assert tables(data) == before


def test_users_of_a_day_that_do_not_add_up(data: Path) -> None:
    key = DAY_USERS + digest("demo")
    with raw(data) as (transaction, databases):
        day, users = DAY_ROW.unpack(transaction.get(key, db=databases["live"]))
        transaction.put(key, DAY_ROW.pack(day, users + 1), db=databases["live"])
    name = f"accounts: day's users row 'A' {digest('demo').hex()}"
    assert f"{name}: counts {users + 1} users on day {day}, {users} have it as their last" in told(data)
    with raw(data) as (transaction, databases):
        transaction.put(key, DAY_ROW.pack(day - 1, 0), db=databases["live"])
    assert f"{name}: the newest day is {day - 1}, a user's is {day}" in told(data)


def test_a_queue_that_does_not_add_up_the_same_in_live_and_base(data: Path) -> None:
    with raw(data) as (transaction, databases):
        for table in ("live", "base"):
            row = msgspec.msgpack.decode(transaction.get(USER + BOB, db=databases[table]), type=UserRow)
            row = msgspec.structs.replace(row, withdrawn=row.withdrawn + 100)
            transaction.put(USER + BOB, msgspec.msgpack.encode(row), db=databases[table])
    problems = told(data)
    assert "live:" not in problems
    assert "accounts: user row" in problems
    assert "does not add up" in problems


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_cut_short(data: Path, share: float, capsys: Capture) -> None:
    size = data_file(data).stat().st_size
    keep = int(size * share) // PAGE_BYTES * PAGE_BYTES + 100
    cut(data, keep=keep)
    assert f"is cut short: the last {size - keep} bytes" in told(data, verified)
    assert tools.verify(data) == 1
    assert tools.log(data) == 1
    assert tools.inspect(data, app="demo", user="bob1") == 1
    assert tools.backup(data, data.parent / "copy") == 1
    assert tools.rebuild(data) == 1
    assert "cut short" in capsys.readouterr().err
    assert not (data.parent / "copy").exists()
    with pytest.raises(StorageFailure, match="cut short"):
        LmdbStore(data)


def test_a_reader_killed_by_a_missing_page_is_a_failed_check(data: Path) -> None:
    cut(data, keep=2 * PAGE_BYTES)
    assert "killed by SIGBUS" in told(data, verified)


@pytest.mark.parametrize("keep", [0, 100, PAGE_BYTES])
def test_a_file_without_its_first_pages(data: Path, keep: int) -> None:
    cut(data, keep=keep)
    assert told(data, verified).startswith("file: ")
    with pytest.raises(StorageFailure):
        Reader(data)


def test_pages_overwritten_with_noise(data: Path) -> None:
    file = data_file(data)
    content = bytearray(file.read_bytes())
    for start in range(2 * PAGE_BYTES, len(content), PAGE_BYTES):
        content[start : start + PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    file.write_bytes(content)
    assert told(data, verified)


@pytest.mark.parametrize(
    ("damage", "advice"),
    [
        (lambda data: change(data, "live", CLOCK, None), "postroom rebuild"),
        (lambda data: change(data, "log", tables(data)["log"][2][0], b"short"), "go on from a backup"),
        (lambda data: change(data, "bodies", tables(data)["bodies"][-1][0], b"short"), "in a backup or nowhere"),
        (lambda data: cut(data, keep=3 * PAGE_BYTES), "go on from a backup"),
    ],
)
def test_a_failed_check_says_what_to_do(
    data: Path, damage: Callable[[Path], None], advice: str, capsys: Capture
) -> None:
    damage(data)
    assert tools.verify(data) == 1
    assert advice in capsys.readouterr().err


def test_a_deleted_conversation_with_a_record_or_in_the_wrong_place(data: Path) -> None:
    value = next(value for key, value in tables(data)["live"] if key.startswith(DELETED))
    row = msgspec.msgpack.decode(value, type=ConversationRow)
    of_g = msgspec.structs.replace(row, number=Position(1), id="g", members=0, muted=0, banned=0, roles=0)
    change(data, "live", deleted_key("demo", "group", "g"), msgspec.msgpack.encode(of_g))
    change(data, "live", deleted_key("demo", "group", "other"), value)
    problems = told(data)
    assert "conversations: group 'g' of app 'demo' is deleted and has a record" in problems
    assert "is not where group 'gone' of app 'demo' belongs" in problems


def test_a_message_of_nobody(data: Path) -> None:
    """A change row that leads to a message nobody has."""
    change(data, "live", CHANGE + U64.pack(77), U64.pack(MessageId(78)))
    assert "live: live: change row 'k' " + U64.pack(77).hex() in told(data)


@pytest.mark.parametrize(
    ("letter", "list", "says"),
    [
        (b"b", b"s", "group 'g' of app 'demo' counts 1 silenced, its list has 0"),
        (b"b", b"x", "group 'g' of app 'demo' counts 2 banned, its list has 1"),
        (b"l", b"x", "its banned do not know the place of"),
        (b"S", b"", "there are 2 rows 'E', the records need 1"),
        (b"E", b"", "the silence of 'carol' has no end"),
        (b"R", b"", "group 'g' of app 'demo' counts 1 roles and 1 owners, there are 0 and 0"),
        (b"o", b"", "has no record that says the same"),
    ],
)
def test_a_row_of_a_conversation_s_lists_that_is_gone(data: Path, letter: bytes, list: bytes, says: str) -> None:
    key = next(key for key, _ in tables(data)["live"] if key.startswith(letter) and key[9:].startswith(list))
    change(data, "live", key, None)
    problems = told(data)
    assert "conversations: " in problems
    assert says in problems


@pytest.mark.parametrize("letter", [b"S", b"R", b"B"])
def test_a_row_of_a_conversation_s_lists_that_is_somebody_else_s(data: Path, letter: bytes) -> None:
    key, value = next(row for row in tables(data)["live"] if row[0].startswith(letter))
    change(data, "live", key, None)
    at = -1 if letter != b"B" else 1
    change(data, "live", flipped(key, at), value)
    assert "is not where" in told(data) or "is not of a conversation that there is" in told(data)
    change(data, "live", flipped(key, at), b"\xc1")
    assert "cannot be read" in told(data)


GIL = b"V" + keys.user_key("demo", "gil")
"""The row of a member who has read something; the number of the group follows."""


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (UnreadRow("group", "g", 9), "'gil' has read or sent more than its"),
        (UnreadRow("group", "g", 1, -1), "'gil' has read or sent more than its"),
        (UnreadRow("group", "h", 1), "what 'gil' has read is of another conversation"),
        (UnreadRow("group", "g", 1, guest=True), "or of another kind of user"),
    ],
)
def test_what_cannot_have_been_read(data: Path, read: UnreadRow, says: str) -> None:
    key = next(key for key, _ in tables(data)["live"] if key.startswith(GIL))
    change(data, "live", key, msgspec.msgpack.encode(read))
    assert says in told(data)


def test_somebody_who_has_read_and_is_no_member(data: Path) -> None:
    key, value = next(row for row in tables(data)["live"] if row[0].startswith(GIL))
    change(data, "live", b"V" + keys.user_key("demo", "stranger") + key[17:], value)
    assert "there are 5 rows 'V', the records need 4" in told(data)


def test_guests_of_whom_nothing_is_noted(data: Path) -> None:
    key = next(key for key, _ in tables(data)["live"] if key.startswith(GIL))
    change(data, "live", b"W" + key[17:] + keys.user_key("demo", "eve"), b"eve")
    assert "of guest 'eve' it is not noted what they have read" in told(data)
    change(data, "live", b"W" + key[17:] + keys.user_key("demo", "eve"), b"dan")
    assert "guest 'dan' is not where they would be looked for" in told(data)
    eve = UnreadRow("group", "g", guest=True)
    change(data, "live", b"W" + key[17:] + keys.user_key("demo", "eve"), b"eve")
    change(data, "live", b"V" + keys.user_key("demo", "eve") + key[17:], msgspec.msgpack.encode(eve))
    assert "guest 'eve' has nothing to read" in told(data)


@pytest.mark.parametrize(
    ("length", "says"),
    [
        (17, "its alias 'there0' does not lead to it"),
        (33, "there are 3 aliases of 2 imported messages"),
    ],
)
def test_an_alias_that_is_gone(data: Path, length: int, says: str) -> None:
    key = next(
        key
        for key, value in tables(data)["live"]
        if key.startswith(b"M") and len(key) == length and (length == 33 or key == alias_key("demo", "there0"))
    )
    change(data, "live", key, None)
    problems = told(data)
    assert "history: " in problems
    assert says in problems


def test_an_alias_of_a_deleted_message_that_leads_elsewhere(data: Path) -> None:
    change(data, "live", alias_key("demo", "there1"), b"\0" * 16)
    assert "the name of a deleted message does not lead to its place" in told(data)
