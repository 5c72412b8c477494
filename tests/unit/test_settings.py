"""Flags in Go's syntax, their environment variables, and every error at once."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from kroasync.settings import Settings, SettingsError, markdown, parse, parse_duration, usage

KRO_FLAGS = """
metrics-bind-address health-probe-bind-address pprof-bind-address leader-elect enable-controller-warmup
leader-election-namespace leader-election-lease-duration leader-election-renew-deadline
leader-election-retry-period allow-crd-deletion graceful-shutdown-timeout
resource-graph-definition-concurrent-reconciles graph-revision-concurrent-reconciles
dynamic-controller-concurrent-reconciles dynamic-controller-rate-limiter-min-delay
dynamic-controller-rate-limiter-max-delay dynamic-controller-rate-limiter-rate-limit
dynamic-controller-rate-limiter-burst-limit instance-requeue-interval
dynamic-controller-default-resync-period dynamic-controller-default-queue-max-retries client-qps client-burst
rgd-max-collection-size rgd-max-collection-dimension-size rgd-max-graph-revisions rgd-progress-requeue-delay
graph-concurrent-reconciles apply-concurrency cel-cost-limit controller-namespace controller-service-account
feature-gates kubeconfig zap-devel zap-encoder zap-log-level zap-stacktrace-level zap-time-encoding
""".split()  # noqa: SIM905

EXAMPLES = {
    "metrics-bind-address": ":1",
    "health-probe-bind-address": "0",
    "leader-election-lease-duration": "60s",
    "leader-election-renew-deadline": "12s",
    "leader-election-retry-period": "1s",
    "feature-gates": "AllAlpha=true",
    "zap-encoder": "json",
    "zap-log-level": "debug",
    "zap-stacktrace-level": "panic",
    "zap-time-encoding": "epoch",
    "graceful-shutdown-timeout": "5s",
    "instance-requeue-interval": "0",
    "rgd-progress-requeue-delay": "1s",
    "dynamic-controller-rate-limiter-min-delay": "1ms",
    "dynamic-controller-rate-limiter-max-delay": "5m",
}


def ok(*argv: str, **environ: str) -> Settings:
    return parse(argv, environ)[0]


def problems(*argv: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        parse(argv, environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_without_anything_every_setting_has_its_default() -> None:
    assert parse([], {}) == (Settings(), [])


@pytest.mark.parametrize("name", KRO_FLAGS)
def test_every_flag_of_kro_is_taken(name: str) -> None:
    if name in ("leader-elect", "allow-crd-deletion", "zap-devel"):
        parse([f"--{name}=true"], {})
    elif name == "enable-controller-warmup":
        parse(["--leader-elect", f"-{name}"], {})
    else:
        parse([f"--{name}", EXAMPLES.get(name, "7")], {})


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--leader-elect"], "leader_elect", True),
        (["-leader-elect"], "leader_elect", True),
        (["--leader-elect=false"], "leader_elect", False),
        (["--leader-elect=T"], "leader_elect", True),
        (["--events=0"], "events", False),
        (["--workers", "5"], "workers", 5),
        (["-workers=0x10"], "workers", 16),
        (["--workers=1_000"], "workers", 1000),
        (["--workers", "010"], "workers", 8),
        (["--workers=1", "--workers=2"], "workers", 2),
        (["--rgd-max-graph-revisions", "-1"], "rgd_max_graph_revisions", -1),
        (["--instance-requeue-interval", "1h30m"], "instance_requeue_interval_s", 5400.0),
        (["--instance-requeue-interval=0"], "instance_requeue_interval_s", 0.0),
        (["--dynamic-controller-default-resync-period=60"], "dynamic_controller_default_resync_period_s", 60.0),
        (["--kubeconfig=a=b"], "kubeconfig", "a=b"),
        (["--kubeconfig", "-x"], "kubeconfig", "-x"),
        (["--kubeconfig="], "kubeconfig", ""),
        (["--context", "c", "--"], "context", "c"),
        (["--label-propagation-exclude", "a/, b/,"], "label_propagation_exclude", ("a/", "b/")),
        (["--default-adoption-policy=IfUnowned"], "default_adoption_policy", "IfUnowned"),
        (["--default-deletion-policy", "Orphan"], "default_deletion_policy", "Orphan"),
        (["--default-update-policy=Recreate"], "default_update_policy", "Recreate"),
        (["--default-conflicts-policy=Yield"], "default_conflicts_policy", "Yield"),
        (["--feature-gates", ""], "feature_gates", frozenset()),
        (["--feature-gates=CELOmitFunction=true"], "feature_gates", {"CELOmitFunction"}),
        (
            ["--feature-gates", "AllAlpha=true, CELOmitFunction=false"],
            "feature_gates",
            {
                *("InstanceConditionEvents", "InstanceConditionMetrics", "ConservativeCRDComparison"),
                *("DeletionPolicy", "GraphKind"),
            },
        ),
        (["--feature-gates", "AllBeta=true"], "feature_gates", frozenset()),
        (["--zap-log-level", "3"], "zap_log_level", "3"),
        (["--version-label", "v1.2-x"], "version_label", "v1.2-x"),
    ],
)
def test_forms_of_flags(argv: list[str], field: str, value: Any) -> None:
    assert getattr(ok(*argv), field) == value


@pytest.mark.parametrize(
    ("gates", "count"),
    [("GraphKind=true", 1), ("AllAlpha=true", 1), ("GraphKind=false", 0), ("DeletionPolicy=true", 0)],
)
def test_a_gate_of_kro_without_effect_is_accepted_with_a_warning(gates: str, count: int) -> None:
    _, warnings = parse(["--feature-gates", gates], {})
    text = "--feature-gates: GraphKind has no effect: kroasync has no controller for the kind Graph"
    assert warnings == [text] * count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3s", 3.0),
        ("200ms", 0.2),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1m0.5s", 60.5),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("-2s", -2.0),
        ("+2s", 2.0),
        ("0", 0.0),
        ("0s", 0.0),
        ("1ns", 1e-9),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "3", "s", "3 s", "3d", "1h-3m", "١s", "1e3s", "3S", "--3s", ".s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--worker=3"], "--worker: there is no such flag (did you mean --workers?)"),
        (["-xyzzy"], "--xyzzy: there is no such flag"),
        (["--workers"], "--workers: needs a value (int)"),
        (["--workers=many"], '--workers: invalid value "many": expected a whole number'),
        (["--workers=0"], '--workers: invalid value "0": must be at least 1'),
        (
            ["--workers=99999999999999999999"],
            '--workers: invalid value "99999999999999999999": expected a whole number of 64 bits',
        ),
        (["--leader-elect=maybe"], '--leader-elect: invalid value "maybe": expected true or false'),
        (["--client-qps", "fast"], '--client-qps: invalid value "fast": expected a number'),
        (["--cel-cost-limit=-1"], '--cel-cost-limit: invalid value "-1": must be at least 0'),
        (["extra"], 'unexpected argument "extra"'),
        (["---workers=1"], 'unexpected argument "---workers=1"'),
        (["-"], 'unexpected argument "-"'),
        (["--", "--workers=1"], 'unexpected argument "--workers=1"'),
        (["--leader-elect", "true"], 'unexpected argument "true"'),
        (
            ["--feature-gates=CELOmitFuncton=true"],
            '--feature-gates: invalid value "CELOmitFuncton=true": there is no feature gate CELOmitFuncton'
            " (did you mean CELOmitFunction?);",
        ),
        (["--feature-gates=CELOmitFunction"], "CELOmitFunction needs a value: CELOmitFunction=true"),
        (["--feature-gates=CELOmitFunction=x"], "CELOmitFunction: expected true or false"),
        (["--metrics-bind-address=8078"], '"8078" is not an address'),
        (["--zap-log-level=loud"], "expected one of debug, info, warn, error, panic, or a verbosity"),
        (["--zap-log-level=0"], "or a verbosity from 1"),
        (["--zap-encoder=xml"], "expected one of console, json"),
        (["--version-label=a b"], "expected a label value"),
        (["--enable-controller-warmup"], "--enable-controller-warmup needs --leader-elect"),
        (["--leader-election-renew-deadline=15s"], "found 15s and 15s"),
        (["--leader-election-retry-period=9s"], "found 10s and 9s"),
        (["--dynamic-controller-rate-limiter-max-delay=100ms"], "found 0.2s and 0.1s"),
        (["--graceful-shutdown-timeout=-1s"], "must be at least 0"),
        (
            ["--default-adoption-policy=never"],
            'invalid value "never": expected one of IfUnclaimed, Always, IfUnowned, Never (did you mean Never?)',
        ),
        (["--default-deletion-policy=Orphaned"], "expected one of Delete, Orphan (did you mean Orphan?)"),
        (["--default-update-policy="], "expected one of Apply, Once, Recreate"),
        (["--default-conflicts-policy", "Yeild"], "expected one of Force, Yield, Fail (did you mean Yield?)"),
        (
            ["--default-update-policy=Recreate", "--default-deletion-policy=Orphan"],
            "--default-update-policy=Recreate deletes objects, which --default-deletion-policy=Orphan forbids",
        ),
    ],
)
def test_what_is_wrong_with_a_flag(argv: list[str], message: str) -> None:
    found = problems(*argv)
    assert len(found) == 1
    assert message in found[0]


def test_every_problem_is_told_at_once() -> None:
    found = problems("--worker", "3", "--leader-elect=x", "stray", KROASYNC_WORKERS="none")
    assert [p.split(":")[0] for p in found] == [
        "$KROASYNC_WORKERS",
        "--worker",
        "--leader-elect",
        'unexpected argument "stray"',
    ]


def test_flag_before_own_variable_before_kros_variable() -> None:
    own, kro = "KROASYNC_RGD_MAX_COLLECTION_SIZE", "KRO_RGD_MAX_COLLECTION_SIZE"
    assert ok(**{kro: "3"}).rgd_max_collection_size == 3
    assert ok(**{kro: "3", own: "2"}).rgd_max_collection_size == 2
    assert ok("--rgd-max-collection-size=1", **{kro: "3", own: "2"}).rgd_max_collection_size == 1
    assert ok(**{own: ""}).rgd_max_collection_size == 1000


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("KRO_RESOURCE_GROUP_CONCURRENT_RECONCILES", "4", "resource_graph_definition_concurrent_reconciles", 4),
        ("KRO_LOG_LEVEL", "info", "zap_log_level", "info"),
        ("KRO_LOG_ENCODER", "json", "zap_encoder", "json"),
        ("KRO_LOG_DEVELOPMENT", "false", "zap_devel", False),
        ("KRO_LEADER_ELECTION_RETRY_PERIOD", "1s", "leader_election_retry_period_s", 1.0),
        ("KRO_DYNAMIC_CONTROLLER_DEFAULT_RESYNC_PERIOD", "0", "dynamic_controller_default_resync_period_s", 0.0),
        ("KROASYNC_LEADER_ELECT", "true", "leader_elect", True),
        ("KROASYNC_DEFAULT_DELETION_POLICY", "Orphan", "default_deletion_policy", "Orphan"),
    ],
)
def test_variables(name: str, text: str, field: str, value: Any) -> None:
    assert getattr(ok(**{name: text}), field) == value


def test_kros_number_of_workers_only_ever_raises_ours() -> None:
    """kro's charts pass 1, which does not mean one pass at a time."""
    name = "--dynamic-controller-concurrent-reconciles"
    assert ok(f"{name}=1").workers == 32
    assert ok(f"{name}=64").workers == 64
    assert ok(f"{name}=64", "--workers=4").workers == 4
    assert ok(KRO_DYNAMIC_CONTROLLER_CONCURRENT_RECONCILES="40").workers == 40


def test_flags_without_effect_warn_and_say_why() -> None:
    settings, warnings = parse(["--client-qps=100", "--client-burst", "150", "--pprof-bind-address=:6060"], {})
    assert settings == Settings()
    assert [w.split(" has no effect: ")[0] for w in warnings] == [
        "--client-qps",
        "--client-burst",
        "--pprof-bind-address",
    ]
    assert all(len(w.split(" has no effect: ")[1]) > 20 for w in warnings)


def test_kros_variables_for_such_flags_are_silent() -> None:
    assert parse([], {"KRO_CLIENT_QPS": "100"}) == (Settings(), [])


def test_a_misspelt_variable_is_a_warning() -> None:
    """Not an error: a Service with the name kroasync adds variables to every pod."""
    environ = {"KROASYNC_WORKER": "3", "KROASYNC_SERVICE_HOST": "10.0.0.1", "KROASYNC_PORT_8078_TCP_PORT": "1"}
    assert parse([], environ) == (
        Settings(),
        ["$KROASYNC_WORKER is not a setting (did you mean $KROASYNC_WORKERS?)"],
    )


def test_every_field_is_a_documented_flag() -> None:
    text = usage()
    for entry in fields(Settings):
        name = entry.name.removesuffix("_s").replace("_", "-")
        assert f"  --{name}" in text
        assert len(entry.metadata["text"]) > 10
    assert "(default :8079)" in text
    assert "(default 200ms)" in text


def test_documentation_is_generated_from_the_table() -> None:
    """Refresh with `python -m kroasync.settings > docs/settings.md`."""
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == markdown()
