"""The examples of docs/leancloud.md, run as they stand there, one after the other."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from postroom.transports import leancloud
from postroom.transports.config import DEMO_APP
from postroom.transports.leancloud.errors import ANSWERS, REQUIRED
from tests.support.serving import config_of, serving

PAGE = (Path(__file__).parents[2] / "docs" / "leancloud.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(sh|json|json heard)\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?:\b|(?<=\bsb_))(?:[0-9a-f]{24}|[0-9a-f]{32}|cG9zdHJvb2[A-Za-z0-9_-]{12}|1[0-9]{12})\b")
"""What chance or the clock put into an answer, for later commands to name: ids of rows and messages, and of two of them,
times."""
CHANCE = {"createdAt", "updatedAt", "id"}
"""Members whose values are other ones each time."""


def plain(value: Any) -> Any:
    """An answer without what is another one each time; what is there still has to be there."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: type(item) if key in CHANCE else plain(item) for key, item in value.items()}
    return NAMED.sub("", str(value)) if isinstance(value, str | int) and type(value) is not bool else value


class Reader:
    """Somebody who types what the page shows."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._prelude = ""
        self._named: dict[str, str] = {}
        self._answer = b""
        self._heard = b""
        self.listening: trio.Process | None = None

    async def typed(self, text: str) -> None:
        """A block of `sh`."""
        assert self._answer == b""  # every answer is shown
        if text.startswith("BASE="):
            self._prelude = text.replace("8080", str(self._port), 1)
        elif text.startswith("postroom listen "):
            url = f"ws://127.0.0.1:{self._port}/v1/connect"
            command = [sys.executable, "-m", "postroom.transports.cli.main", *text.split()[1:], "--url", url]
            self.listening = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
            assert json.loads(await self._line())["type"] == "welcome"
        else:
            assert text.startswith("curl ")
            command_line = NAMED.sub(lambda found: self._named[found[0]], text)
            ran = await trio.run_process(["sh", "-c", f"{self._prelude}\n{command_line}"], capture_stdout=True)
            self._answer = ran.stdout

    async def shown(self, text: str) -> None:
        """A block of `json`: what came back."""
        said, self._answer = self._answer, b""
        for documented, real in zip(NAMED.findall(text), NAMED.findall(said.decode()), strict=True):
            assert self._named.setdefault(documented, real) == real
        self._same(said, text)

    async def heard(self, text: str) -> None:
        """A block of `json heard`: what the listener printed."""
        self._same(await self._line(), text)

    def _same(self, said: bytes, documented: str) -> None:
        one, other = plain(json.loads(said)), plain(json.loads(documented))
        assert one == other
        assert repr(one) == repr(other)  # in their order

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


def test_the_page_lists_every_call() -> None:
    """Those of chatrooms' messages, silences, bans and roles by those of conversations."""
    found = set()
    for row in re.findall(r"^\| (`(?:POST|GET|PUT|DELETE).*?) \|", PAGE, re.MULTILINE):
        path = ""
        for item in reversed(re.findall(r"`([^`]+)`", row)):
            method, _, own = item.partition(" ")
            path = own or path
            base = "/1.1" if path.startswith(("/classes", "/rtm", "/date")) else "/1.2/rtm"
            found.add(
                (method, base + path.replace("{id}", "{cid}").replace("{client}", "{uid}").replace("{info}", "{iid}"))
            )
    rooms = {(method, path.replace("/conversations", "/chatrooms")) for method, path in found if "{cid}/" in path}
    served = {(route.method, route.template) for route in leancloud.bind([DEMO_APP]).routes}
    assert found | {each for each in rooms if each in served} == served


def test_the_page_lists_every_error_of_these_calls() -> None:
    table = {tuple(map(int, row)) for row in re.findall(r"^\| ([45]\d\d) \| (\d+) \|", PAGE, re.MULTILINE)}
    listed = {(answer.status, answer.code) for answer in ANSWERS.values()} | {
        (400, code) for code, _ in REQUIRED.values()
    }
    assert table == listed - {(404, 1), (400, 4563)}


def test_the_page_lists_every_parameter_of_a_send() -> None:
    source = (Path(__file__).parents[2] / "transports" / "leancloud" / "messages.py").read_text(encoding="utf-8")
    read = set(re.findall(r'(?:flag|maybe|value|text|time|clients|push_of)\((?:given, )?"(\w+)"', source)) | {
        "from_client"
    }
    listed = re.findall(r"^\| `(\w+)` \| (?:string|boolean|array|integer)", PAGE, re.MULTILINE)
    assert set(listed) == read
