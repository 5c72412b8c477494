"""The metrics of the controller. They have kro's names where the meaning is the same; others start with `kroasync_`.

The process has one `Metrics` with its own registry, and passes it to everything that counts. Every family
remembers its children and accepts a limited number of label sets; further ones are counted under `other`. What the
controller knows anyway is not counted: a `Reading` reads it when the metrics are requested.
"""

import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from operator import mul
from typing import Final, Generic, TypeAlias, TypeVar

import prometheus_client as prometheus
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from kroasync.model.objects import Resource

SERIES_LIMIT: Final = 2000
# Deleted definitions whose deletion is still reported, so that it is scraped at least once: each takes 10 kB.
DELETIONS_KEPT: Final = 16
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# kro's names of its controllers and queues. Revisions have none here: definitions compile them.
DEFINITION_QUEUE: Final = "ResourceGraphDefinition"
REVISION_QUEUE: Final = "graphrevision"
INSTANCE_QUEUE: Final = "dynamic-controller-queue"

_H120: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20, 25, 30, 45, 60, 120)
_REST_SECONDS: Final = tuple(0.001 * 2**n for n in range(16))
_REST_BYTES: Final = tuple(64.0 * 2**n for n in range(16))
_API_SECONDS: Final = tuple(0.01 * 2**n for n in range(10))
_COLLECTION: Final = tuple(float(2**n) for n in range(10))
# Those of controller-runtime. The second are rounded as it rounds them, because `le` is a text.
_RECONCILE_SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60),
)
_QUEUE_SECONDS: Final = tuple(accumulate(repeat(10.0, 11), mul, initial=1e-8))
_DEFAULT: Final = prometheus.Histogram.DEFAULT_BUCKETS

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

    def start(self, *values: str) -> None:
        """Export a series from now on, even if nothing happens."""
        self._child(values)

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


class Tally(Collector):
    """A histogram without labels that costs so little that every evaluation can be observed: one thread, no lock."""

    def __init__(self, name: str, text: str, buckets: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._bounds = tuple(buckets)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def count(self) -> int:
        return sum(self._counts)

    def collect(self) -> Iterator[Metric]:
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        family = HistogramMetricFamily(self._name, self._text)
        family.add_metric([], buckets, self._sum)
        yield family


_F = TypeVar("_F", Counter, Histogram)

Samples: TypeAlias = Mapping[tuple[str, ...], float]


class Reading(Collector):
    """A gauge or the total of a counter, read from its source whenever the metrics are requested."""

    def __init__(self, name: str, text: str, labels: Sequence[str], *, total: bool = False) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._total = total
        self._source: Callable[[], Samples] = dict

    def read_from(self, source: Callable[[], Samples]) -> None:
        """`source` returns values by label values; it must not wait."""
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
    """The name, the meaning and the labels of a metric."""

    name: str
    type: str
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A metric of kro that is always 0, because kroasync has nothing to count. Dashboards find its series."""

    name: str
    why: str
    labels: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def type(self) -> str:
        return "histogram" if self.buckets else "counter"

    def register(self, registry: prometheus.CollectorRegistry) -> None:
        """Export the series, which nobody will ever change."""
        metric: MetricWrapperBase
        if self.buckets:
            metric = prometheus.Histogram(self.name, self.why, self.labels, buckets=self.buckets, registry=registry)
        else:
            metric = prometheus.Counter(self.name, self.why, self.labels, registry=registry)
        for values in self.series:
            metric.labels(*values)


_NO_REGISTRY: Final = "kroasync keeps compiled revisions with their definition"
CONSTANTS: Final = (
    Constant(
        name="runtime_node_eval_duration_seconds",
        why="only expressions are timed, see cel_expr_eval_duration_seconds",
        buckets=_DEFAULT,
    ),
    Constant(
        name="runtime_creation_duration_seconds", why="a pass begins without a preparation of its own", buckets=_DEFAULT
    ),
    Constant(
        name="rgd_graph_revision_wait_total",
        why="a definition does not wait for its revisions",
        labels=("reason",),
        series=(("warming_up",), ("compiling",), ("settling",)),
    ),
    Constant(
        name="rgd_graph_revision_registry_miss_total",
        why=_NO_REGISTRY,
        labels=("reason",),
        series=(("latest_not_warmed",), ("runtime_entry_missing",)),
    ),
    Constant(
        name="graph_revision_status_update_errors_total", why="failed writes are failed passes over the definition"
    ),
    Constant(name="graph_revision_activation_deferred_total", why="a revision is active once it is compiled"),
    Constant(name="graph_revision_finalizer_evictions_total", why=_NO_REGISTRY),
    Constant(
        name="graph_revision_registry_transitions_total",
        why=_NO_REGISTRY,
        labels=("from", "to"),
        series=(("pending", "active"), ("pending", "failed")),
    ),
    Constant(name="graph_revision_registry_evictions_total", why=_NO_REGISTRY),
    Constant(
        name="schema_resolver_singleflight_deduplicated_total",
        why="definitions that need a kind at the same time share its schema",
    ),
    Constant(
        name="rest_client_rate_limiter_duration_seconds",
        why="there is no rate limiter",
        labels=("verb",),
        series=(("GET",), ("POST",), ("PATCH",), ("PUT",), ("DELETE",)),
        buckets=_REST_SECONDS,
    ),
    Constant(
        name="controller_runtime_terminal_reconcile_errors_total",
        why="every failure is retried",
        labels=("controller",),
        series=((DEFINITION_QUEUE,), (REVISION_QUEUE,)),
    ),
)


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
    text="Seconds since the last transition of the condition; needs the feature gate InstanceConditionMetrics",
)


class ConditionAges(Collector):
    """The age of each condition of each instance, computed when the metrics are read."""

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
        # Otherwise the library doubles the series, for dates that nobody reads. The switch is process-wide.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        prometheus.PlatformCollector(registry=registry)

        self.declared: list[Declared] = []
        # The families whose first label is a kind.
        self._of_kinds: list[Counter | Histogram] = []
        # The definitions whose deletion is still counted by name, oldest first.
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

        def tally(name: str, text: str) -> Tally:
            declare(name, "histogram", (), text)
            found = Tally(name, text, _DEFAULT)
            registry.register(found)
            return found

        self.cel_expr_eval_total = reading("cel_expr_eval_total", "Evaluations of expressions", total=True)
        self.cel_expr_eval_duration_seconds = tally("cel_expr_eval_duration_seconds", "Duration of evaluations")
        self.runtime_creation_total = counter("runtime_creation_total", "Passes over instances that had a graph")
        self.runtime_node_eval_total = counter("runtime_node_eval_total", "Nodes that passes evaluated")
        self.runtime_node_eval_errors_total = counter(
            "runtime_node_eval_errors_total", "Nodes that were in state ERROR"
        )
        self.runtime_node_ignored_check_total = counter(
            "runtime_node_ignored_check_total", "Nodes whose includeWhen was looked at; a node without it is included"
        )
        self.runtime_node_ready_check_total = counter(
            "runtime_node_ready_check_total", "Nodes whose objects were there, so that their readiness was looked at"
        )
        self.runtime_node_ignored_total = counter("runtime_node_ignored_total", "Nodes that includeWhen left out")
        self.runtime_node_not_ready_total = counter("runtime_node_not_ready_total", "Nodes that were not ready")
        self.runtime_collection_size = histogram(
            "runtime_collection_size", "Objects of one forEach in a pass", _COLLECTION
        )

        self.dynamic_controller_reconcile_total = counter(
            "dynamic_controller_reconcile_total", "Passes over instances and definitions", "gvr"
        )
        self.dynamic_controller_requeue_total = counter(
            "dynamic_controller_requeue_total",
            "Passes by what follows them: no_requeue, requeue_after (a fixed delay), rate_limited (backoff)",
            "gvr",
            "type",
        )
        self.dynamic_controller_reconcile_duration_seconds = histogram(
            "dynamic_controller_reconcile_duration_seconds", "Duration of passes", _H120, "gvr"
        )
        self.dynamic_controller_gvr_count = reading(
            "dynamic_controller_gvr_count", "Kinds whose instances are reconciled"
        )
        self.dynamic_controller_queue_length = reading(
            "dynamic_controller_queue_length", "Instances that wait for a worker"
        )
        self.dynamic_controller_handler_count_total = reading(
            "dynamic_controller_handler_count_total", "Kinds whose instances are watched: parent", "type"
        )
        self.dynamic_controller_handler_attach_total = counter(
            "dynamic_controller_handler_attach_total", "Kinds whose instances began to be watched: parent", "type"
        )
        self.dynamic_controller_handler_detach_total = counter(
            "dynamic_controller_handler_detach_total", "Kinds whose instances are no longer watched: parent", "type"
        )
        self.dynamic_controller_handler_errors_total = counter(
            "dynamic_controller_handler_errors_total", "Passes that failed and are retried with backoff", "gvr"
        )
        self.dynamic_controller_reconcile_panics_total = counter(
            "dynamic_controller_reconcile_panics_total", "Passes that a bug ended", "gvr"
        )
        self.dynamic_controller_informer_sync_duration_seconds = histogram(
            "dynamic_controller_informer_sync_duration_seconds", "Duration of first lists", _H120, "gvr"
        )
        self.dynamic_controller_informer_events_total = counter(
            "dynamic_controller_informer_events_total",
            "Watch events of instances: add, update, delete",
            "gvr",
            "event_type",
        )
        self.dynamic_controller_watch_count = reading("dynamic_controller_watch_count", "Open watches")
        self.dynamic_controller_instance_watch_count = reading(
            "dynamic_controller_instance_watch_count", "Known instances, which watch events can trigger", "parent_gvr"
        )
        self.dynamic_controller_watch_request_count = reading(
            "dynamic_controller_watch_request_count",
            "External references that instances watch: scalar (by name), collection (by selector)",
            "gvr",
            "type",
        )
        self.dynamic_controller_route_total = counter(
            "dynamic_controller_route_total", "Watch events of children and external objects", "gvr"
        )
        self.dynamic_controller_route_match_total = counter(
            "dynamic_controller_route_match_total",
            "Watch events of children and external objects that triggered a pass over an instance",
            "gvr",
        )

        self.instance_state_transitions_total = counter(
            "instance_state_transitions_total",
            "Changes of status.state; here, gvr is `group/version, Kind=Kind`",
            "gvr",
            "from_state",
            "to_state",
        )
        self.instance_reconcile_total = counter("instance_reconcile_total", "Passes over instances", "gvr")
        self.instance_reconcile_duration_seconds = histogram(
            "instance_reconcile_duration_seconds", "Duration of passes over instances", _H120, "gvr"
        )
        self.instance_reconcile_errors_total = counter(
            "instance_reconcile_errors_total", "Passes over instances that failed", "gvr"
        )
        self.instance_graph_resolution_success_total = counter(
            "instance_graph_resolution_success_total", "Passes whose definition had a usable graph", "gvr"
        )
        self.instance_graph_resolution_pending_total = counter(
            "instance_graph_resolution_pending_total",
            "Always 0: until a definition has a graph, its instances have no passes",
            "gvr",
        )
        self.instance_graph_resolution_failures_total = counter(
            "instance_graph_resolution_failures_total",
            "Passes whose definition had no usable graph: not_available, revision_failed, build_failed",
            "gvr",
            "reason",
        )
        self.instance_conditions = ConditionAges(now)
        self.declared.append(CONDITION_AGE)
        registry.register(self.instance_conditions)

        self.rgd_graph_build_total = counter(
            "rgd_graph_build_total", "Compilations of definitions and old revisions", "name"
        )
        self.rgd_graph_build_errors_total = counter(
            "rgd_graph_build_errors_total", "Compilations of definitions that were refused, or wait for a kind", "name"
        )
        self.rgd_graph_build_duration_seconds = histogram(
            "rgd_graph_build_duration_seconds", "Time to load the schemas of kinds and compile", _H120, "name"
        )
        self.rgd_state_transitions_total = counter(
            "rgd_state_transitions_total", "Changes of a definition's state", "name", "from", "to"
        )
        self.rgd_deletions_total = counter("rgd_deletions_total", "Deleted definitions", "name")
        self.rgd_deletion_duration_seconds = histogram(
            "rgd_deletion_duration_seconds", "Time to clean up after a definition", _H120, "name"
        )
        self.rgd_graph_revision_issue_total = counter(
            "rgd_graph_revision_issue_total", "Issued revisions, by reason: no_revision, spec_changed", "reason"
        )
        self.rgd_graph_revision_resolution_total = counter(
            "rgd_graph_revision_resolution_total",
            "Passes over definitions, by result: serve, issue, wait (for a kind), failed (refused)",
            "result",
        )
        self.rgd_graph_revision_gc_deleted_total = counter(
            "rgd_graph_revision_gc_deleted_total", "Deleted old revisions"
        )
        self.rgd_graph_revision_gc_errors_total = counter(
            "rgd_graph_revision_gc_errors_total", "Old revisions that could not be deleted"
        )
        self.graph_revision_compile_total = counter(
            "graph_revision_compile_total",
            "Compilations of definitions and old revisions, by result: success, failed",
            "result",
        )
        self.graph_revision_compile_duration_seconds = histogram(
            "graph_revision_compile_duration_seconds", "Time to load the schemas of kinds and compile", _H120, "result"
        )
        self.graph_revision_registry_entries = reading(
            "graph_revision_registry_entries", "Known revisions: active, deleting; pending and failed are 0", "state"
        )

        self.schema_resolver_cache_hits_total = counter(
            "schema_resolver_cache_hits_total", "Schemas that were in the cache when a definition needed them"
        )
        self.schema_resolver_cache_misses_total = counter(
            "schema_resolver_cache_misses_total", "Schemas that were requested from the API server"
        )
        self.schema_resolver_cache_evictions_total = counter(
            "schema_resolver_cache_evictions_total", "Schemas that left the cache, because their kind changed"
        )
        self.schema_resolver_errors_total = counter(
            "schema_resolver_errors_total", "Schemas that the API server does not have"
        )
        self.schema_resolver_cache_size = reading("schema_resolver_cache_size", "Schemas in the cache")
        self.schema_resolver_api_call_duration_seconds = histogram(
            "schema_resolver_api_call_duration_seconds", "Time to read the schemas of a group-version", _API_SECONDS
        )

        self.rest_client_requests_total = counter(
            "rest_client_requests_total",
            "Requests by HTTP status; <error> if there was no answer",
            "code",
            "method",
            "host",
        )
        self.rest_client_request_retries_total = counter(
            "rest_client_request_retries_total", "Retries of requests", "code", "method"
        )
        self.rest_client_request_duration_seconds = histogram(
            "rest_client_request_duration_seconds", "Duration of requests", _REST_SECONDS, "verb"
        )
        self.rest_client_request_size_bytes = histogram(
            "rest_client_request_size_bytes", "Size of request bodies", _REST_BYTES, "verb"
        )
        self.rest_client_response_size_bytes = histogram(
            "rest_client_response_size_bytes", "Size of responses", _REST_BYTES, "verb"
        )

        self.controller_runtime_reconcile_total = counter(
            "controller_runtime_reconcile_total",
            "Passes over definitions, by result: success, error, requeue_after; requeue is 0",
            "controller",
            "result",
        )
        self.controller_runtime_reconcile_errors_total = counter(
            "controller_runtime_reconcile_errors_total", "Passes over definitions that failed", "controller"
        )
        self.controller_runtime_reconcile_panics_total = counter(
            "controller_runtime_reconcile_panics_total", "Passes over definitions that a bug ended", "controller"
        )
        self.controller_runtime_reconcile_timeouts_total = counter(
            "controller_runtime_reconcile_timeouts_total",
            "Passes over definitions that computed for too long without a pause",
            "controller",
        )
        self.controller_runtime_reconcile_time_seconds = histogram(
            "controller_runtime_reconcile_time_seconds",
            "Duration of passes over definitions",
            _RECONCILE_SECONDS,
            "controller",
        )
        self.controller_runtime_max_concurrent_reconciles = reading(
            "controller_runtime_max_concurrent_reconciles", "Workers for definitions", "controller"
        )
        self.controller_runtime_active_workers = reading(
            "controller_runtime_active_workers", "Definitions in work", "controller"
        )

        queue = ("name", "controller")
        self.workqueue_depth = reading(
            "workqueue_depth",
            f"Keys that wait for a worker, of definitions ({DEFINITION_QUEUE}) and instances ({INSTANCE_QUEUE})",
            *queue,
            "priority",
        )
        self.workqueue_adds_total = reading("workqueue_adds_total", "Keys that were added", *queue, total=True)
        self.workqueue_retries_total = reading(
            "workqueue_retries_total", "Keys that were added with backoff", *queue, total=True
        )
        self.workqueue_queue_duration_seconds = histogram(
            "workqueue_queue_duration_seconds", "Time that a key waits for a worker", _QUEUE_SECONDS, *queue
        )
        self.workqueue_work_duration_seconds = histogram(
            "workqueue_work_duration_seconds", "Time that a worker spends on a key", _QUEUE_SECONDS, *queue
        )
        self.workqueue_unfinished_work_seconds = reading(
            "workqueue_unfinished_work_seconds", "Time that the keys in work have taken so far, in all", *queue
        )
        self.workqueue_longest_running_processor_seconds = reading(
            "workqueue_longest_running_processor_seconds", "The longest of these times", *queue
        )
        self.leader_election_master_status = gauge(
            "leader_election_master_status", "1 while this process leads", "name"
        )

        self.kroasync_workqueue_depth = reading(
            "kroasync_workqueue_depth", "Instances by their state in the queue: ready, in-work, delayed", "state"
        )
        self.kroasync_event_loop_lag_seconds = gauge(
            "kroasync_event_loop_lag_seconds", "How late the event loop was at its last wake-up"
        )
        self.kroasync_watch_last_event_age_seconds = reading(
            "kroasync_watch_last_event_age_seconds",
            "Seconds since a watch last received something; for several watches of a kind, the maximum",
            "gvr",
        )
        self.kroasync_strangers = reading(
            "kroasync_strangers", "Objects that are labelled like children, but that no known instance claims", "gvr"
        )
        self.kroasync_watch_relists_total = counter("kroasync_watch_relists_total", "Lists after the first list", "gvr")
        self.kroasync_watch_errors_total = counter("kroasync_watch_errors_total", "Failed lists and watches", "gvr")
        self.kroasync_watch_lost_total = counter(
            "kroasync_watch_lost_total",
            "Watch events that never arrived; a comparison of names and versions found them",
            "gvr",
        )
        self.kroasync_pass_overruns_total = counter(
            "kroasync_pass_overruns_total",
            "Times that a pass computed for too long without a pause; the log has the keys",
            "gvr",
        )
        self.kroasync_prunes_held_total = counter(
            "kroasync_prunes_held_total",
            "Times that policy.maxPrune held a prune; a prune that is held again in the same way counts once",
            "gvr",
        )
        self.kroasync_odd_objects_total = counter(
            "kroasync_odd_objects_total",
            "Times that an object was left out because it cannot be read; the log has its name",
            "gvr",
        )
        for one in CONSTANTS:
            one.register(registry)
        self._start()

    def _start(self) -> None:
        """Export the series that kro has from the start, because alerts compare with them."""
        for controller in (DEFINITION_QUEUE, REVISION_QUEUE):
            for result in ("success", "error", "requeue", "requeue_after"):
                self.controller_runtime_reconcile_total.start(controller, result)
            self.controller_runtime_reconcile_errors_total.start(controller)
            self.controller_runtime_reconcile_panics_total.start(controller)
            self.controller_runtime_reconcile_timeouts_total.start(controller)
            self.controller_runtime_reconcile_time_seconds.start(controller)
        for queue in (DEFINITION_QUEUE, REVISION_QUEUE, INSTANCE_QUEUE):
            self.workqueue_queue_duration_seconds.start(queue, queue)
            self.workqueue_work_duration_seconds.start(queue, queue)
        for result in ("success", "failed"):
            self.graph_revision_compile_total.start(result)
            self.graph_revision_compile_duration_seconds.start(result)
        self.dynamic_controller_handler_attach_total.start("parent")
        self.dynamic_controller_handler_detach_total.start("parent")

    def request_done(
        self, method: str, status: int, seconds: float, request_bytes: int, response_bytes: int, *, host: str = ""
    ) -> None:
        """One request to the API server at `host`; status 0 means no answer."""
        self.rest_client_requests_total.inc(str(status) if status else "<error>", method, host)
        self.rest_client_request_duration_seconds.observe(seconds, method)
        self.rest_client_request_size_bytes.observe(request_bytes, method)
        self.rest_client_response_size_bytes.observe(response_bytes, method)

    def forget_definition(self, name: str) -> None:
        """Drop the series of a deleted definition. The counts of its deletion go after some more deletions."""
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
        "<!-- Generated from kroasync/metrics.py by `make generate`: change it there. -->",
        "",
        "The controller serves these metrics under `/metrics` (`--metrics-bind-address`) in Prometheus' text",
        "format, together with the usual `process_*` and `python_info`. Metrics that kro has, too, mean the same.",
        "The [last table](#always-0) lists the metrics of kro that count something that kroasync does not have.",
        "",
        "Labels name kinds, definitions and HTTP verbs and codes, never instances. The exception is",
        f"`{CONDITION_AGE.name}`, which is off by default. A family has at most",
        f"{SERIES_LIMIT} series; everything else is counted under `other`.",
        "`gvr` is `group/version/plural` in `dynamic_controller_reconcile*`, `_requeue*`, `_handler_errors*`",
        "and `_panics*`, and `group/version, Resource=plural` elsewhere.",
        "",
        "| Name | Type | Labels | Meaning |",
        "|---|---|---|---|",
    ]
    for metric in Metrics().declared:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.text} |")
    lines += [
        "",
        "## Always 0",
        "",
        "There is nothing to count here. The series exist, so that dashboards and alerts made for kro find them.",
        f"Those with the controller or queue `{REVISION_QUEUE}` are always 0, too, because definitions compile their",
        "revisions.",
        "",
        "| Name | Type | Labels | Why |",
        "|---|---|---|---|",
    ]
    for one in CONSTANTS:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.type} | {labels} | {one.why} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(markdown())
