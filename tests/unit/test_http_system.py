"""What the server says about itself."""

import pytest
from prometheus_client import CollectorRegistry

from postroom.core import errors as core_errors
from postroom.core.errors import Internal, Overloaded, Refusal, SessionEnded, TooManyRooms, UnknownResult
from postroom.core.model import StoreStatistics
from postroom.core.rows import Totals
from postroom.core.runtime.statistics import BrokerStatistics, Histogram
from postroom.transports.http import errors as http_errors
from postroom.transports.http.errors import HttpRefusal, MethodNotAllowed
from postroom.transports.http.metrics import metrics_registry
from postroom.transports.http.router import Match, Router
from postroom.transports.http.shell import HttpCounters
from postroom.transports.http.system import STATUS, Readiness, refuse, system_dialect
from postroom.transports.http.types import HttpReply, HttpRequest
from tests.support.web import header, told

STATISTICS = BrokerStatistics(
    totals={"shop": Totals(accepted=9, acked=3, queued=2, evicted=2, expired=1, withdrawn=1)},
    delivered={"shop": 7},
    shed={("shop", "low"): 3},
    refusals={("shop", "invalid"): 1},
    session_dropped={},
    sessions={"shop": 2},
    batch_commands=Histogram(((1, 4), (2, 5)), 6, 12.0),
    commit_ms=Histogram(((1, 5), (1000, 6)), 6, 1500.0),
    inbox_commands=0,
    waiters=1,
    rooms=5,
    full=False,
    store=StoreStatistics(file_bytes=1 << 26, used_bytes=69632, reserve_bytes=1 << 24, log_records=3),
)


def subclasses(kind: type[Refusal]) -> set[type[Refusal]]:
    return {each for sub in kind.__subclasses__() for each in {sub} | subclasses(sub)}


def ours() -> set[type[Refusal]]:
    """Every refusal that our code can raise."""
    modules = (core_errors.__name__, http_errors.__name__)
    return {kind for kind in subclasses(Refusal) if kind.__module__ in modules} - {HttpRefusal}


def ask(path: str, client: str | None = "127.0.0.1", *, full: bool = False, ready: bool = True) -> HttpReply:
    """The reply of our own routes."""
    own = system_dialect(
        lambda: Readiness(ready=ready, disk_full=full),
        metrics_registry(lambda: STATISTICS, HttpCounters(), ["shop", "idle"]),
        public_metrics=client == "public",
        websockets=["/v1/connect"],
    )
    match = Router(own, []).match("GET", path)
    assert isinstance(match, Match)
    answer = match.route.answer  # type: ignore[union-attr]
    reply: HttpReply = answer(HttpRequest(method="GET", path=path, client=client))
    return reply


def test_every_refusal_has_a_status() -> None:
    assert set(STATUS) == ours()


def test_our_own_form_of_a_refusal() -> None:
    reply = refuse(Overloaded("no room", retry_after_ms=1500), "4711")
    assert reply.status == 503
    assert told(reply) == {"code": "overloaded", "message": "no room", "request_id": "4711"}
    assert header(reply, "Retry-After") == "2"
    assert refuse(MethodNotAllowed(("GET",)), "1").status == 405
    assert refuse(Internal("4711"), "4711").status == 500
    of_rooms = (UnknownResult, SessionEnded, TooManyRooms)
    assert [refuse(kind("x"), "1").status for kind in of_rooms] == [404, 409, 429]


def test_healthz() -> None:
    assert (ask("/healthz").status, told(ask("/healthz"))) == (200, {"status": "ok"})


@pytest.mark.parametrize(("ready", "full", "status"), [(True, False, 200), (True, True, 200), (False, False, 503)])
def test_readyz(ready: bool, full: bool, status: int) -> None:
    reply = ask("/readyz", full=full, ready=ready)
    assert (reply.status, told(reply)) == (status, {"ready": ready, "disk_full": full})


def test_metrics_are_for_callers_on_this_machine() -> None:
    assert ask("/metrics").status == 200
    assert ask("/metrics", "10.0.0.1").status == 403
    assert ask("/metrics", None).status == 403
    assert ask("/metrics", "public").status == 200


def test_metrics_by_name() -> None:
    reply = ask("/metrics")
    assert (header(reply, "Content-Type") or "").startswith("text/plain")
    lines = set(reply.body.decode().splitlines())
    assert {
        'postroom_accepted_total{app="shop"} 9.0',
        'postroom_acked_total{app="shop"} 3.0',
        'postroom_evicted_total{app="shop"} 2.0',
        'postroom_expired_total{app="shop"} 1.0',
        'postroom_withdrawn_total{app="shop"} 1.0',
        'postroom_queued{app="shop"} 2.0',
        'postroom_accepted_total{app="idle"} 0.0',
        'postroom_delivered_total{app="shop"} 7.0',
        'postroom_shed_total{app="shop",lane="low"} 3.0',
        'postroom_shed_total{app="shop",lane="high"} 0.0',
        'postroom_refusals_total{app="shop",code="invalid"} 1.0',
        'postroom_session_dropped_total{app="shop"} 0.0',
        'postroom_sessions{app="shop"} 2.0',
        'postroom_batch_commands_bucket{le="2.0"} 5.0',
        'postroom_batch_commands_bucket{le="+Inf"} 6.0',
        "postroom_batch_commands_sum 12.0",
        'postroom_commit_seconds_bucket{le="0.001"} 5.0',
        'postroom_commit_seconds_bucket{le="1.0"} 6.0',
        "postroom_commit_seconds_count 6.0",
        "postroom_commit_seconds_sum 1.5",
        "postroom_store_file_bytes 6.7108864e+07",
        "postroom_store_reserve_bytes 1.6777216e+07",
        "postroom_disk_full 0.0",
        "postroom_rooms 5.0",
    } <= lines


def test_what_the_shell_refused_counts_with_what_the_broker_did() -> None:
    counters = HttpCounters()
    counters.refused["shop", "invalid"] = 4
    counters.refused["shop", "rate_limited"] = 2
    counters.replies["anyrtc", 400] = 4
    registry: CollectorRegistry = metrics_registry(lambda: STATISTICS, counters, ["shop"])
    assert registry.get_sample_value("postroom_refusals_total", {"app": "shop", "code": "invalid"}) == 5
    assert registry.get_sample_value("postroom_refusals_total", {"app": "shop", "code": "rate_limited"}) == 2
    assert registry.get_sample_value("postroom_http_replies_total", {"dialect": "anyrtc", "status": "400"}) == 4


def test_a_websocket_path_over_plain_http() -> None:
    assert (ask("/v1/connect").status, told(ask("/v1/connect"))["code"]) == (400, "upgrade_required")
