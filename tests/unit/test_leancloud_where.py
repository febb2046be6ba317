"""Filters and orders in the core's words (LeanCloud 5)."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.errors import InvalidCommand
from postroom.core.where import parse
from postroom.transports.leancloud.errors import Malformed
from postroom.transports.leancloud.known import KINDS
from postroom.transports.leancloud.times import time_of
from postroom.transports.leancloud.where import order_of, where_of

DATE = {"__type": "Date", "iso": "2023-11-14T22:13:20.001Z"}
MS = 1_700_000_000_001


def meant(where: Any) -> Any:
    """The filter that the core is given."""
    return json.loads(where_of(json.dumps(where), KINDS))


@pytest.mark.parametrize(
    ("where", "core"),
    [
        ({}, {}),
        ([], {}),
        ({"m": "alice"}, {"members": "alice"}),
        ({"m": {"$all": ["a"]}, "mu": {"$size": 1}}, {"$and": [{"members": {"$all": ["a"]}}, {"muted": {"$size": 1}}]}),
        ({"objectId": {"$in": ["a"]}}, {"id": {"$in": ["a"]}}),
        ({"level": 3}, {"level": 3}),
        ({"attr.x": {"$gt": 1}}, {"attr.x": {"$gt": 1}}),
        ([{"a": 1}, {"b": 2}], {"$and": [{"a": 1}, {"b": 2}]}),
        ({"$or": [{"m": "a"}, {"m": "b", "c": "d"}]}, {"$or": [{"members": "a"}, {"$and": [{"members": "b"}, {"c": "d"}]}]}),
        ({"$and": [{"m": "a"}]}, {"$and": [{"members": "a"}]}),
        # An app's own fields with a name of the core's.
        ({"id": 7, "kind": "x"}, {"$and": [{"attributes.id": 7}, {"attributes.kind": "x"}]}),
        ({"members.a": 1}, {"attributes.members.a": 1}),
        ({"attributes": 1}, {"attributes.attributes": 1}),
        # Times.
        ({"createdAt": DATE}, {"created_ms": MS}),
        ({"updatedAt": {"$gt": DATE, "$lte": "2023-11-14T22:13:20.001Z"}}, {"updated_ms": {"$gt": MS, "$lte": MS}}),
        ({"createdAt": {"$in": [DATE]}}, {"created_ms": {"$in": [MS]}}),
        ({"createdAt": {"$exists": True}}, {"created_ms": {"$exists": True}}),
        ({"createdAt": "yesterday"}, {"created_ms": "yesterday"}),
        # A number is no time, though the core has times as numbers.
        ({"createdAt": {"$gt": 5}}, {"created_ms": {"$gt": "5"}}),
        ({"createdAt": {"$in": [5, 1.5, None, DATE]}}, {"created_ms": {"$in": ["5", "1.5", None, MS]}}),
        ({"updatedAt": MS}, {"updated_ms": str(MS)}),
        ({"updatedAt": {"$size": 1}}, {"updated_ms": {"$size": 1}}),
        ({"due": {"$gt": DATE}}, {"due": {"$gt": DATE}}),
        ({"due": {"$in": [DATE, 5]}}, {"due": {"$in": [DATE, 5]}}),
        ({"x": {"__type": "File"}}, {"x": {"__type": "File"}}),
        # What a kind is.
        ({"sys": {"$ne": True}}, {"kind": {"$in": ["group", "room"]}}),
        ({"sys": True}, {"kind": {"$in": ["service"]}}),
        ({"unique": True}, {"unique": {"$in": [True]}}),
        ({"unique": {"$ne": True}}, {"unique": {"$in": [False]}}),
        ({"unique": {"$exists": False}}, {"unique": {"$in": [False]}}),
    ],
)  # fmt: skip
def test_filters(where: Any, core: Any) -> None:
    assert meant(where) == core
    parse(json.dumps(core).encode())


@pytest.mark.parametrize(
    ("operand", "kinds"), [(True, ["room"]), ({"$ne": True}, ["group"]), (None, ["group"]), (False, [])]
)
def test_a_service_may_have_the_mark_of_a_chatroom_too(operand: Any, kinds: list[str]) -> None:
    assert meant({"tr": operand}) == {
        "$and": [{"kind": {"$in": [*kinds, "service"]}}, {"$or": [{"kind": {"$in": kinds}}, {"tr": operand}]}]
    }
    assert json.loads(where_of(json.dumps({"tr": operand}), ("room",))) == {
        "kind": {"$in": ["room"] if "room" in kinds else []}
    }


def test_no_filter() -> None:
    assert where_of(None, KINDS) == b"{}"


@pytest.mark.parametrize("text", ["{bad", "5", '"x"', "null", "[1]", "{'a': 1}", "[[]]", '{"a":' * 3_000])
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(Malformed):
        where_of(text, KINDS)


@pytest.mark.parametrize(
    "where",
    [
        {"lm": {"$gt": DATE}},
        {"uniqueId": "x"},
        {"$or": 5},
        {"$or": [5]},
        {"createdAt": {"__type": "Date", "iso": "yesterday"}},
        {"createdAt": {"__type": "Date"}},
        {"due": {"__type": "Date", "iso": "yesterday"}},
        {"due": {"$in": [1, {"__type": "Date", "iso": 5}]}},
        {"attr": {"x": [{"__type": "Date"}]}},
        {"tr": {"$select": 1}},
    ],
)
def test_filters_that_are_refused(where: Any) -> None:
    with pytest.raises(InvalidCommand) as caught:
        meant(where)
    assert type(caught.value) is InvalidCommand
    assert caught.value.message.startswith("where: ")


def test_a_filter_nested_beyond_all_bounds() -> None:
    text = '{"a":1}'
    for _ in range(300):
        text = f'{{"$and":[{text}]}}'
    try:
        where = where_of(text, KINDS)
    except InvalidCommand:
        return
    with pytest.raises(InvalidCommand):
        parse(where)


def test_orders() -> None:
    assert order_of(None) == order_of("") == order_of(" , ,-") == ()
    assert order_of("-createdAt, name,m") == ("-created_ms", "name", "members")
    assert order_of("tr,-sys,attr.x") == ("kind", "-kind", "attr.x")
    assert order_of("-created_ms") == ("-attributes.created_ms",)
    with pytest.raises(InvalidCommand, match=r"^order: rows cannot be found by lm"):
        order_of("-lm")


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (DATE, MS),
        ({"__type": "Date", "iso": "2023-11-15T06:13:20.001+08:00"}, MS),
        ({"__type": "Date", "iso": "2023-11-14T22:13:20.001"}, MS),
        ({"__type": "Date", "iso": "yesterday"}, None),
        ({"__type": "Date", "iso": 5}, None),
        ({"__type": "Date"}, None),
        ({"__type": ["Date"], "iso": DATE["iso"]}, None),
        ({"iso": DATE["iso"]}, None),
        ({}, None),
    ],
)
def test_what_stands_for_a_time(value: dict[str, Any], ms: int | None) -> None:
    assert time_of(value) == ms


@given(st.text())
def test_any_text_is_a_time_or_none(text: str) -> None:
    time_of({"__type": "Date", "iso": text})


KEYS = st.sampled_from(["$and", "$or", "$gt", "$in", "$exists", "m", "tr", "sys", "createdAt", "unique", "a.b", "iso"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(DATE),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["$and", "$or", "$gt", "$in", "$exists", "m", "tr", "sys", "createdAt", "unique", "a.b", "iso"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(st.one_of(VALUES.map(json.dumps), st.text(max_size=20)))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    with suppress(InvalidCommand):
        parse(where_of(text, KINDS))
