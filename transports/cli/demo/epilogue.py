"""The end of the demo: what the log, the accounts and the check of the directory say, and which dialects there are."""

import signal
from collections.abc import Callable
from typing import Any, Final

from postroom.transports.config.tables import DIALECT_TABLES

from .child import CONFIG, DATA, Broker, Workplace
from .claims import Broken
from .telling import Teller

TOOL_S: Final = 15
"""A tool is a process of its own, and a cold start reads the whole program from disk."""
NAMES: Final = {"anyrtc": "anyRTC", "easemob": "Easemob", "leancloud": "LeanCloud", "wildfire": "Wildfire"}

assert tuple(NAMES) == DIALECT_TABLES


async def stop(tells: Teller, child: Broker) -> None:
    """End the broker in good order."""
    tells.act("The log explains")
    with tells.step("stop", "Stop the broker, this time in good order:", f"kill -TERM {child.pid}") as step:
        status = await child.end(signal.SIGTERM)
        step.got(f"exit status {status}")
        step.claim("it ends with status 0", 0, status)


async def explain(tells: Teller, place: Workplace) -> None:
    """The log, the accounts of one user, and the check of everything."""
    with tells.step("log", "Everything that happened is in the log:", f"postroom log {DATA}", seconds=TOOL_S) as step:
        lines = (await place.run("log", DATA)).lines
        events = (await place.run("log", DATA, "--json")).json()
        told = _evicts, _acks_many, _begins_again
        step.claim("a line for each event", len(events), len(lines))
        step.got([*(_first(lines, events, wanted) for wanted in told), f"({len(lines)} lines in all)"])
        evicted = sum(copy["evicted"] for event in events for copy in _copies(event))
        step.claim("5 letters gave way to newer ones, each told in the event that pushed it out", 5, evicted)
        keyed = [event for event in events if event.get("dedup") == "order-4711"]
        step.claim("1 message has the key order-4711, though it was sent twice", 1, len(keyed))
    says = "What became of everything that was ever queued for carol:"
    typed = "inspect", DATA, "--app", "demo", "--user", "carol"
    with tells.step("inspect", says, f"postroom {' '.join(typed)}", seconds=TOOL_S) as step:
        step.got((await place.run(*typed)).lines[:2])
        (accounts,) = (await place.run(*typed, "--json")).json()
        expected = {"accepted": 206, "acked": 201, "queued": 0, "evicted": 5, "expired": 0, "withdrawn": 0}
        step.claim(
            "the account balances: nothing was lost in silence", expected, {k: accounts.get(k) for k in expected}
        )
    says = "The directory, compared record by record with what its log says:"
    with tells.step("verify", says, f"postroom verify {DATA}", seconds=TOOL_S) as step:
        ran = await place.run("verify", DATA)
        step.got(ran.lines if ran.status == 0 else ran.lines + ran.errors)
        step.claim("ok, after a kill -9", 0, ran.status)


async def dialects(tells: Teller, place: Workplace) -> None:
    """Which vendor's API is served and which is next, as the check of the configuration has it."""
    tells.act("One app, four dialects")
    says = "The app of this demo is set up for all four vendors' APIs:"
    with tells.step("dialects", says, f"postroom config check {CONFIG}", seconds=TOOL_S) as step:
        (checked,) = (await place.run("config", "check", "--json", CONFIG)).json()
        waiting = {name for name in NAMES for line in checked["warnings"] if line.startswith(f"apps[0].{name}:")}
        for name, called in NAMES.items():
            step.got("next" if name in waiting else "served", called)
        step.claim("each has its place in the configuration", ["native", *NAMES], checked["apps"][0]["dialects"])
        served = [name for name in NAMES if name not in waiting]
        step.claim("two of them are served: they carried everything above", ["anyrtc", "leancloud"], served)
    tells.say(
        "",
        "Now you: `postroom serve` runs such a broker on port 8080 and prints the first lines to type;",
        "`postroom token --app demo --user bob` makes a token to receive with.",
    )


def _evicts(event: dict[str, Any]) -> bool:
    return any(copy["evicted"] for copy in _copies(event))


def _acks_many(event: dict[str, Any]) -> bool:
    return event["event"] == "acked.2" and bool(event["count"] > 1)


def _begins_again(event: dict[str, Any]) -> bool:
    return event["event"] == "epoch-started.1" and bool(event["epoch"] > 1)


def _copies(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The copies that a message's event put into queues."""
    return event["queued"] if event["event"] == "message-sent.2" else []


def _first(lines: list[str], events: list[dict[str, Any]], wanted: Callable[[dict[str, Any]], bool]) -> str:
    """The line of the first event of a kind. Raises Broken."""
    for line, event in zip(lines, events, strict=False):
        if wanted(event):
            return line
    raise Broken("an event that " + wanted.__name__.strip("_").replace("_", " "), "none in the log")
