"""Rooms over the native protocol on a real socket: coming, going, and what was missed meanwhile."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from postroom.core import DeleteMessage, EditMessage, RecallMessage, SendMessage, room
from postroom.core.ids import POSITION_MAX
from postroom.core.limits import RECOVERED_MESSAGES_MAX, ROOMS_PER_USER_MAX
from postroom.core.queries import FindMembers
from postroom.storage.lmdb import LmdbStore
from tests.support.native_client import BOB, Client, session
from tests.support.serving import Served, serving
from tests.support.web import APP

pytestmark = pytest.mark.usefixtures("host")

OK = {"type": "ok"}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server."""
    async with serving() as server:
        yield server


def to(name: str = "r1") -> dict[str, str]:
    """The address of a room."""
    return {"kind": "room", "id": name}


async def join(client: Client, room: str = "r1", **more: Any) -> dict[str, Any]:
    """Join a room: the answer, which must be the next frame."""
    return await client.ask(type="join", room=room, **more)


async def leave(client: Client, room: str = "r1") -> dict[str, Any]:
    """Leave a room: the answer, which must be the next frame."""
    return await client.ask(type="leave", room=room)


async def say(client: Client, payload: object, room: str = "r1", **more: Any) -> str:
    """Send to a room; the message's id."""
    answer = await client.send(to(room), payload, **more)
    assert answer["type"] == "ok", answer
    id: str = answer["id"]
    return id


async def members(served: Served, room: str = "r1") -> set[str]:
    """Who is in a room."""
    return set(await served.broker.ask(FindMembers(app=APP.name, room=room)))


async def gone(served: Served, user: str, room: str = "r1") -> None:
    """Wait until a user has left; a client that hangs up does not wait for its logout."""
    with trio.fail_after(20):
        while user in await members(served, room):
            await trio.lowlevel.checkpoint()


async def test_a_message_reaches_who_is_in_the_room(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob, session(served, "carol") as carol:
        assert await join(alice) == await join(bob) == OK
        assert await members(served) == {"alice", "bob"}
        id = await say(alice, {"x": 1}, lane="high")
        message = await bob.next()
        assert message == {
            "type": "message",
            "id": id,
            "conversation": to(),
            "sender": "alice",
            "payload": {"x": 1},
            "format": "json",
            "timestamp": message["timestamp"],
            "lane": "high",
            "via": "native",
        }
        # Not who sent it, nor who is elsewhere.
        for user in ("alice", "carol"):
            await bob.send({"kind": "peer", "id": user}, "the end")
        assert (await alice.next())["payload"] == (await carol.next())["payload"] == "the end"


async def test_who_is_not_in_a_room_may_send_to_it(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        await join(bob)
        await say(alice, "hi")
        assert (await bob.next())["payload"] == "hi"


async def test_all_sessions_of_a_user_are_in_the_room(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as phone, session(served, "bob") as desk:
        assert await join(phone) == OK
        await say(alice, "1")
        assert (await phone.next())["payload"] == (await desk.next())["payload"] == "1"
        assert await join(desk) == OK  # who is in already stays
        assert await leave(desk) == OK  # and the user leaves, with all sessions
        await say(alice, "2")
        await alice.send(BOB, "the end")
        assert (await phone.next())["payload"] == (await desk.next())["payload"] == "the end"


async def test_who_left_hears_nothing_until_the_next_join(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        await join(bob)
        assert await leave(bob) == OK
        assert await leave(bob) == OK  # nothing happens
        await say(alice, "missed")
        assert await join(bob) == OK
        await say(alice, "heard")
        assert (await bob.next())["payload"] == "heard"


async def test_what_was_missed_comes_after_the_answer_and_before_what_is_new(served: Served) -> None:
    async with session(served, "alice") as alice:
        ids = [await say(alice, number, history=True) for number in range(5)]
        async with session(served, "bob") as bob:
            assert await join(bob, since=ids[1]) == OK | {"recovered": True}
            await say(alice, "new")
            replayed = await bob.take(4)
            assert [message["payload"] for message in replayed] == [2, 3, 4, "new"]
            assert [message["id"] for message in replayed[:3]] == ids[2:]
            assert {message["type"] for message in replayed} == {"message"}
            assert {tuple(message["conversation"].items()) for message in replayed} == {
                (("kind", "room"), ("id", "r1"))
            }


async def test_a_client_that_comes_back_misses_nothing(served: Served) -> None:
    async with session(served, "alice") as alice:
        async with session(served, "bob") as bob:
            await join(bob)
            first = await say(alice, "1", history=True)
            assert (await bob.next())["id"] == first
        await gone(served, "bob")
        await say(alice, "2", history=True)
        await say(alice, "3", history=True)
        async with session(served, "bob") as bob:
            assert await join(bob, since=first) == OK | {"recovered": True}
            assert [message["payload"] for message in await bob.take(2)] == ["2", "3"]


async def test_what_was_not_kept_is_not_recovered(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        first = await say(alice, "1", history=True)
        await say(alice, "not kept")
        last = await say(alice, "3", history=True)
        assert await join(bob, since=first) == OK | {"recovered": False}
        assert (await bob.next())["payload"] == "3"
        assert await join(bob, since=last) == OK | {"recovered": True}  # nothing was sent after it


async def test_of_too_much_the_newest_is_recovered(served: Served) -> None:
    sends = [
        SendMessage(app=APP.name, sender="alice", to=room("r1"), body=b"%d" % number, history=True)
        for number in range(RECOVERED_MESSAGES_MAX + 1)
    ]
    await served.broker.submit_many(sends)
    async with session(served, "bob") as bob:
        assert await join(bob, since="0") == OK | {"recovered": False}
        replayed = await bob.take(RECOVERED_MESSAGES_MAX)
        assert [message["payload"] for message in replayed] == [str(number) for number in range(1, len(sends))]


async def test_ones_own_are_not_replayed(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        first = await say(alice, "1", history=True)
        await say(bob, "mine", history=True)
        await say(alice, "3", history=True)
        assert await join(bob, since=first) == OK | {"recovered": True}
        assert (await bob.next())["payload"] == "3"


async def test_a_recovered_message_is_as_it_is_now(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        first, edited, recalled, deleted = [await say(alice, text, history=True) for text in "1234"]
        submit = served.broker.submit
        await submit(EditMessage(app=APP.name, id=int(edited), by="alice", body=b"two"))  # type: ignore[arg-type]
        await submit(RecallMessage(app=APP.name, id=int(recalled), by="alice"))  # type: ignore[arg-type]
        await submit(DeleteMessage(app=APP.name, id=int(deleted), by="admin"))  # type: ignore[arg-type]
        await join(bob, since=first)
        message, recall = await bob.take(2)
        assert (message["type"], message["id"], message["payload"]) == ("message", edited, "two")
        assert (recall["type"], recall["id"], recall["conversation"]) == ("recalled", recalled, to())
        await alice.send(BOB, "the end")
        assert (await bob.next())["payload"] == "the end"


async def test_changes_reach_the_room(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        await join(bob)
        id = await say(alice, "1", history=True)
        await served.broker.submit(EditMessage(app=APP.name, id=int(id), by="alice", body=b"one"))  # type: ignore[arg-type]
        message, edited = await bob.take(2)
        assert (message["payload"], edited["payload"]) == ("1", "one")
        assert (edited["type"], edited["id"], edited["conversation"]) == ("edited", id, to())


@pytest.mark.parametrize("since", ["", "x", "-1", "1.5", " 1", str(POSITION_MAX + 1), "1" * 5_000])
async def test_a_since_that_is_no_id(served: Served, since: str) -> None:
    async with session(served, "bob") as bob:
        answer = await join(bob, since=since)
        assert (answer["type"], answer["code"]) == ("error", "invalid")
        assert answer["message"].startswith("since: ")
        assert await members(served) == set()


async def test_a_since_from_before_or_after_everything(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        await say(alice, "1", history=True)
        assert await join(bob, since="0") == OK | {"recovered": True}
        assert (await bob.next())["payload"] == "1"
        assert await join(bob, since=str(POSITION_MAX)) == OK | {"recovered": False}


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "join", "room": ""},
        {"type": "join", "room": "x" * 257},
        {"type": "join", "room": 5},
        {"type": "join"},
        {"type": "join", "room": "r1", "since": 5},
        {"type": "leave", "room": ""},
        {"type": "leave", "room": "\u4e2d" * 86},
        {"type": "leave"},
    ],
)
async def test_what_is_refused_leaves_the_connection_open(served: Served, frame: dict[str, Any]) -> None:
    async with session(served, "bob") as bob:
        answer = await bob.ask(**frame)
        assert (answer["type"], answer["code"]) == ("error", "invalid")
        assert await join(bob, "\u4e2d" * 85) == OK  # 255 bytes


async def test_rooms_of_a_user_are_counted(served: Served) -> None:
    async with session(served, "bob") as bob:
        frames = [{"type": "join", "ref": number, "room": f"r{number}"} for number in range(ROOMS_PER_USER_MAX + 1)]
        await bob.say(frames)
        answers = await bob.take(len(frames))
        assert [answer["ref"] for answer in answers] == list(range(len(frames)))
        assert {answer["type"] for answer in answers[:-1]} == {"ok"}
        assert (answers[-1]["type"], answers[-1]["code"]) == ("error", "too_many_rooms")
        assert await leave(bob, "r0") == OK
        assert await join(bob, "one more") == OK


async def test_joins_and_leaves_back_to_back_are_carried_out_in_order(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        await join(alice)
        await bob.say(
            [
                {"type": "join", "ref": 1, "room": "r1"},
                {"type": "send", "ref": 2, "to": to(), "payload": "hi"},
                {"type": "leave", "ref": 3, "room": "r1"},
                {"type": "join", "ref": 4, "room": "r1"},
                {"type": "join", "ref": 5, "room": "r2"},
                {"type": "leave", "ref": 6, "room": "r1"},
            ]
        )
        answers = await bob.take(6)
        assert {answer["type"] for answer in answers} == {"ok"}
        assert [answer["ref"] for answer in answers if answer["ref"] != 2] == [1, 3, 4, 5, 6]
        assert (await alice.next())["payload"] == "hi"
        assert await members(served) == {"alice"}
        assert await members(served, "r2") == {"bob"}


async def test_the_end_of_the_last_session_leaves_every_room(served: Served) -> None:
    async with session(served, "bob") as phone:
        async with session(served, "bob") as desk:
            await join(desk, "r1")
            await join(desk, "r2")
        with trio.fail_after(20):
            while served.broker.statistics().sessions[APP.name] > 1:
                await trio.lowlevel.checkpoint()
        assert await members(served) == {"bob"}  # the phone is still there
        assert await join(phone, "r3") == OK
        assert served.broker.statistics().rooms == 3
    for name in ("r1", "r2", "r3"):
        await gone(served, "bob", name)
    assert served.broker.statistics().rooms == 0
    async with session(served, "bob"):
        assert await members(served) == set()  # a new login is in no room


async def test_a_restart_empties_rooms_and_keeps_what_was_sent(tmp_path: Path) -> None:
    async with (
        serving(store=LmdbStore(tmp_path / "data")) as served,
        session(served, "alice") as alice,
        session(served, "bob") as bob,
    ):
        await join(bob)
        first = await say(alice, "1", history=True)
        await say(alice, "2", history=True)
        assert [message["payload"] for message in await bob.take(2)] == ["1", "2"]
    async with serving(store=LmdbStore(tmp_path / "data")) as served, session(served, "bob") as bob:
        assert await members(served) == set()
        assert await join(bob, since=first) == OK | {"recovered": True}
        assert (await bob.next())["payload"] == "2"
