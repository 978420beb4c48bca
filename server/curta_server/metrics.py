"""What Prometheus sees: names begin with `curta_`, units stand at the end.

Counters and histograms are objects that the dispatcher, the journal and the routes call; gauges are read
from the leader's memory at the moment of the scrape (`exposition`). Knows nobody who measures; nothing here
waits.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from curta_server.views import Stats

CONTENT_TYPE: Final = "text/plain; version=1.0.0; charset=utf-8"

registry: Final = CollectorRegistry(auto_describe=False)
"""Not the library's own registry, which adds names that do not begin with `curta_`."""

ProcessCollector(namespace="curta", registry=registry)

finished_tasks: Final = Counter(
    "curta_tasks_finished", "Tasks whose result is durable.", ["operation"], registry=registry
)
finished_expressions: Final = Counter(
    "curta_expressions_finished", "Expressions that became final.", ["status"], registry=registry
)
journal_batch_rows: Final = Histogram(
    "curta_journal_batch_rows",
    "Task results in one commit of the journal.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
    registry=registry,
)
journal_commit_seconds: Final = Histogram(
    "curta_journal_commit_seconds",
    "Time of one commit of the journal.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
    registry=registry,
)
journal_pending_seconds: Final = Gauge(
    "curta_journal_pending_seconds",
    "How long the journal has been trying to commit what it is committing; 0 when nothing waits.",
    registry=registry,
)
database_reachable: Final = Gauge(
    "curta_database_reachable", "Whether the database answered when it was asked last.", registry=registry
)
dispatch_seconds: Final = Histogram(
    "curta_dispatch_seconds",
    "Time from a task being ready to its being handed to an agent, where a slot was free.",
    buckets=(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1),
    registry=registry,
)
loop_lag_seconds: Final = Histogram(
    "curta_loop_lag_seconds",
    "How late the event loop wakes up; more than 0.05 is a defect.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
    registry=registry,
)
live_viewers: Final = Gauge("curta_live_viewers", "Browsers that are connected.", registry=registry)
live_rooms: Final = Gauge(
    "curta_live_rooms", "Different windows of topics that browsers look at.", registry=registry
)
live_refresh_seconds: Final = Histogram(
    "curta_live_refresh_seconds",
    "From a room's question to its source to the last browser's message.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
    registry=registry,
)
live_lagging: Final = Counter(
    "curta_live_lagging",
    "Snapshots sent to browsers that were too slow for every change.",
    registry=registry,
)
http_requests: Final = Counter(
    "curta_http_requests", "Answered HTTP requests.", ["route", "method", "status"], registry=registry
)
http_request_seconds: Final = Histogram(
    "curta_http_request_seconds",
    "Time of HTTP requests; waiting GETs are measured with their wait.",
    ["route", "method"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60),
    registry=registry,
)
followers: Final = Gauge(
    "curta_followers", "Orchestrators that follow this one, which leads.", registry=registry
)
leader_connected: Final = Gauge(
    "curta_leader_connected", "Whether this orchestrator follows a leader and hears it.", registry=registry
)
forwarded_requests: Final = Counter(
    "curta_forwarded_requests",
    "Requests that were passed on to the leader, by whether it answered.",
    ["outcome"],
    registry=registry,
)

http_refusals: Final = Counter(
    "curta_http_refusals", "What was refused before it was a request.", ["code"], registry=registry
)
ended_connections: Final = Counter(
    "curta_connections_ended",
    "Connections that were ended by us, by what they were too slow in, or because there were too many.",
    ["why"],
    registry=registry,
)
limited: Final = Counter(
    "curta_limited", "Requests that were told to come back later.", ["limit"], registry=registry
)


class _Moment(Collector):
    """The gauges of one scrape."""

    def __init__(self, stats: Stats, open_expressions: Mapping[str, int] | None) -> None:
        self._stats = stats
        self._open_expressions = open_expressions

    def collect(self) -> Iterator[Metric]:
        stats = self._stats
        yield _gauge("curta_leading", "Whether this orchestrator leads.", int(stats.leading))
        yield _labelled("curta_tasks", "Tasks in memory, by state.", "state", stats.tasks)
        yield _labelled("curta_agents", "Agents, by status.", "status", stats.agents)
        yield _gauge("curta_slots_total", "Slots of the connected agents.", stats.slots_total)
        yield _gauge("curta_slots_used", "Slots that compute.", stats.slots_used)
        yield _gauge("curta_expressions_loaded", "Expressions in memory.", stats.expressions_loaded)
        yield _gauge(
            "curta_journal_backlog_rows", "Results that wait for their commit.", stats.journal_backlog
        )
        if self._open_expressions is not None:
            yield _labelled(
                "curta_expressions", "Open expressions, by status.", "status", self._open_expressions
            )


def exposition(stats: Stats, open_expressions: Mapping[str, int] | None) -> bytes:
    """Everything in Prometheus' text format. `open_expressions` is None where the database cannot tell."""
    moment = CollectorRegistry(auto_describe=False)
    moment.register(_Moment(stats, open_expressions))
    return generate_latest(registry) + generate_latest(moment)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value=value)


def _labelled(name: str, help: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, help, labels=[label])
    for word, value in sorted(values.items()):
        family.add_metric([word], value)
    return family
