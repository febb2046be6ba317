"""Day quotas: how many commands of a name an app carries out a day, counted by events, so that no restart renews them."""

from collections.abc import Callable
from contextlib import suppress

import msgspec

from ..errors import QuotaExceeded, Refusal
from ..events.quotas import QuotaUsed
from ..expiry import DAY_MS
from ..ids import Position
from ..model import Quota, Rules
from ..ports import ReadViews, Views
from ..rows import QuotaRow
from .decision import Decision, Now
from .times import at


def within(
    quota: Quota, app: str, views: ReadViews, now: Now, rules: Rules, decide: Callable[[Now], Decision]
) -> Decision:
    """The decision, with what counts it in front. Raises QuotaExceeded.

    What is refused, and what changes nothing since it was done before, counts nothing; the latter is answered as ever, also
    when the quota is used up. Days only move on: if the app's begins elsewhere from now on, the newest one goes on.
    """
    at_ms, newest = at(app, views, now), views.quota_used(app, quota.name)
    day = max(rules.day(at_ms), newest.day)
    used = newest.used if newest.day == day else 0
    later = msgspec.structs.replace(now, position=Position(now.position + 1))
    if used >= quota.per_day:
        with suppress(Refusal):
            decision = decide(later)
            if not decision.events:
                return decision
        ends_ms = (day + 1) * DAY_MS - rules.day_offset_ms
        raise QuotaExceeded(f"{quota.name}: {quota.per_day} a day are used up", retry_after_ms=max(1, ends_ms - at_ms))
    decision = decide(later)
    if not decision.events:
        return decision
    event = QuotaUsed(app=app, name=quota.name, day=day, count=used + 1)
    return msgspec.structs.replace(decision, events=(event, *decision.events))


def apply(views: Views, event: QuotaUsed) -> None:
    """So much of the day's is used."""
    views.put_quota_used(event.app, event.name, QuotaRow(event.day, event.count))
