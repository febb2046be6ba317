"""An export's files as records, records as commands, and the order in which messages were accepted."""

import gzip
import hashlib
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.commands import ImportConversation
from postroom.core.ids import UnixMs
from postroom.core.limits import MEMBERS_MAX
from postroom.core.model import group, room, service
from postroom.transports.leancloud.importing import files, order, records
from postroom.transports.leancloud.importing.files import Bad, ExportFile
from postroom.transports.leancloud.importing.records import Unusable, Where
from postroom.transports.leancloud.importing.targets import is_derived

HEADER = '#filetype:JSON-streaming {"type":"Class","class":"_Conversation"}\n'
Write = Callable[[str | bytes], ExportFile]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file with this in it."""

    def written(content: str | bytes) -> ExportFile:
        path = tmp_path / "export"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return ExportFile(path)

    return written


def read(file: ExportFile) -> list[Any]:
    """Its records, and why it ended."""
    return [each if isinstance(each, Bad) else json.loads(each) for each in file.records()]


EACH = [{"a": 1}, {"b": 'x"}{[\\ ü', "c": [{"d": {}}]}, {}]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(json.dumps, EACH)),
        HEADER + "\r\n".join(map(json.dumps, EACH)) + "\n\n",
        "\ufeff" + HEADER + "\n".join(map(json.dumps, EACH)),
        json.dumps(EACH),
        json.dumps(EACH, indent=2, ensure_ascii=False),
        "\n\n  " + json.dumps(EACH, separators=(",", ":")),
        json.dumps(EACH[:1]) + "\n" + json.dumps(EACH[1:]),
        json.dumps([EACH[:1], [], EACH[1:]]),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 1 << 18])
def test_files(write: Write, text: str, zipped: bool, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHUNK", chunk)
    content = text.encode()
    file = write(gzip.compress(content[:7]) + gzip.compress(content[7:]) if zipped else content)
    assert read(file) == EACH
    assert file.read_bytes == file.size_bytes
    assert read(file) == EACH  # once more from its beginning


def test_an_array_that_is_longer_than_a_line_may_be(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of it first ends anywhere, in the middle of a text as well."""
    texts = [{"a": " " * 50}] * 20
    for most in range(100, 170):
        monkeypatch.setattr(files, "RECORD_BYTES_MAX", most)
        assert read(write(json.dumps(texts))) == texts


@pytest.mark.parametrize(
    ("content", "before", "why"),
    [
        ('[{"a":1}', 1, "the file ends within an array"),
        ('[{"a":1},{"a":', 1, "the file ends within a record"),
        ('[{"a":1},{"a":"x', 1, "the file ends within a record"),
        ('[{"a":1}, nonsense]', 1, "not an array of records, from here on"),
        ('[{"a":1}]]', 1, "not an array of records, from here on"),
        (gzip.compress(b'{"a":1}\n{"b":2}\n', mtime=0)[:-9], 0, "the file is cut short or damaged"),
        (b"\x1f\x8b\x08" + b"\xff" * 30, 0, "the file is cut short or damaged"),
    ],
)
def test_files_that_cannot_be_read_to_their_end(write: Write, content: str | bytes, before: int, why: str) -> None:
    found = read(write(content))
    assert len(found) == before + 1
    assert found[-1].reason.startswith(why)


def test_records_that_are_longer_than_any(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RECORD_BYTES_MAX", 100)
    long = json.dumps({"a": "x" * 1_000})
    assert read(write(f'{{"a":1}}\n{long}\n{{"b":2}}')) == [{"a": 1}, Bad("a line is longer than any record"), {"b": 2}]
    monkeypatch.setattr(files, "_CHUNK", 10)
    assert read(write(f'[{{"a":1}},{long}]')) == [{"a": 1}, Bad("an object is longer than any record")]


@given(st.binary(max_size=60))
def test_any_bytes_end(content: bytes) -> None:
    def again(chunks: list[bytes]) -> list[bytes | Bad]:
        import io

        return list(files._records(io.BytesIO(b"".join(chunks))))

    assert all(isinstance(each, bytes | Bad) for each in again([b"[", content]))
    assert all(isinstance(each, bytes | Bad) for each in again([content]))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (HEADER + '{"objectId":"1"}', "conversations"),
        ('nonsense\n{"objectId":"1"}', "conversations"),
        ('[{"msg-id":"1"}]', "messages"),
        ('{"msg-id":"1","objectId":"2"}', "messages"),
        ("", "messages"),
        (HEADER, "messages"),
    ],
)
def test_what_a_file_holds(write: Write, content: str, kind: str) -> None:
    file = write(content)
    assert file.kind() == kind
    assert file.read_bytes == 0


class At(NamedTuple):
    """A message of a time."""

    at_ms: int
    name: str = ""


def ordered(*pages: str) -> str:
    """Of messages named by a digit, their time, and a letter."""
    taken = order.in_order([At(int(each[0]), each) for each in page.split()] for page in pages)
    return " ".join(each.name for each in taken)


@pytest.mark.parametrize(
    ("pages", "taken"),
    [
        (["1a 2a 2b 3a 3b"], "1a 2a 2b 3a 3b"),
        (["3b 3a 2b 2a 1a"], "3a 3b 2a 2b 1a"),
        (["3a 3b"], "3a 3b"),
        (["3b 3a 2b", "2a 1b 1a"], "3a 3b 2a 2b 1a 1b"),  # a run that goes on in the next page
        (["1a 2a 2b", "2c 3a 3b"], "1a 2a 2b 2c 3a 3b"),
        (["3b 3a 2a", "1a 2b 2c 3c"], "3a 3b 2a 1a 2b 2c 3c"),  # each file has a direction of its own
        (["1a 2a", "9b 9a 8a"], "1a 2a 9a 9b 8a"),
        (["1z 9z 5b 5a 4b 4a 3b 3a"], "1z 9z 5a 5b 4a 4b 3a 3b"),  # one that stands wrong does not turn a file
        (["2b 2a", "1b 1a 0a"], "2b 2a 1a 1b 0a"),
        (["3b 3a 2a", "1b 1a", "0b 0a"], "3a 3b 2a 1a 1b 0a 0b"),  # a page of one time goes as those before
        (["1a 1b 2a", "3a 3b"], "1a 1b 2a 3a 3b"),
        ([], ""),
        (["", "1a", ""], "1a"),
    ],
)
def test_equal_times(pages: list[str], taken: str) -> None:
    assert ordered(*pages) == taken


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 30), st.booleans())
def test_pages_of_a_history_come_in_the_order_of_acceptance(times: list[int], cut: int, falling: bool) -> None:
    accepted = [At(at_ms, str(number)) for number, at_ms in enumerate(sorted(times))]
    told = accepted[::-1] if falling else accepted
    taken = list(order.in_order([told[:cut], told[cut:]]))
    assert sorted(taken, key=lambda each: int(each.name)) == accepted
    falls = falling and any(one.at_ms != other.at_ms for page in (told[:cut],) for one, other in pairwise(page))
    if not falling or falls:
        assert sorted(taken, key=lambda each: each.at_ms) == accepted


def test_more_of_one_time_than_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "RUN_MAX", 3)
    assert ordered("1a 2a 2b 2c 2d 2e") == "1a 2a 2b 2c 2d 2e"
    assert ordered("3a 2c 2b 2a") == "3a 2a 2b 2c"
    with pytest.raises(order.TooMany):
        ordered("3a 2d 2c 2b 2a")


HERE = Where("f", 1)
MESSAGE: dict[str, Any] = {
    "timestamp": 1_700_000_012_345,
    "conv-id": "6560aa00c0ffee0000000001",
    "data": '{"_lctype":-1,"_lctext":"hi"}',
    "from": "alice",
    "msg-id": "EjRWeJq83vASNFZ4mrze8A",
    "is-conv": True,
    "is-room": False,
    "to": "6560aa00c0ffee0000000001",
    "bin": False,
    "from-ip": "192.0.2.7",
}


def message(**fields: Any) -> records.Message:
    """What a record says; a field that is None is not there."""
    wire = {key: value for key, value in (MESSAGE | fields).items() if value is not None}
    return records.message(json.dumps(wire).encode(), HERE)


def test_a_message() -> None:
    assert message() == records.Message(
        where=HERE,
        alias="EjRWeJq83vASNFZ4mrze8A",
        conversation="6560aa00c0ffee0000000001",
        sender="alice",
        to="6560aa00c0ffee0000000001",
        at_ms=UnixMs(1_700_000_012_345),
        body=b'{"_lctype":-1,"_lctext":"hi"}',
        format="text",
        recalled=False,
        mentions=(),
        mention_all=False,
    )
    more = message(**{"mention-pids": ["bob"], "mention-all": True, "timestamp": "1700000012345", "to": None})
    assert (more.mentions, more.mention_all, more.at_ms, more.to) == (("bob",), True, 1_700_000_012_345, None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data": ""}, (b"", "text", False)),
        ({"data": {"_lctype": -1}}, (b'{"_lctype":-1}', "text", False)),
        ({"data": "/wD+", "bin": True}, (b"\xff\x00\xfe", "binary", False)),
        ({"data": "", "bin": True}, (b"", "binary", False)),
        ({"data": '{"_lctype": -127}'}, (b"", "text", True)),
        ({"data": {"_lctype": -127, "_lctext": "gone"}}, (b"", "text", True)),
        (
            {"data": '{"_lctype":-1,"_lctext":"_lctype -127"}'},
            (b'{"_lctype":-1,"_lctext":"_lctype -127"}', "text", False),
        ),
        ({"data": '"_lctype":-127'}, (b'"_lctype":-127', "text", False)),
        ({"data": '["_lctype",-127]'}, (b'["_lctype",-127]', "text", False)),
    ],
)
def test_what_a_message_says(fields: dict[str, Any], said: tuple[bytes, str, bool]) -> None:
    found = message(**fields)
    assert (found.body, found.format, found.recalled) == said


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"msg-id": None}, "malformed", "msg-id"),
        ({"from": 5}, "malformed", "from"),
        ({"timestamp": "now"}, "malformed", "timestamp"),
        ({"timestamp": 1.5}, "malformed", "timestamp"),
        ({"timestamp": "1" * 19}, "malformed", "timestamp"),
        ({"data": 5}, "malformed", "data"),
        ({"data": "no base64", "bin": True}, "malformed", "data"),
        ({"conv-id": "_tmp:abc"}, "temporary", "temporary"),
    ],
)
def test_messages_that_are_none(fields: dict[str, Any], code: str, reason: str) -> None:
    with pytest.raises(Unusable, match=reason) as caught:
        message(**fields)
    assert caught.value.code == code


ROW: dict[str, Any] = {
    "objectId": "6560aa00c0ffee0000000001",
    "createdAt": "2023-11-14T22:13:20.000Z",
    "updatedAt": {"__type": "Date", "iso": "2023-11-14T22:13:21.000Z"},
}


def row(**fields: Any) -> ImportConversation:
    """What a row says; a field that is None is not there."""
    wire = {key: value for key, value in (ROW | fields).items() if value is not None}
    return records.conversation(json.dumps(wire).encode(), "demo")


def test_a_conversation() -> None:
    found = records.conversation(
        json.dumps(ROW)[:-1].encode()
        + b',"name":"tea","price":1.50,"attr":{"a":[1]},"m":["alice","bob","alice"],"mu":["bob"],"c":"alice","tr":false,'
        b'"unique":true,"uniqueId":"x","lm":{"__type":"Date","iso":"2023-11-14T22:13:21.000Z"}}',
        "demo",
    )
    assert found == ImportConversation(
        app="demo",
        conversation=group("6560aa00c0ffee0000000001"),
        created_ms=UnixMs(1_700_000_000_000),
        updated_ms=UnixMs(1_700_000_001_000),
        attributes=b'{"name":"tea","price":1.50,"attr":{"a":[1]},"c":"alice"}',
        members=("alice", "bob"),
        muted=("bob",),
        unique=True,
    )


def test_kinds_of_conversations() -> None:
    id = ROW["objectId"]
    assert row(tr=True, m=["alice"], unique=True).conversation == room(id)
    assert row(tr=True, m=["alice"], unique=True).members == ()
    assert row(sys=True, tr=True).conversation == service(id)
    assert row(updatedAt=None).updated_ms == row().created_ms
    assert row(updatedAt="2020-01-01T00:00:00.000Z").updated_ms == row().created_ms
    assert row(createdAt=5, updatedAt=None).created_ms == 5
    many = [str(number) for number in range(MEMBERS_MAX + 1)]
    assert row(m=many).members == tuple(many[:-1])


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"objectId": None}, "malformed", "objectId"),
        ({"objectId": "_tmp:a"}, "temporary", "temporary"),
        ({"createdAt": None}, "malformed", "createdAt"),
        ({"createdAt": "yesterday"}, "malformed", "createdAt"),
        ({"updatedAt": {"__type": "Date"}}, "malformed", "updatedAt"),
        ({"m": "alice"}, "malformed", "m"),
        ({"mu": [5]}, "malformed", "mu"),
    ],
)
def test_conversations_that_are_none(fields: dict[str, Any], code: str, reason: str) -> None:
    with pytest.raises(Unusable, match=reason) as caught:
        row(**fields)
    assert caught.value.code == code


@pytest.mark.parametrize("record", [b"", b"5", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_records_that_are_none(record: bytes) -> None:
    for read_record in (lambda: records.conversation(record, "demo"), lambda: records.message(record, HERE)):
        with pytest.raises(Unusable):
            read_record()


def test_names_that_stand_for_two() -> None:
    assert is_derived(hashlib.md5(b"peer:alice:bob").hexdigest())
    assert not is_derived("6560aa00c0ffee0000000001")
