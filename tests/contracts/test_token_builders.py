"""Tokens as clients get them, from the three public builders: made right now, by the real clock, for anybody.

`agora-token-builder` is Python's, `agora-access-token` and `agora-token` are of npm: `make test` installs them.
"""

import base64
import random
import string
import struct
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from postroom.transports.anyrtc.tokens import BadToken, verify
from tests.support import token_builders
from tests.support.rtm_tokens import make_006
from tests.support.token_builders import BUILT_HERE, Order, built, from_npm, order

LETTERS = string.ascii_letters + string.digits + " !#$%&()+-:;<=.>?@[]^_{}|~,'"

GOOD = ["python_006", "rtm_006", "rtm_007", "both_007", "both2_007", "many_007"]
NOT_FOR_RTM = ["python_rtc_006", "rtc_006", "rtc_007"]


@cache
def users() -> list[str]:
    """Names of every length, drawn anew in each run (a failure shows order and token), and some that need care."""
    drawn = ["".join(random.choices(LETTERS, k=size)) for size in range(1, 65)]
    return [*drawn, "userA", "SYSTEM", "1001", "a b+c&d=e@f%25#g", "\u7528\u6237", "\U0001f4ee"]


@cache
def tokens(builder: str) -> list[tuple[Order, str]]:
    """A builder's tokens for all the users; those of npm are all made when the first is asked for."""
    if builder in BUILT_HERE:
        return built(order(builder, user) for user in users())
    return [(each, token) for each, token in all_from_npm() if each["builder"] == builder]


@cache
def all_from_npm() -> list[tuple[Order, str]]:
    return built(
        order(builder, user) for builder in [*GOOD, *NOT_FOR_RTM] if builder not in BUILT_HERE for user in users()
    )


def check(made: Order, token: str, **changes: Any) -> str:
    """`verify` as of now, for the app and user of the order."""
    asked: dict[str, Any] = {"app_id": made["app_id"], "certificate": made["certificate"], "account": made["user"]}
    return verify(token, **(asked | {"now_s": int(time.time())} | changes))


def refused(made: Order, token: str, **changes: Any) -> str:
    """Why it is bad."""
    with pytest.raises(BadToken) as caught:
        check(made, token, **changes)
    return caught.value.reason


@pytest.mark.parametrize("builder", GOOD)
def test_a_token_opens_what_it_was_made_for(builder: str) -> None:
    for made, token in tokens(builder):
        assert token.startswith(builder[-3:]), (made, token)
        assert check(made, token) == made["user"], (made, token)
        if builder.endswith("007"):
            assert check(made, token, account=None) == made["user"], (made, token)


@pytest.mark.parametrize("builder", GOOD)
def test_a_token_opens_nothing_else(builder: str) -> None:
    for made, token in tokens(builder):
        user = made["user"]
        for other in ("", user + "x", user[:-1], user.swapcase() + "_", "userB"):
            assert refused(made, token, account=other) in ("for another user", "no account given"), (made, token)
        assert refused(made, token, certificate="0" * 32) == "wrong signature", (made, token)
        assert refused(made, token, certificate="") == "the app has no certificate"
        assert refused(made, token, app_id="0" * 32) == "for another app", (made, token)
        assert refused(made, token, now_s=int(time.time()) + 86_401) == "expired", (made, token)


@pytest.mark.parametrize("builder", NOT_FOR_RTM)
def test_a_token_for_calls_opens_nothing(builder: str) -> None:
    for made, token in tokens(builder):
        assert refused(made, token) == "not for RTM", (made, token)


@pytest.mark.parametrize("builder", GOOD)
def test_a_token_ends_when_its_builder_was_told(builder: str) -> None:
    made, token = tokens(builder)[0]
    assert check(made, token, now_s=made["expires_s"] - 1) == made["user"]
    # 007: the builder looks at the clock itself, up to a minute after the order was written.
    assert refused(made, token, now_s=made["expires_s"] + (60 if builder.endswith("007") else 0)) == "expired"


def test_a_006_token_ends_after_a_day_though_its_privilege_does_not() -> None:
    now_s = int(time.time())
    for expires_s in (0, now_s + 10 * 86_400):
        orders = [order(builder, "userA", expires_s=expires_s) for builder in ("python_006", "rtm_006")]
        for made, token in built(orders):
            assert check(made, token, now_s=now_s + 86_399) == "userA"
            assert refused(made, token, now_s=now_s + 86_460) == "expired"


def test_a_007_token_ends_after_a_day_though_it_was_made_for_ten() -> None:
    now_s = int(time.time())
    for made, token in built(
        [order("rtm_007", "userA", lifetime_s=10 * 86_400), order("both_007", "userA", lifetime_s=0)]
    ):
        if made["lifetime_s"]:
            assert check(made, token, now_s=now_s + 86_399) == "userA"
            assert refused(made, token, now_s=now_s + 86_460) == "expired"
        else:
            assert refused(made, token) == "expired"


@pytest.mark.parametrize("builder", ["python_006", "rtm_006"])
def test_the_builder_of_the_unit_tests_makes_the_same_tokens(builder: str) -> None:
    for made, token in tokens(builder):
        salt, ts = struct.unpack_from("<II", base64.b64decode(token[35:]), 44)
        app = {"app_id": made["app_id"], "certificate": made["certificate"]}
        assert make_006(made["user"], [(1000, made["expires_s"])], ts=ts, salt=salt, **app) == token


def test_without_the_packages_the_tests_fail_and_say_what_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_builders, "NPM", tmp_path)
    with pytest.raises(pytest.fail.Exception, match="`make test` installs it"):
        from_npm([])
