"""The demo's channel: who is in it, who gets what is sent there, what is kept of it, and what the broker tells of it."""

import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, Final, Self

import trio

from .backend import Answer, Backend, Call, collect, count, events, query, to_channel
from .child import Broker
from .device import Device, Frame
from .telling import Teller

CHANNEL: Final = "lobby"
ASKED: Final = "Lunch?"
ANSWERED: Final = "Yes, at one."
ACCEPTED: Final = (200, "message_sent")
PATIENCE_S: Final = 2
"""For each kind of event that the broker writes on its own, a moment after its start."""
PAUSE_S: Final = 0.2
"""Between two looks: the calls for events have a rate of 10 a second."""
AROUND_S: Final = 3_600
"""How far from now the times of a query lie: everything here happened within it."""


class Lobby:
    """The devices of the channel's members."""

    def __init__(self, port: int) -> None:
        """They connect when they are opened."""
        self.alice, self.bob, self.dave = (Device(user, port) for user in ("alice", "bob", "dave"))
        self._open = AsyncExitStack()

    @property
    def everyone(self) -> tuple[Device, ...]:
        """In the order in which they come."""
        return self.alice, self.bob, self.dave

    async def __aenter__(self) -> Self:
        """Does not connect yet."""
        for device in self.everyone:
            await self._open.enter_async_context(device)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        await self._open.aclose()


async def play(tells: Teller, child: Broker, lobby: Lobby) -> str:
    """The channel, its history and its events; the location of a query that nobody has collected."""
    tells.act("A channel", "Whoever joined it gets what is sent to it, for as long as they are connected.")
    await _join(tells, lobby)
    async with Backend(child.port) as server:
        await _talk(tells, child, server, lobby)
        await _history(tells, child, server)
        handle = await _reserve(tells, child, server)
        await _events(tells, child, server)
    return handle


async def after_the_kill(tells: Teller, child: Broker, handle: str) -> None:
    """What was kept is there, and what the kill cut off has been told."""
    async with Backend(child.port) as server:
        says = "The query made before the kill is still to be collected:"
        call = collect(handle)
        with tells.step("history-after-the-kill", says, *call.curl(child.port)) as step:
            answer = await server.call(call)
            step.got(answer)
            step.claim("dave's messages are there, those of the channel too", [ASKED, ANSWERED], _payloads(answer))
        says = "Nobody could say goodbye, and yet everybody who was connected is told to have gone:"
        with tells.step("events-after-the-kill", says, *events("user").curl(child.port)) as step:
            left = await _taken(server, "channel", 2)
            gone = await _taken(server, "user", 4)
            step.got([*left, *gone])
            step.claim("who was in the channel left it", ["Leave alice", "Leave bob"], sorted(_told(left)))
            users = [f"Logout {user}" for user in ("alice", "bob", "carol", "dave")]
            step.claim("and everybody is offline", users, sorted(_told(gone)))


async def _join(tells: Teller, lobby: Lobby) -> None:
    says = f"alice, bob and dave connect and join {CHANNEL}:"
    with tells.step("join", says, f"postroom listen --user bob --join {CHANNEL}") as step:
        answers = []
        for device in lobby.everyone:
            await device.open()
            said, answer, _ = await device.ask({"type": "join", "room": CHANNEL})
            step.got(said, f"{device.user} says")
            answers.append(answer)
        step.got(answers[-1], "the answer")
        step.claim("ok: they are in it, and that is on disk", ["ok"] * 3, [answer["type"] for answer in answers])


async def _talk(tells: Teller, child: Broker, server: Backend, lobby: Lobby) -> None:
    """alice's server sends, bob's device answers, dave leaves."""
    call = to_channel("alice", CHANNEL, ASKED)
    with tells.step("send-to-channel", "alice's server sends to it:", *call.curl(child.port)) as step:
        answer = await server.call(call)
        step.got(answer, "the answer")
        step.claim("it was accepted", ACCEPTED, answer.code)
        for device in (lobby.bob, lobby.dave):
            message = await device.message()
            step.got(message, f"{device.user} receives")
            step.claim(f"{device.user} received it", _of_channel("alice", ASKED), _seen(message))
    with tells.step("answer-in-channel", "bob answers from his device:") as step:
        frame = {"type": "send", "to": {"kind": "room", "id": CHANNEL}, "payload": ANSWERED, "history": True}
        said, answered, before = await lobby.bob.ask(frame)
        step.got(said, "bob says")
        step.got(answered, "the answer")
        received = [_seen(await device.message()) for device in (lobby.alice, lobby.dave)]
        step.claim("dave received it", _of_channel("bob", ANSWERED), received[1])
        step.claim("so did alice, whose own message did not come to her", _of_channel("bob", ANSWERED), received[0])
        step.claim("nor did bob's to bob", [], before)
    with tells.step("leave", "dave leaves the channel, and stays connected:") as step:
        said, answered, _ = await lobby.dave.ask({"type": "leave", "room": CHANNEL})
        step.got(said, "dave says")
        step.got(answered, "the answer")
        step.claim("ok", "ok", answered["type"])


async def _history(tells: Teller, child: Broker, server: Backend) -> None:
    """Query, collect, collect again, count."""
    tells.act(
        "The history", "Both were sent to be kept. A query is answered with a handle that is good for one collection."
    )
    start, end = _around_now()
    ask = query(CHANNEL, start, end)
    with tells.step(
        "history-query", f"alice's server asks for what was sent to {CHANNEL}:", *ask.curl(child.port)
    ) as step:
        answer = await server.call(ask)
        step.got(answer)
        location = answer.body["location"]
        step.claim("there is something to collect", (200, "success"), (answer.status, answer.body["result"]))
    call = collect(location)
    with tells.step("history-collect", "It collects it:", *call.curl(child.port)) as step:
        answer = await server.call(call)
        step.got(answer)
        step.claim("both messages, the older first", [ASKED, ANSWERED], _payloads(answer))
    with tells.step("history-collect-again", "And once more:") as step:
        answer = await server.call(call)
        step.got(answer)
        step.claim("a handle is good for once", (200, "resource not exist"), answer.code)
    call = count(CHANNEL, start, end)
    with tells.step("history-count", "How many there are, without fetching any:", *call.curl(child.port)) as step:
        answer = await server.call(call)
        step.got(answer)
        step.claim("as many as were collected", 2, answer.body["count"])


async def _reserve(tells: Teller, child: Broker, server: Backend) -> str:
    ask = query("dave", *_around_now())
    says = "Another query, for what dave received, in channels too. This one is not collected yet:"
    with tells.step("history-query-dave", says, *ask.curl(child.port)) as step:
        answer = await server.call(ask)
        step.got(answer)
        step.claim("it waits", (200, "success"), (answer.status, answer.body["result"]))
        return str(answer.body["location"])


async def _events(tells: Teller, child: Broker, server: Backend) -> None:
    """Who came and went; each event is told once."""
    came = ["Login bob", "Logout bob", "Login carol", "Login alice", "Login bob", "Login dave"]
    moved = ["Join alice", "Join bob", "Join dave", "Leave dave"]
    for of, says, expected in (
        ("user", "Who came and went since the start:", came),
        ("channel", "And who joined and left channels:", moved),
    ):
        call = events(of)
        with tells.step(f"{of}-events", says, *call.curl(child.port)) as step:
            taken = await _take(server, call)
            again = await _take(server, call)
            step.got(taken, "the events")
            step.got(again, "once more")
            step.claim("everybody, in order", expected, _told(taken))
            step.claim("what was taken is not told again", [], again)


async def _taken(server: Backend, of: str, wanted: int) -> list[Any]:
    """So many events, or those that came in time. Raises Broken."""
    taken: list[Any] = []
    with trio.move_on_after(PATIENCE_S):
        while True:
            taken += await _take(server, events(of))
            if len(taken) >= wanted:
                break
            await trio.sleep(PAUSE_S)
    return taken


async def _take(server: Backend, call: Call) -> list[Any]:
    return list((await server.call(call)).body["events"])


def _told(taken: Iterable[dict[str, Any]]) -> list[str]:
    return [f"{event['type']} {event['user_id']}" for event in taken]


def _payloads(answer: Answer) -> list[object]:
    return [message["payload"] for message in answer.body["messages"]]


def _of_channel(sender: str, payload: str) -> list[object]:
    return [{"kind": "room", "id": CHANNEL}, sender, payload]


def _seen(message: Frame) -> list[object]:
    return [message["conversation"], message["sender"], message["payload"]]


def _around_now() -> tuple[int, int]:
    """Times as a backend has them, in seconds."""
    now_s = time.time_ns() // 1_000_000_000
    return now_s - AROUND_S, now_s + AROUND_S
