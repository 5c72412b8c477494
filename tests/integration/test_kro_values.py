"""The values of kro's chart, given to ours: each has an effect, or NOTES.txt says why it has none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from kroasync import settings
from tests.integration.test_chart import CHART, IMAGE, Chart, container, only

pytestmark = pytest.mark.integration

KRO_VALUES = Path(__file__).with_name("kro_values.yaml")
# The notes are no object of helm template. So a copy of the chart has them in a ConfigMap.
NOTES = """apiVersion: v1
kind: ConfigMap
metadata:
  name: notes
data:
  text: {{ tpl (.Files.Get "notes.txt") . | quote }}
"""


@pytest.fixture(scope="module")
def kro_chart(helm: Path, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """The chart with its notes in a ConfigMap."""
    folder = tmp_path_factory.mktemp("kro")
    chart = Path(shutil.copytree(CHART, folder / "kroasync"))
    (chart / "templates" / "NOTES.txt").rename(chart / "notes.txt")
    (chart / "templates" / "notes.yaml").write_text(NOTES, encoding="utf-8")
    return Chart(helm, folder, chart=chart)


def rendered(chart: Chart, *values: str) -> tuple[list[dict[str, Any]], str]:
    """The objects and the notes."""
    objects = chart.everything(*values)
    notes = only(objects, "ConfigMap", "notes")
    return [o for o in objects if o is not notes], notes["data"]["text"]


def defaults() -> dict[str, Any]:
    return dict(yaml.safe_load(KRO_VALUES.read_text(encoding="utf-8")))


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value and key != "nodeSelector":
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# Another value than kro's default for every path.
OTHERS: dict[str, Any] = {
    "nameOverride": "kro",
    "fullnameOverride": "kro",
    "additionalLabels": {"team": "a"},
    "metadata.includeHelmChart": False,
    "metadata.includeManagedBy": False,
    "image.repository": "registry.example.com/other",
    "image.tag": "v0.10.0",
    "image.pullPolicy": "Always",
    "image.ko": True,
    "imagePullSecrets": [{"name": "a"}],
    "serviceAccount.create": False,
    "serviceAccount.automount": False,
    "serviceAccount.annotations": {"a": "b"},
    "serviceAccount.name": "kro",
    "rbac.mode": "unrestricted",
    "deployment.replicaCount": 2,
    "deployment.containerPort": 9000,
    "deployment.podAnnotations": {"a": "b"},
    "deployment.podLabels": {"a": "b"},
    "deployment.podSecurityContext.seccompProfile.type": "Unconfined",
    "deployment.securityContext.runAsUser": 1000,
    "deployment.securityContext.runAsNonRoot": False,
    "deployment.securityContext.allowPrivilegeEscalation": True,
    "deployment.securityContext.privileged": True,
    "deployment.securityContext.capabilities.drop": ["NET_RAW"],
    "deployment.resources.limits.cpu": 2,
    "deployment.resources.limits.memory": "2Gi",
    "deployment.resources.requests.cpu": "1",
    "deployment.resources.requests.memory": "1Gi",
    "deployment.nodeSelector": {"zone": "a"},
    "deployment.tolerations": [{"operator": "Exists"}],
    "deployment.affinity": {"nodeAffinity": {}},
    "deployment.topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}],
    "deployment.extraVolumes": [{"name": "v", "emptyDir": {}}],
    "deployment.extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
    "deployment.extraEnv": [{"name": "A", "value": "b"}],
    "deployment.priorityClassName": "system-cluster-critical",
    "deployment.hostNetwork": True,
    "deployment.dnsPolicy": "Default",
    "debug.pprof.enabled": True,
    "debug.pprof.port": 6061,
    "debug.pprof.service.enabled": True,
    "debug.pprof.service.type": "NodePort",
    "config.allowCRDDeletion": True,
    "config.clientQps": 7.5,
    "config.clientBurst": 7,
    "config.enableLeaderElection": False,
    "config.leaderElectionNamespace": "leases",
    "config.leaderElectionLeaseDuration": "60s",
    "config.leaderElectionRenewDeadline": "14s",
    "config.leaderElectionRetryPeriod": "1s",
    "config.enableControllerWarmup": False,
    "config.metricsBindAddress": 0,
    "config.healthProbeBindAddress": 0,
    "config.resourceGraphDefinitionConcurrentReconciles": 7,
    "config.resourceGraphDefinitionProgressRequeueDelay": "7s",
    "config.graphRevisionConcurrentReconciles": 7,
    "config.graphConcurrentReconciles": 7,
    "config.gracefulShutdownTimeout": "5m",
    "config.dynamicControllerConcurrentReconciles": 77,
    "config.dynamicControllerDefaultResyncPeriod": 0,
    "config.dynamicControllerDefaultQueueMaxRetries": 7,
    "config.dynamicControllerRateLimiterMinDelay": "7ms",
    "config.dynamicControllerRateLimiterMaxDelay": "7s",
    "config.dynamicControllerRateLimiterRateLimit": 7,
    "config.dynamicControllerRateLimiterBurstLimit": 7,
    "config.applyConcurrency": 7,
    "config.celCostLimit": 7000000,
    "config.logLevel": 3,
    "config.logEncoder": "console",
    "config.development": True,
    "config.rgd.maxCollectionSize": 7,
    "config.rgd.maxCollectionDimensionSize": 7,
    "config.rgd.maxGraphRevisions": 0,
    "config.instance.requeueInterval": 0,
    "config.featureGates": {"InstanceConditionEvents": True},
    "metrics.service.create": True,
    "metrics.service.type": "NodePort",
    "metrics.service.port": 80,
    "metrics.serviceMonitor.enabled": True,
    "metrics.serviceMonitor.additionalLabels": {"a": "b"},
    "metrics.serviceMonitor.interval": "7m",
    "metrics.serviceMonitor.scrapeTimeout": "7s",
    "metrics.serviceMonitor.telemetryPath": "/other",
    "metrics.serviceMonitor.targetLabels": ["a"],
    "metrics.serviceMonitor.metricRelabelings": [{"action": "labeldrop", "regex": "a"}],
    "metrics.serviceMonitor.relabelings": [{"action": "labeldrop", "regex": "b"}],
}
# What a value needs before it can have an effect, in kro's chart, too.
NEEDED = {
    "metrics.service.": ("metrics.service.create=true",),
    "metrics.serviceMonitor.": ("metrics.service.create=true", "metrics.serviceMonitor.enabled=true"),
}


def test_every_value_of_kro_has_a_case() -> None:
    paths = dict(leaves(defaults()))
    assert len(paths) == 87
    assert set(OTHERS) == set(paths)


def test_kros_own_values_are_accepted_and_the_program_starts_with_them(kro_chart: Chart) -> None:
    objects, notes = rendered(kro_chart, *(f"{key}={json.dumps(value)}" for key, value in defaults().items()))
    chosen, warnings = settings.parse(container(objects)["args"][1:], {})
    assert warnings == []
    assert (chosen.workers, chosen.zap_encoder, chosen.enable_controller_warmup) == (32, "console", False)
    assert container(objects)["image"] == f"registry.k8s.io/kro/kro:{app_version()}"
    assert "image.repository is the image of kro" in notes
    assert "config.clientQps" in notes


def app_version() -> str:
    return str(yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"])


@pytest.fixture(scope="module")
def plain(kro_chart: Chart) -> Callable[..., list[dict[str, Any]]]:
    """The objects for some values, rendered once."""
    return lru_cache(lambda *values: rendered(kro_chart, *values)[0])


@pytest.mark.parametrize("path", OTHERS)
def test_a_value_has_an_effect_or_a_note(
    kro_chart: Chart, plain: Callable[..., list[dict[str, Any]]], path: str
) -> None:
    needed = next((values for prefix, values in NEEDED.items() if path.startswith(prefix)), ())
    before = plain(*(value for value in needed if not value.startswith(f"{path}=")))
    after, notes = rendered(kro_chart, *needed, f"{path}={json.dumps(OTHERS[path])}")
    noted = f"\n  {path}: " in notes.partition("These values of kro's chart have no effect:")[2]
    assert noted != (before != after), notes


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        ("config.logLevel=1", "--zap-log-level=1"),
        ('config.logLevel="2"', "--zap-log-level=2"),
        ("config.instance.requeueInterval=0", "--instance-requeue-interval=0"),
        ('config.instance.requeueInterval="0"', "--instance-requeue-interval=0"),
        ("config.gracefulShutdownTimeout=0", "--graceful-shutdown-timeout=0"),
        ("config.metricsBindAddress=0", "--metrics-bind-address=0"),
        ("config.healthProbeBindAddress=0", "--health-probe-bind-address=0"),
        ('config.healthProbeBindAddress="0"', "--health-probe-bind-address=0"),
        ("config.dynamicControllerConcurrentReconciles=33", "--workers=33"),
        ("config.dynamicControllerConcurrentReconciles=31", "--workers=32"),
        ('config.featureGates={"GraphKind":true,"NewGate":false}', "--feature-gates=GraphKind=true,NewGate=false"),
    ],
)
def test_numbers_and_gates_of_kro_become_flags(kro_chart: Chart, value: str, flag: str) -> None:
    assert flag in container(kro_chart.template(value))["args"]


def test_a_number_of_workers_that_changes_nothing_has_a_note(kro_chart: Chart) -> None:
    _, notes = rendered(kro_chart, "config.dynamicControllerConcurrentReconciles=8")
    assert "config.dynamicControllerConcurrentReconciles: it is not more than config.workers, which is 32" in notes


def test_a_gate_that_the_chart_does_not_know_has_a_note(kro_chart: Chart) -> None:
    _, notes = rendered(kro_chart, 'config.featureGates={"NewGate":true,"DeletionPolicy":true}')
    assert "config.featureGates.NewGate is not known to the chart" in notes
    assert "DeletionPolicy" not in notes


def test_gates_of_the_program_have_no_such_note(kro_chart: Chart) -> None:
    gates = dict.fromkeys([*settings.FEATURE_GATES, "AllAlpha", "AllBeta"], True)
    _, notes = rendered(kro_chart, f"config.featureGates={json.dumps(gates)}")
    assert "not known" not in notes


@pytest.mark.parametrize("value", ['config.clientQps="100"', 'image.ko="yes"', 'debug.pprof.port="6060"'])
def test_a_value_without_effect_may_have_any_type(kro_chart: Chart, value: str) -> None:
    """kro's chart has no schema."""
    assert f"\n  {value.partition('=')[0]}: " in rendered(kro_chart, value)[1]


@pytest.mark.parametrize("values", [(), ("config.featureGates=null",), ("config.clientQps=null",)])
def test_without_values_of_kro_there_is_no_note_about_them(kro_chart: Chart, values: tuple[str, ...]) -> None:
    _, notes = rendered(kro_chart, *values)
    assert "no effect" not in notes
    assert "image of kro," not in notes


def test_the_default_tag_of_kro_is_the_version_of_the_chart(kro_chart: Chart) -> None:
    objects = kro_chart.template('image.tag="${VERSION}"')
    assert container(objects)["image"] == f"{IMAGE}:{app_version()}"
    labels = only(objects, "Deployment")["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == app_version()


def test_without_a_health_port_nothing_asks_for_it(kro_chart: Chart) -> None:
    objects = kro_chart.everything("config.healthProbeBindAddress=0", "networkPolicy.enabled=true")
    found = container(objects)
    assert [port["name"] for port in found["ports"]] == ["metricsport"]
    assert not {"startupProbe", "livenessProbe", "readinessProbe"} & set(found)
    assert "Pod" not in {o["kind"] for o in objects}
    (rule,) = only(objects, "NetworkPolicy")["spec"]["ingress"]
    assert rule["ports"][0]["port"] == "metricsport"
    without = kro_chart.template("config.healthProbeBindAddress=0", "config.metricsBindAddress=0")
    assert "ports" not in container(without)


@pytest.mark.parametrize(("timeout", "grace"), [("5s", 75), ("60s", 75), ("90s", 105), ("1m0.5s", 76)])
def test_the_kubelet_waits_longer_than_the_program(kro_chart: Chart, timeout: str, grace: int) -> None:
    objects = kro_chart.template(f'config.gracefulShutdownTimeout="{timeout}"')
    assert only(objects, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace


def test_tools_for_kro_find_the_controller(kro_chart: Chart) -> None:
    """kro-ui looks for a Pod and a Deployment with this label, and asks the first port for metrics."""
    objects = kro_chart.template('config.versionLabel="v0.10.0"')
    deployment = only(objects, "Deployment")
    for labels in (deployment["metadata"]["labels"], deployment["spec"]["template"]["metadata"]["labels"]):
        assert labels["control-plane"] == "kro-controller-manager"
        assert labels["kro.run/kro-version"] == "v0.10.0"
    assert container(objects)["ports"][0] == {"name": "metricsport", "containerPort": 8078, "protocol": "TCP"}
    assert "control-plane" not in deployment["spec"]["selector"]["matchLabels"]
    own = only(kro_chart.template('deployment.podLabels={"control-plane":"mine"}'), "Deployment")
    assert own["spec"]["template"]["metadata"]["labels"]["control-plane"] == "mine"


def test_values_without_effect_are_in_the_readme() -> None:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    notes = (CHART / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    missing = [path for path in OTHERS if f'"{path}"' in notes and f"`{path}`" not in text]
    assert missing == []
