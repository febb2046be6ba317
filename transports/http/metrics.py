"""Prometheus metrics, read from the broker and the HTTP shell at each scrape; nothing is counted twice or kept here."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from postroom.core.model import LANES
from postroom.core.rows import Totals
from postroom.core.runtime.statistics import BrokerStatistics, Histogram

from .shell import HttpCounters

IDENTITY = ("accepted", "acked", "evicted", "expired", "withdrawn")
"""accepted = acked + queued + evicted + expired + withdrawn, for each app at all times."""


def metrics_registry(
    statistics: Callable[[], BrokerStatistics], http: HttpCounters, apps: Sequence[str]
) -> CollectorRegistry:
    """A registry of its own: the process-wide one belongs to whoever embeds us. `apps` are there from the start, at 0."""
    registry = CollectorRegistry()
    registry.register(BrokerCollector(statistics, http, apps))
    return registry


class BrokerCollector(Collector):
    """Makes metric families of `statistics()`."""

    def __init__(self, statistics: Callable[[], BrokerStatistics], http: HttpCounters, apps: Sequence[str]) -> None:
        self._statistics = statistics
        self._http = http
        self._apps = apps

    def describe(self) -> Iterable[Metric]:
        """Nothing: that keeps registering from collecting."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything as of now."""
        now = self._statistics()
        totals = {app: Totals() for app in self._apps} | now.totals
        for term in IDENTITY:
            values = {app: getattr(its, term) for app, its in totals.items()}
            yield self._by_app(CounterMetricFamily, term, f"Queue entries {term}.", values)
        yield self._by_app(
            GaugeMetricFamily, "queued", "Queue entries waiting.", {app: its.queued for app, its in totals.items()}
        )
        yield from self._process(now)
        yield from _store(now)
        replies = {(dialect, str(status)): count for (dialect, status), count in self._http.replies.items()}
        yield _family(CounterMetricFamily, "http_replies", "HTTP answers.", ["dialect", "status"], replies)

    def _process(self, now: BrokerStatistics) -> Iterator[Metric]:
        """What is counted since the start of the process."""
        counter, gauge = CounterMetricFamily, GaugeMetricFamily
        yield self._by_app(counter, "delivered", "Messages handed to sessions.", now.delivered)
        yield self._by_app(counter, "session_dropped", "Frames dropped for slow sessions.", now.session_dropped)
        yield self._by_app(gauge, "sessions", "Sessions open.", now.sessions)
        shed = {(app, lane): 0 for app in self._apps for lane in LANES} | now.shed
        yield _family(counter, "shed", "Messages refused for want of room.", ["app", "lane"], shed)
        refusals = Counter(now.refusals) + self._http.refused
        yield _family(counter, "refusals", "Commands refused, by code.", ["app", "code"], refusals)
        yield _histogram("batch_commands", "Commands of a batch.", now.batch_commands, 1)
        yield _histogram("commit_seconds", "Time a commit took, with its fsync.", now.commit_ms, 1000)
        yield GaugeMetricFamily("postroom_inbox_commands", "Commands waiting for the writer.", now.inbox_commands)
        yield GaugeMetricFamily("postroom_rooms", "Rooms with somebody in them.", now.rooms)
        yield GaugeMetricFamily("postroom_ack_waiters", "Senders waiting for an ack.", now.waiters)

    def _by_app(self, kind: type[Any], name: str, what: str, values: Mapping[str, int]) -> Metric:
        known = dict.fromkeys(self._apps, 0) | dict(values)
        return _family(kind, name, what, ["app"], {(app,): value for app, value in known.items()})


def _store(now: BrokerStatistics) -> Iterator[Metric]:
    yield GaugeMetricFamily("postroom_store_file_bytes", "Size of the store.", now.store.file_bytes)
    yield GaugeMetricFamily("postroom_store_used_bytes", "Of it, pages ever used.", now.store.used_bytes)
    yield GaugeMetricFamily(
        "postroom_store_reserve_bytes", "Kept for acks and the like when the disk is full.", now.store.reserve_bytes
    )
    yield GaugeMetricFamily("postroom_store_log_records", "Events in the log.", now.store.log_records)
    yield GaugeMetricFamily("postroom_disk_full", "1 while messages are refused for want of space.", int(now.full))


def _histogram(name: str, what: str, histogram: Histogram, unit: int) -> Metric:
    """`unit` is how many of the histogram's units make one of the metric's."""
    buckets = [(str(bound / unit), float(count)) for bound, count in histogram.buckets]
    buckets.append(("+Inf", histogram.count))
    return HistogramMetricFamily(f"postroom_{name}", what, buckets, sum_value=histogram.sum / unit)


def _family(kind: type[Any], name: str, what: str, labels: list[str], values: Mapping[Any, int]) -> Metric:
    family: Metric = kind(f"postroom_{name}", what, labels=labels)
    for key in sorted(values):
        family.add_metric(key, values[key])  # type: ignore[attr-defined]
    return family
