"""A call that is refused changed nothing, however much of it could have been carried out (LeanCloud 3, 6.1, 6.2, 9)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from postroom.core.events import Record
from tests.support.leancloud import A, Lean, leancloud

pytestmark = pytest.mark.usefixtures("host")

ROW = "/1.1/classes/_Conversation"
MANY = [f"u{number}" for number in range(501)]
KINDS = ("conversations", "chatrooms", "service-conversations")


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def group(lean: Lean) -> str:
    """The id of a conversation of ann and bob, muted by cy, from which `ban` is banned and which `no` blocks."""
    id = await lean.conversation("ann", "bob", mu=["cy"], level=1, tags=["a"])
    await lean.ok("POST", f"/conversations/{id}/blacklists", {"client_ids": ["ban"]})
    await lean.ok("POST", "/clients/no/blacklists", {"conv_id": id})
    return id


async def state(lean: Lean) -> tuple[list[Record], Any]:
    """Everything that happened, and every row."""
    with lean.broker.snapshot() as snapshot:
        return list(snapshot.log()), await lean.ok("GET", "/all-conversations", by=A)


def added(*users: str) -> dict[str, object]:
    return {"__op": "Add", "objects": users}


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        ({"m": ["ban"]}, 4548),
        ({"m": ["ann", "no"]}, 4548),
        ({"m": MANY}, 4304),
        ({"m": added(*MANY)}, 4304),
        ({"level": {"__op": "Increment"}, "m": added("ban")}, 4548),
        ({"level": {"__op": "Increment"}, "m": ["ann", "no"], "mu": []}, 4548),
        ({"m": ["eve"], "mu": MANY}, 4304),
        ({"m": ["eve"], "mu": added(*MANY[:500])}, 4304),
        ({"name": "new", "mu": added(*MANY)}, 4304),
        ({"name": "new", "m": {"__op": "Remove", "objects": MANY}}, 1),
        ({"name": "new", "m": [""]}, 1),
        ({"name": "new", "m": ["x" * 65]}, 4103),
        ({"name": "new", "level": added("x")}, 1),
        ({"m": ["eve"], "tags": {"__op": "Increment"}}, 1),
    ],
    ids=lambda value: str(value)[:80],
)
async def test_an_update_of_1_1(lean: Lean, wire: object, code: int) -> None:
    id = await group(lean)
    before = await state(lean)
    for _ in range(2):
        assert await lean.bad("PUT", f"{ROW}/{id}", wire, by=A) == (400, code)
    assert await state(lean) == before


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        ({"mu": MANY}, 4304),
        ({"level": 2, "mu": MANY}, 4304),
        ({"level": {"__op": "Increment"}, "mu": added(*MANY[:500])}, 4304),
        ({"level": 2, "mu": ["", "ann"]}, 1),
        ({"mu": [], "level": added("x")}, 1),
        ({"level": 2, "m": ["ann"]}, 117),
        ({"name": "x" * (128 * 1024), "mu": []}, 1),
    ],
    ids=lambda value: str(value)[:80],
)
async def test_an_update(lean: Lean, wire: object, code: int) -> None:
    id = await group(lean)
    before = await state(lean)
    for _ in range(2):
        assert await lean.bad("PUT", f"/conversations/{id}", wire, by=A) == (400, code)
    assert await state(lean) == before


@pytest.mark.parametrize("kind", KINDS[1:])
async def test_mutes_of_what_has_none(lean: Lean, kind: str) -> None:
    id = await (lean.chatroom() if kind == "chatrooms" else lean.service())
    before = await state(lean)
    for mutes in (["a"], added("a"), {"__op": "Remove", "objects": ["a"]}):
        assert await lean.bad("PUT", f"/{kind}/{id}", {"level": 1, "mu": mutes}, by=A) == (400, 1)
    assert await state(lean) == before
    await lean.ok("PUT", f"/{kind}/{id}", {"level": 1, "mu": []}, by=A)
    await lean.ok("PUT", f"{ROW}/{id}", {"level": 2, "mu": ["a"], "m": ["a"]}, by=A)  # 1.1 passes them over
    assert (await lean.ok("GET", f"{ROW}/{id}", by=A))["level"] == 2


async def test_an_id_of_another_kind(lean: Lean) -> None:
    id, room = await group(lean), await lean.chatroom()
    before = await state(lean)
    wire = {"level": 5, "mu": ["ann"]}
    assert await lean.bad("PUT", f"/chatrooms/{id}", wire, by=A) == (400, 4314 + 2)
    assert await lean.bad("PUT", f"/conversations/{room}", wire, by=A) == (400, 4314)
    assert await lean.bad("PUT", f"/conversations/{'0' * 24}", wire, by=A) == (404, 4303)
    assert await state(lean) == before


@pytest.mark.parametrize("path", ["/conversations", ROW])
@pytest.mark.parametrize("unique", [False, True])
async def test_a_create(lean: Lean, path: str, unique: bool) -> None:
    await group(lean)
    before = await state(lean)
    more = {"unique": True} if unique else {}
    for wire, code in (
        ({"m": ["gm"], "mu": MANY}, 4304),
        ({"m": ["gm"], "mu": added(*MANY)}, 4304),
        ({"m": MANY, "mu": ["gm"]}, 4304),
        ({"m": ["gm"], "mu": [""]}, 1),
    ):
        assert await lean.bad("POST", path, wire | more, by=A) == (400, code)
    assert await state(lean) == before


@pytest.mark.parametrize("path", ["/conversations", ROW])
async def test_a_create_that_finds_another_mutes_nobody_there(lean: Lean, path: str) -> None:
    made = await lean.ok("POST", path, {"m": ["a", "b"], "mu": ["a", "c", "a"], "unique": True}, by=A)
    id = made["objectId"]
    assert await lean.ok("GET", f"/conversations/{id}/mutes", by=A) == {"result": ["a", "c"]}
    before = await state(lean)
    again = await lean.call("POST", path, {"m": ["b", "a"], "mu": ["b"], "unique": True}, by=A)
    assert (again.status_code, again.json()["objectId"], again.json()["mu"]) == (200, id, ["a", "c"])
    assert await state(lean) == before


async def test_lists_hold_500(lean: Lean) -> None:
    """And no more by their own calls."""
    id = await group(lean)
    path = f"/conversations/{id}/mutes"
    before = await state(lean)
    assert await lean.bad("POST", path, {"client_ids": MANY}, by=A) == (400, 4304)
    assert await lean.bad("POST", path, {"client_ids": MANY[:500]}, by=A) == (400, 4304)
    assert await state(lean) == before
    await lean.ok("PUT", f"/conversations/{id}", {"mu": MANY[:500]}, by=A)
    assert await lean.ok("GET", path, by=A) == {"result": MANY[:500]}
    await lean.ok("PUT", f"{ROW}/{id}", {"m": MANY[1:], "mu": MANY[1:]}, by=A)  # all of one leave, and 500 come
    row = await lean.ok("GET", f"{ROW}/{id}", by=A)
    assert (row["m"], sorted(row["mu"])) == (MANY[1:], sorted(MANY[1:]))


async def test_a_list_that_is_set_is_one_change_with_the_fields(lean: Lean) -> None:
    id = await group(lean)
    said = await lean.ok("PUT", f"{ROW}/{id}", {"level": 7, "m": ["bob", "eve"], "mu": ["dan"]}, by=A)
    row = await lean.ok("GET", f"{ROW}/{id}", by=A)
    assert (row["level"], row["m"], row["mu"], row["updatedAt"]) == (7, ["bob", "eve"], ["dan"], said["updatedAt"])
    with lean.broker.snapshot() as snapshot:
        last = [record for record in snapshot.log() if type(record.event).__name__ != "LoggedIn"][-5:]
    assert [record.position - last[0].position for record in last] == [0, 1, 2, 3, 4]
    again = await lean.ok("PUT", f"{ROW}/{id}", {"m": ["eve", "bob"], "mu": {"__op": "Remove", "objects": ["x"]}}, by=A)
    assert again == said
    assert await lean.ok("PUT", f"{ROW}/{id}", {}, by=A) == said
