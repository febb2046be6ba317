"""The examples of docs/anyrtc.md, run as they stand there, one after the other."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from postroom.transports.anyrtc import channel_messages, history, peer_messages
from postroom.transports.anyrtc.errors import ANSWERS
from postroom.transports.config import DEMO_APP
from tests.support.serving import config_of, serving

PAGE = (Path(__file__).parents[2] / "docs" / "anyrtc.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(sh|json|json heard)\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
LISTEN = "postroom listen "
HANDLE = re.compile(r"(?<=/query/)\d{24}")
CHANCE = {"request_id", "ms", "id", "timestamp"}
"""Members whose values are other ones each time."""


def plain(value: Any) -> Any:
    """An answer without what chance and the clock put there; what is there still has to be there."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: type(item) if key in CHANCE else plain(item) for key, item in value.items()}
    return HANDLE.sub("", value) if isinstance(value, str) else value


class Reader:
    """Somebody who types what the page shows."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._base = f"BASE=http://127.0.0.1:{port}/dev/v2/project/0123456789abcdef0123456789abcdef"
        self._handles: dict[str, str] = {}
        self._answer = b""
        self.listening: trio.Process | None = None
        self._heard = b""

    async def typed(self, text: str) -> None:
        """A block of `sh`."""
        assert self._answer == b""  # every answer is shown
        if text.startswith("BASE="):
            assert text == self._base.replace(str(self._port), "8080")
        elif text.startswith(LISTEN):
            url = f"ws://127.0.0.1:{self._port}/v1/connect"
            command = [sys.executable, "-m", "postroom.transports.cli.main", *text.split()[1:], "--url", url]
            self.listening = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
            assert [json.loads(await self._line())["type"] for _ in range(2)] == ["welcome", "ok"]
        else:
            assert text.startswith("curl ")
            command_line = HANDLE.sub(lambda found: self._handles[found[0]], text)
            ran = await trio.run_process(["sh", "-c", f"{self._base}\n{command_line}"], capture_stdout=True)
            self._answer = ran.stdout

    async def shown(self, text: str) -> None:
        """A block of `json`: what came back."""
        said, self._answer = self._answer, b""
        for documented, real in zip(HANDLE.findall(text), HANDLE.findall(said.decode()), strict=True):
            self._handles[documented] = real
        self._same(said, text)

    async def heard(self, text: str) -> None:
        """A block of `json heard`: what the listener printed."""
        self._same(await self._line(), text)

    def _same(self, said: bytes, documented: str) -> None:
        one, other = json.loads(said), json.loads(documented)
        assert plain(one) == plain(other)
        assert list(one) == list(other)  # in their order

    async def _line(self) -> bytes:
        assert self.listening is not None
        assert self.listening.stdout is not None
        while b"\n" not in self._heard:
            self._heard += await self.listening.stdout.receive_some()
        line, _, self._heard = self._heard.partition(b"\n")
        return line


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_the_examples() -> None:
    async with serving(config_of(DEMO_APP)) as served:
        reader = Reader(served.port)
        act = {"sh": reader.typed, "json": reader.shown, "json heard": reader.heard}
        try:
            with trio.fail_after(30):
                for kind, text in BLOCKS:
                    await act[kind](text)
        finally:
            if reader.listening is not None:
                reader.listening.kill()
                await reader.listening.wait()


def test_there_are_examples_of_every_call() -> None:
    typed = "\n".join(text for kind, text in BLOCKS if kind == "sh")
    calls = re.findall(r"^\| `\w+ (/rtm/[^`]+)`(?:, `GET (/rtm/[^`]+)`)?", PAGE, re.MULTILINE)
    paths = [path for row in calls for path in row if path]
    assert len(paths) == 7
    for path in paths:
        assert re.search(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) + r"[\"?]", typed), path


def test_the_page_lists_every_error_of_these_calls() -> None:
    table = {(int(status), code) for status, code in re.findall(r"^\| ([45]\d\d) \| `(\w+)` \|", PAGE, re.MULTILINE)}
    assert table == {(answer.status, answer.code) for answer in ANSWERS.values() if answer.status != 200} | {
        (408, "timeout")
    }


def test_the_page_lists_every_parameter() -> None:
    bodies = (
        peer_messages.PeerMessage,
        channel_messages.ChannelMessage,
        history.HistoryQuery,
        history.Filter,
    )
    rows = re.findall(r"^\| (?:body|filter) \| (.*?) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {field for body in bodies for field in body.__struct_fields__}
