"""What is counted and timed, under kro's metric names where they keep their meaning, else `kroasync_...`.

One `Metrics` per process, with a registry of its own, passed to who counts. Every family remembers its
bound children and takes a bounded number of label sets; what comes after is counted under the label values
`other`. What the controller knows anyway is not counted but read when the metrics are (`Reading`).
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

import prometheus_client as prometheus
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from kroasync.model.objects import Resource

SERIES_LIMIT: Final = 2000
# Definitions that are gone of which the deletion is still told, to be seen at least once: each takes 10 kB.
DELETIONS_KEPT: Final = 16
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_H120: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20, 25, 30, 45, 60, 120)
_REST_SECONDS: Final = tuple(0.001 * 2**n for n in range(16))
_REST_BYTES: Final = tuple(64.0 * 2**n for n in range(16))
_API_SECONDS: Final = tuple(0.01 * 2**n for n in range(10))
_COLLECTION: Final = tuple(float(2**n) for n in range(10))

_M = TypeVar("_M", bound=MetricWrapperBase)


class _Family(Generic[_M]):
    """A metric with its children by label values; unlabelled ones have the single child `()`."""

    def __init__(self, metric: _M, labels: Sequence[str]) -> None:
        self._metric = metric
        self._labels = len(labels)
        self._children: dict[tuple[str, ...], _M] = {}

    def _child(self, values: tuple[str, ...]) -> _M:
        child = self._children.get(values)
        if child is None:
            if not self._labels:
                child = self._metric
            elif len(self._children) >= SERIES_LIMIT:
                return self._metric.labels(*("other",) * self._labels)
            else:
                child = self._metric.labels(*values)
            self._children[values] = child
        return child

    def forget(self, *values: str) -> None:
        """Drop every series whose labels begin with these values."""
        for known in [k for k in self._children if k[: len(values)] == values]:
            del self._children[known]
            if self._labels:
                self._metric.remove(*known)


class Counter(_Family[prometheus.Counter]):
    def inc(self, *labels: str, by: float = 1) -> None:
        self._child(labels).inc(by)


class Gauge(_Family[prometheus.Gauge]):
    def set(self, value: float, *labels: str) -> None:
        self._child(labels).set(value)


class Histogram(_Family[prometheus.Histogram]):
    def observe(self, value: float, *labels: str) -> None:
        self._child(labels).observe(value)


_F = TypeVar("_F", Counter, Histogram)

Samples: TypeAlias = Mapping[tuple[str, ...], float]


class Reading(Collector):
    """A gauge, or the total of a counter kept elsewhere, read from its source whenever the metrics are."""

    def __init__(self, name: str, text: str, labels: Sequence[str], *, total: bool = False) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._total = total
        self._source: Callable[[], Samples] = dict

    def read_from(self, source: Callable[[], Samples]) -> None:
        """`source` answers values by label values; it must not wait."""
        self._source = source

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        family = self._family()
        for labels, value in list(self._source().items())[:SERIES_LIMIT]:
            family.add_metric(labels, value)
        yield family

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        kind = CounterMetricFamily if self._total else GaugeMetricFamily
        return kind(self._name, self._text, labels=self._labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a metric is called, means and is labelled with."""

    name: str
    type: str
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionAge:
    """One condition of an instance; `since` is its last transition in seconds since the epoch."""

    type: str
    status: str
    reason: str
    since: float


CONDITION_AGE: Final = Declared(
    name="instance_condition_current_status_seconds",
    type="gauge",
    labels=("gvr", "namespace", "name", "condition_type", "condition_status", "reason"),
    text="Seconds since the condition last changed; only with the feature gate InstanceConditionMetrics",
)


class ConditionAges(Collector):
    """How long each condition of each instance has been as it is, computed when read."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._instances: dict[tuple[str, str, str], tuple[ConditionAge, ...]] = {}

    def set(self, gvr: str, namespace: str, name: str, conditions: Iterable[ConditionAge]) -> None:
        self._instances[gvr, namespace, name] = tuple(conditions)

    def forget(self, gvr: str, namespace: str | None = None, name: str | None = None) -> None:
        """Drop one instance, or every instance of a kind."""
        if namespace is not None and name is not None:
            self._instances.pop((gvr, namespace, name), None)
            return
        for key in [k for k in self._instances if k[0] == gvr]:
            del self._instances[key]

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(CONDITION_AGE.name, CONDITION_AGE.text, labels=CONDITION_AGE.labels)
        now = self._now()
        for instance, conditions in sorted(self._instances.items()):
            for c in conditions:
                family.add_metric([*instance, c.type, c.status, c.reason], max(0.0, now - c.since))
        yield family


class Metrics:
    """Every metric of the controller, as attributes of the metric's own name.

    Labels are positional, in the order of the constructor below. `gvr` is `group/version/plural` for the
    `dynamic_controller_reconcile*`, `_requeue*`, `_handler_errors*` and `_panics*` families and
    `group/version, Resource=plural` (a Resource as text) elsewhere; both are kro's.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        # Twice the series for dates nobody reads; the switch is the library's and process-wide.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        prometheus.PlatformCollector(registry=registry)

        self.declared: list[Declared] = []
        # Those whose first label is a kind.
        self._of_kinds: list[Counter | Histogram] = []
        # Whose deletion is still counted by name, oldest first.
        self._deleted: dict[str, None] = {}

        def declare(name: str, kind: str, labels: tuple[str, ...], text: str) -> None:
            self.declared.append(Declared(name=name, type=kind, labels=labels, text=text))

        def kept(family: _F, labels: tuple[str, ...]) -> _F:
            if labels[:1] == ("gvr",):
                self._of_kinds.append(family)
            return family

        def counter(name: str, text: str, *labels: str) -> Counter:
            declare(name, "counter", labels, text)
            return kept(Counter(prometheus.Counter(name, text, labels, registry=registry), labels), labels)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            declare(name, "gauge", labels, text)
            return Gauge(prometheus.Gauge(name, text, labels, registry=registry), labels)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            declare(name, "histogram", labels, text)
            metric = prometheus.Histogram(name, text, labels, buckets=buckets, registry=registry)
            return kept(Histogram(metric, labels), labels)

        def reading(name: str, text: str, *labels: str, total: bool = False) -> Reading:
            declare(name, "counter" if total else "gauge", labels, text)
            found = Reading(name, text, labels, total=total)
            registry.register(found)
            return found

        default = prometheus.Histogram.DEFAULT_BUCKETS
        self.runtime_node_eval_total = counter("runtime_node_eval_total", "Nodes a pass came to")
        self.runtime_node_eval_errors_total = counter("runtime_node_eval_errors_total", "Nodes found in state ERROR")
        self.runtime_node_ignored_total = counter("runtime_node_ignored_total", "Nodes left out by includeWhen")
        self.runtime_node_not_ready_total = counter("runtime_node_not_ready_total", "Nodes found not ready")
        self.runtime_collection_size = histogram(
            "runtime_collection_size", "Objects a forEach expanded to in a pass", _COLLECTION
        )

        self.dynamic_controller_reconcile_total = counter(
            "dynamic_controller_reconcile_total", "Passes over instances and definitions", "gvr"
        )
        self.dynamic_controller_requeue_total = counter(
            "dynamic_controller_requeue_total",
            "Passes by what follows: no_requeue, requeue_after (a set delay), rate_limited (backoff)",
            "gvr",
            "type",
        )
        self.dynamic_controller_reconcile_duration_seconds = histogram(
            "dynamic_controller_reconcile_duration_seconds", "Time of a pass", _H120, "gvr"
        )
        self.dynamic_controller_gvr_count = reading("dynamic_controller_gvr_count", "Instance kinds served")
        self.dynamic_controller_queue_length = reading("dynamic_controller_queue_length", "Instances ready for a pass")
        self.dynamic_controller_handler_errors_total = counter(
            "dynamic_controller_handler_errors_total", "Passes that failed and are repeated with backoff", "gvr"
        )
        self.dynamic_controller_reconcile_panics_total = counter(
            "dynamic_controller_reconcile_panics_total", "Passes ended by a bug", "gvr"
        )
        self.dynamic_controller_informer_sync_duration_seconds = histogram(
            "dynamic_controller_informer_sync_duration_seconds", "Time of a first list", _H120, "gvr"
        )
        self.dynamic_controller_informer_events_total = counter(
            "dynamic_controller_informer_events_total",
            "Events of instances: add, update, delete",
            "gvr",
            "event_type",
        )
        self.dynamic_controller_watch_count = reading("dynamic_controller_watch_count", "Watches running")
        self.dynamic_controller_instance_watch_count = reading(
            "dynamic_controller_instance_watch_count", "Instances known, all of which wake for events", "parent_gvr"
        )
        self.dynamic_controller_watch_request_count = reading(
            "dynamic_controller_watch_request_count",
            "External references instances watch: scalar (by name), collection (by selector)",
            "gvr",
            "type",
        )
        self.dynamic_controller_route_total = counter(
            "dynamic_controller_route_total", "Events of children and external objects", "gvr"
        )
        self.dynamic_controller_route_match_total = counter(
            "dynamic_controller_route_match_total", "Those of them that woke an instance", "gvr"
        )

        self.instance_state_transitions_total = counter(
            "instance_state_transitions_total",
            "Changes of status.state; gvr is `group/version, Kind=Kind` here",
            "gvr",
            "from_state",
            "to_state",
        )
        self.instance_reconcile_total = counter("instance_reconcile_total", "Passes over instances", "gvr")
        self.instance_reconcile_duration_seconds = histogram(
            "instance_reconcile_duration_seconds", "Time of a pass over an instance", _H120, "gvr"
        )
        self.instance_reconcile_errors_total = counter(
            "instance_reconcile_errors_total", "Passes over instances that failed", "gvr"
        )
        self.instance_graph_resolution_success_total = counter(
            "instance_graph_resolution_success_total", "Passes that had a graph to follow", "gvr"
        )
        self.instance_graph_resolution_failures_total = counter(
            "instance_graph_resolution_failures_total", "Passes without one: not_available", "gvr", "reason"
        )
        self.instance_conditions = ConditionAges(now)
        self.declared.append(CONDITION_AGE)
        registry.register(self.instance_conditions)

        self.rgd_graph_build_total = counter("rgd_graph_build_total", "Definitions and old revisions compiled", "name")
        self.rgd_graph_build_errors_total = counter(
            "rgd_graph_build_errors_total", "Definitions refused, or waiting for a kind", "name"
        )
        self.rgd_graph_build_duration_seconds = histogram(
            "rgd_graph_build_duration_seconds", "Time to load the kinds and compile", _H120, "name"
        )
        self.rgd_state_transitions_total = counter(
            "rgd_state_transitions_total", "Changes of a definition's state", "name", "from", "to"
        )
        self.rgd_deletions_total = counter("rgd_deletions_total", "Definitions deleted", "name")
        self.rgd_deletion_duration_seconds = histogram(
            "rgd_deletion_duration_seconds", "Time to clean up after a definition", _H120, "name"
        )
        self.rgd_graph_revision_issue_total = counter(
            "rgd_graph_revision_issue_total", "Revisions issued: no_revision, spec_changed", "reason"
        )
        self.rgd_graph_revision_resolution_total = counter(
            "rgd_graph_revision_resolution_total",
            "Passes over definitions: serve, issue, wait (for a kind), failed (refused)",
            "result",
        )
        self.rgd_graph_revision_gc_deleted_total = counter(
            "rgd_graph_revision_gc_deleted_total", "Old revisions deleted"
        )
        self.rgd_graph_revision_gc_errors_total = counter(
            "rgd_graph_revision_gc_errors_total", "Old revisions that could not be deleted"
        )
        self.graph_revision_registry_entries = reading(
            "graph_revision_registry_entries", "Revisions known: active, deleting", "state"
        )

        self.schema_resolver_cache_hits_total = counter(
            "schema_resolver_cache_hits_total", "Schemas of kinds at hand when a definition needed them"
        )
        self.schema_resolver_cache_misses_total = counter(
            "schema_resolver_cache_misses_total", "Schemas the API server was asked for"
        )
        self.schema_resolver_errors_total = counter(
            "schema_resolver_errors_total", "Schemas the API server does not have"
        )
        self.schema_resolver_cache_size = reading("schema_resolver_cache_size", "Schemas kept")
        self.schema_resolver_api_call_duration_seconds = histogram(
            "schema_resolver_api_call_duration_seconds", "Time to obtain the schemas of a group-version", _API_SECONDS
        )

        self.rest_client_requests_total = counter(
            "rest_client_requests_total", "Requests by HTTP status, <error> without one", "code", "method"
        )
        self.rest_client_request_retries_total = counter(
            "rest_client_request_retries_total", "Requests sent again", "code", "method"
        )
        self.rest_client_request_duration_seconds = histogram(
            "rest_client_request_duration_seconds", "Time of a request", _REST_SECONDS, "verb"
        )
        self.rest_client_request_size_bytes = histogram(
            "rest_client_request_size_bytes", "Size of request bodies", _REST_BYTES, "verb"
        )
        self.rest_client_response_size_bytes = histogram(
            "rest_client_response_size_bytes", "Size of answers", _REST_BYTES, "verb"
        )

        self.workqueue_depth = reading("workqueue_depth", "Keys ready: queues definitions, instances", "name")
        self.workqueue_adds_total = reading("workqueue_adds_total", "Keys made ready", "name", total=True)
        self.workqueue_retries_total = reading(
            "workqueue_retries_total", "Keys put back with backoff", "name", total=True
        )
        self.workqueue_queue_duration_seconds = histogram(
            "workqueue_queue_duration_seconds", "Time a ready key waits for a worker", default, "name"
        )
        self.workqueue_work_duration_seconds = histogram(
            "workqueue_work_duration_seconds", "Time a key is in work", default, "name"
        )
        self.leader_election_master_status = gauge(
            "leader_election_master_status", "1 while this process leads", "name"
        )

        self.kroasync_workqueue_depth = reading(
            "kroasync_workqueue_depth", "Instances by state in the queue: ready, in-work, delayed", "state"
        )
        self.kroasync_event_loop_lag_seconds = gauge(
            "kroasync_event_loop_lag_seconds", "How late the event loop last woke up"
        )
        self.kroasync_watch_last_event_age_seconds = reading(
            "kroasync_watch_last_event_age_seconds",
            "Seconds since the server was last heard of on a watch; of several watches of a kind the longest",
            "gvr",
        )
        self.kroasync_strangers = reading(
            "kroasync_strangers", "Objects labelled like children that no known instance claims, by kind", "gvr"
        )
        self.kroasync_watch_relists_total = counter("kroasync_watch_relists_total", "Lists after the first", "gvr")
        self.kroasync_watch_errors_total = counter(
            "kroasync_watch_errors_total", "Failures of lists and watches", "gvr"
        )
        self.kroasync_watch_lost_total = counter(
            "kroasync_watch_lost_total", "Events that never came, found by comparing names and versions", "gvr"
        )
        self.kroasync_pass_overruns_total = counter(
            "kroasync_pass_overruns_total",
            "Turns of passes that computed for longer than any should; the log has the keys",
            "gvr",
        )
        self.kroasync_odd_objects_total = counter(
            "kroasync_odd_objects_total",
            "Times an object was left out because it cannot be read; the log has its name",
            "gvr",
        )

    def request_done(self, method: str, status: int, seconds: float, request_bytes: int, response_bytes: int) -> None:
        """One request to the API server; status 0 means no answer."""
        self.rest_client_requests_total.inc(str(status) if status else "<error>", method)
        self.rest_client_request_duration_seconds.observe(seconds, method)
        self.rest_client_request_size_bytes.observe(request_bytes, method)
        self.rest_client_response_size_bytes.observe(response_bytes, method)

    def forget_definition(self, name: str) -> None:
        """Drop the series of a definition that is gone, and the counts of its deletion after some others'."""
        self.rgd_graph_build_total.forget(name)
        self.rgd_graph_build_errors_total.forget(name)
        self.rgd_graph_build_duration_seconds.forget(name)
        self.rgd_state_transitions_total.forget(name)
        self._deleted.pop(name, None)
        self._deleted[name] = None
        if len(self._deleted) > DELETIONS_KEPT:
            oldest = next(iter(self._deleted))
            del self._deleted[oldest]
            self.rgd_deletions_total.forget(oldest)
            self.rgd_deletion_duration_seconds.forget(oldest)

    def forget_kind(self, resource: Resource) -> None:
        """Drop the series of a kind that is no longer served."""
        texts = (str(resource), str(resource.gvk), gvr_path(resource.api_version, resource.plural))
        for family in self._of_kinds:
            for text in texts:
                family.forget(text)
        self.instance_conditions.forget(str(resource))

    def render(self) -> bytes:
        """All metrics in Prometheus' text format (`CONTENT_TYPE`)."""
        return prometheus.generate_latest(self.registry)


def gvr_path(api_version: str, plural: str) -> str:
    """The label form `group/version/plural`."""
    return f"{api_version}/{plural}"


def markdown() -> str:
    """docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "<!-- Made from kroasync/metrics.py by `python -m kroasync.metrics`: change it there. -->",
        "",
        "Served in Prometheus' text format under `/metrics` (`--metrics-bind-address`), besides the usual",
        "`process_*` and `python_info`. Names kro has too mean the same; those of kro that are not listed count",
        "mechanisms that are not here.",
        "",
        "Labels are of kinds, definitions and HTTP, never of instances; the exception is",
        f"`{CONDITION_AGE.name}`, which is off unless asked for. A family has at most",
        f"{SERIES_LIMIT} series; what comes after is counted under `other`.",
        "`gvr` is `group/version/plural` in `dynamic_controller_reconcile*`, `_requeue*`, `_handler_errors*`",
        "and `_panics*`, and `group/version, Resource=plural` elsewhere.",
        "",
        "| Name | Type | Labels | Meaning |",
        "|---|---|---|---|",
    ]
    for metric in Metrics().declared:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.text} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(markdown())
