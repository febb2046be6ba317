"""What the demo plays while a broker runs: bob is there, carol is away, and then the broker is killed."""

import signal
from collections import Counter
from typing import Final

import trio

from . import channel, epilogue, leancloud
from .backend import Answer, Backend, to_user
from .child import SERVE, Broker, Workplace, broker
from .device import Device, Frame
from .telling import Teller

QUEUE: Final = 200
"""What a queue holds: the default of `apps.queue.messages`."""
EVICTED: Final = 5
TOTAL: Final = QUEUE + EVICTED
ACKED: Final = QUEUE // 2
SENT: Final = (200, "message_sent")
START_S: Final = 15
"""A cold start reads the whole program from disk first."""
MANY_S: Final = 30
"""For two hundred sends, each answered from disk: some seconds where a disk takes its time over each."""
COLLECT_S: Final = 4
"""Less than a step may take, so that what came is told even if it is not all."""

ORDERED: Final = "order 4711"
ORDER: Final = to_user("alice", "carol", ORDERED, offline=True, key="order-4711")
"""The send that is made twice."""


async def play(tells: Teller, place: Workplace, listeners: trio.Nursery) -> None:
    """Tell the whole story. Raises StoryEnds."""
    tells.say(
        "A broker of its own, in a scratch directory, and what becomes of messages in it.",
        "After a $ is what you could type yourself; each ✓ is a claim that was just checked.",
        f"The directory, gone afterwards: {place.directory}",
    )
    async with broker(place, listeners) as first:
        await _start(tells, first, "start", "Start a broker:")
        await _someone_online(tells, first)
        async with Device("carol", first.port) as carol, channel.Lobby(first.port) as lobby:
            await _someone_away(tells, first, carol)
            handle = await channel.play(tells, first, lobby)
            tells.act("kill -9", "carol's other 100 still wait, unacknowledged, and all four devices are connected.")
            await _kill(tells, first)
    async with broker(place, listeners) as second:
        await _start(tells, second, "start-again", "Start it again on the same directory (it gets another free port):")
        await channel.after_the_kill(tells, second, handle)
        await _after_the_kill(tells, second)
        await leancloud.play(tells, second)
        await epilogue.stop(tells, second)
    await epilogue.explain(tells, place)
    await epilogue.dialects(tells, place)


async def _start(tells: Teller, child: Broker, name: str, says: str) -> None:
    with tells.step(name, says, f"postroom {' '.join(SERVE)}", seconds=START_S) as step:
        line = await child.ready()
        step.got(line)
        step.claim("it listens", f"listening on http://127.0.0.1:{child.port}", line)


async def _someone_online(tells: Teller, child: Broker) -> None:
    """bob is connected; alice's server waits until his device has confirmed."""
    tells.act("A message to someone online")
    async with Device("bob", child.port) as bob, Backend(child.port) as server:
        await _connect(tells, bob, "bob-connects", "bob's device opens a WebSocket (with wscat, it would be):", 0, 0)
        said = "Your parcel is here."
        parcel = to_user("alice", "bob", said, wait=True)
        says = "alice's server sends him a message by anyRTC's API, and waits until his device confirms:"
        with tells.step("send-to-bob", says, *parcel.curl(child.port)) as step:
            await server.ask(parcel)
            message = await bob.message()
            step.got(message, "bob receives")
            ack, _, _ = await bob.ack(message)
            step.got(ack, "bob says")
            answer = await server.answer()
            step.got(answer, "the answer")
            received = message["sender"], message["payload"]
            step.claim("bob received what alice sent", ("alice", said), received)
            step.claim("the answer says that it was delivered", (200, "message_delivered"), answer.code)


async def _someone_away(tells: Teller, child: Broker, carol: Device) -> None:
    """carol's queue overflows; she comes back, and acknowledges half of what waited."""
    tells.act("Messages to someone away", f"A queue keeps the newest {QUEUE} messages for 7 days.")
    async with Backend(child.port) as server:
        await _send_letters(tells, child, server)
    says = "carol comes back; the welcome tells her what waits and what she missed:"
    await _connect(tells, carol, "carol-connects", says, QUEUE, EVICTED)
    with tells.step("carol-receives", f"She receives all {QUEUE}:") as step:
        received = await carol.messages(QUEUE, COLLECT_S)
        for message in received[:1] + received[1:][-1:]:
            step.got(message, message["payload"])
        letters = [_letter(number) for number in range(EVICTED + 1, TOTAL + 1)]
        step.claim(f"{letters[0]} to {letters[-1]}, in order", letters, _payloads(received))
        seqs = list(range(EVICTED + 1, TOTAL + 1))
        step.claim("each with its number in her queue, so she sees the gap", seqs, [m.get("seq") for m in received])
    with tells.step("carol-acks", f"She acknowledges the first {ACKED}, with one frame:") as step:
        ack, answer, _ = await carol.ack(received[ACKED - 1])
        step.got(ack, "carol says")
        step.got(answer, "the answer")
        step.claim("ok: the acknowledgement is on disk", "ok", answer["type"])


async def _send_letters(tells: Teller, child: Broker, server: Backend) -> None:
    first, *rest = (to_user("alice", "carol", _letter(number), offline=True) for number in range(1, TOTAL + 1))
    says = (
        f"carol is offline. alice's server sends her {TOTAL} letters, one by one: this, and so on to {_letter(TOTAL)}."
    )
    with tells.step("send-to-carol", says, *first.curl(child.port), seconds=MANY_S) as step:
        answers: list[Answer] = []
        for letter in (first, *rest):
            answers.append(await server.call(letter))
            tells.progress(len(answers), TOTAL)
        step.got(answers[0], _letter(1))
        step.got(answers[-1], _letter(TOTAL))
        codes = Counter("{} {}".format(*answer.code) for answer in answers)
        step.claim(f"all {TOTAL} were accepted, which means: are on disk", {"200 message_sent": TOTAL}, dict(codes))


async def _kill(tells: Teller, child: Broker) -> None:
    """One more send, and as soon as it is answered the process is gone."""
    async with Backend(child.port) as server:
        says = "One more message, with a key that makes it safe to repeat:"
        with tells.step("send-order", says, *ORDER.curl(child.port)) as step:
            answer = await server.call(ORDER)
            step.got(answer)
            step.claim("it was accepted", SENT, answer.code)
        with tells.step("kill", "The moment that answer is there:", f"kill -9 {child.pid}") as step:
            status = await child.end(signal.SIGKILL)
            step.got(f"ended by signal {-status}" if status < 0 else f"exit status {status}")
            step.claim("the broker is gone, and could not tidy up", -int(signal.SIGKILL), status)


async def _after_the_kill(tells: Teller, child: Broker) -> None:
    """The send is repeated; carol finds what was answered and not acknowledged, each once."""
    async with Backend(child.port) as server, Device("carol", child.port) as carol:
        says = "alice's server does not know whether its last message arrived, and repeats it with the same key:"
        with tells.step("retry-order", says, *ORDER.curl(child.port)) as step:
            answer = await server.call(ORDER)
            step.got(answer)
            step.claim("it is answered as it was the first time", SENT, answer.code)
        left = QUEUE - ACKED + 1
        await _connect(tells, carol, "carol-reconnects", "carol connects again:", left, 0)
        with tells.step("carol-receives-the-rest", f"She receives {left} messages and acknowledges them:") as step:
            received = await carol.messages(left, COLLECT_S)
            expected = [_letter(number) for number in range(TOTAL - QUEUE + ACKED + 1, TOTAL + 1)]
            for message in received[:1] + received[1:][-1:]:
                step.got(message, message["payload"])
            step.claim(
                "whatever was answered and not acknowledged, in order, the repeated one once",
                [*expected, ORDERED],
                _payloads(received),
            )
            _, answered, others = await carol.ack(received[-1])
            step.claim("nothing besides: what she had acknowledged does not come back", [], others)
            step.claim("her acknowledgement is on disk", "ok", answered["type"])


async def _connect(tells: Teller, who: Device, name: str, says: str, queued: int, missed: int) -> None:
    with tells.step(name, says, *who.typed) as step:
        welcome = await who.open()
        step.got(welcome)
        step.claim(f"{queued} queued", queued, welcome["queued"])
        step.claim(f"{missed} missed", missed, welcome["missed"])


def _letter(number: int) -> str:
    return f"letter {number}"


def _payloads(messages: list[Frame]) -> list[object]:
    return [message["payload"] for message in messages]
