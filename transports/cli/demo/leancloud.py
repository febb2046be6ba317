"""The demo's second API: the same app through LeanCloud's calls, and what one API sent shown by the other."""

import shlex
from typing import Any, Final

from postroom.transports.config.demo import DEMO_APP

from .backend import Backend, Call
from .channel import ANSWERED, ASKED, CHANNEL
from .child import Broker
from .device import Device
from .line import HOST
from .telling import Teller

FIRST: Final = "The train leaves at 8:00."
CORRECTED: Final = "The train leaves at 9:00."
CLOSING: Final = "We close at 6 pm today."
LATER: Final = "We close at 7 pm today."


class LeanCall(Call, frozen=True, kw_only=True):
    """A request to LeanCloud's API, with the master key."""

    verb: str = ""
    """Another method than the body says."""

    @property
    def method(self) -> str:
        """Of the request."""
        return self.verb or super().method

    @property
    def target(self) -> str:
        """Path and query, in full."""
        return f"/1.2/rtm/{self.path}"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Those besides Host and Content-Length."""
        assert DEMO_APP.leancloud is not None
        settings = DEMO_APP.leancloud
        known = [("X-LC-Id", settings.app_id), ("X-LC-Key", f"{settings.master_key},master")]
        return known + [("Content-Type", "application/json")] * (self.body is not None)

    def curl(self, port: int) -> list[str]:
        """The command line that makes this request, in parts for a line each."""
        url = shlex.quote(f"http://{HOST}:{port}{self.target}")
        headers = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in self.headers]
        verb = f" -X {self.verb}" if self.verb else ""
        return [f"curl{verb} {url}", *headers, *[f"-d {shlex.quote(self.text)}"] * (self.body is not None)]


def call(path: str, body: dict[str, Any] | None = None, verb: str = "") -> LeanCall:
    """One of the calls of this act."""
    return LeanCall(path=path, body=body, verb=verb)


async def play(tells: Teller, child: Broker) -> None:
    """A channel's history, a conversation with an edit, and a broadcast that is corrected on its way."""
    tells.act("Another vendor's API", "The same app, its channel and its users, through LeanCloud's calls.")
    async with Backend(child.port) as server:
        await _history(tells, child, server)
        await _conversation(tells, child, server)
        await _broadcast(tells, child, server)


async def _history(tells: Teller, child: Broker, server: Backend) -> None:
    ask = call(f"chatrooms/{CHANNEL}/messages?reversed=true")
    says = f"{CHANNEL}, which only anyRTC's API and the WebSocket have used so far, is a chatroom here:"
    with tells.step("leancloud-history", says, *ask.curl(child.port)) as step:
        answer = await server.call(ask)
        step.got(answer)
        step.claim("it was answered", 200, answer.status)
        step.claim("what they sent is here", [ASKED, ANSWERED], [record["data"] for record in answer.items])


async def _conversation(tells: Teller, child: Broker, server: Backend) -> None:
    """alice writes to erin, who is away, and corrects herself before erin comes."""
    create = call("conversations", {"name": "trip", "m": ["alice", "erin"]})
    with tells.step("leancloud-create", "A conversation of alice and erin:", *create.curl(child.port)) as step:
        answer = await server.call(create)
        step.got(answer)
        step.claim("it was created", 201, answer.status)
        there = f"conversations/{answer.body['objectId']}/messages"
    send = call(there, {"from_client": "alice", "message": FIRST})
    with tells.step("leancloud-send", "erin is away. alice writes to it:", *send.curl(child.port)) as step:
        answer = await server.call(send)
        step.got(answer)
        step.claim("it is on disk", 200, answer.status)
        sent = answer.body
    edit = call(
        f"{there}/{sent['msg-id']}",
        {"from_client": "alice", "message": CORRECTED, "timestamp": sent["timestamp"]},
        "PUT",
    )
    with tells.step("leancloud-edit", "And corrects it:", *edit.curl(child.port)) as step:
        answer = await server.call(edit)
        step.got(answer)
        step.claim("done", 200, answer.status)
    async with Device("erin", child.port) as erin:
        with tells.step("erin-connects", "erin comes:", *erin.typed) as step:
            welcome = await erin.open()
            step.got(welcome, "the welcome")
            message = await erin.message()
            step.got(message, "erin receives")
            step.claim("one message waits", 1, welcome["queued"])
            step.claim("it has the corrected text", CORRECTED, message["payload"])
            _, answered, others = await erin.ack(message)
            step.claim("nothing else comes, and her acknowledgement is on disk", ("ok", []), (answered["type"], others))


async def _broadcast(tells: Teller, child: Broker, server: Backend) -> None:
    """erin gets it at once; bob, who is away, gets what it says when he comes."""
    create = call("service-conversations", {"name": "shop"})
    with tells.step("leancloud-service", "A service conversation:", *create.curl(child.port)) as step:
        answer = await server.call(create)
        step.got(answer)
        step.claim("it was created", 201, answer.status)
        service = answer.body["objectId"]
    send = call("broadcasts", {"from_client": "shop", "conv_id": service, "message": CLOSING})
    async with Device("erin", child.port) as erin:
        says = "erin is there, bob is not. It sends a broadcast to everyone:"
        with tells.step("leancloud-broadcast", says, *send.curl(child.port)) as step:
            await erin.open()
            answer = await server.call(send)
            step.got(answer, "the answer")
            message = await erin.message()
            step.got(message, "erin receives")
            step.claim("erin received it", CLOSING, message["payload"])
            sent = answer.body
        path = f"service-conversations/{service}/messages/{sent['msg-id']}"
        edit = call(path, {"from_client": "shop", "message": LATER, "timestamp": sent["timestamp"]}, "PUT")
        with tells.step("leancloud-broadcast-edit", "And edits it:", *edit.curl(child.port)) as step:
            answer = await server.call(edit)
            step.got(answer, "the answer")
            _, answered, others = await erin.ack(message)
            step.claim("erin, who has it, is told nothing", ("ok", []), (answered["type"], others))
    async with Device("bob", child.port) as bob:
        with tells.step("bob-returns", "bob comes:", *bob.typed) as step:
            step.got(await bob.open(), "the welcome")
            message = await bob.message()
            step.got(message, "bob receives")
            step.claim("he gets what it says now", ("shop", LATER), (message["sender"], message["payload"]))
