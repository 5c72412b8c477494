"""Metric names, labels, and bounds."""

import ast
from pathlib import Path

import pytest

from kroasync.metrics import CONSTANTS, DELETIONS_KEPT, SERIES_LIMIT, ConditionAge, Metrics, gvr_path, markdown
from kroasync.model.objects import Resource


def lines(metrics: Metrics) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if not line.startswith("#")]


def test_names_are_attributes_and_exact() -> None:
    metrics = Metrics()
    families = {family.name for family in metrics.registry.collect()}
    assert len(metrics.declared) > 50
    for declared in metrics.declared:
        # The library stores the name of a counter without its suffix.
        assert declared.name in families or declared.name.removesuffix("_total") in families
        assert hasattr(metrics, declared.name) or declared.name == "instance_condition_current_status_seconds"


def test_counters_gauges_and_histograms() -> None:
    metrics = Metrics()
    metrics.dynamic_controller_requeue_total.inc("g/v1/ks", "requeue_after")
    metrics.dynamic_controller_requeue_total.inc("g/v1/ks", "requeue_after", by=2)
    metrics.leader_election_master_status.set(4, "lease")
    metrics.instance_reconcile_duration_seconds.observe(0.2, "g/v1, Resource=ks")
    found = lines(metrics)
    assert 'dynamic_controller_requeue_total{gvr="g/v1/ks",type="requeue_after"} 3.0' in found
    assert 'leader_election_master_status{name="lease"} 4.0' in found
    assert 'instance_reconcile_duration_seconds_bucket{gvr="g/v1, Resource=ks",le="0.25"} 1.0' in found
    assert 'instance_reconcile_duration_seconds_bucket{gvr="g/v1, Resource=ks",le="0.1"} 0.0' in found


def test_no_creation_dates() -> None:
    metrics = Metrics()
    metrics.instance_reconcile_total.inc("x")
    assert not [line for line in lines(metrics) if "_created" in line]


def test_a_reading_is_taken_when_rendered() -> None:
    metrics = Metrics()
    depth: dict[tuple[str, ...], float] = {("a", "a", ""): 1.0}
    metrics.workqueue_depth.read_from(lambda: depth)
    depth = {("a", "a", ""): 7.0, ("b", "b", "0"): 2.0}
    found = [line for line in lines(metrics) if line.startswith("workqueue_depth")]
    assert found == [
        'workqueue_depth{controller="a",name="a",priority=""} 7.0',
        'workqueue_depth{controller="b",name="b",priority="0"} 2.0',
    ]


def test_readings_are_bounded() -> None:
    metrics = Metrics()
    metrics.workqueue_depth.read_from(lambda: {(f"q{n}", "c", "0"): 1.0 for n in range(SERIES_LIMIT + 50)})
    assert len([line for line in lines(metrics) if line.startswith("workqueue_depth")]) == SERIES_LIMIT


def test_series_are_bounded() -> None:
    metrics = Metrics()
    for number in range(SERIES_LIMIT + 50):
        metrics.rgd_graph_build_total.inc(f"rgd{number}")
    found = [line for line in lines(metrics) if line.startswith("rgd_graph_build_total")]
    assert len(found) == SERIES_LIMIT + 1
    assert 'rgd_graph_build_total{name="other"} 50.0' in found


def test_series_of_what_is_gone_can_be_dropped() -> None:
    metrics = Metrics()
    metrics.rgd_state_transitions_total.inc("a", "Inactive", "Active")
    metrics.rgd_state_transitions_total.inc("b", "Inactive", "Active")
    metrics.rgd_graph_build_total.inc("a")
    metrics.rgd_deletions_total.inc("a")
    metrics.forget_definition("a")
    metrics.forget_definition("never there")
    found = [line for line in lines(metrics) if line.startswith("rgd_") and 'name="' in line]
    assert found == [
        'rgd_state_transitions_total{from="Inactive",name="b",to="Active"} 1.0',
        'rgd_deletions_total{name="a"} 1.0',
    ]
    metrics.rgd_graph_build_total.inc("a")
    assert 'rgd_graph_build_total{name="a"} 1.0' in lines(metrics)


def test_the_last_deletions_are_told_and_earlier_ones_dropped() -> None:
    metrics = Metrics()
    for number in range(DELETIONS_KEPT + 10):
        metrics.rgd_deletions_total.inc(f"rgd{number}")
        metrics.rgd_deletion_duration_seconds.observe(1.0, f"rgd{number}")
        metrics.forget_definition(f"rgd{number}")
        # Deleted repeatedly, so it stays among the last.
        metrics.forget_definition("rgd0")
    told = [line for line in lines(metrics) if line.startswith("rgd_deletions_total{")]
    assert told[0] == 'rgd_deletions_total{name="rgd0"} 1.0'
    assert len(told) == DELETIONS_KEPT
    assert len([line for line in lines(metrics) if line.startswith("rgd_deletion_duration_seconds_count")]) == len(told)


def test_no_series_of_a_kind_is_left_when_it_is_forgotten() -> None:
    """In every form of the kind's name; the series of other kinds stay."""
    metrics = Metrics()
    gone, kept = (Resource("x.org", "v1", kind, plural) for kind, plural in (("App", "apps"), ("Apple", "appless")))
    for kind in (gone, kept):
        metrics.dynamic_controller_reconcile_total.inc(gvr_path(kind.api_version, kind.plural))
        metrics.dynamic_controller_requeue_total.inc(gvr_path(kind.api_version, kind.plural), "no_requeue")
        metrics.instance_reconcile_duration_seconds.observe(1.0, str(kind))
        metrics.dynamic_controller_informer_events_total.inc(str(kind), "add")
        metrics.instance_state_transitions_total.inc(str(kind.gvk), "", "ACTIVE")
        ready = ConditionAge(type="Ready", status="True", reason="Fine", since=0.0)
        metrics.instance_conditions.set(str(kind), "ns", "a", [ready])
    before = [line for line in lines(metrics) if "x.org" in line]
    metrics.forget_kind(gone)
    after = [line for line in lines(metrics) if "x.org" in line]
    assert len(before) == 2 * len(after) > 0
    assert all(plural in line for line in after for plural in ["Apple" if "Kind=" in line else "appless"])


def test_age_of_conditions_is_computed_when_rendered() -> None:
    now = 1000.0
    metrics = Metrics(now=lambda: now)
    ready = ConditionAge(type="Ready", status="True", reason="Fine", since=990.0)
    future = ConditionAge(type="Ready", status="False", reason="Skew", since=2000.0)
    metrics.instance_conditions.set("g", "ns", "a", [ready])
    metrics.instance_conditions.set("g", "ns", "b", [future])
    name = "instance_condition_current_status_seconds"
    labels = 'condition_status="{}",condition_type="Ready",gvr="g",name="{}",namespace="ns",reason="{}"'

    def found() -> list[str]:
        return [line for line in lines(metrics) if line.startswith(name)]

    def sample(status: str, instance: str, reason: str, value: float) -> str:
        pairs = sorted(labels.format(status, instance, reason).split(","))
        return f"{name}{{{','.join(pairs)}}} {value}"

    def normal(line: str) -> str:
        inner = line[line.index("{") + 1 : line.index("}")]
        return line.replace(inner, ",".join(sorted(inner.split(","))))

    assert [normal(s) for s in found()] == [sample("True", "a", "Fine", 10.0), sample("False", "b", "Skew", 0.0)]
    now = 1005.0
    assert normal(found()[0]) == sample("True", "a", "Fine", 15.0)
    metrics.instance_conditions.forget("g", "ns", "a")
    assert len(found()) == 1
    metrics.instance_conditions.forget("g")
    assert found() == []


def test_label_forms() -> None:
    assert gvr_path("kro.run/v1", "webapps") == "kro.run/v1/webapps"


def test_two_sets_of_metrics_do_not_meet() -> None:
    first, second = Metrics(), Metrics()
    first.runtime_node_eval_total.inc()
    assert "runtime_node_eval_total 0.0" in lines(second)


def test_readings_are_gauges_or_totals_without_a_source_until_they_get_one() -> None:
    metrics = Metrics()
    assert not [line for line in lines(metrics) if line.startswith("workqueue_adds")]
    metrics.workqueue_adds_total.read_from(lambda: {("a", "a"): 3})
    metrics.dynamic_controller_gvr_count.read_from(lambda: {(): 2})
    assert 'workqueue_adds_total{controller="a",name="a"} 3.0' in lines(metrics)
    assert "dynamic_controller_gvr_count 2.0" in lines(metrics)


def test_readings_are_bounded_too() -> None:
    metrics = Metrics()
    metrics.kroasync_watch_last_event_age_seconds.read_from(lambda: {(str(n),): n for n in range(SERIES_LIMIT + 9)})
    found = [line for line in lines(metrics) if line.startswith("kroasync_watch_last_event_age_seconds")]
    assert len(found) == SERIES_LIMIT


def test_every_metric_is_declared_with_its_meaning() -> None:
    metrics = Metrics()
    names = [declared.name for declared in metrics.declared]
    assert len(names) == len(set(names))
    own = {name for name in vars(metrics) if name not in ("registry", "declared") and name[0] != "_"}
    assert {"instance_conditions" if n.startswith("instance_condition_") else n for n in names} == own
    assert all(len(declared.text) > 8 for declared in metrics.declared)


def test_every_metric_is_fed_somewhere() -> None:
    """A metric without a value is a broken promise."""
    package = Path(__file__).parents[2] / "kroasync"
    fed = {
        node.attr
        for path in package.rglob("*.py")
        if path.name != "metrics.py"
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("metrics")
    }
    metrics = Metrics()
    by_metrics = {name for name in vars(metrics) if name.startswith("rest_client_") and "retries" not in name}
    own = {name for name in vars(metrics) if name not in ("registry", "declared") and name[0] != "_"}
    assert own - by_metrics - fed == set()
    metrics.request_done("GET", 200, 0.1, 1, 1, host="api.example:443")
    for name in by_metrics:
        assert [line for line in lines(metrics) if line.startswith(name)]


# Every metric of kro: name, type (c, g, h) and labels.
OF_KRO = """
cel_expr_eval_total c; cel_expr_eval_duration_seconds h
runtime_node_eval_total c; runtime_node_eval_errors_total c; runtime_node_eval_duration_seconds h
runtime_creation_total c; runtime_creation_duration_seconds h
runtime_node_ignored_check_total c; runtime_node_ignored_total c
runtime_node_ready_check_total c; runtime_node_not_ready_total c; runtime_collection_size h
dynamic_controller_reconcile_total c gvr; dynamic_controller_requeue_total c gvr type
dynamic_controller_reconcile_duration_seconds h gvr; dynamic_controller_gvr_count g; dynamic_controller_queue_length g
dynamic_controller_handler_count_total g type
dynamic_controller_handler_attach_total c type; dynamic_controller_handler_detach_total c type
dynamic_controller_handler_errors_total c gvr; dynamic_controller_reconcile_panics_total c gvr
dynamic_controller_informer_sync_duration_seconds h gvr; dynamic_controller_informer_events_total c gvr event_type
dynamic_controller_watch_count g; dynamic_controller_instance_watch_count g parent_gvr
dynamic_controller_watch_request_count g gvr type
dynamic_controller_route_total c gvr; dynamic_controller_route_match_total c gvr
instance_state_transitions_total c gvr from_state to_state
instance_reconcile_total c gvr; instance_reconcile_duration_seconds h gvr; instance_reconcile_errors_total c gvr
instance_graph_resolution_success_total c gvr; instance_graph_resolution_pending_total c gvr
instance_graph_resolution_failures_total c gvr reason
instance_condition_current_status_seconds g gvr namespace name condition_type condition_status reason
rgd_graph_build_total c name; rgd_graph_build_errors_total c name; rgd_graph_build_duration_seconds h name
rgd_state_transitions_total c name from to; rgd_deletions_total c name; rgd_deletion_duration_seconds h name
rgd_graph_revision_issue_total c reason; rgd_graph_revision_wait_total c reason
rgd_graph_revision_resolution_total c result; rgd_graph_revision_registry_miss_total c reason
rgd_graph_revision_gc_deleted_total c; rgd_graph_revision_gc_errors_total c
graph_revision_compile_total c result; graph_revision_compile_duration_seconds h result
graph_revision_status_update_errors_total c; graph_revision_activation_deferred_total c
graph_revision_finalizer_evictions_total c; graph_revision_registry_entries g state
graph_revision_registry_transitions_total c from to; graph_revision_registry_evictions_total c
schema_resolver_cache_hits_total c; schema_resolver_cache_misses_total c; schema_resolver_cache_evictions_total c
schema_resolver_singleflight_deduplicated_total c; schema_resolver_errors_total c; schema_resolver_cache_size g
schema_resolver_api_call_duration_seconds h
rest_client_request_duration_seconds h verb; rest_client_rate_limiter_duration_seconds h verb
rest_client_request_size_bytes h verb; rest_client_response_size_bytes h verb
rest_client_request_retries_total c code method; rest_client_requests_total c code method host
leader_election_master_status g name
controller_runtime_reconcile_total c controller result; controller_runtime_reconcile_errors_total c controller
controller_runtime_terminal_reconcile_errors_total c controller; controller_runtime_reconcile_panics_total c controller
controller_runtime_reconcile_timeouts_total c controller; controller_runtime_reconcile_time_seconds h controller
controller_runtime_max_concurrent_reconciles g controller; controller_runtime_active_workers g controller
workqueue_depth g name controller priority; workqueue_adds_total c name controller
workqueue_retries_total c name controller; workqueue_queue_duration_seconds h name controller
workqueue_work_duration_seconds h name controller; workqueue_unfinished_work_seconds g name controller
workqueue_longest_running_processor_seconds g name controller
"""


def test_every_metric_of_kro_is_served_with_its_type_and_labels() -> None:
    served = {one.name: (one.type[0], set(one.labels)) for one in Metrics().declared}
    served |= {one.name: (one.type[0], set(one.labels)) for one in CONSTANTS}
    rows = [row.split() for row in OF_KRO.replace("\n", ";").split(";") if row.strip()]
    assert {name: (kind, set(labels)) for name, kind, *labels in rows} == {
        name: found for name, found in served.items() if not name.startswith("kroasync_")
    }


# What kro serves before anything happens.
CONTROLLER = 'controller="ResourceGraphDefinition"'
QUEUE = 'controller="dynamic-controller-queue",name="dynamic-controller-queue"'
AT_THE_START = (
    *(
        f'controller_runtime_reconcile_total{{controller="{c}",result="{result}"}} 0.0'
        for c in ("ResourceGraphDefinition", "graphrevision")
        for result in ("success", "error", "requeue", "requeue_after")
    ),
    *(
        f"controller_runtime_{name}_total{{{CONTROLLER}}} 0.0"
        for name in (*("reconcile_errors", "terminal_reconcile_errors", "reconcile_panics", "reconcile_timeouts"),)
    ),
    f'controller_runtime_reconcile_time_seconds_bucket{{{CONTROLLER},le="0.005"}} 0.0',
    f'controller_runtime_reconcile_time_seconds_bucket{{{CONTROLLER},le="60.0"}} 0.0',
    f'workqueue_queue_duration_seconds_bucket{{{QUEUE[:37]},le="1e-08",{QUEUE[38:]}}} 0.0',
    f'workqueue_work_duration_seconds_bucket{{{QUEUE[:37]},le="9.999999999999999e-06",{QUEUE[38:]}}} 0.0',
    'rgd_graph_revision_wait_total{reason="warming_up"} 0.0',
    'rgd_graph_revision_registry_miss_total{reason="latest_not_warmed"} 0.0',
    'graph_revision_registry_transitions_total{from="pending",to="active"} 0.0',
    'graph_revision_compile_total{result="failed"} 0.0',
    'rest_client_rate_limiter_duration_seconds_count{verb="GET"} 0.0',
    'dynamic_controller_handler_attach_total{type="parent"} 0.0',
    *(
        f"{name} 0.0"
        for name in (
            *(
                "runtime_node_eval_duration_seconds_count",
                "runtime_creation_total",
                "cel_expr_eval_duration_seconds_sum",
            ),
            *("runtime_creation_duration_seconds_count", "graph_revision_status_update_errors_total"),
            *("graph_revision_activation_deferred_total", "graph_revision_finalizer_evictions_total"),
            *("graph_revision_registry_evictions_total", "schema_resolver_cache_evictions_total"),
            "schema_resolver_singleflight_deduplicated_total",
        )
    ),
)


@pytest.mark.parametrize("line", AT_THE_START)
def test_a_series_of_kro_is_there_from_the_start(line: str) -> None:
    assert line in lines(Metrics())


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("controller_runtime_reconcile_time_seconds", 41, {"0.15", "0.9", "1.25", "4.5", "10.0", "40.0", "60.0"}),
        ("workqueue_queue_duration_seconds", 13, {"1e-08", "1e-07", "0.001", "1.0", "1000.0"}),
        ("cel_expr_eval_duration_seconds", 15, {"0.005", "0.75", "10.0"}),
    ],
)
def test_buckets_are_those_of_kro(name: str, count: int, some: set[str]) -> None:
    found = [line for line in lines(Metrics()) if line.startswith(f"{name}_bucket")]
    bounds = {line.partition('le="')[2].partition('"')[0] for line in found}
    assert len(bounds) == count
    assert some < bounds | {"+Inf"}


def test_evaluations_are_tallied() -> None:
    metrics = Metrics()
    for seconds in (0.0001, 0.005, 0.006, 100.0):
        metrics.cel_expr_eval_duration_seconds.observe(seconds)
    found = lines(metrics)
    for bound, count in (("0.005", 2), ("0.01", 3), ("10.0", 3), ("+Inf", 4)):
        assert f'cel_expr_eval_duration_seconds_bucket{{le="{bound}"}} {count}.0' in found
    assert "cel_expr_eval_duration_seconds_count 4.0" in found
    assert "cel_expr_eval_duration_seconds_sum 100.0111" in found


def test_no_metric_is_both_counted_and_always_0() -> None:
    metrics = Metrics()
    assert {one.name for one in CONSTANTS} & {declared.name for declared in metrics.declared} == set()
    assert all(len(one.why) > 8 for one in CONSTANTS)


def test_documentation_is_generated_from_the_declarations() -> None:
    """Refresh with `python -m kroasync.metrics > docs/metrics.md`."""
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == markdown()
