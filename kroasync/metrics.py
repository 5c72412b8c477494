"""What is counted and timed, under kro's metric names where they keep their meaning, else `kroasync_...`.

One `Metrics` per process, with a registry of its own, passed to who counts. Every family remembers its
bound children and takes a bounded number of label sets; what comes after is counted under the label values
`other`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

SERIES_LIMIT: Final = 2000
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

    def inc(self, *labels: str, by: float = 1) -> None:
        self._child(labels).inc(by)

    def probe(self, read: Callable[[], float], *labels: str) -> None:
        """Let the value be read when the metrics are."""
        self._child(labels).set_function(read)


class Histogram(_Family[prometheus.Histogram]):
    def observe(self, value: float, *labels: str) -> None:
        self._child(labels).observe(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionAge:
    """One condition of an instance; `since` is its last transition in seconds since the epoch."""

    type: str
    status: str
    reason: str
    since: float


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
        family = GaugeMetricFamily(
            "instance_condition_current_status_seconds",
            "Seconds since the condition last changed",
            labels=["gvr", "namespace", "name", "condition_type", "condition_status", "reason"],
        )
        now = self._now()
        for instance, conditions in sorted(self._instances.items()):
            for c in conditions:
                family.add_metric([*instance, c.type, c.status, c.reason], max(0.0, now - c.since))
        yield family


class Metrics:
    """Every metric of the controller, as attributes of the metric's own name.

    Labels are positional, in the order of the constructor below. `gvr` is `group/version/plural` for the
    `dynamic_controller_reconcile*`, `_requeue*`, `_handler_errors*` and `_panics*` families and
    `group/version, Resource=plural` elsewhere (both are kro's), see `gvr_path` and `gvr_text`.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        # Twice the series for dates nobody reads; the switch is the library's and process-wide.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        prometheus.PlatformCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(prometheus.Counter(name, text, labels, registry=registry), labels)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(prometheus.Gauge(name, text, labels, registry=registry), labels)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            metric = prometheus.Histogram(name, text, labels, buckets=buckets, registry=registry)
            return Histogram(metric, labels)

        default = prometheus.Histogram.DEFAULT_BUCKETS
        self.cel_expr_eval_total = counter("cel_expr_eval_total", "Expressions evaluated")
        self.runtime_node_eval_total = counter("runtime_node_eval_total", "Nodes resolved")
        self.runtime_node_eval_errors_total = counter("runtime_node_eval_errors_total", "Nodes that failed to resolve")
        self.runtime_node_ignored_total = counter("runtime_node_ignored_total", "Nodes left out by includeWhen")
        self.runtime_node_not_ready_total = counter("runtime_node_not_ready_total", "Nodes found not ready")
        self.runtime_creation_total = counter("runtime_creation_total", "Passes prepared over an instance")
        self.runtime_creation_duration_seconds = histogram(
            "runtime_creation_duration_seconds", "Time to prepare a pass over an instance", default
        )
        self.runtime_collection_size = histogram(
            "runtime_collection_size", "Objects a forEach expanded to", _COLLECTION
        )

        self.dynamic_controller_reconcile_total = counter(
            "dynamic_controller_reconcile_total", "Passes over instances", "gvr"
        )
        self.dynamic_controller_requeue_total = counter(
            "dynamic_controller_requeue_total",
            "Passes by what follows: no_requeue, requeue, requeue_after, rate_limited",
            "gvr",
            "type",
        )
        self.dynamic_controller_reconcile_duration_seconds = histogram(
            "dynamic_controller_reconcile_duration_seconds", "Time of a pass", _H120, "gvr"
        )
        self.dynamic_controller_gvr_count = gauge("dynamic_controller_gvr_count", "Instance kinds served")
        self.dynamic_controller_queue_length = gauge("dynamic_controller_queue_length", "Keys waiting")
        self.dynamic_controller_handler_count_total = gauge(
            "dynamic_controller_handler_count_total", "Handlers attached", "type"
        )
        self.dynamic_controller_handler_attach_total = counter(
            "dynamic_controller_handler_attach_total", "Handlers attached so far", "type"
        )
        self.dynamic_controller_handler_detach_total = counter(
            "dynamic_controller_handler_detach_total", "Handlers detached so far", "type"
        )
        self.dynamic_controller_handler_errors_total = counter(
            "dynamic_controller_handler_errors_total", "Passes that failed", "gvr"
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
        self.dynamic_controller_watch_count = gauge("dynamic_controller_watch_count", "Watches running")
        self.dynamic_controller_instance_watch_count = gauge(
            "dynamic_controller_instance_watch_count", "Instances that wait for events", "parent_gvr"
        )
        self.dynamic_controller_watch_request_count = gauge(
            "dynamic_controller_watch_request_count",
            "Objects and selectors watched: scalar, collection",
            "gvr",
            "type",
        )
        self.dynamic_controller_route_total = counter(
            "dynamic_controller_route_total", "Events of watched kinds", "gvr"
        )
        self.dynamic_controller_route_match_total = counter(
            "dynamic_controller_route_match_total", "Instances woken by those events", "gvr"
        )

        self.instance_state_transitions_total = counter(
            "instance_state_transitions_total", "Changes of status.state", "gvr", "from_state", "to_state"
        )
        self.instance_reconcile_total = counter("instance_reconcile_total", "Passes over instances", "gvr")
        self.instance_reconcile_duration_seconds = histogram(
            "instance_reconcile_duration_seconds", "Time of a pass", _H120, "gvr"
        )
        self.instance_reconcile_errors_total = counter("instance_reconcile_errors_total", "Passes that failed", "gvr")
        self.instance_graph_resolution_success_total = counter(
            "instance_graph_resolution_success_total", "Instances that found their graph", "gvr"
        )
        self.instance_graph_resolution_pending_total = counter(
            "instance_graph_resolution_pending_total", "Instances that wait for their graph", "gvr"
        )
        self.instance_graph_resolution_failures_total = counter(
            "instance_graph_resolution_failures_total", "Instances without a usable graph", "gvr", "reason"
        )
        self.instance_conditions = ConditionAges(now)
        registry.register(self.instance_conditions)

        self.rgd_graph_build_total = counter("rgd_graph_build_total", "Definitions compiled", "name")
        self.rgd_graph_build_errors_total = counter("rgd_graph_build_errors_total", "Definitions refused", "name")
        self.rgd_graph_build_duration_seconds = histogram(
            "rgd_graph_build_duration_seconds", "Time to compile a definition", _H120, "name"
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
            "rgd_graph_revision_resolution_total", "Decisions: serve, issue, wait, failed", "result"
        )
        self.rgd_graph_revision_gc_deleted_total = counter(
            "rgd_graph_revision_gc_deleted_total", "Old revisions deleted"
        )
        self.rgd_graph_revision_gc_errors_total = counter(
            "rgd_graph_revision_gc_errors_total", "Old revisions that could not be deleted"
        )
        self.graph_revision_compile_total = counter(
            "graph_revision_compile_total", "Revisions compiled: success, failed", "result"
        )
        self.graph_revision_compile_duration_seconds = histogram(
            "graph_revision_compile_duration_seconds", "Time to compile a revision", _H120, "result"
        )
        self.graph_revision_registry_entries = gauge(
            "graph_revision_registry_entries", "Revisions known: pending, active, failed", "state"
        )

        self.schema_resolver_cache_hits_total = counter("schema_resolver_cache_hits_total", "Schemas at hand")
        self.schema_resolver_cache_misses_total = counter("schema_resolver_cache_misses_total", "Schemas asked for")
        self.schema_resolver_errors_total = counter("schema_resolver_errors_total", "Schemas not obtained")
        self.schema_resolver_cache_size = gauge("schema_resolver_cache_size", "Schemas kept")
        self.schema_resolver_api_call_duration_seconds = histogram(
            "schema_resolver_api_call_duration_seconds", "Time to obtain a schema", _API_SECONDS
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

        self.workqueue_depth = gauge("workqueue_depth", "Keys waiting", "name")
        self.workqueue_adds_total = counter("workqueue_adds_total", "Keys added", "name")
        self.workqueue_retries_total = counter("workqueue_retries_total", "Keys added after a failure", "name")
        self.workqueue_queue_duration_seconds = histogram(
            "workqueue_queue_duration_seconds", "Time a key waits", default, "name"
        )
        self.workqueue_work_duration_seconds = histogram(
            "workqueue_work_duration_seconds", "Time a key is worked on", default, "name"
        )
        self.leader_election_master_status = gauge(
            "leader_election_master_status", "1 while this process leads", "name"
        )

        self.kroasync_workqueue_depth = gauge("kroasync_workqueue_depth", "Keys waiting, in work or delayed", "state")
        self.kroasync_event_loop_lag_seconds = gauge(
            "kroasync_event_loop_lag_seconds", "How late the event loop last woke up"
        )
        self.kroasync_watch_last_event_age_seconds = gauge(
            "kroasync_watch_last_event_age_seconds",
            "Seconds since the watch last heard of the server",
            "gvr",
        )
        self.kroasync_watch_relists_total = counter("kroasync_watch_relists_total", "Lists after the first", "gvr")
        self.kroasync_watch_errors_total = counter(
            "kroasync_watch_errors_total", "Failures of lists and watches", "gvr"
        )

    def request_done(self, method: str, status: int, seconds: float, request_bytes: int, response_bytes: int) -> None:
        """One request to the API server; status 0 means no answer."""
        self.rest_client_requests_total.inc(str(status) if status else "<error>", method)
        self.rest_client_request_duration_seconds.observe(seconds, method)
        self.rest_client_request_size_bytes.observe(request_bytes, method)
        self.rest_client_response_size_bytes.observe(response_bytes, method)

    def forget_definition(self, name: str) -> None:
        """Drop the series of a definition that is gone, but not the counts of its deletion."""
        self.rgd_graph_build_total.forget(name)
        self.rgd_graph_build_errors_total.forget(name)
        self.rgd_graph_build_duration_seconds.forget(name)
        self.rgd_state_transitions_total.forget(name)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format (`CONTENT_TYPE`)."""
        return prometheus.generate_latest(self.registry)


def gvr_path(api_version: str, plural: str) -> str:
    """The label form `group/version/plural`."""
    return f"{api_version}/{plural}"


def gvr_text(api_version: str, plural: str) -> str:
    """The label form `group/version, Resource=plural`."""
    return f"{api_version}, Resource={plural}"
