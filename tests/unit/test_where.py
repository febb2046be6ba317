"""The filter language: what each operator means, against a reference of its own; what is refused, and that it takes no time."""

import json
import random
import string
import time
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postroom.core.errors import InvalidCommand
from postroom.core.limits import (
    PATTERN_BYTES_MAX,
    PATTERN_TEXT_BYTES_MAX,
    WHERE_BYTES_MAX,
    WHERE_CONDITIONS_MAX,
    WHERE_DEPTH_MAX,
    WHERE_PATTERNS_MAX,
    WHERE_VALUES_MAX,
)
from postroom.core.where import Among, candidates, comparable, fields, matches, parse, parse_order
from postroom.core.where.values import leaves
from tests.support.thorough import examples

ROW: dict[str, Any] = {
    "name": "Team Ärger",
    "count": 3,
    "ratio": 2.5,
    "open": True,
    "nothing": None,
    "tags": ["red", "blue", 7],
    "empty": [],
    "owner": {"name": "ann", "langs": ["de", "zh"], "at": {"city": "Ulm"}},
    "parts": [{"size": 1, "of": {"x": 1}}, {"size": 5}, "loose"],
    "grid": [[1, 2], [3]],
    "due": {"__type": "Date", "iso": "2024-05-01T00:00:00.000Z"},
}


def holds(where: Any, row: dict[str, Any] = ROW) -> bool:
    """Whether the row matches a filter that is given as a Python value."""
    return matches(parse(json.dumps(where).encode()), row)


MEANT = [
    {},
    [],
    {"count": 3},
    {"count": 3.0},
    {"name": "Team Ärger", "open": True},
    {"tags": "red"},
    {"tags": 7},
    {"tags": ["red", "blue", 7]},
    {"grid": [3]},
    {"empty": []},
    {"nothing": None},
    {"missing": None},
    {"missing.deeper": None},
    {"count.deeper": None},
    {"owner.name": "ann"},
    {"owner.at.city": "Ulm"},
    {"owner.langs": "zh"},
    {"owner.langs.1": "zh"},
    {"owner": {"langs": ["de", "zh"], "at": {"city": "Ulm"}, "name": "ann"}},
    {"parts.size": 5},
    {"parts.1.size": 5},
    {"parts.of.x": 1},
    {"parts.of": None},
    {"count": {"$ne": 4}},
    {"count": {"$ne": "3"}},
    {"missing": {"$ne": 4}},
    {"tags": {"$ne": "green"}},
    {"missing": {"$nin": [1, 2]}},
    {"missing": {"$in": [1, None]}},
    {"count": {"$gt": 2, "$lt": 4, "$gte": 3, "$lte": 3}},
    {"ratio": {"$gt": 2}},
    {"name": {"$gt": "Team"}},
    {"open": {"$gt": False}},
    {"missing": {"$lte": None}},
    {"nothing": {"$gte": None}},
    {"tags": {"$lt": 8}},
    {"tags": {"$gt": ["red", "a"]}},
    {"due": {"$gt": {"__type": "Date", "iso": "2024-04-30T23:59:59.999Z"}}},
    {"due": {"$lte": {"iso": "2024-05-01T00:00:00.000Z", "__type": "Date"}}},
    {"count": {"$in": [1, 2, 3]}},
    {"tags": {"$in": ["blue", "green"]}},
    {"count": {"$nin": []}},
    {"tags": {"$all": ["blue", "red"]}},
    {"count": {"$all": [3]}},
    {"missing": {"$exists": False}},
    {"nothing": {"$exists": True}},
    {"parts.of": {"$exists": True}},
    {"tags": {"$size": 3}},
    {"empty": {"$size": 0}},
    {"name": {"$regex": "^Team"}},
    {"name": {"$regex": "ärger", "$options": "i"}},
    {"name": {"$options": "si", "$regex": "TEAM.Ä"}},
    {"tags": {"$regex": "^bl"}},
    {"$or": [{"count": 9}, {"open": True}]},
    {"$and": [{"count": 3}, {"$or": [{"open": False}, {"tags": "red"}]}]},
    [{"count": 3}, {"open": True}],
    {"$or": [{}]},
    {"parts": "loose"},
]
NOT_MEANT = [
    {"count": 4},
    {"count": "3"},
    {"open": 1},
    {"count": True},
    {"name": "team ärger"},
    {"tags": "green"},
    {"tags": ["blue", "red", 7]},
    {"grid": 1},
    {"count": None},
    {"owner": {"name": "ann"}},
    {"owner.name": None},
    {"tags.3": "red"},
    {"count": {"$ne": 3}},
    {"tags": {"$ne": "red"}},
    {"missing": {"$ne": None}},
    {"tags": {"$nin": ["green", "red"]}},
    {"missing": {"$gt": 0}},
    {"missing": {"$lt": None}},
    {"count": {"$gt": "2"}},
    {"name": {"$lt": 9}},
    {"open": {"$gte": 0}},
    {"count": {"$in": []}},
    {"count": {"$all": []}},
    {"tags": {"$all": ["red", "green"]}},
    {"nothing": {"$exists": False}},
    {"missing": {"$exists": True}},
    {"tags": {"$size": 2}},
    {"name": {"$size": 1}},
    {"grid": {"$size": 3}},
    {"name": {"$regex": "team"}},
    {"count": {"$regex": "3"}},
    {"missing": {"$regex": ""}},
    {"$or": [{"count": 9}, {"open": False}]},
    [{"count": 3}, {"open": False}],
]


@pytest.mark.parametrize("where", MEANT, ids=json.dumps)
def test_what_is_meant(where: Any) -> None:
    assert holds(where)


@pytest.mark.parametrize("where", NOT_MEANT, ids=json.dumps)
def test_what_is_not_meant(where: Any) -> None:
    assert not holds(where)


def test_options_of_patterns() -> None:
    text = {"text": "one\nTWO"}
    assert not holds({"text": {"$regex": "^TWO"}}, text)
    assert holds({"text": {"$regex": "^TWO", "$options": "m"}}, text)
    assert not holds({"text": {"$regex": "one.TWO"}}, text)
    assert holds({"text": {"$regex": "one.two", "$options": "isi"}}, text)
    assert holds({"text": {"$regex": r"\p{Lu}{3}$"}}, text)


REFUSED: list[tuple[str, str]] = [
    ('{"$select": {}}', "$select"),
    ('{"a": {"$select": {"query": {}}}}', "$select"),
    ('{"a": {"$dontSelect": {}}}', "$dontSelect"),
    ('{"$where": "1"}', "$where"),
    ('{"$nor": []}', "$nor"),
    ('{"a": {"$not": {}}}', "$not"),
    ('{"a": {"$inQuery": {}}}', "$inQuery"),
    ('{"a.$.b": 1}', "a.$.b"),
    ('{"a": {"$gt": 1, "b": 2}}', "'b'"),
    ('{"a": {"b": {"$gt": 1}}}', "$gt"),
    ('{"a": {"$in": [{"b": {"$gt": 1}}]}}', "$gt"),
    ('{"a": {"$regex": "a", "$options": "x"}}', "'x'"),
    ('{"a": {"$regex": "a", "$options": "u"}}', "'u'"),
    ('{"a": {"$options": "i"}}', "$options"),
    ('{"a": {"$regex": 1}}', "$regex"),
    ('{"a": {"$regex": "a", "$options": null}}', "$options"),
    ('{"a": {"$regex": "(?=a)"}}', "(?="),
    ('{"a": {"$regex": "(?<!a)b"}}', "(?<"),
    ('{"a": {"$regex": "(a)\\\\1"}}', "\\1"),
    ('{"a": {"$regex": "("}}', "missing )"),
    ('{"a": {"$regex": "(?x)a b"}}', "(?x"),
    ('{"a": {"$regex": "a{1001}"}}', "{1001}"),
    ('{"a": {"$regex": "((a{100}){100}){100}"}}', "$regex"),
    ('{"a": {"$regex": "\\\\w{1,1000}x"}}', "steps"),
    ('{"a": {"$in": 1}}', "$in"),
    ('{"a": {"$nin": {}}}', "$nin"),
    ('{"a": {"$all": "b"}}', "$all"),
    ('{"a": {"$exists": 1}}', "$exists"),
    ('{"a": {"$size": -1}}', "$size"),
    ('{"a": {"$size": true}}', "$size"),
    ('{"a": {"$size": 1.5}}', "$size"),
    ('{"$and": []}', "$and"),
    ('{"$or": {}}', "$or"),
    ('{"$or": [1]}', "object"),
    ("[[]]", "object"),
    ("1", "object"),
    ("null", "object"),
    ('{"": 1}', "empty name"),
    ('{"a..b": 1}', "empty name"),
    ("{", "not JSON"),
    ("", "not JSON"),
    ('{"a": 1e999}', "not JSON"),
    ('{"a": "\\ud800"}', "not JSON"),
    ("[" * 100_000, "where"),
    ('{"a": ' * 5_000 + "1" + "}" * 5_000, "where"),
]


@pytest.mark.parametrize(("where", "named"), REFUSED, ids=[where[:40] for where, _ in REFUSED])
def test_what_is_refused_is_named(where: str, named: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        parse(where.encode())
    assert refused.value.message.startswith("where: ")
    assert named in refused.value.message
    assert len(refused.value.message) < 200


def test_bytes_that_are_no_text_are_refused() -> None:
    for where in (b"\xff", b'{"a": "\xed\xa0\x80"}', b'{"\xff": 1}', b"\x00"):
        with pytest.raises(InvalidCommand):
            parse(where)


def nested(depth: int) -> dict[str, Any]:
    """A filter within filters."""
    where: dict[str, Any] = {"a": 1}
    for _ in range(depth):
        where = {"$or": [where]}
    return where


@pytest.mark.parametrize(
    ("of", "bound"),
    [
        (lambda n: {f"a{number}": 1 for number in range(n)}, WHERE_CONDITIONS_MAX),
        (lambda n: {"a": {"$in": list(range(n))}}, WHERE_VALUES_MAX),
        (lambda n: {"a": {"$lt": list(range(n - 1))}}, WHERE_VALUES_MAX),
        (lambda n: {f"a{number}": {"$regex": f"a{number}"} for number in range(n)}, WHERE_PATTERNS_MAX),
        (lambda n: {"a": {"$regex": "a" * n}}, PATTERN_BYTES_MAX),
        (lambda n: {"a": {"$regex": "ä" * (n // 2) + "a" * (n % 2)}}, PATTERN_BYTES_MAX),
        (nested, WHERE_DEPTH_MAX - 1),
        (lambda n: {".".join("a" * n): 1}, WHERE_DEPTH_MAX),
        (lambda n: {"a": "b" * (n - 9)}, WHERE_BYTES_MAX),
    ],
)
def test_each_bound_is_reached_and_not_passed(of: Any, bound: int) -> None:
    holds(of(bound))
    with pytest.raises(InvalidCommand):
        holds(of(bound + 1))


# Against a reference that is as plain as it can be.

scalars = st.sampled_from([None, True, False, 0, 1, 1.0, 2, 2.5, -1, "", "a", "b", "ab", "B"])


def time_of(value: Mapping[str, Any]) -> int | None:
    """An object with nothing but `at` is a time here: a number, or one written out."""
    return int(value["at"]) if set(value) == {"at"} and str(value["at"]).isdecimal() else None


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ({"a": {"at": "007"}}, True),
        ({"a": {"$in": [{"at": 7}]}}, True),
        ({"a": {"$nin": [{"at": "7"}]}}, False),
        ({"a": {"$ne": {"at": 8}}}, True),
        ({"a": {"$all": [{"at": 7}]}}, True),
        ({"a": {"$gt": {"at": 6}, "$lt": {"at": 10}}}, True),
        ({"a": {"$gte": {"at": 7}, "$lte": {"at": 7}}}, True),
        ({"a": {"$gt": {"at": 7}}}, False),
        # It is no object any more, and no number.
        ({"a": {"$gt": {"at": "x"}}}, False),
        ({"a": {"$lt": {"b": 1}}}, False),
        ({"a": {"$gt": 1}}, False),
        ({"a": 7}, False),
        ({"a.at": "7"}, True),
        # Within others.
        ({"b": {"c": [{"at": "9"}, 1]}}, True),
        ({"b.c": {"at": 9}}, True),
        ({"b.c": {"$gt": {"at": 8}}}, True),
        ({"b.c": {"$gt": {"at": 9}}}, False),
    ],
)
def test_times(where: Any, meant: bool) -> None:
    row: dict[str, Any] = {"a": {"at": "7"}, "b": {"c": [{"at": "09"}, 1]}}
    filter = parse(json.dumps(where).encode(), time_of)
    assert matches(filter, row) is meant
    assert not any(isinstance(value, dict) for among in candidates(filter) for value in among.values)


def test_the_order_of_times() -> None:
    """Behind what is of other types."""
    rows = [
        {"a": {"at": "x"}},
        {"a": True},
        {"a": {"at": "9"}},
        {"a": {"at": "0010"}},
        {"a": [{"at": 100}, {"at": 11}]},
    ]
    assert sorted(rows[:4], key=parse_order(("a",), time_of).key) == rows[:4]
    assert sorted(rows, key=parse_order(("-a",), time_of).key) == rows[::-1]
    assert sorted(rows[::-1], key=parse_order(("a",), time_of).key) == rows


values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0", "1"]), inner, max_size=2)
    ),
    max_leaves=6,
)
names = st.sampled_from(["a", "b", "c", "a.b", "a.0", "a.a.b", "b.1.a", "c.a", "b.b"])
rows = st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=3)
tests = st.one_of(
    values,
    st.fixed_dictionaries(
        {},
        optional={
            "$ne": values,
            "$lt": values,
            "$lte": values,
            "$gt": values,
            "$gte": values,
            "$in": st.lists(values, max_size=3),
            "$nin": st.lists(values, max_size=3),
            "$all": st.lists(values, max_size=2),
            "$exists": st.booleans(),
            "$size": st.integers(0, 3),
            "$regex": st.sampled_from(["a", "^a", "b$", "^$", "A|b"]),
        },
    ),
)
wheres: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(names, tests, max_size=2),
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1
    ),
    max_leaves=4,
)


def branches(value: Any, path: list[str]) -> list[list[Any]]:
    """What a path leads to: a list of one value each, or of none where there is nothing."""
    if not path:
        return [[value]]
    if isinstance(value, dict):
        return branches(value[path[0]], path[1:]) if path[0] in value else [[]]
    if isinstance(value, list):
        if path[0].isdecimal() and int(path[0]) < len(value):
            return branches(value[int(path[0])], path[1:])
        inner = [branch for item in value if isinstance(item, dict) for branch in branches(item, path)]
        return inner or [[]]
    return [[]]


def kind(value: Any) -> str:
    """Of which type it is."""
    return {bool: "bool", int: "number", float: "number"}.get(type(value), type(value).__name__)


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type, all the way down."""
    if kind(one) != kind(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


RANKS = ["NoneType", "number", "str", "dict", "list", "bool"]


def less(one: Any, other: Any) -> bool:
    """Comes before, types first."""
    if kind(one) != kind(other):
        return RANKS.index(kind(one)) < RANKS.index(kind(other))
    if isinstance(one, dict):
        pairs = [[name, one[name]] for name in sorted(one)], [[name, other[name]] for name in sorted(other)]
        return less(*pairs)
    if isinstance(one, list):
        for mine, yours in zip(one, other, strict=False):
            if not same(mine, yours):
                return less(mine, yours)
        return len(one) < len(other)
    return one is not None and bool(one < other)


def expected(where: Any, row: dict[str, Any]) -> bool:
    """The reference."""
    if isinstance(where, list):
        return all(expected(part, row) for part in where)
    return all(expected_entry(name, operand, row) for name, operand in where.items())


def expected_entry(name: str, operand: Any, row: dict[str, Any]) -> bool:
    if name == "$and":
        return all(expected(part, row) for part in operand)
    if name == "$or":
        return any(expected(part, row) for part in operand)
    found = branches(row, name.split("."))
    whole = [branch[0] if branch else None for branch in found]
    tried = whole + [item for value in whole if isinstance(value, list) for item in value]
    if not (isinstance(operand, dict) and any(key.startswith("$") for key in operand)):
        return any(same(value, operand) for value in tried)
    held = {
        "$ne": lambda v: not any(same(value, v) for value in tried),
        "$lt": lambda v: any(kind(value) == kind(v) and less(value, v) for value in tried),
        "$gt": lambda v: any(kind(value) == kind(v) and less(v, value) for value in tried),
        "$lte": lambda v: any(kind(value) == kind(v) and not less(v, value) for value in tried),
        "$gte": lambda v: any(kind(value) == kind(v) and not less(value, v) for value in tried),
        "$in": lambda v: any(same(value, one) for value in tried for one in v),
        "$nin": lambda v: not any(same(value, one) for value in tried for one in v),
        "$all": lambda v: bool(v) and all(any(same(value, one) for value in tried) for one in v),
        "$exists": lambda v: any(found) == v,
        "$size": lambda v: any(isinstance(value, list) and len(value) == v for value in whole),
        "$regex": lambda v: any(isinstance(value, str) and like(value, v) for value in tried),
    }
    return all(held[key](value) for key, value in operand.items())


def like(text: str, pattern: str) -> bool:
    """The few patterns of this test."""
    return {
        "a": "a" in text,
        "^a": text.startswith("a"),
        "b$": text.endswith("b"),
        "^$": not text,
        "A|b": "A" in text or "b" in text,
    }[pattern]


@given(wheres, rows)
@settings(max_examples=examples(125), deadline=None)
@example({"a": {"$lte": [1]}}, {"a": [[0, 5]]})
@example({"a.b": {"$ne": None}}, {"a": []})
def test_it_says_what_the_reference_says(where: Any, row: dict[str, Any]) -> None:
    assert holds(where, row) == expected(where, row)


@given(wheres, rows)
@settings(max_examples=examples(100), deadline=None)
def test_it_looks_at_the_fields_it_names_and_no_others(where: Any, row: dict[str, Any]) -> None:
    filter = parse(json.dumps(where).encode())
    seen = {name: value for name, value in row.items() if name in fields(filter)}
    assert matches(filter, row) == matches(filter, seen)


@given(wheres, rows)
@settings(max_examples=examples(150), deadline=None)
def test_every_row_that_matches_meets_the_candidates(where: Any, row: dict[str, Any]) -> None:
    filter = parse(json.dumps(where).encode())
    if matches(filter, row):
        for path, among in candidates(filter):
            assert any(expected({".".join(path): value}, row) for value in among)


def test_candidates_are_equalities_that_all_rows_meet() -> None:
    def found(where: Any) -> list[Among]:
        return list(candidates(parse(json.dumps(where).encode())))

    assert found({"a": 1, "b.c": "x"}) == [Among(("a",), (1,)), Among(("b", "c"), ("x",))]
    assert found({"a": {"$in": [1, 1.0, True, "x"]}}) == [Among(("a",), (1.0, True, "x"))]
    assert found({"a": {"$all": [1, 2, None]}}) == [Among(("a",), (1,)), Among(("a",), (2,))]
    assert found([{"a": 1}, {"$and": [{"b": 2}, {"c": {"$gt": 1, "$in": []}}]}]) == [
        Among(("a",), (1,)),
        Among(("b",), (2,)),
        Among(("c",), ()),
    ]
    assert (
        found({"$or": [{"a": 1}], "b": {"$ne": 1}, "c": None, "d": [1], "e": {"$in": [1, None]}, "f": {"x": 1}}) == []
    )


# Hostile ones.


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@settings(max_examples=examples(150), deadline=None)
def test_any_bytes_are_a_filter_or_refused(where: bytes) -> None:
    try:
        filter = parse(where)
    except InvalidCommand:
        return
    matches(filter, ROW)


@given(
    st.text(alphabet="ab\\()[]{}*+?|^$.,0123456789:<>=!PipnsmxdwQEZz&~-ä\n\0", max_size=60),
    st.sampled_from(["", "i", "ims"]),
)
@settings(max_examples=examples(125), deadline=None)
def test_any_pattern_is_known_or_refused(pattern: str, options: str) -> None:
    where = {"name": {"$regex": pattern, "$options": options}}
    refusal = ""
    try:
        holds(where, {"name": "ab\n0ä" * 20})
    except InvalidCommand as refused:
        refusal = refused.message
    assert not refusal or refusal.startswith("where: $regex: ")


def test_text_that_is_too_long_matches_no_pattern() -> None:
    most = "ä" * (PATTERN_TEXT_BYTES_MAX // 2)
    for where, start in (({"a": {"$regex": "^"}}, ""), ({"a": {"$regex": "ä"}}, "")):
        assert holds(where, {"a": start + most})
        assert not holds(where, {"a": most + "b"})
        assert holds(where, {"a": [most[:100], most[100:]]})
        assert not holds(where, {"a": [most, "b"]})


def seconds(work: Any) -> float:
    """The least of a few runs."""
    best = float("inf")
    for _ in range(3):
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return best


@pytest.mark.parametrize(
    "pattern", ["(a*)*b", "(a|aa)+$", "(a|b)*a(a|b){200}c", "(.*a){20}b", "^(([a-z])+.)+[A-Z]([a-z])+$"]
)
def test_a_pattern_takes_time_linear_in_the_text(pattern: str) -> None:
    """What takes a backtracking engine longer than anybody lives; eight times the text, and nowhere near its square."""
    chance = random.Random(1)
    text = "".join(chance.choice("ab") for _ in range(PATTERN_TEXT_BYTES_MAX))
    filter = parse(json.dumps({"a": {"$regex": pattern}}).encode())
    short = seconds(partial(matches, filter, {"a": text[: len(text) // 8]}))
    long = seconds(partial(matches, filter, {"a": text}))
    assert long < 40 * short + 0.05


def test_a_path_branches_no_more_often_than_there_are_values() -> None:
    row: Any = list(range(1_000))
    for depth in range(9):
        row = {"0": [row]} if depth % 2 else [{"0": row}]
    for length in range(1, 20):
        assert len(leaves({"0": row}, ("0",) * length)) == 1


def test_the_order_of_rows() -> None:
    order = parse_order(("-a", "b.c"))
    rows = [
        {"a": 1, "b": {"c": "y"}},
        {"a": 1, "b": {"c": "x"}},
        {"a": 2},
        {"a": True},
        {},
        {"a": "x"},
        {"a": [0, 9]},
        {"a": None, "b": {"c": 1}},
    ]
    assert sorted(range(8), key=lambda number: order.key(rows[number])) == [3, 5, 6, 2, 1, 0, 4, 7]
    rising = parse_order(("a",))
    assert sorted(range(8), key=lambda number: rising.key(rows[number])) == [4, 7, 6, 0, 1, 2, 5, 3]
    for wrong in (("",), ("-",), ("a..b",), ("$a",), ("a",) * 6, ("a" * 1_001,)):
        with pytest.raises(InvalidCommand, match="order: "):
            parse_order(wrong)


def test_the_order_of_objects_and_arrays() -> None:
    """It is the one that `$lt` knows."""
    rows: list[dict[str, Any]] = [
        {"a": value}
        for value in (
            {},
            {"w": 9},
            {"x": 1},
            {"x": 1, "y": 1},
            {"x": 9},
            {"x": 10},
            {"x": "1"},
            {"x": {}},
            {"x": {"y": 1}},
            {"x": []},
            [[]],
            [[1]],
            [[1, 2]],
            [[1, 2, 3]],
            [[2]],
            [[10]],
            [["1"]],
        )
    ]
    for keys in (("a",), ("-a",)):
        shuffled = random.Random(keys[0]).sample(rows, len(rows))
        found = sorted(shuffled, key=parse_order(keys).key)
        assert found == (rows if keys == ("a",) else rows[::-1])
    for less, more in pairwise(rows[:10]):
        assert holds({"a": {"$lt": more["a"]}}, less)


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a", "b", "a" * 40, "a" * 40 + "b", "a" * 90]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "a" * 60]), inner, max_size=3)
    ),
    max_leaves=30,
)


@settings(max_examples=examples(300))
@given(values, values)
def test_the_beginning_of_a_value_is_no_greater_than_that_of_a_greater(one: Any, other: Any) -> None:
    less, more = sorted((one, other), key=comparable)
    key = parse_order(("a",)).key
    assert key({"a": [less]}) <= key({"a": [more]})


def test_what_is_kept_of_a_row_to_sort_it_is_little() -> None:
    order = parse_order(("a", "-b", "c"))
    key = order.key({"a": "x" * 100_000, "b": {"d": "x" * 100_000}, "c": [[string.ascii_letters] * 1_000]})
    assert len(repr(key)) < 2_000
    deep: Any = 1
    for _ in range(100):
        deep = {"n": [deep, deep, "x" * 1_000]} if isinstance(deep, int) else {"n": [deep]}
    for value in (list(range(1_000)), {f"k{number}": "x" * 10 for number in range(1_000)}, deep, ["x" * 1_000] * 9):
        assert len(repr(parse_order(("a",)).key({"a": [value]}))) < 500
