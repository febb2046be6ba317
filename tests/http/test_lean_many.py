"""Many sessions that never read, on the lean host: what they hold is bounded, and others do not notice them."""

from typing import Any
from unittest import mock

import trio

from postroom.core import SendMessage, room
from postroom.transports.http.lean.host import LeanHost
from postroom.transports.native.outbox import CHUNK_BYTES, OUTBOX_BYTES_MAX, Outbox
from tests.support.lean import TEXT, deaf, dropped_for, frame, frames_of, small_send_buffers
from tests.support.native_client import session
from tests.support.serving import serving
from tests.support.web import APP


async def test_hundreds_that_never_read_hold_their_budget_and_delay_nobody() -> None:
    count, size = 200, 20_000
    outboxes: list[Outbox] = []
    hosts: list[LeanHost] = []
    made, built = Outbox.__init__, LeanHost.__init__

    def noted(self: Outbox, *args: Any) -> None:
        outboxes.append(self)
        made(self, *args)

    def kept(self: LeanHost, *args: Any) -> None:
        hosts.append(self)
        built(self, *args)

    with (
        small_send_buffers(),
        mock.patch.object(Outbox, "__init__", noted),
        mock.patch.object(LeanHost, "__init__", kept),
    ):
        async with serving(hosts=("h11",)) as served, trio.open_nursery() as nursery:

            async def sit(number: int, *, task_status: trio.TaskStatus[None]) -> None:
                async with deaf(served, f"deaf{number}") as one:
                    await one.say(frame(TEXT, b'{"type":"join","ref":1,"room":"r1"}'))
                    assert frames_of(await one.frame())[0]["type"] == "ok"
                    task_status.started()
                    await trio.sleep_forever()

            for number in range(count):
                await nursery.start(sit, number)
            async with session(served, "bob") as bob:
                await bob.ask(type="join", room="r1")
                for number in range(80):  # 1.6 MB to each: more than the system, an outbox and a buffer hold
                    body = b"%d " % number + b"x" * size
                    await served.broker.submit(SendMessage(app=APP.name, sender="alice", to=room("r1"), body=body))
                    assert (await bob.next())["payload"].startswith(f"{number} ")
                assert dropped_for(served) >= 10 * count
                waiting = [one.socket._out for one in hosts[0]._open if one.socket is not None]
                assert len(waiting) == count + 1
                assert sum(map(bool, waiting)) == count
                # A direct frame's rest, or a chunk that is being sent; what is behind it, the outbox counts.
                assert all(sum(map(len, out)) <= CHUNK_BYTES + size for out in waiting)
                assert all(outbox._bytes <= OUTBOX_BYTES_MAX for outbox in outboxes)
                assert (await bob.send({"kind": "peer", "id": "carol"}, "quick"))["type"] == "ok"
            nursery.cancel_scope.cancel()
