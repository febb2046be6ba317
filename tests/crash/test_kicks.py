"""kill -9 between a kick and the logouts that it causes: the kick is on disk, and what it revoked stays revoked."""

from pathlib import Path

import pytest
import trio

from postroom.core import Broker, open_broker
from postroom.core.errors import TokenRevoked
from postroom.core.events import LoggedOut, UserKicked
from postroom.core.ids import UnixMs
from postroom.core.model import UserCount
from postroom.core.queries import AppUsers
from postroom.storage.reading import Reader
from tests.support.witness import PATIENCE_S, Child, check

APP = "demo"
SESSIONS = 3
KICKER = """
import os, sys
from contextlib import AsyncExitStack
from pathlib import Path

import trio
from postroom.core import open_broker
from postroom.core.commands import Kick


async def main():
    async with open_broker(Path(sys.argv[1])) as broker, AsyncExitStack() as stack:
        for _ in range(int(sys.argv[2])):
            await stack.enter_async_context(broker.connect(app="demo", user="bob"))
        await stack.enter_async_context(broker.connect(app="demo", user="carol"))
        kicked = await broker.submit(Kick(app="demo", user="bob", reason="spam"))
        os.write(1, b'["kicked", %d]\\n' % kicked.at_ms)
        await trio.sleep_forever()  # no owner leaves, so no logout is written


trio.run(main)
"""


async def count(broker: Broker) -> UserCount:
    """The app's users."""
    return await broker.ask(AppUsers(app=APP))


async def test_a_kick_survives_its_process(tmp_path: Path) -> None:
    directory, scratch = tmp_path / "data", tmp_path / "scratch"
    scratch.mkdir()
    with Child(["-c", KICKER, str(directory), str(SESSIONS)]) as child:
        await trio.to_thread.run_sync(child.read_until, "kicked")
        at_ms = UnixMs(child.lines[-1][1])
        child.kill()
        child.end()
    check(directory, scratch)
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        events = [record.event for record in snapshot.log()]
        assert events[-1] == UserKicked(app=APP, user="bob", at_ms=at_ms, reason="spam")
        assert len(snapshot.views.sessions(APP, "bob")) == SESSIONS
    with trio.fail_after(PATIENCE_S):
        async with open_broker(directory) as broker:
            assert await count(broker) == UserCount(online=0, today=2)  # whoever was there is not, and came today
            with pytest.raises(TokenRevoked):
                async with broker.connect(app=APP, user="bob", token_ms=at_ms):
                    pass
            async with broker.connect(app=APP, user="bob", token_ms=UnixMs(at_ms + 1)):
                assert await count(broker) == UserCount(online=1, today=2)
            async with broker.connect(app=APP, user="carol", token_ms=UnixMs(0)):
                pass
        with Reader(directory) as reader, reader.snapshot() as snapshot:
            logouts = [record.event.user for record in snapshot.log() if isinstance(record.event, LoggedOut)]
    assert logouts.count("bob") == SESSIONS + 1
    check(directory, scratch)
