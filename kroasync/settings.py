"""Every setting of the controller. Parsing, help and docs all follow from the fields of `Settings`.

Flags have the syntax of Go's `flag` package and the names of kro, so that the arguments of a kro deployment
work. A flag takes precedence over `KROASYNC_<FLAG>`, which takes precedence over the `KRO_...` variable that
kro's chart sets. The settings are read once, when the process starts.
"""

import difflib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final

from kroasync.controller.neighbour import KRO_NAMESPACES
from kroasync.engine.allowance import EVALUATION_STEPS, PASS_STEPS
from kroasync.engine.plan import MAX_OBJECT_BYTES
from kroasync.model.name_forms import is_label_value
from kroasync.model.policies import Adoption, Conflicts, Deletion, Policies, Update
from kroasync.server import AddressError, parse_address

DEFAULT_WORKERS: Final = 32
DEFAULT_DEFINITION_WORKERS: Final = 4
FEATURE_GATES: Final[Mapping[str, str]] = {
    "CELOmitFunction": "the CEL function omit(), which removes a field from a template",
    "InstanceConditionEvents": "an Event for every change of a condition of an instance",
    "InstanceConditionMetrics": "the metric instance_condition_current_status_seconds",
    "ConservativeCRDComparison": "all keywords of generated CRDs are compared for breaking changes",
    "DeletionPolicy": "the annotation kro.run/deletion-policy in templates",
    "GraphKind": "no effect: kroasync has no controller for the kind Graph",
}
_NO_GRAPHS: Final = "kroasync has no controller for the kind Graph"
# Gates that are accepted so that the arguments of a kro deployment work; why they have no effect.
_INERT_GATES: Final[Mapping[str, str]] = {"GraphKind": _NO_GRAPHS}
TIME_ENCODINGS: Final = ("rfc3339", "rfc3339nano", "iso8601", "epoch", "millis", "nano")
_META_GATES: Final = ("AllAlpha", "AllBeta")


class SettingsError(Exception):
    """The command line or the environment is invalid; `problems` has one line for each error."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


_UNITS: Final[Mapping[str, float]] = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_DURATION = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_TRUE: Final = ("1", "t", "T", "TRUE", "true", "True")
_FALSE: Final = ("0", "f", "F", "FALSE", "false", "False")


def parse_duration(text: str) -> float:
    """Seconds of a Go duration (`3s`, `1h30m`, `200ms`, `0`); raises ValueError."""
    if text in ("0", "+0", "-0"):
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError('expected a duration such as "3s", "200ms" or "1h30m"')
    # Summed in nanoseconds, as Go does: 0.2 s must equal "200ms".
    total_ns = sum(round(float(n) * _UNITS[unit] * 1e9) for n, unit in _DURATION_PART.findall(text))
    return (-total_ns if text.startswith("-") else total_ns) / 1e9


def _parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("expected true or false")


def _parse_int(text: str) -> int:
    """Parse a 64-bit integer like Go's flag package: decimal, 0x, 0o, 0b, a leading 0 for octal, underscores."""
    try:
        value = int(text, 8) if re.fullmatch(r"[+-]?0[0-7_]+", text) else int(text, 0)
    except ValueError:
        raise ValueError("expected a whole number") from None
    if not -(2**63) <= value < 2**63:
        raise ValueError("expected a whole number of 64 bits")
    return value


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("expected a number") from None


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _parse_gates(text: str) -> frozenset[str]:
    """`A=true,B=false`; a named gate takes precedence over AllAlpha (every gate is alpha), which takes
    precedence over the default.
    """
    asked: dict[str, bool] = {}
    for entry in _parse_list(text):
        name, equals, value = (part.strip() for part in entry.partition("="))
        if name not in FEATURE_GATES and name not in _META_GATES:
            known = [*FEATURE_GATES, *_META_GATES]
            raise ValueError(f"there is no feature gate {name}{_hint(name, known)}; known: {', '.join(known)}")
        if not equals:
            raise ValueError(f"{name} needs a value: {name}=true")
        try:
            asked[name] = _parse_bool(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    every = asked.get("AllAlpha", False)
    return frozenset(name for name in FEATURE_GATES if asked.get(name, every))


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"expected one of {', '.join(values)}{_hint(text, values)}")
        return text

    return parse


_LEVELS: Final = ("debug", "info", "warn", "error", "panic")


def _parse_level(text: str) -> str:
    if text in _LEVELS:
        return text
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 128):
        raise ValueError(f"expected one of {', '.join(_LEVELS)}, or a verbosity from 1 to 127")
    return text


def _parse_address(text: str) -> str:
    try:
        parse_address(text)
    except AddressError as error:
        raise ValueError(str(error)) from None
    return text


def _parse_label_value(text: str) -> str:
    if not is_label_value(text):
        raise ValueError("expected a label value: at most 63 letters, digits, '-', '_' or '.'")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How a flag's text becomes a value; `parse` raises ValueError with what was expected."""

    name: str
    parse: Callable[[str], Any]


_STRING: Final = _Kind(name="string", parse=str)
_BOOL: Final = _Kind(name="bool", parse=_parse_bool)
_INT: Final = _Kind(name="int", parse=_parse_int)
_NUMBER: Final = _Kind(name="number", parse=_parse_number)
_SPAN: Final = _Kind(name="duration", parse=parse_duration)
_SECONDS: Final = _Kind(name="int (seconds)", parse=lambda text: float(_parse_int(text)))
_ADDRESS: Final = _Kind(name="address", parse=_parse_address)
_LIST: Final = _Kind(name="list", parse=_parse_list)
_GATES: Final = _Kind(name="Name=bool,...", parse=_parse_gates)
_LABEL: Final = _Kind(name="label value", parse=_parse_label_value)
_LEVEL: Final = _Kind(name="level", parse=_parse_level)
_ENCODER: Final = _Kind(name="string", parse=_one_of("console", "json"))
_STACK_LEVEL: Final = _Kind(name="level", parse=_one_of("info", "warn", "error", "panic"))
_ADOPTION: Final = _Kind(name="policy", parse=_one_of(*Adoption))
_DELETION: Final = _Kind(name="policy", parse=_one_of(*Deletion))
_UPDATE: Final = _Kind(name="policy", parse=_one_of(*Update))
_CONFLICTS: Final = _Kind(name="policy", parse=_one_of(*Conflicts))
_TIME_ENCODING: Final = _Kind(name="string", parse=_one_of(*TIME_ENCODINGS))


def _at_least(bound: float) -> Callable[[Any], str | None]:
    return lambda value: None if value >= bound else f"must be at least {bound:g}"


def _positive(value: Any) -> str | None:
    return None if value > 0 else "must be more than 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flag:
    """A flag. A flag with `inert` has no field; the text says why."""

    name: str
    kind: _Kind
    text: str = ""
    field: str = ""
    default: Any = None
    inert: str = ""
    kro_env: str = ""
    check: Callable[[Any], str | None] = lambda _value: None

    @property
    def env(self) -> str:
        return "KROASYNC_" + self.name.upper().replace("-", "_")


_DEFAULTS: Final = Policies()


def _setting(
    default: Any,
    kind: _Kind,
    text: str,
    *,
    kro_env: str = "",
    check: Callable[[Any], str | None] = lambda _value: None,
) -> Any:
    """A field of Settings that is a flag; `text` is its documentation."""
    return field(default=default, metadata={"kind": kind, "text": text, "kro_env": kro_env, "check": check})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the process. Names that end in `_s` are seconds; their flags have the same name without it."""

    kubeconfig: str = _setting(
        "",
        _STRING,
        "Path of the kubeconfig. Empty: the first of `$KUBECONFIG`, the pod's service account, `~/.kube/config`.",
    )
    context: str = _setting("", _STRING, "Context of the kubeconfig. Empty: the current context.")
    metrics_bind_address: str = _setting(
        ":8078", _ADDRESS, "Address that serves `/metrics`; `0` disables it.", kro_env="METRICS_BIND_ADDRESS"
    )
    health_probe_bind_address: str = _setting(
        ":8079",
        _ADDRESS,
        "Address that serves `/healthz`, `/livez` and `/readyz`; `0` disables them.",
        kro_env="HEALTH_PROBE_BIND_ADDRESS",
    )

    leader_elect: bool = _setting(False, _BOOL, "Elect one leader among several replicas, by a Lease.")
    enable_controller_warmup: bool = _setting(
        False,
        _BOOL,
        "Compile definitions and fill the caches while another replica leads, so that it can be replaced quickly.",
    )
    leader_election_namespace: str = _setting("", _STRING, "Namespace of the Lease. Empty: the namespace of the pod.")
    leader_election_lease_duration_s: float = _setting(
        15.0,
        _SPAN,
        "How long standbys wait after the last renewal of the Lease before one takes over.",
        kro_env="LEADER_ELECTION_LEASE_DURATION",
        check=_at_least(1),
    )
    leader_election_renew_deadline_s: float = _setting(
        10.0,
        _SPAN,
        "How long a leader continues to act after its last successful renewal.",
        kro_env="LEADER_ELECTION_RENEW_DEADLINE",
        check=_positive,
    )
    leader_election_retry_period_s: float = _setting(
        2.0,
        _SPAN,
        "Time between two attempts to acquire or renew the Lease.",
        kro_env="LEADER_ELECTION_RETRY_PERIOD",
        check=_positive,
    )

    workers: int = _setting(
        DEFAULT_WORKERS, _INT, "Maximum number of instances that are reconciled at the same time.", check=_at_least(1)
    )
    request_concurrency: int = _setting(
        32,
        _INT,
        "Maximum number of requests in flight. Watches, and requests without an answer for a second, do not count.",
        check=_at_least(1),
    )
    resource_graph_definition_concurrent_reconciles: int = _setting(
        DEFAULT_DEFINITION_WORKERS,
        _INT,
        "Maximum number of definitions that are reconciled at the same time; at least 4, although kro's charts pass 1,"
        " because a definition may have to wait for its CRD.",
        kro_env="RESOURCE_GROUP_CONCURRENT_RECONCILES",
        check=_at_least(1),
    )
    dynamic_controller_rate_limiter_min_delay_s: float = _setting(
        0.2,
        _SPAN,
        "Delay after the first failure; every further failure doubles it.",
        kro_env="DYNAMIC_CONTROLLER_RATE_LIMITER_MIN_DELAY",
        check=_positive,
    )
    dynamic_controller_rate_limiter_max_delay_s: float = _setting(
        1000.0,
        _SPAN,
        "Longest delay between two retries.",
        kro_env="DYNAMIC_CONTROLLER_RATE_LIMITER_MAX_DELAY",
        check=_positive,
    )
    dynamic_controller_default_resync_period_s: float = _setting(
        36000.0,
        _SECONDS,
        "Reconcile every instance again after this time, even without an event; 0 turns this off.",
        kro_env="DYNAMIC_CONTROLLER_DEFAULT_RESYNC_PERIOD",
        check=_at_least(0),
    )
    instance_requeue_interval_s: float = _setting(
        3.0,
        _SPAN,
        "Longest delay between two checks for what no watch reports, such as a missing namespace; 0: 5 minutes.",
        kro_env="INSTANCE_REQUEUE_INTERVAL",
        check=_at_least(0),
    )
    rgd_progress_requeue_delay_s: float = _setting(
        3.0,
        _SPAN,
        "Longest delay between two checks of a CRD that is not established; its watch usually reports it sooner.",
        kro_env="RGD_PROGRESS_REQUEUE_DELAY",
        check=_positive,
    )
    idle_watch_deadline_s: float = _setting(
        150.0,
        _SPAN,
        "Reopen a watch that received no byte for this long; API servers send a bookmark every minute.",
        check=_at_least(1),
    )
    graceful_shutdown_timeout_s: float = _setting(
        60.0,
        _SPAN,
        "On SIGTERM, how long to wait for the answers to writes; passes have one second.",
        kro_env="GRACEFUL_SHUTDOWN_TIMEOUT",
        check=_at_least(0),
    )

    allow_crd_deletion: bool = _setting(
        False, _BOOL, "When a definition is deleted, delete its CRD, and with it all instances."
    )
    rgd_max_collection_size: int = _setting(
        1000,
        _INT,
        "Maximum number of objects of one `forEach`.",
        kro_env="RGD_MAX_COLLECTION_SIZE",
        check=_at_least(1),
    )
    rgd_max_collection_dimension_size: int = _setting(
        10,
        _INT,
        "Maximum number of dimensions of a `forEach`.",
        kro_env="RGD_MAX_COLLECTION_DIMENSION_SIZE",
        check=_at_least(1),
    )
    max_evaluation_steps: int = _setting(
        EVALUATION_STEPS,
        _INT,
        "Maximum number of steps of one evaluation of an expression. A step takes about half a microsecond, and"
        " nothing else runs meanwhile.",
        check=_at_least(1000),
    )
    max_pass_steps: int = _setting(
        PASS_STEPS,
        _INT,
        "Maximum number of steps of all evaluations in one pass over an instance.",
        check=_at_least(1000),
    )
    max_object_bytes: int = _setting(
        MAX_OBJECT_BYTES,
        _INT,
        "Maximum size of an object as JSON, in bytes. Larger objects are not sent. etcd accepts 1.5 MiB by default.",
        check=_at_least(1000),
    )
    rgd_max_graph_revisions: int = _setting(
        5,
        _INT,
        "Number of revisions to keep of each definition; 0 or less keeps all.",
        kro_env="RGD_MAX_GRAPH_REVISIONS",
    )
    label_propagation_exclude: tuple[str, ...] = _setting(
        (),
        _LIST,
        "Prefixes of labels that children do not inherit from their instance, besides labels that configure something.",
    )
    kro_namespaces: tuple[str, ...] = _setting(
        KRO_NAMESPACES,
        _LIST,
        "Namespaces of kro's Lease `controller.kro.run`. While kro renews it, kroasync writes nothing.",
    )
    default_adoption_policy: str = _setting(
        _DEFAULTS.adoption.value,
        _ADOPTION,
        "`policy.adoption` of resources that do not set it, nor does their definition: `IfUnclaimed`, `Always`,"
        " `IfUnowned` or `Never`.",
    )
    default_deletion_policy: str = _setting(
        _DEFAULTS.deletion.value, _DELETION, "The same for `policy.deletion`: `Delete` or `Orphan`."
    )
    default_update_policy: str = _setting(
        _DEFAULTS.update.value,
        _UPDATE,
        "The same for `policy.update`: `Apply`, `Once` or `Recreate`. Kinds that hold data or other objects are never"
        " recreated.",
    )
    default_conflicts_policy: str = _setting(
        _DEFAULTS.conflicts.value, _CONFLICTS, "The same for `policy.conflicts`: `Force`, `Yield` or `Fail`."
    )
    version_label: str = _setting(
        "",
        _LABEL,
        "Value of the label `kro.run/kro-version` on managed objects. Empty: the version of kroasync.",
    )
    events: bool = _setting(True, _BOOL, "Write Events.")
    feature_gates: frozenset[str] = _setting(
        frozenset(),
        _GATES,
        "Feature gates to turn on or off: "
        + "; ".join(f"`{name}`, {text}" for name, text in FEATURE_GATES.items())
        + ".",
    )

    zap_devel: bool = _setting(
        True,
        _BOOL,
        "Log for people: console encoding, level debug, stack traces from warnings on. Otherwise JSON, info, errors.",
        kro_env="LOG_DEVELOPMENT",
    )
    zap_encoder: str = _setting("", _ENCODER, "`console` or `json`. Empty: as `zap-devel` says.", kro_env="LOG_ENCODER")
    zap_log_level: str = _setting(
        "",
        _LEVEL,
        "`debug`, `info`, `warn`, `error`, `panic`, or a verbosity: 1 is debug, 2 and 3 log more.",
        kro_env="LOG_LEVEL",
    )
    zap_stacktrace_level: str = _setting(
        "", _STACK_LEVEL, "Lowest level whose lines have a stack trace: `info`, `warn`, `error` or `panic`."
    )
    zap_time_encoding: str = _setting(
        "rfc3339", _TIME_ENCODING, "Format of times: one of " + ", ".join(f"`{name}`" for name in TIME_ENCODINGS) + "."
    )


_NO_THROTTLING: Final = (
    "API priority and fairness protects the API server; --request-concurrency limits the requests in flight"
)
_OWN_BACKOFF: Final = "kroasync delays only failed passes, each by its own backoff"
_WORKERS_FLAG: Final = "dynamic-controller-concurrent-reconciles"
# Flags of kro for mechanisms that kroasync does not have, and one whose default would slow everything down.
_OTHERS: Final = (
    _Flag(
        name=_WORKERS_FLAG,
        kind=_INT,
        text=f"The same as `--workers`, if that is not set and this is more than {DEFAULT_WORKERS}. Smaller values are"
        " ignored, because kro's charts always pass 1.",
        kro_env="DYNAMIC_CONTROLLER_CONCURRENT_RECONCILES",
        check=_at_least(1),
    ),
    _Flag(name="pprof-bind-address", kind=_STRING, inert="kroasync has no Go profiler"),
    _Flag(name="client-qps", kind=_NUMBER, inert=_NO_THROTTLING),
    _Flag(name="client-burst", kind=_INT, inert=_NO_THROTTLING),
    _Flag(
        name="graph-revision-concurrent-reconciles",
        kind=_INT,
        inert="kroasync compiles revisions together with their definition, without a queue of their own",
    ),
    _Flag(name="dynamic-controller-rate-limiter-rate-limit", kind=_INT, inert=_OWN_BACKOFF),
    _Flag(name="dynamic-controller-rate-limiter-burst-limit", kind=_INT, inert=_OWN_BACKOFF),
    _Flag(
        name="dynamic-controller-default-queue-max-retries",
        kind=_INT,
        inert="kroasync retries forever, with at most the max-delay between two retries",
    ),
    _Flag(name="graph-concurrent-reconciles", kind=_INT, inert=_NO_GRAPHS),
    _Flag(name="controller-namespace", kind=_STRING, inert=_NO_GRAPHS),
    _Flag(name="controller-service-account", kind=_STRING, inert=_NO_GRAPHS),
    _Flag(
        name="apply-concurrency",
        kind=_INT,
        inert="the objects of a collection are applied at the same time, as far as --request-concurrency allows",
    ),
    _Flag(
        name="cel-cost-limit",
        kind=_INT,
        inert="every evaluation has a limit, which --max-evaluation-steps sets in steps of kroasync",
        check=_at_least(0),
    ),
)


def _flag_of(entry: "Field[Any]") -> _Flag:
    kind: _Kind = entry.metadata["kind"]
    name = entry.name.removesuffix("_s") if kind in (_SPAN, _SECONDS) else entry.name
    return _Flag(
        name=name.replace("_", "-"),
        kind=kind,
        text=entry.metadata["text"],
        field=entry.name,
        default=entry.default,
        kro_env=entry.metadata["kro_env"],
        check=entry.metadata["check"],
    )


_FLAGS: Final[Mapping[str, _Flag]] = {
    flag.name: flag for flag in (*(_flag_of(entry) for entry in fields(Settings)), *_OTHERS)
}


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings, and warnings about flags without effect; raises SettingsError with every problem."""
    problems: list[str] = []
    warnings = _misspelt(environ)
    values = _from_environment(environ, problems)
    given = _from_arguments(argv, problems)
    warnings += [f"--{name} has no effect: {_FLAGS[name].inert}" for name in given if _FLAGS[name].inert]
    values |= given
    floor = values.pop(_WORKERS_FLAG, 0)
    if "workers" not in values and floor > DEFAULT_WORKERS:
        values["workers"] = floor
    chosen = {_FLAGS[name].field: value for name, value in values.items() if _FLAGS[name].field}
    settings = Settings(**chosen)
    on = sorted(settings.feature_gates & _INERT_GATES.keys())
    warnings += [f"--feature-gates: {name} has no effect: {_INERT_GATES[name]}" for name in on]
    problems += _contradictions(settings)
    if problems:
        raise SettingsError(problems)
    return settings, warnings


def usage() -> str:
    """The flags with their defaults, as Go's flag package prints them."""
    lines: list[str] = []
    for flag in _FLAGS.values():
        kind = "" if flag.kind is _BOOL else f" {flag.kind.name}"
        lines.append(f"  --{flag.name}{kind}")
        text = flag.text or f"No effect: {flag.inert}."
        lines.append(f"        {text}{_default_note(flag)}")
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "<!-- Generated from kroasync/settings.py by `make generate`: change it there. -->",
        "",
        "These are the flags of `kroasync run`, in the syntax of Go's `flag` package: `-x`, `--x`, `--x=value`,",
        "`--x value`; a boolean is `--x` or `--x=false`. A flag takes precedence over its environment variable,",
        "which takes precedence over the variable that kro's chart sets.",
        "",
        "| Flag | Type | Default | Meaning | Variables |",
        "|---|---|---|---|---|",
    ]
    for flag in _FLAGS.values():
        if flag.inert:
            continue
        default = f"`{_shown(flag)}`" if flag.field and _shown(flag) else ""
        variables = f"`{flag.env}`" + (f", `KRO_{flag.kro_env}`" if flag.kro_env else "")
        lines.append(f"| `--{flag.name}` | {flag.kind.name} | {default} | {flag.text} | {variables} |")
    lines += [
        "",
        "## Accepted without effect",
        "",
        "kroasync accepts these flags of kro with a warning, so that the arguments of a kro deployment work.",
        "",
        "| Flag | Why it has no effect |",
        "|---|---|",
        *(f"| `--{flag.name}` | {flag.inert} |" for flag in _FLAGS.values() if flag.inert),
        "",
    ]
    return "\n".join(lines)


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for flag in _FLAGS.values():
        if flag.inert:
            continue
        names = [flag.env, *([f"KRO_{flag.kro_env}"] if flag.kro_env else [])]
        for name in names:
            # An empty variable counts as not set, because a chart cannot always leave a variable out.
            if environ.get(name):
                _take(flag, environ[name], f"${name}", values, problems)
                break
    return values


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """Warnings about variables that look like one of kroasync's. They are not errors, because a Service with the name
    kroasync creates such variables in every pod.
    """
    known = {flag.env for flag in _FLAGS.values()}
    strange = sorted(name for name in environ if name.startswith("KROASYNC_") and name not in known)
    close = {name: difflib.get_close_matches(name, known, 1, 0.85) for name in strange}
    return [f"${name} is not a setting (did you mean ${best[0]}?)" for name, best in close.items() if best]


def _from_arguments(argv: Sequence[str], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            problems += [f'unexpected argument "{extra}"' for extra in rest]
            break
        name, equals, text = argument.lstrip("-").partition("=")
        dashes = len(argument) - len(argument.lstrip("-"))
        if dashes not in (1, 2) or not name:
            problems.append(f'unexpected argument "{argument}"')
            continue
        flag = _FLAGS.get(name)
        if flag is None:
            problems.append(f"--{name}: there is no such flag{_hint(name, list(_FLAGS), '--')}")
            # The value of an unknown flag must not count as another argument.
            if not equals and rest and not rest[0].startswith("-"):
                rest.pop(0)
            continue
        if not equals:
            if flag.kind is _BOOL:
                text = "true"
            elif not rest:
                problems.append(f"--{name}: needs a value ({flag.kind.name})")
                continue
            else:
                text = rest.pop(0)
        _take(flag, text, f"--{name}", values, problems)
    return values


def _take(flag: _Flag, text: str, source: str, values: dict[str, Any], problems: list[str]) -> None:
    try:
        value = flag.kind.parse(text)
    except ValueError as error:
        problems.append(f'{source}: invalid value "{text}": {error}')
        return
    wrong = flag.check(value)
    if wrong is not None:
        problems.append(f'{source}: invalid value "{text}": {wrong}')
        return
    values[flag.name] = value


def _contradictions(settings: Settings) -> list[str]:
    problems: list[str] = []
    lease_s, renew_s = settings.leader_election_lease_duration_s, settings.leader_election_renew_deadline_s
    if lease_s <= renew_s:
        problems.append(
            "--leader-election-lease-duration must be longer than --leader-election-renew-deadline:"
            f" found {lease_s:g}s and {renew_s:g}s"
        )
    if renew_s <= 1.2 * settings.leader_election_retry_period_s:
        problems.append(
            "--leader-election-renew-deadline must be longer than 1.2 times --leader-election-retry-period:"
            f" found {renew_s:g}s and {settings.leader_election_retry_period_s:g}s"
        )
    low_s = settings.dynamic_controller_rate_limiter_min_delay_s
    high_s = settings.dynamic_controller_rate_limiter_max_delay_s
    if low_s > high_s:
        problems.append(
            "--dynamic-controller-rate-limiter-min-delay must not be longer than"
            f" --dynamic-controller-rate-limiter-max-delay: found {low_s:g}s and {high_s:g}s"
        )
    if settings.enable_controller_warmup and not settings.leader_elect:
        problems.append("--enable-controller-warmup needs --leader-elect")
    if (settings.default_update_policy, settings.default_deletion_policy) == (Update.RECREATE, Deletion.ORPHAN):
        problems.append(
            "--default-update-policy=Recreate deletes objects, which --default-deletion-policy=Orphan forbids"
        )
    return problems


def _hint(name: str, known: Sequence[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


def _default_note(flag: _Flag) -> str:
    shown = _shown(flag) if flag.field else ""
    return f" (default {shown})" if shown and shown != "false" else ""


def _shown(flag: _Flag) -> str:
    """The default as it is written on the command line; empty if there is none."""
    value = flag.default
    if flag.kind is _BOOL:
        return "true" if value else "false"
    if flag.kind is _SPAN:
        return f"{value * 1000:g}ms" if value < 1 else f"{value:g}s"
    if flag.kind is _SECONDS:
        return f"{value:g}"
    return str(value) if value else ""


if __name__ == "__main__":
    sys.stdout.write(markdown())
