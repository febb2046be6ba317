"""The examples of docs/anyrtc.md, run as they stand there."""

import json
import re
import shutil
from pathlib import Path

import pytest
import trio

from postroom.transports.config import DEMO_APP
from tests.support.serving import config_of, serving

PAGE = (Path(__file__).parents[2] / "docs" / "anyrtc.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n(curl .*?)```\n\n```json\n(.*?)```", PAGE, re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == PAGE.count("```sh\ncurl") == 4


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_the_examples() -> None:
    async with serving(config_of(DEMO_APP)) as served:
        base = f"BASE=http://127.0.0.1:{served.port}/dev/v2/project/0123456789abcdef0123456789abcdef"
        assert base.replace(str(served.port), "8080") in PAGE
        for command, answer in EXAMPLES:
            ran = await trio.run_process(["sh", "-c", f"{base}\n{command}"], capture_stdout=True)
            said, documented = json.loads(ran.stdout), json.loads(answer)
            assert said | {"request_id": ""} == documented | {"request_id": ""}
