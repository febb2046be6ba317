"""Results of queries, reserved under a handle and collected once, also after a restart."""

from itertools import islice, takewhile

from ..commands import CollectResult, ExpireResults, ReserveResult
from ..errors import Overloaded, UnknownResult
from ..events import ResultCollected, ResultReserved, ResultsExpired
from ..ids import ExpiryMs, Position
from ..limits import DEDUP_EXPIRED_MAX, OVERLOADED_RETRY_MS, RESULTS_PER_APP_MAX
from ..model import Rules
from ..ports import Headers, ReadViews, Views
from ..rows import ResultRow
from .decision import Decision, Found, Now, parts


def decide_reserve(command: ReserveResult, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises Overloaded if too many wait to be collected. The handle is one that nobody can guess, so it is new."""
    if views.totals(command.app).results >= RESULTS_PER_APP_MAX:
        raise Overloaded("too many results wait to be collected", retry_after_ms=OVERLOADED_RETRY_MS)
    expires_ms = ExpiryMs(max(now.wall_ms, now.expiry_ms) + command.ttl_ms)
    event = ResultReserved(app=command.app, handle=command.handle, ids=command.ids, expires_ms=expires_ms)
    return Decision((event,), Found(command.ids))


def decide_collect(command: CollectResult, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownResult: never reserved in this app, collected before, or over, swept or not."""
    row = views.result(command.app, command.handle)
    if row is None or row.expires_ms <= now.expiry_ms:
        raise UnknownResult("no result waits under this handle")
    return Decision((ResultCollected(app=command.app, handle=command.handle),), Found(row.ids))


def decide_expire(command: ExpireResults, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Forget what was not collected in time."""
    over = list(islice(takewhile(lambda end: end[0] <= now.expiry_ms, views.result_ends()), command.limit))
    ends = [(part[-1], len(part)) for part in parts(over, DEDUP_EXPIRED_MAX)]
    return Decision(
        tuple(ResultsExpired(expires_ms=expires_ms, position=place, count=count) for (expires_ms, place), count in ends)
    )


def apply_reserved(views: Views, position: Position, event: ResultReserved) -> None:
    """It waits."""
    views.put_result(event.app, event.handle, ResultRow(event.ids, event.expires_ms, position))
    views.count(event.app).results += 1


def apply_collected(views: Views, event: ResultCollected) -> None:
    """It is used up."""
    views.remove_result(event.app, event.handle)
    views.count(event.app).results -= 1


def apply_expired(views: Views, event: ResultsExpired) -> None:
    """Results up to this place are forgotten."""
    over = list(takewhile(lambda end: end <= (event.expires_ms, event.position), views.result_ends()))
    assert len(over) == event.count
    for expires_ms, position in over:
        app = views.end_result(expires_ms, position)
        views.count(app).results -= 1
