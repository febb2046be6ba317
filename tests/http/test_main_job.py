"""The main job on real input: the request of anyRTC's own documentation reaches whoever is to have it."""

import json
import shutil
import sys
import time
from pathlib import Path

import trio

from postroom.core import BrokerThread
from postroom.core.ids import UnixMs
from postroom.storage.lmdb import LmdbStore
from postroom.transports.native.tokens import issue
from tests.support.serving import BASE, Served, serving
from tests.support.web import APP, RTC
from tests.support.websocket import websocket

SAMPLE = {
    "destination": "userB",
    "enable_offline_messaging": False,
    "enable_historical_messaging": False,
    "payload": "Hello",
}


async def post(served: Served, body: dict[str, object], query: str = "") -> dict[str, object]:
    """As the documentation shows it, with host, app id and credentials replaced: by curl, where the machine has it."""
    path = f"{BASE}/rtm/users/userA/peer_messages{query}"
    if shutil.which("curl"):
        url = f"http://127.0.0.1:{served.port}{path}"
        command = ["curl", "-sS", "-u", f"{RTC.api_key}:{RTC.api_secret}", url, "-d", json.dumps(body)]
        command += ["-H", "Content-type: application/json;charset=utf-8"]
        text = (await trio.run_process(command, capture_stdout=True)).stdout
    else:
        text = (await served.client.post(path, json=body)).content
    answer: dict[str, object] = json.loads(text)
    assert answer.pop("request_id")
    return answer


async def test_the_sample_reaches_every_kind_of_recipient(tmp_path: Path) -> None:
    token = issue(APP.session_secret, APP.name, "userB", 60, UnixMs(time.time_ns() // 1_000_000))
    async with serving(store=LmdbStore(tmp_path / "data")) as served:
        offline = await post(served, SAMPLE, "?wait_for_ack=true")
        assert offline == {"code": "message_offline", "result": "success"}

        answers: list[dict[str, object]] = []

        async def send() -> None:
            answers.append(await post(served, SAMPLE, "?wait_for_ack=true"))

        async with (
            served.broker.connect(app=APP.name, user="userB") as session,
            websocket(served.port, f"/v1/connect?token={token}") as device,
            trio.open_nursery() as nursery,
        ):
            assert (await device.frame())["type"] == "welcome"
            nursery.start_soon(send)
            frame = await device.frame()
            delivery = await anext(session)
            await session.ack(delivery)
        assert answers == [{"code": "message_delivered", "result": "success"}]
        assert (frame["sender"], frame["payload"], frame["via"]) == ("userA", "Hello", "anyrtc")
        assert (delivery.sender, delivery.body, delivery.via) == ("userA", b"Hello", "anyrtc")

        waiting = {**SAMPLE, "enable_offline_messaging": True, "payload": "while you were out"}
        assert await post(served, waiting) == {"code": "message_sent", "result": "success"}

    assert await trio.to_thread.run_sync(collect, tmp_path / "data") == b"while you were out"
    command = [sys.executable, "-m", "postroom.transports.cli.main", "log", str(tmp_path / "data")]
    told = (await trio.run_process(command, capture_stdout=True)).stdout.decode()
    assert "userA → peer userB" in told
    assert "userB acknowledged" in told
    assert "while you were out" not in told


def collect(directory: Path) -> bytes:
    """What waits for userB, from synchronous code."""
    with BrokerThread(directory) as broker, broker.connect(app=APP.name, user="userB") as session:
        assert session.welcome.queued == 1
        waited = next(iter(session))
        session.ack(waited).result()
        return waited.body
