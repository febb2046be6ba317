"""FORMAT.md draws what is written: its samples, letters, tables and bits are those of the code."""

import re
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from postroom.core.events import EpochStarted, Record
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import group, peer
from postroom.core.rows import Body, ChangedRow, DedupRow, Entry, Header, Totals, UserRow
from postroom.storage import keys
from postroom.storage.checking.rows import KINDS
from postroom.storage.engine import SETS, TABLES
from postroom.storage.lmdb.environment import Versions
from postroom.storage.records import encode_body, encode_record

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
    ("row", "letter"), [(Totals, "a"), (UserRow, "u"), (DedupRow, "d"), (ChangedRow, "m")], ids=lambda value: str(value)
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


def test_the_timeline_of_two() -> None:
    ours = keys.timeline_key("demo", peer("bob"), "alice", 7, 5)
    assert ours == keys.timeline_key("demo", peer("alice"), "bob", 7, 5)
    assert ours == b"t" + keys.digest("demo", "peer", "0", "alice", "bob") + (7).to_bytes(8) + (5).to_bytes(8)
    assert keys.timeline_key("demo", group("g"), "x", 7, 5)[1:17] == keys.digest("demo", "group", "0", "g")
