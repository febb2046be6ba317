"""The demo: it holds on a real broker, it says so when something does not hold, and it clears up whatever happens."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from postroom.transports.cli.demo import child, run
from postroom.transports.cli.demo.backend import Call, collect, count, events, query, to_channel, to_user
from postroom.transports.cli.demo.child import config_text
from postroom.transports.cli.demo.claims import Broken, Step, compare
from postroom.transports.cli.demo.leancloud import LeanCall
from postroom.transports.cli.demo.telling import PersonTeller, StoryEnds, Teller
from postroom.transports.config import DEMO_APP, parse

COMMAND = [sys.executable, "-m", "postroom.transports.cli.main", "demo", "--json"]
STEPS = [
    "start",
    "bob-connects",
    "send-to-bob",
    "send-to-carol",
    "carol-connects",
    "carol-receives",
    "carol-acks",
    "join",
    "send-to-channel",
    "answer-in-channel",
    "leave",
    "history-query",
    "history-collect",
    "history-collect-again",
    "history-count",
    "history-query-dave",
    "user-events",
    "channel-events",
    "send-order",
    "kill",
    "start-again",
    "history-after-the-kill",
    "events-after-the-kill",
    "retry-order",
    "carol-reconnects",
    "carol-receives-the-rest",
    "leancloud-history",
    "leancloud-create",
    "leancloud-send",
    "leancloud-edit",
    "erin-connects",
    "leancloud-service",
    "leancloud-broadcast",
    "leancloud-broadcast-edit",
    "bob-returns",
    "stop",
    "log",
    "inspect",
    "verify",
    "dialects",
]


def environment(tmp_path: Path) -> dict[str, str]:
    """One in which the demo's scratch directory lies where we can see that it is gone."""
    return os.environ | {"TMPDIR": str(tmp_path)}


def told(out: io.StringIO) -> list[dict[str, Any]]:
    """The steps that a JSON teller told."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


# ---------------------------------------------------------------------------------------------------------- as a whole


def test_the_whole_story_holds(tmp_path: Path) -> None:
    done = subprocess.run(COMMAND, env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False)
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step for step in steps if not step["held"]] == []
    assert [step["step"] for step in steps] == STEPS
    assert all(set(step) == {"step", "request", "answer", "held"} for step in steps)
    by_name = {step["step"]: step for step in steps}
    assert by_name["send-to-bob"]["answer"]["the answer"]["body"]["code"] == "message_delivered"
    assert (by_name["carol-connects"]["answer"]["queued"], by_name["carol-connects"]["answer"]["missed"]) == (200, 5)
    assert by_name["carol-reconnects"]["answer"]["queued"] == 101
    codes = [by_name[name]["answer"]["body"]["code"] for name in STEPS if name.startswith("history-collect")]
    assert codes == ["ok", "resource not exist"]
    assert len(by_name["history-after-the-kill"]["answer"]["body"]["messages"]) == 2
    assert by_name["channel-events"]["answer"]["once more"] == []
    gone = [(event["type"], event["user_id"]) for event in by_name["events-after-the-kill"]["answer"]]
    assert sorted(gone)[:2] == [("Leave", "alice"), ("Leave", "bob")]
    assert len(gone) == 6
    assert by_name["dialects"]["answer"].keys() == {"anyRTC", "Easemob", "LeanCloud", "Wildfire"}
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_ended_by_a_signal_it_takes_its_broker_along(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        start = json.loads(demo.stdout.readline())
        demo.send_signal(signal.SIGTERM)
        _, errors = demo.communicate(timeout=60)
    assert (demo.returncode, errors) == (128 + signal.SIGTERM, "")
    port = int(start["answer"].rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert list(tmp_path.iterdir()) == []


def test_a_broker_that_dies_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(child, "_COMMAND", (sys.executable, "-c", "import sys; sys.exit('no room here')"))
    assert run(as_json=True) == 1
    out, err = capsys.readouterr()
    (step,) = map(json.loads, out.splitlines())
    assert (step["step"], step["held"]) == ("start", False)
    assert step["failed"][0]["came"] == "the end of the broker, with status 1"
    assert err.splitlines() == ["the broker ended by itself, with status 1; its last words:", "no room here"]


# -------------------------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize(
    ("expected", "came"),
    [(5, 4), (True, 1), (5, "5"), ((200, "message_sent"), (408, "timeout")), (["a"], []), (0, None)],
)
def test_what_is_not_so_does_not_hold(expected: object, came: object) -> None:
    claim = compare("so", expected, came)
    assert not claim.held
    assert claim.expected != claim.came


def test_a_long_list_is_shown_by_its_ends_and_by_where_it_differs() -> None:
    letters = [f"letter {number}" for number in range(6, 206)]
    assert compare("in order", letters, list(letters)).held
    swapped = compare("in order", letters, [*letters[:99], letters[100], letters[99], *letters[101:]])
    assert not swapped.held
    assert swapped.came.endswith('(200 in all); number 100 should be "letter 105" and is "letter 106"')
    short = compare("in order", letters, letters[:-1])
    assert short.expected == '["letter 6", "letter 7", … "letter 204", "letter 205"] (200 in all)'
    assert short.came.endswith("(199 in all); 199 where 200 were expected")


async def test_a_step_that_checks_nothing_does_not_hold() -> None:
    teller = Teller(io.StringIO())
    with teller.step("idle", "Nothing happens:"):
        pass
    assert not Step("idle", "").held
    assert teller.close() == 1


# ------------------------------------------------------------------------------------------------------------- telling


async def test_a_claim_that_fails_is_told_and_the_story_goes_on() -> None:
    out = io.StringIO()
    teller = Teller(out)
    with teller.step("one", "First:", "curl", "url") as step:
        step.got({"queued": 199})
        step.claim("200 queued", 200, 199)
        step.claim("5 missed", 5, 5)
    with teller.step("two", "Second:") as step:
        step.claim("fine", 1, 1)
    first, second = told(out)
    assert first == {
        "step": "one",
        "request": "curl url",
        "answer": {"queued": 199},
        "held": False,
        "failed": [{"claim": "200 queued", "expected": "200", "came": "199"}],
    }
    assert second["held"]
    assert teller.close() == 1


@pytest.mark.parametrize("error", [Broken("an answer", "nothing"), KeyError("queued"), IndexError("99")])
async def test_a_step_that_cannot_go_on_ends_the_story(error: Exception) -> None:
    out = io.StringIO()
    teller = Teller(out)
    with pytest.raises(StoryEnds), teller.step("one", "First:"):
        raise error
    assert [step["held"] for step in told(out)] == [False]
    assert teller.close() == 1


async def test_a_step_that_takes_too_long_ends_the_story(autojump_clock: trio.testing.MockClock) -> None:
    out = io.StringIO()
    with pytest.raises(StoryEnds), Teller(out).step("one", "First:", seconds=3):
        await trio.sleep_forever()
    (step,) = told(out)
    assert step["failed"][0]["expected"] == "that within 3 seconds"


async def test_for_a_person_what_failed_stands_beside_what_was_expected() -> None:
    out = io.StringIO()
    teller = PersonTeller(out)
    teller.act("An act")
    with teller.step("one", "Something:", "curl -u a:b", "http://host", "-d x") as step:
        step.got("HTTP 200", "first")
        step.claim("2 queued", 2, 3)
    assert teller.close() == 1
    assert out.getvalue() == (
        "\n1. An act\n\n  Something:\n  $ curl -u a:b \\\n      http://host \\\n      -d x\n    first  HTTP 200\n"
        "  ✗ NOT SO: 2 queued\n      expected: 2\n      came:     3\n\n1 of 1 claims did not hold.\n"
    )


# ------------------------------------------------------------------------------------------------- what is shown is so


def test_the_configuration_is_that_of_the_demo_app() -> None:
    config, _ = parse(config_text().encode())
    (app,) = config.apps
    assert app.limits.anyrtc_peer_messages is None
    for table in ("name", "session_secret", "anyrtc", "easemob", "leancloud", "wildfire", "queue", "history"):
        assert getattr(app, table) == getattr(DEMO_APP, table)


def typed(call: Call) -> list[str]:
    """The words of its curl line, as a shell takes them."""
    line = " ".join(call.curl(8080)).replace("curl ", "printf '%s\\n' ", 1)
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_curl_line_survives_a_shell() -> None:
    call = to_user("alice", "bob", "it's $HOME & more", offline=True, wait=True, key="k 1")
    url = f"http://127.0.0.1:8080{call.target}"
    assert typed(call) == ["-u", "demo-key:demo-secret", url, "-H", "Idempotency-Key: k 1", "-d", call.text]
    assert json.loads(call.text)["payload"] == "it's $HOME & more"
    edit = LeanCall(path="a/b?c=d&e=f", body={"message": "it's"}, verb="PUT")
    headers = ["X-LC-Id: demo-app", "X-LC-Key: demo-master-key,master", "Content-Type: application/json"]
    words = ["-X", "PUT", "http://127.0.0.1:8080/1.2/rtm/a/b?c=d&e=f"]
    assert typed(edit) == [
        *words,
        *(word for header in headers for word in ("-H", header)),
        "-d",
        '{"message": "it\'s"}',
    ]
    counted = count("lobby", 1, 2)
    assert typed(counted) == ["-u", "demo-key:demo-secret", f"http://127.0.0.1:8080{counted.target}"]


@pytest.mark.parametrize(
    ("call", "method", "path", "body"),
    [
        (to_user("a", "b", "c"), "POST", "users/a/peer_messages", {"destination": "b", "payload": "c"}),
        (
            to_channel("a", "b", "c"),
            "POST",
            "users/a/channel_messages",
            {"channel_name": "b", "payload": "c", "enable_historical_messaging": True},
        ),
        (events("user"), "GET", "vendor/user_events", None),
        (
            query("b", 1, 2),
            "POST",
            "message/history/query",
            {"filter": {"destination": "b", "start_time": 1, "end_time": 2}},
        ),
        (collect("~/rtm/message/history/query/17"), "GET", "message/history/query/17", None),
        (count("b", 1, 2), "GET", "message/history/count?destination=b&start_time=1&end_time=2", None),
    ],
)
def test_the_calls(call: Call, method: str, path: str, body: object) -> None:
    assert (call.method, call.body) == (method, body)
    assert call.target == f"/dev/v2/project/0123456789abcdef0123456789abcdef/rtm/{path}"
