"""Conversations by what stands in their records: the answers, against every record looked at; and what they cost."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from postroom.core import Broker, SendMessage
from postroom.core.commands import (
    AddMembers,
    CreateConversation,
    DeleteMessage,
    MuteConversation,
    Operation,
    RecallMessage,
    RemoveMembers,
    UpdateConversation,
)
from postroom.core.errors import InvalidCommand, UnknownApp
from postroom.core.ids import Position, UnixMs
from postroom.core.model import Conversation, ConversationInfo, Kind, Rules, group, room, service
from postroom.core.ports import ReadViews, Store
from postroom.core.queries import CountConversations, FindConversations, FindOnline, GetConversation
from postroom.core.rows import ConversationRow
from postroom.core.search import ConversationSearch
from postroom.core.search.sources import Common
from postroom.core.where import matches, parse, parse_order
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from tests.support.machine import START_MS
from tests.support.office import APP, HandClock, Tray, open_office

GROUP: tuple[Kind, ...] = ("group",)
KINDS: tuple[Kind, ...] = ("group", "room", "service")
NEVER = UnixMs(-1)


@pytest.fixture(params=["memory", "lmdb"], scope="module")
def a_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An empty store of each kind."""
    store: Store = MemoryStore() if request.param == "memory" else LmdbStore(tmp_path_factory.mktemp("data"))
    yield store
    store.close()


def put(
    views: Any, number: int, conversation: Conversation, members: Any, attributes: dict[str, Any], app: str = APP
) -> None:
    """A record as `apply` would write it."""
    row = ConversationRow(
        number=Position(number),
        kind=conversation.kind,
        id=conversation.id,
        created_ms=UnixMs(START_MS + number),
        updated_ms=UnixMs(START_MS + number),
        unique=False,
        attributes=json.dumps(attributes).encode(),
        members=len(members),
    )
    views.put_conversation(app, row)
    if members:
        views.list_users(app, row, "members", members, Position(number))


def searched(
    store: Store, where: Any = None, *, count: bool = False, cost_max: int | None = None, **fields: Any
) -> ConversationSearch:
    """A search at its end, each slice in a snapshot of its own."""
    fields = {"app": APP, "kinds": GROUP, "where": json.dumps(where or {}).encode(), **fields}
    query = CountConversations(**fields) if count else FindConversations(**fields)
    query.check()
    search = ConversationSearch(query, Position(1 << 52), NEVER)
    more = True
    while more:
        with store.snapshot() as snapshot:
            more = search.go_on(snapshot.views, *([cost_max] if cost_max is not None else []))
    return search


def names(search: ConversationSearch) -> list[str]:
    """The ids found."""
    return [found.conversation.id for found in search.found]


# Cost, with many.

MANY = 30_000
FEWER = 10_000
"""In a store in memory: it takes several times as long to fill."""


@pytest.fixture(scope="module")
def full_store(a_store: Store) -> Store:
    """Many conversations: ten of each owner, each user in five, of four each tag, and half of them odd."""
    for first in range(0, MANY if a_store.durable else FEWER, FEWER):
        with a_store.transaction() as transaction:
            for number in range(first + 1, first + FEWER + 1):
                put(
                    transaction.views,
                    number,
                    group(f"g{number}"),
                    (f"user {number // 5}",),
                    {"owner": number // 10, "tags": [f"tag {number // 4}", *["odd"] * (number % 2)]},
                )
    return a_store


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"members": "user 1000"}, range(5_000, 5_005)),
        ({"owner": 700}, range(7_000, 7_010)),
        ({"owner": 700.0}, range(7_000, 7_010)),
        ({"attributes.owner": 700}, range(7_000, 7_010)),
        ({"tags": "tag 300"}, range(1_200, 1_204)),
        ({"id": "g777"}, [777]),
        ({"id": {"$in": ["g777", "g77", "nobody"]}}, [77, 777]),
        ({"owner": {"$in": [9, 7]}}, [*range(70, 80), *range(90, 100)]),
        ({"members": "user 1000", "tags": "odd"}, [5_001, 5_003]),
        ({"tags": "odd", "owner": 700}, range(7_001, 7_010, 2)),
        ({"tags": {"$all": ["odd", "tag 300"]}}, [1_201, 1_203]),
        ({"$and": [{"tags": "odd"}, {"owner": {"$gte": 0}}], "members": "user 4"}, [21, 23]),
        ({"owner": 700, "members": "user 1401"}, range(7_005, 7_010)),
        ({"owner": 700, "members": "user 3"}, []),
        ({"owner": "700"}, []),
        ({"owner": {"$in": []}}, []),
        ({"members": 5}, []),
        ({"members": {"$all": ["user 1", "user 2"]}}, []),
    ],
    ids=repr,
)
def test_a_look_into_an_index_costs_what_it_gives(full_store: Store, where: Any, expected: Any) -> None:
    """In either direction, at most the rows that match and ten more; of two conditions, of the shorter and as many seeks."""
    expected = [f"g{number}" for number in expected]
    for order in ((), ("created_ms",), ("-created_ms",), ("owner",)):
        search = searched(full_store, where, order=order)
        assert names(search) == (expected[::-1] if order == ("-created_ms",) else expected)
        assert search.records <= len(expected) + 10
        assert search.rows <= 3 * len(expected) + 10
        if len(where) == 1 and "tags" not in where:
            assert search.rows <= len(expected) + 10
    assert searched(full_store, where, count=True).count == len(expected)


def test_a_page_in_the_order_of_creation_costs_what_it_gives(full_store: Store) -> None:
    many = searched(full_store, count=True).count
    for order, first in ((("created_ms",), 1), (("-created_ms",), many)):
        search = searched(full_store, order=order, limit=5)
        step = 1 if first == 1 else -1
        assert names(search) == [f"g{first + step * index}" for index in range(5)]
        assert (search.rows, search.records) == (5, 5)
        search = searched(full_store, {"tags": "odd"}, order=order, limit=5, offset=5)
        assert search.rows == search.records == 10
        search = searched(full_store, {"owner": {"$gt": -1}}, order=order, limit=5)
        assert search.records == search.rows == 5


def test_kinds_that_the_filter_leaves_out_are_not_looked_at(full_store: Store) -> None:
    for where in ({"kind": "room"}, {"kind": {"$in": ["service", "x"]}}, {"kind": {"$all": ["room", "group"]}}):
        search = searched(full_store, where, kinds=KINDS)
        assert (search.found, search.rows) == ([], 0)
    assert searched(full_store, {"kind": "group"}, kinds=KINDS, limit=3).rows == 3


def test_counting_all_looks_at_no_record(full_store: Store) -> None:
    search = searched(full_store, count=True)
    assert search.count == (MANY if full_store.durable else FEWER)
    assert (search.records, search.rows) == (0, search.count)


def test_a_slice_ends_when_it_has_cost_enough(full_store: Store) -> None:
    """So no snapshot is held for long, however many conversations there are and whatever is asked of each."""
    for where, least, most in (
        ({"owner": {"$gt": 1e9}}, 1_000, 5_000),
        ({"tags": {"$regex": "^nothing"}}, 500, 5_000),
        ({"tags": {"$regex": r"\p{L}{2}\pN"}}, 5, 100),
    ):
        query = FindConversations(app=APP, kinds=GROUP, where=json.dumps(where).encode())
        search = ConversationSearch(query, Position(1 << 52), NEVER)
        with full_store.snapshot() as snapshot:
            assert search.go_on(snapshot.views)
        assert least <= search.records <= most


def test_sorting_keeps_no_more_than_may_be_answered(full_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 0
    cut = ConversationSearch._cut

    def noted(search: ConversationSearch) -> None:
        nonlocal longest
        longest = max(longest, len(search._ranked))
        cut(search)

    monkeypatch.setattr(ConversationSearch, "_cut", noted)
    search = searched(full_store, {"owner": {"$lt": 500}}, order=("-owner", "id"), offset=10, limit=5)
    assert names(search) == [f"g{number}" for number in range(4_980, 4_985)]
    assert longest == 30


# Answers, against every record looked at.

ids = st.sampled_from(["a", "b", "c", "d"])
scalars = st.sampled_from([None, True, 0, 1, 1.0, 2, "", "a", "b"])
held = st.one_of(scalars, st.lists(scalars, max_size=3), st.fixed_dictionaries({"n": scalars}))
attributes = st.dictionaries(st.sampled_from(["x", "y", "kind", "members"]), held, max_size=3)
records = st.lists(
    st.tuples(st.sampled_from(KINDS), attributes, st.lists(ids, unique=True, max_size=3)), min_size=1, max_size=12
)
conditions = st.one_of(
    scalars,
    st.builds(lambda values: {"$in": values}, st.lists(scalars, max_size=3)),
    st.builds(lambda values: {"$all": values}, st.lists(scalars, min_size=1, max_size=2)),
    st.builds(lambda value: {"$ne": value}, scalars),
    st.builds(lambda value: {"$gte": value}, scalars),
)
fields = st.sampled_from(["x", "y", "x.n", "kind", "members", "id", "attributes.kind", "attributes.members"])
filters = st.one_of(
    st.dictionaries(fields, conditions, max_size=3),
    st.builds(
        lambda parts: {"$or": parts}, st.lists(st.dictionaries(fields, conditions, max_size=1), min_size=1, max_size=2)
    ),
    st.builds(lambda who, more: {"members": who, **more}, ids, st.dictionaries(fields, conditions, max_size=1)),
)
some_kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=3)
orders = st.sampled_from([(), ("created_ms",), ("-created_ms",), ("x",), ("-x", "y"), ("kind", "-id"), ("-members",)])


def seen(info: ConversationInfo) -> dict[str, Any]:
    """The row that a filter sees, in full."""
    attributes = json.loads(info.attributes)
    row = {
        **{name: value for name, value in attributes.items() if name not in ("members", "muted")},
        "attributes": attributes,
        "id": info.conversation.id,
        "kind": info.conversation.kind,
        "created_ms": info.created_ms,
        "updated_ms": info.updated_ms,
        "unique": info.unique,
    }
    if info.conversation.kind == "group":
        row |= {"members": list(info.members), "muted": list(info.muted)}
    return row


@pytest.mark.parametrize("make", [MemoryStore, None], ids=["memory", "lmdb"])
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    records=records,
    questions=st.lists(
        st.tuples(filters, orders, some_kinds, st.integers(0, 2), st.integers(1, 9)),
        min_size=1,
        max_size=5,
    ),
    cost_max=st.integers(1, 12),
)
def test_the_answer_is_that_of_looking_at_every_record(
    make: Any, tmp_path_factory: pytest.TempPathFactory, records: Any, questions: Any, cost_max: int
) -> None:
    """However small its slices are."""
    store: Store = MemoryStore() if make else LmdbStore(tmp_path_factory.mktemp("data"))
    try:
        with store.transaction() as transaction:
            for index, (kind, held, members) in enumerate(records):
                conversation = Conversation(kind, f"{'abcd'[index % 4]}{index}")
                put(transaction.views, 1 + 7 * index, conversation, members if kind == "group" else (), held)
                put(transaction.views, 1 + 7 * index, conversation, (), {"x": 1, "y": "a"}, "other")
        everything = searched(store, kinds=KINDS, limit=1_000).found
        assert len(everything) == len(records)
        for where, order, kinds, offset, limit in questions:
            filter = parse(json.dumps(where).encode())
            expected = [info for info in everything if info.conversation.kind in kinds and matches(filter, seen(info))]
            search = searched(store, where, kinds=tuple(kinds), count=True, cost_max=cost_max)
            assert search.count == len(expected)
            if order == ("-created_ms",):
                expected.reverse()
            elif order != ("created_ms",):
                expected.sort(key=lambda info: parse_order(order).key(seen(info)))
            asked: Any = {"kinds": tuple(kinds), "order": order, "offset": offset, "limit": limit}
            search = searched(store, where, cost_max=cost_max, **asked)
            assert search.found == expected[offset : offset + limit]
    finally:
        store.close()


def source(numbers: set[int]) -> Any:
    """An index of these."""

    def rows(views: ReadViews, after: Position, before: Position | None) -> Iterator[Any]:
        for number in sorted(numbers, reverse=before is not None):
            if number > after if before is None else number < before:
                yield Position(number), group(f"{number}")

    return rows


def common_to(
    sets: list[set[int]], beyond: int, *, newest_first: bool, rows_max: int = 1_000
) -> tuple[list[int], list[int]]:
    """What sets have in common, and how many rows each slice read for that."""
    found, read, place = [], [], Position(beyond)
    while True:
        views: Any = None
        common = Common([source(each) for each in sets], views, newest_first=newest_first, rows_max=rows_max)
        found += [number for number, _ in common.rows(place)]
        read.append(common.read)
        if common.beyond is None:
            return found, read
        place = common.beyond


@given(st.lists(st.sets(st.integers(1, 40), max_size=20), min_size=1, max_size=4), st.booleans(), st.integers(0, 41))
@settings(deadline=None)
def test_what_sources_have_in_common(sets: list[set[int]], newest_first: bool, beyond: int) -> None:
    shared = set.intersection(*sets)
    expected = sorted((n for n in shared if (n < beyond if newest_first else n > beyond)), reverse=newest_first)
    found, read = common_to(sets, beyond, newest_first=newest_first)
    assert found == expected
    assert read[0] <= 2 * len(sets) * (min(map(len, sets)) + 1)
    assert common_to(sets, beyond, newest_first=newest_first, rows_max=3)[0] == expected


def test_sources_with_little_in_common_are_gone_through_in_slices() -> None:
    odd, even = set(range(1, 2_000, 2)), {1_001, *range(0, 2_000, 2)}
    for newest_first in (False, True):
        found, read = common_to([odd, even], 2_000 if newest_first else 0, newest_first=newest_first, rows_max=50)
        assert found == [1_001]
        assert len(read) > 20
        assert max(read) <= 60


# A whole broker.


async def create(broker: Broker, conversation: Conversation, *members: str, **attributes: Any) -> None:
    """A conversation."""
    await broker.submit(
        CreateConversation(
            app=APP, conversation=conversation, members=members, attributes=json.dumps(attributes).encode()
        )
    )


async def find(broker: Broker, where: Any = None, **fields: Any) -> list[str]:
    """The ids of what is found, and it is what is counted."""
    asked: dict[str, Any] = {"app": APP, "kinds": KINDS, "where": json.dumps(where or {}).encode(), **fields}
    found = await broker.ask(FindConversations(**asked))
    if not {"offset", "limit"} & set(fields):
        asked.pop("order", None)
        assert await broker.ask(CountConversations(**asked)) == len(found)
    return [info.conversation.id for info in found]


async def test_a_conversation_is_found_as_it_is_now() -> None:
    async with open_office() as (broker, _):
        await create(broker, group("g"), "ann", "bob", topic="tea", size=1)
        await create(broker, service("s"), topic="tea")
        await broker.submit(SendMessage(app=APP, sender="ann", to=room("r"), body=b"hi", history=True))
        assert await find(broker) == ["g", "s", "r"]
        assert await find(broker, kinds=("room", "group"), order=("-created_ms",)) == ["r", "g"]
        assert await find(broker, {"topic": "tea"}) == ["g", "s"]
        assert await find(broker, {"members": "ann"}) == ["g"]
        await broker.submit(RemoveMembers(app=APP, conversation=group("g"), users=("ann",)))
        await broker.submit(AddMembers(app=APP, conversation=group("g"), users=("carl",)))
        await broker.submit(MuteConversation(app=APP, conversation=group("g"), users=("dora",)))
        changes = (Operation("topic", "set", b'"coffee"'), Operation("size", "increment", b"2"))
        await broker.submit(UpdateConversation(app=APP, conversation=group("g"), operations=changes))
        assert await find(broker, {"members": "ann"}) == []
        assert await find(broker, {"members": {"$all": ["carl", "bob"]}}) == ["g"]
        assert await find(broker, {"muted": "dora"}) == ["g"]
        assert await find(broker, {"topic": "tea"}) == ["s"]
        assert await find(broker, {"topic": "coffee", "size": 3}) == ["g"]
        assert await find(broker, {"kind": "service"}) == ["s"]
        assert await find(broker, {"id": "r"}) == ["r"]
        assert await find(broker, limit=1, offset=1) == ["s"]


async def test_all_that_is_known_of_a_conversation() -> None:
    async with open_office() as (broker, _):
        assert await broker.ask(GetConversation(app=APP, conversation=group("g"))) is None
        await create(broker, group("g"), "bob", "ann", topic="tea")
        await broker.submit(MuteConversation(app=APP, conversation=group("g"), users=("dora", "ann")))
        info = await broker.ask(GetConversation(app=APP, conversation=group("g")))
        assert info is not None
        assert info == ConversationInfo(
            conversation=group("g"),
            created_ms=info.created_ms,
            updated_ms=info.updated_ms,
            attributes=b'{"topic":"tea"}',
            members=("bob", "ann"),
            member_count=2,
            muted=("dora", "ann"),
            unique=False,
            last_message_ms=None,
        )
        assert await broker.ask(FindConversations(app=APP, kinds=GROUP)) == (info,)
        assert await broker.ask(GetConversation(app=APP, conversation=room("g"))) is None
        assert await broker.ask(GetConversation(app="other", conversation=group("g"))) is None


async def test_when_the_newest_kept_message_was_sent() -> None:
    async with open_office() as (broker, _):
        sent = [
            await broker.submit(SendMessage(app=APP, sender="ann", to=room("r"), body=b"hi", history=history))
            for history in (True, True, False)
        ]

        async def newest() -> int | None:
            info = await broker.ask(GetConversation(app=APP, conversation=room("r")))
            assert info is not None
            assert await broker.ask(FindConversations(app=APP, kinds=("room",))) == (info,)
            return info.last_message_ms

        assert await newest() == sent[1].at_ms
        await broker.submit(RecallMessage(app=APP, id=sent[1].id, by="mod"))
        assert await newest() == sent[1].at_ms
        await broker.submit(DeleteMessage(app=APP, id=sent[1].id, by="mod"))
        assert await newest() == sent[0].at_ms
        await broker.submit(DeleteMessage(app=APP, id=sent[0].id, by="mod"))
        assert await newest() is None


async def test_a_message_past_retention_is_not_the_newest(autojump_clock: MockClock) -> None:
    """Swept or not."""
    rules = {APP: Rules(history_ttl_ms=10_000, queue_ttl_ms=10_000)}
    async with open_office(rules=rules, clock=HandClock()) as (broker, _):
        sent = await broker.submit(SendMessage(app=APP, sender="ann", to=room("r"), body=b"hi", history=True))
        for seconds, expected in ((9, sent.at_ms), (2, None)):
            await trio.sleep(seconds)
            info = await broker.ask(GetConversation(app=APP, conversation=room("r")))
            assert info is not None
            assert info.last_message_ms == expected


async def test_who_is_online() -> None:
    async with open_office() as (broker, _):
        async with broker.connect(app=APP, user="ann", sink=Tray()), broker.connect(app=APP, user="bob", sink=Tray()):
            asked = ("dora", "bob", "carl", "ann", "bob")
            assert await broker.ask(FindOnline(app=APP, users=asked)) == ("bob", "ann", "bob")
            assert await broker.ask(FindOnline(app="other", users=asked)) == ()
            assert await broker.ask(FindOnline(app=APP, users=())) == ()
        assert await broker.ask(FindOnline(app=APP, users=asked)) == ()


@pytest.mark.parametrize(
    ("query", "named"),
    [
        (FindConversations(app=APP, kinds=()), "kinds"),
        (FindConversations(app=APP, kinds=("peer",)), "kinds"),
        (CountConversations(app=APP, kinds=("group", "peer")), "kinds"),
        (FindConversations(app=APP, kinds=GROUP, where=b"{"), "where"),
        (CountConversations(app=APP, kinds=GROUP, where=b'{"a":{"$select":1}}'), "select"),
        (FindConversations(app=APP, kinds=GROUP, order=("-",)), "order"),
        (FindConversations(app=APP, kinds=GROUP, limit=0), "limit"),
        (FindConversations(app=APP, kinds=GROUP, limit=1_001), "limit"),
        (FindConversations(app=APP, kinds=GROUP, offset=-1), "offset"),
        (FindConversations(app=APP, kinds=GROUP, offset=9_901, order=("x",)), "offset"),
        (GetConversation(app=APP, conversation=group("")), "conversation"),
        (FindOnline(app=APP, users=("a",) * 1_001), "users"),
        (FindOnline(app=APP, users=("",)), "users"),
    ],
)
async def test_what_is_refused(query: Any, named: str) -> None:
    async with open_office() as (broker, _):
        with pytest.raises(InvalidCommand, match=named):
            await broker.ask(query)
        assert broker.statistics().refusals[APP, "invalid"] == 1


async def test_an_app_that_is_not_configured_has_no_conversations() -> None:
    async with open_office(rules={APP: Rules()}) as (broker, _):
        for query in (FindConversations(app="x", kinds=GROUP), FindOnline(app="x", users=())):
            with pytest.raises(UnknownApp):
                await broker.ask(query)
