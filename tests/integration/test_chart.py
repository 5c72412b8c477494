"""The chart: helm lints, renders and installs it, and refuses bad values; its RBAC suffices."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import kroasync
from kroasync import settings
from kroasync.cli.main import app
from kroasync.playground import CommandError, Playground
from tests.waiting import eventually

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "kroasync"
WEB_APPLICATION = ROOT / "examples" / "webapplication"
KUBERNETES = "1.36.0"
IMAGE = "registry.example.com/kroasync"
CHILDREN = (
    *("configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims"),
    *("deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "ingresses", "networkpolicies"),
    *("horizontalpodautoscalers", "poddisruptionbudgets"),
)


class Chart:
    """The chart through helm, without a cluster."""

    def __init__(self, helm: Path, folder: Path, chart: Path = CHART) -> None:
        self._helm = helm
        self._chart = chart
        self._environment = {"HOME": str(folder), "PATH": ""}

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._helm), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=self._environment)

    def template(
        self, *values: str, namespace: str = "system", release: str = "demo", version: str = KUBERNETES
    ) -> list[dict[str, Any]]:
        """The rendered objects, without hooks; `values` as in --set-json."""
        return [
            o for o in self.everything(*values, namespace=namespace, release=release, version=version) if not hook(o)
        ]

    def everything(
        self, *values: str, namespace: str = "system", release: str = "demo", version: str = KUBERNETES
    ) -> list[dict[str, Any]]:
        done = self.call(*self._template(values, namespace, release, version))
        assert done.returncode == 0, done.stderr
        return [obj for obj in yaml.load_all(done.stdout, UniqueKeys) if obj]

    def refused(self, *values: str, release: str = "demo", version: str = KUBERNETES) -> str:
        """The message that refuses these values."""
        done = self.call(*self._template(values, "system", release, version))
        assert done.returncode != 0, done.stdout
        return done.stderr

    def _template(self, values: Sequence[str], namespace: str, release: str, version: str) -> list[str]:
        chosen = [part for value in (f'image.repository="{IMAGE}"', *values) for part in ("--set-json", value)]
        return ["template", release, str(self._chart), "--namespace", namespace, "--kube-version", version, *chosen]


class UniqueKeys(yaml.SafeLoader):
    """YAML as strict readers read it: a key that occurs twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key occurs twice: {keys}"
        return super().construct_mapping(node, deep)


def hook(obj: dict[str, Any]) -> bool:
    return "helm.sh/hook" in obj["metadata"].get("annotations", {})


@pytest.fixture(scope="session")
def offline(helm: Path, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    return Chart(helm, tmp_path_factory.mktemp("helm"))


def only(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    found = [o for o in objects if o["kind"] == kind and (not name or o["metadata"]["name"] == name)]
    assert len(found) == 1, f"{kind} {name}: {len(found)}"
    return found[0]


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def kinds(objects: list[dict[str, Any]]) -> set[str]:
    return {o["kind"] for o in objects}


def controller_rules(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules of the chart that the controller gets; the aggregated role has none."""
    bound = [o["roleRef"]["name"] for o in objects if o["kind"] == "ClusterRoleBinding"]
    return [rule for name in bound for rule in only(objects, "ClusterRole", name).get("rules", [])]


# Rendering


def test_lint_is_clean(offline: Chart) -> None:
    done = offline.call("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_chart_and_program_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (kroasync.__version__, kroasync.__version__)


def test_artifact_hub_reads_the_crds_and_a_valid_example(tmp_path: Path) -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["annotations"]
    files = [yaml.safe_load(path.read_text("utf-8")) for path in (CHART / "crds").glob("*.yaml")]
    listed = {(crd["name"], crd["kind"], crd["version"]) for crd in yaml.safe_load(about["artifacthub.io/crds"])}
    assert listed == {
        (crd["metadata"]["name"], crd["spec"]["names"]["kind"], version["name"])
        for crd in files
        for version in crd["spec"]["versions"]
    }
    (example,) = yaml.safe_load(about["artifacthub.io/crdsExamples"])
    definition = tmp_path / "definition.yaml"
    definition.write_text(yaml.safe_dump(example))
    done = CliRunner().invoke(app, ["validate", str(definition)])
    assert done.exit_code == 0, done.output


def test_default_objects(offline: Chart) -> None:
    assert kinds(offline.template()) == {
        *("Deployment", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
        *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    }


def test_every_flag_of_the_default_values_is_accepted_without_a_warning(offline: Chart) -> None:
    chosen, warnings = settings.parse(container(offline.template())["args"][1:], {})
    assert warnings == []
    assert chosen.leader_elect
    assert chosen.enable_controller_warmup


CONFIG = [
    ("config.allowCRDDeletion=true", "allow_crd_deletion", True),
    ("config.enableLeaderElection=false", "leader_elect", False),
    ('config.leaderElectionNamespace="leases"', "leader_election_namespace", "leases"),
    ('config.leaderElectionLeaseDuration="1m"', "leader_election_lease_duration_s", 60),
    ('config.leaderElectionRenewDeadline="5s"', "leader_election_renew_deadline_s", 5),
    ('config.leaderElectionRetryPeriod="500ms"', "leader_election_retry_period_s", 0.5),
    ("config.enableControllerWarmup=false", "enable_controller_warmup", False),
    ('config.metricsBindAddress="127.0.0.1:9"', "metrics_bind_address", "127.0.0.1:9"),
    ('config.healthProbeBindAddress=":1234"', "health_probe_bind_address", ":1234"),
    ('config.gracefulShutdownTimeout="5s"', "graceful_shutdown_timeout_s", 5),
    ("config.workers=3", "workers", 3),
    ("config.requestConcurrency=4", "request_concurrency", 4),
    (
        "config.resourceGraphDefinitionConcurrentReconciles=5",
        "resource_graph_definition_concurrent_reconciles",
        5,
    ),
    ('config.resourceGraphDefinitionProgressRequeueDelay="6s"', "rgd_progress_requeue_delay_s", 6),
    ("config.dynamicControllerDefaultResyncPeriod=7", "dynamic_controller_default_resync_period_s", 7),
    (
        'config.dynamicControllerRateLimiterMinDelay="8ms"',
        "dynamic_controller_rate_limiter_min_delay_s",
        0.008,
    ),
    ('config.dynamicControllerRateLimiterMaxDelay="9s"', "dynamic_controller_rate_limiter_max_delay_s", 9),
    ('config.idleWatchDeadline="90s"', "idle_watch_deadline_s", 90),
    (
        'config.labelPropagationExclude=["a.example/","b"]',
        "label_propagation_exclude",
        ("a.example/", "b"),
    ),
    ('config.policies.adoption="Never"', "default_adoption_policy", "Never"),
    ('config.policies.deletion="Orphan"', "default_deletion_policy", "Orphan"),
    ('config.policies.update="Once"', "default_update_policy", "Once"),
    ('config.policies.conflicts="Yield"', "default_conflicts_policy", "Yield"),
    ('config.versionLabel="v1"', "version_label", "v1"),
    ("config.events=false", "events", False),
    ('config.logLevel="debug"', "zap_log_level", "debug"),
    ('config.logEncoder="console"', "zap_encoder", "console"),
    ("config.development=true", "zap_devel", True),
    ("config.rgd.maxCollectionSize=10", "rgd_max_collection_size", 10),
    ("config.rgd.maxCollectionDimensionSize=11", "rgd_max_collection_dimension_size", 11),
    ("config.rgd.maxGraphRevisions=-1", "rgd_max_graph_revisions", -1),
    ('config.instance.requeueInterval="12s"', "instance_requeue_interval_s", 12),
    ('config.featureGates={"CELOmitFunction":true}', "feature_gates", frozenset({"CELOmitFunction"})),
]


@pytest.mark.parametrize(("value", "field", "expected"), CONFIG, ids=[case[1] for case in CONFIG])
def test_a_config_value_arrives_in_the_settings(offline: Chart, value: str, field: str, expected: object) -> None:
    chosen, warnings = settings.parse(container(offline.template(value))["args"][1:], {})
    assert warnings == []
    assert getattr(chosen, field) == expected
    assert getattr(chosen, field) != getattr(settings.parse(container(offline.template())["args"][1:], {})[0], field)


def test_every_config_value_has_a_case() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["config"]
    flat = {
        f"config.{key}" if key not in ("rgd", "instance", "policies") else f"config.{key}.{inner}"
        for key, value in values.items()
        for inner in (value if key in ("rgd", "instance", "policies") else [""])
    }
    assert flat == {case[0].partition("=")[0] for case in CONFIG}


def test_the_pod_meets_the_restricted_pod_security_standard(offline: Chart) -> None:
    objects = offline.template()
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    context = container(objects)["securityContext"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_probes_ask_the_health_port(offline: Chart) -> None:
    found = container(offline.template('config.healthProbeBindAddress="0.0.0.0:9000"'))
    assert [(port["name"], port["containerPort"]) for port in found["ports"]] == [
        ("metricsport", 8078),
        ("health", 9000),
    ]
    assert {probe: found[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe", "startupProbe")} == {
        "livenessProbe": {"path": "/healthz", "port": "health"},
        "readinessProbe": {"path": "/readyz", "port": "health"},
        "startupProbe": {"path": "/healthz", "port": "health"},
    }


def test_kubernetes_waits_longer_for_the_end_than_the_program(offline: Chart) -> None:
    objects = offline.template()
    chosen, _ = settings.parse(container(objects)["args"][1:], {})
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > chosen.graceful_shutdown_timeout_s


def test_default_rights_have_no_wildcard_but_for_generated_kinds(offline: Chart) -> None:
    for rule in controller_rules(offline.template()):
        assert "*" not in rule["verbs"]
        assert "*" not in rule.get("apiGroups", [])
        assert "*" not in rule.get("resources", []) or rule["apiGroups"] == ["kro.run"]


def test_default_rights_cannot_grant_rights(offline: Chart) -> None:
    rules = controller_rules(offline.template())
    assert not any("rbac.authorization.k8s.io" in rule.get("apiGroups", []) for rule in rules)
    assert not any({"escalate", "bind", "impersonate"} & set(rule["verbs"]) for rule in rules)


@pytest.mark.parametrize("version", ["1.30.0", "v1.30.0-gke.1", "v1.31.4-eks-2d5f260", KUBERNETES])
def test_definitions_are_protected_without_a_cluster_to_ask(offline: Chart, version: str) -> None:
    """As helm template, kustomize and Argo CD render it."""
    objects = offline.template(version=version)
    policies = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [o["spec"] for o in objects if o["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert {spec["policyName"] for spec in bindings} == set(policies)
    assert len(policies) == 3
    assert all(spec["validationActions"] == ["Deny"] for spec in bindings)
    assert all(spec["failurePolicy"] == "Fail" for spec in policies.values())


@pytest.mark.parametrize("version", ["1.29.0", "v1.29.14-eks-5d4a308"])
def test_a_version_without_policies_is_refused_unless_a_value_accepts_that(offline: Chart, version: str) -> None:
    message = offline.refused(version=version)
    assert version.partition("-")[0].lstrip("v") in message
    assert "rbac.protectDefinitions=false" in message
    declined = kinds(offline.template("rbac.protectDefinitions=false", version=version))
    assert "Deployment" in declined
    assert "ValidatingAdmissionPolicy" not in declined


def test_an_older_version_is_refused_at_all(offline: Chart) -> None:
    assert "kubeVersion" in offline.refused("rbac.protectDefinitions=false", version="1.28.15")


def test_policies_are_left_out_where_they_are_declined(offline: Chart) -> None:
    assert "ValidatingAdmissionPolicy" not in kinds(offline.template("rbac.protectDefinitions=false"))


def test_policies_cover_definitions_whatever_the_groups_of_instances(offline: Chart) -> None:
    objects = offline.template('rbac.instanceGroups=["shop.example.com"]')
    for name in ("demo-kroasync-deletions", "demo-kroasync-statuses"):
        (rule,) = only(objects, "ValidatingAdmissionPolicy", name)["spec"]["matchConstraints"]["resourceRules"]
        assert rule["apiGroups"] == ["kro.run", "internal.kro.run", "shop.example.com"]


def test_rules_of_the_chart_do_not_go_through_the_aggregation(offline: Chart) -> None:
    """The aggregation would put the role back while helm deletes it, and needs the controller manager."""
    objects = offline.template()
    aggregated = only(objects, "ClusterRole", "demo-kroasync:controller")
    (selector,) = aggregated["aggregationRule"]["clusterRoleSelectors"]
    assert selector == {"matchLabels": {"rbac.kro.run/aggregate-to-controller": "true"}}
    assert "rules" not in aggregated, "written rules would empty the role at every upgrade"
    roles = [o for o in objects if o["kind"] == "ClusterRole" and o is not aggregated]
    assert not any("rbac.kro.run/aggregate-to-controller" in o["metadata"]["labels"] for o in roles)
    bound = {o["roleRef"]["name"] for o in objects if o["kind"] == "ClusterRoleBinding"}
    parts = ("", ":static", ":instances", ":kinds")
    assert bound == {f"demo-kroasync:controller{part}" for part in parts}


def test_crds_are_deletable_only_when_asked_for(offline: Chart) -> None:
    def verbs(*values: str) -> set[str]:
        rules = controller_rules(offline.template(*values))
        (rule,) = [r for r in rules if r.get("resources") == ["customresourcedefinitions"]]
        return set(rule["verbs"])

    assert "delete" not in verbs()
    assert "delete" in verbs("config.allowCRDDeletion=true")


def test_unrestricted_is_one_role_with_everything(offline: Chart) -> None:
    objects = offline.template('rbac.mode="unrestricted"')
    role = only(objects, "ClusterRole", "demo-kroasync-cluster-role")
    assert role["rules"] == [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    binding = only(objects, "ClusterRoleBinding", "demo-kroasync-cluster-role-binding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert controller_rules(objects) == role["rules"]


def test_the_key_of_the_seals_may_be_read_and_made_beside_the_lease_and_no_more(offline: Chart) -> None:
    for value, namespace in (("rbac.kinds=[]", "system"), ('config.leaderElectionNamespace="leases"', "leases")):
        role = only(offline.template(value), "Role", "demo-kroasync-seal")
        assert role["metadata"]["namespace"] == namespace
        assert [(r.get("resourceNames"), r["verbs"]) for r in role["rules"]] == [
            (["kroasync-seal"], ["get"]),
            (None, ["create"]),
        ]
        assert {resource for rule in role["rules"] for resource in rule["resources"]} == {"secrets"}
    binding = only(offline.template(), "RoleBinding", "demo-kroasync-seal")
    assert binding["roleRef"]["name"] == "demo-kroasync-seal"
    assert "demo-kroasync-seal" not in str(offline.template('rbac.mode="unrestricted"'))


def test_instance_groups_reach_controller_and_user_roles(offline: Chart) -> None:
    objects = offline.template('rbac.instanceGroups=["kro.run","shop.example.com"]')
    for name in ("demo-kroasync:controller:instances", "demo-kroasync-edit", "demo-kroasync-view"):
        (rule,) = only(objects, "ClusterRole", name)["rules"]
        assert rule["apiGroups"] == ["kro.run", "shop.example.com"]


def test_read_kinds_are_only_read(offline: Chart) -> None:
    value = 'rbac.readKinds=[{"apiGroups":[""],"resources":["nodes"]}]'
    rules = [rule for rule in controller_rules(offline.template(value)) if rule.get("resources") == ["nodes"]]
    assert [rule["verbs"] for rule in rules] == [["get", "list", "watch"]]


def test_replicas_get_a_disruption_budget(offline: Chart) -> None:
    assert "PodDisruptionBudget" not in kinds(offline.template())
    assert "PodDisruptionBudget" in kinds(offline.template("deployment.replicaCount=2"))


def test_replicas_are_spread_over_nodes_unless_told_otherwise(offline: Chart) -> None:
    def spread(*values: str) -> list[dict[str, Any]]:
        return list(pod(offline.template(*values)).get("topologySpreadConstraints", []))

    assert spread() == []
    (constraint,) = spread("deployment.replicaCount=2")
    labels = only(offline.template(), "Deployment")["spec"]["selector"]["matchLabels"]
    assert constraint["labelSelector"] == {"matchLabels": labels}
    assert (constraint["topologyKey"], constraint["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    own = {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    assert spread("deployment.replicaCount=2", f"deployment.topologySpreadConstraints=[{json.dumps(own)}]") == [own]


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(only(objects, "Deployment")["spec"]["template"]["spec"])


def test_services_do_not_become_variables(offline: Chart) -> None:
    """A Service `kroasync-workers` would set KROASYNC_WORKERS_PORT and the like."""
    assert pod(offline.template())["enableServiceLinks"] is False


def test_strategy_probes_arguments_and_objects_of_the_user(offline: Chart) -> None:
    objects = offline.template(
        'deployment.strategy={"type":"Recreate"}',
        "deployment.livenessProbe.failureThreshold=9",
        'deployment.extraArgs=["--workers=7"]',
        'extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{ .Release.Name }}-more"}}]',
    )
    assert only(objects, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    probe = container(objects)["livenessProbe"]
    assert probe == {
        "httpGet": {"path": "/healthz", "port": "health"},
        "periodSeconds": 10,
        "timeoutSeconds": 5,
        "failureThreshold": 9,
    }
    assert settings.parse(container(objects)["args"][1:], {})[0].workers == 7
    only(objects, "ConfigMap", "demo-more")


def test_values_can_be_taken_away(offline: Chart) -> None:
    """A null in the user's values removes the default."""
    names = ("deployment.startupProbe", "deployment.extraArgs", "deployment.podLabels", "additionalLabels")
    objects = offline.template(*(f"{name}=null" for name in names))
    assert "startupProbe" not in container(objects)
    assert "livenessProbe" in container(objects)
    assert settings.parse(container(objects)["args"][1:], {})[1] == []


@pytest.mark.parametrize("value", ["true", "false"])
@pytest.mark.parametrize("name", ["automount", "automountServiceAccountToken"])
def test_the_token_is_mounted_as_the_values_say_by_either_name(offline: Chart, name: str, value: str) -> None:
    """kro's values name one, and its templates read the other."""
    objects = offline.template(f"serviceAccount.{name}={value}")
    account, pod = only(objects, "ServiceAccount"), only(objects, "Deployment")["spec"]["template"]["spec"]
    found = account["automountServiceAccountToken"], pod["automountServiceAccountToken"]
    assert found == (value == "true", value == "true")


@pytest.mark.parametrize("name", ["crds", "metrics.podMonitor", "metrics.prometheusRule", "metrics.grafanaDashboard"])
def test_values_of_an_older_chart_are_enough(offline: Chart, name: str) -> None:
    """With --reuse-values, the defaults are those of the chart that was installed."""
    assert offline.template(f"{name}=null") == offline.template()


def test_crds_belong_to_the_release_when_asked_for_and_stay_by_default(offline: Chart) -> None:
    files = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in (CHART / "crds").glob("*.yaml")}

    def crds(*values: str) -> dict[str, dict[str, Any]]:
        found = [o for o in offline.template(*values) if o["kind"] == "CustomResourceDefinition"]
        return {o["metadata"]["name"]: o for o in found}

    assert crds() == {}
    kept, owned = crds("crds.enabled=true"), crds("crds.enabled=true", "crds.keep=false")
    assert {crd["metadata"]["name"]: crd["spec"] for crd in files.values()} == {n: o["spec"] for n, o in kept.items()}
    assert all(o["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for o in kept.values())
    assert not any("annotations" in o["metadata"] for o in owned.values())


def test_the_files_of_crds_can_be_put_behind_each_other(offline: Chart) -> None:
    """As `helm show crds` does."""
    text = offline.call("show", "crds", str(CHART)).stdout
    assert {crd["metadata"]["name"] for crd in yaml.load_all(text, UniqueKeys)} == {
        *("resourcegroups.kro.run", "resourcegraphdefinitions.kro.run", "graphrevisions.internal.kro.run"),
    }
    plain = "".join(path.read_text("utf-8") for path in sorted((CHART / "crds").glob("*.yaml")))
    assert len(list(yaml.load_all(plain, UniqueKeys))) == 3


def test_helm_test_asks_the_controller_whether_it_is_ready(offline: Chart) -> None:
    objects = offline.everything()
    hooks = [o for o in objects if hook(o)]
    service, test = only(hooks, "Service"), only(hooks, "Pod")
    selector = only(objects, "Deployment")["spec"]["selector"]["matchLabels"]
    assert service["spec"]["selector"] == selector
    assert service["spec"]["ports"][0]["targetPort"] == "health"
    assert not selector.items() <= test["metadata"]["labels"].items(), "the test must not be a pod of the Deployment"
    (asking,) = test["spec"]["containers"]
    assert asking["image"] == container(objects)["image"]
    assert asking["securityContext"] == container(objects)["securityContext"]
    assert asking["command"][-1] == service["metadata"]["name"]
    compile(asking["command"][2], "ready", "exec")


def test_network_policy_admits_probes_and_metrics(offline: Chart) -> None:
    objects = offline.template("networkPolicy.enabled=true")
    policy = only(objects, "NetworkPolicy")["spec"]
    assert [rule["ports"][0]["port"] for rule in policy["ingress"]] == ["health", "metricsport"]
    labels = only(objects, "Deployment")["spec"]["selector"]["matchLabels"]
    assert policy["podSelector"]["matchLabels"] == labels


def test_service_monitor_finds_the_metrics_service(offline: Chart) -> None:
    objects = offline.template("metrics.service.create=true", "metrics.serviceMonitor.enabled=true")
    service = only(objects, "Service", "demo-kroasync-metrics")
    monitor = only(objects, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert service["spec"]["ports"][0]["targetPort"] == "metricsport"


def test_pod_monitor_finds_the_pods(offline: Chart) -> None:
    objects = offline.template("metrics.podMonitor.enabled=true")
    monitor, deployment = only(objects, "PodMonitor")["spec"], only(objects, "Deployment")["spec"]
    assert monitor["selector"] == deployment["selector"]
    assert monitor["podMetricsEndpoints"][0]["port"] in [port["name"] for port in container(objects)["ports"]]


METRIC = re.compile(r"\b(?:kroasync|workqueue|dynamic_controller|instance|rest_client|process)_[a-z_]+")


def test_there_is_an_alert_for_every_row_of_the_table_of_operations(offline: Chart) -> None:
    rule = only(offline.template("metrics.prometheusRule.enabled=true"), "PrometheusRule")["spec"]
    ((name, alerts),) = [(group["name"], group["rules"]) for group in rule["groups"]]
    page = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("| Metric | Alert when |")[2]
    rows = re.findall(r"^\| `(\w+)` \|", page.partition("\n\n")[0], re.M)
    assert name == "kroasync"
    assert len(rows) > 5
    assert [METRIC.findall(alert["expr"])[0] for alert in alerts] == rows
    assert all(alert["annotations"]["summary"] and alert["labels"]["severity"] for alert in alerts)


def test_the_dashboard_and_the_alerts_name_metrics_that_exist(offline: Chart) -> None:
    objects = offline.template("metrics.prometheusRule.enabled=true", "metrics.grafanaDashboard.enabled=true")
    board = only(objects, "ConfigMap", "demo-kroasync-dashboard")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    panels = json.loads(board["data"]["kroasync.json"])["panels"]
    rules = only(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]
    asked = [*(rule["expr"] for rule in rules), *(t["expr"] for panel in panels for t in panel["targets"])]
    known = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "metrics.md").read_text("utf-8"), re.M))
    named = {found.removesuffix("_bucket") for expression in asked for found in METRIC.findall(expression)}
    assert named - known == {"process_resident_memory_bytes"}


def test_names_follow_the_release(offline: Chart) -> None:
    assert only(offline.template(), "Deployment")["metadata"]["name"] == "demo-kroasync"
    assert only(offline.template(release="my-kroasync"), "Deployment")["metadata"]["name"] == "my-kroasync"
    named = offline.template('fullnameOverride="x"', 'serviceAccount.name="y"')
    assert only(named, "Deployment")["metadata"]["name"] == "x"
    bindings = [o for o in named if o["kind"] == "ClusterRoleBinding"]
    assert {subject["name"] for binding in bindings for subject in binding["subjects"]} == {"y"}


WRONG = [
    ('config.gracefulShutdownTimeout="5 minutes"', "gracefulShutdownTimeout"),
    ("config.workers=0", "workers"),
    ('config.featureGates={"Nonsense":"perhaps"}', "Nonsense"),
    ('config.metricsBindAddress="8078"', "metricsBindAddress"),
    ('config.healthProbeBindAddress=":0"', "healthProbeBindAddress"),
    ("config.healthProbeBindAddress=8079", "healthProbeBindAddress"),
    ("config.logLevel=0", "logLevel"),
    ("config.instance.requeueInterval=3", "requeueInterval"),
    ('image.tag="$VERSION"', "tag"),
    ('config.logLevel="loud"', "logLevel"),
    ('rbac.mode="none"', "mode"),
    ('rbac.kinds=[{"apiGroups":["apps"]}]', "resources"),
    ("replicas=3", "replicas"),
    ('image.digest="sha256:12"', "digest"),
    ('deployment.replicaCount="two"', "replicaCount"),
    ('config.metricsBindAddress=":65536"', "metricsBindAddress"),
    ('config.metricsBindAddress=":08078"', "metricsBindAddress"),
    ('config.healthProbeBindAddress=":99999"', "healthProbeBindAddress"),
    ('config.healthProbeBindAddress="::1:8079"', "healthProbeBindAddress"),
    ('image.repository="host.example/Upper"', "repository"),
    ('image.repository="host.example/kroasync:v1"', "repository"),
    ('image.repository="kroasync:5000"', "repository"),
    ('image.tag="a b"', "tag"),
    ("image.tag=20261128", "tag"),
    ("image.tag=1.10", "tag"),
    ('additionalLabels={"team":"a b"}', "team"),
    ('additionalLabels={"a b":"c"}', "a b"),
    ('additionalLabels={"build":7}', "build"),
    (f'deployment.podLabels={{"team":"{"x" * 64}"}}', "team"),
    ('deployment.podAnnotations={"a/b/c":"d"}', "a/b/c"),
    ("metrics.service.port=65536", "port"),
    ('fullnameOverride="-x"', "fullnameOverride"),
    ('fullnameOverride="a.b"', "fullnameOverride"),
    (f'nameOverride="{"x" * 64}"', "nameOverride"),
    ('serviceAccount.name="A_b"', "name"),
    ('rbac.instanceGroups=["*"]', "instanceGroups"),
    ('deployment.extraArgs=["kubeconfig=/x"]', "extraArgs"),
    ('deployment.livenessProbe={"httpGet":{"path":"/"}}', "httpGet"),
]


@pytest.mark.parametrize(("value", "named"), WRONG, ids=[case[0] for case in WRONG])
def test_the_schema_refuses(offline: Chart, value: str, named: str) -> None:
    message = offline.refused(value)
    assert "don't meet the specifications of the schema" in message
    assert named in message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("deployment.replicaCount=2", "config.enableLeaderElection=false"), "needs config.enableLeaderElection"),
        (("metrics.service.create=true", 'config.metricsBindAddress="0"'), "metricsBindAddress is 0"),
        (("metrics.podMonitor.enabled=true", 'config.metricsBindAddress="0"'), "metricsBindAddress is 0"),
        (("metrics.serviceMonitor.enabled=true",), "needs metrics.service.create"),
        (
            ("metrics.service.create=true", "metrics.serviceMonitor.enabled=true", "metrics.podMonitor.enabled=true"),
            "Enable one of them",
        ),
        (("metrics.service.create=true", 'fullnameOverride="1kro"'), "starts with a letter"),
        (("image.repository=null",), "image.repository is empty: no image of kroasync is published"),
        (('image.repository=""',), "set image.repository=REGISTRY/kroasync"),
        (('config.healthProbeBindAddress="127.0.0.1:8079"',), "config.healthProbeBindAddress: the kubelet probes"),
        (('config.healthProbeBindAddress="localhost:8079"',), "Use :8079"),
        (('config.healthProbeBindAddress="[::1]:8079"',), "Use :8079"),
        (('config.healthProbeBindAddress=":8078"',), "have the same port, 8078"),
        (("metrics.podMonitor.enabled=true", 'config.metricsBindAddress="127.0.0.1:8078"'), "Use :8078"),
        (('config.leaderElectionLeaseDuration="10s"',), "leaderElectionLeaseDuration (10s) must be longer than"),
        (('config.leaderElectionRenewDeadline="0.25m"',), "leaderElectionRenewDeadline (0.25m)"),
        (('config.leaderElectionRetryPeriod="8400ms"',), "must be longer than 1.2 times"),
        (('config.dynamicControllerRateLimiterMinDelay="1h"',), "dynamicControllerRateLimiterMinDelay (1h) must not"),
        (('additionalLabels={"app.kubernetes.io/name":"x"}',), "additionalLabels: app.kubernetes.io/name"),
        (('deployment.podLabels={"app.kubernetes.io/instance":"x"}',), "deployment.podLabels: app.kubernetes.io/inst"),
        (('deployment.extraEnv=[{"name":"POD_NAMESPACE","value":"x"}]',), "the chart sets POD_NAMESPACE"),
        (('deployment.extraVolumes=[{"name":"scratch","emptyDir":{}}]',), "deployment.extraVolumes"),
        (('deployment.extraVolumeMounts=[{"name":"x","mountPath":"/tmp/"}]',), "deployment.extraVolumeMounts"),
    ],
)
def test_what_cannot_work_together_is_refused(offline: Chart, values: tuple[str, ...], message: str) -> None:
    assert message in offline.refused(*values)


@pytest.mark.parametrize(
    ("lease", "renew", "retry"),
    [
        ("15s", "10s", "2s"),
        ("10s", "10s", "2s"),
        ("1m", "59.9s", "49s"),
        ("1m", "59.9s", "50s"),
        ("2h", "1h59m", "1us"),
    ],
)
def test_the_chart_refuses_the_leases_that_the_program_refuses(
    offline: Chart, lease: str, renew: str, retry: str
) -> None:
    times = {"LeaseDuration": lease, "RenewDeadline": renew, "RetryPeriod": retry}
    flags = {"lease-duration": lease, "renew-deadline": renew, "retry-period": retry}
    values = [f'config.leaderElection{name}="{value}"' for name, value in times.items()]
    try:
        settings.parse([f"--leader-election-{name}={value}" for name, value in flags.items()], {})
    except settings.SettingsError:
        assert "must be longer than" in offline.refused(*values)
    else:
        offline.template(*values)


NUMBERS = ("123", "1e3", "0x10", "012")


@pytest.mark.parametrize("text", NUMBERS)
def test_what_looks_like_a_number_stays_text(offline: Chart, text: str) -> None:
    objects = offline.everything(
        *(f'{name}="{text}"' for name in ("image.tag", "config.versionLabel", "serviceAccount.name")),
        *(f'{name}="{text}"' for name in ("deployment.priorityClassName", "config.leaderElectionNamespace")),
        *(f'{name}={{"key":"{text}"}}' for name in ("additionalLabels", "deployment.podLabels")),
        *(f'{name}={{"key":"{text}"}}' for name in ("deployment.podAnnotations", "serviceAccount.annotations")),
        "deployment.extraArgs=[]",
        f'nameOverride="{text}"',
        release=text,
        namespace=text,
    )
    for obj in objects:
        metadata = obj["metadata"]
        texts = [metadata["name"], metadata.get("namespace", ""), *metadata["labels"].values()]
        assert all(isinstance(found, str) for found in (*texts, *metadata.get("annotations", {}).values())), obj
    pod = only(objects, "Deployment")["spec"]["template"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/instance"] == text
    assert (pod["spec"]["serviceAccountName"], pod["spec"]["priorityClassName"]) == (text, text)
    assert all(isinstance(argument, str) for argument in container(objects)["args"])
    assert [s["name"] for o in objects if o["kind"] == "ClusterRoleBinding" for s in o["subjects"]] == [text] * 4


def test_large_numbers_are_written_out(offline: Chart) -> None:
    objects = offline.template("deployment.terminationGracePeriodSeconds=10000000", "config.workers=3000000")
    assert only(objects, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 10000000
    assert "--workers=3000000" in container(objects)["args"]


def test_a_label_that_is_given_twice_is_written_once(offline: Chart) -> None:
    objects = offline.everything(
        'additionalLabels={"team":"a","app.kubernetes.io/part-of":"platform"}',
        'deployment.podLabels={"team":"b"}',
        'metrics.service.labels={"team":"c"}',
        'metrics.podMonitor.additionalLabels={"team":"d"}',
        *("metrics.service.create=true", "metrics.podMonitor.enabled=true"),
    )
    deployment = only(objects, "Deployment")
    assert deployment["metadata"]["labels"]["team"] == "a"
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "b"
    assert only(objects, "Service", "demo-kroasync-metrics")["metadata"]["labels"]["team"] == "c"
    assert only(objects, "PodMonitor")["metadata"]["labels"]["team"] == "d"
    assert {o["metadata"]["labels"]["app.kubernetes.io/part-of"] for o in objects} == {"platform"}


LABEL = re.compile(r"(?=.{1,63}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LONG = "a234567890" * 6 + "bcd"


@pytest.mark.parametrize(
    ("values", "release"),
    [
        ((f'fullnameOverride="{LONG}"',), "demo"),
        ((f'nameOverride="{LONG}"',), "demo"),
        ((f'nameOverride="{LONG}"',), "r" * 53),
        ((f'image.tag="{"v" * 62}.{"w" * 65}"',), "demo"),
        ((), "my.team.release"),
    ],
)
def test_names_and_labels_are_valid_however_long(offline: Chart, values: tuple[str, ...], release: str) -> None:
    objects = offline.everything(*values, "metrics.service.create=true", release=release)
    for obj in objects:
        assert all(re.fullmatch(r"([A-Za-z0-9]([-\w.]*[A-Za-z0-9])?)?", v) for v in obj["metadata"]["labels"].values())
        assert all(len(value) <= 63 for value in obj["metadata"]["labels"].values())
        if obj["kind"] in ("Service", "Deployment", "Pod"):
            assert LABEL.fullmatch(obj["metadata"]["name"]), obj["metadata"]["name"]


def test_every_value_is_described_and_has_a_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    described = set(re.findall(r"^\| `([A-Za-z.]+)` \|", (CHART / "README.md").read_text("utf-8"), re.M))
    assert described == set(leaves(values, schema))


def leaves(values: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> list[str]:
    """The paths of all values; an object whose keys the user chooses is one value."""
    found = []
    for key, value in values.items():
        below = schema["properties"][key]
        if isinstance(value, dict) and below.get("properties") and key != "featureGates":
            found += leaves(value, below, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key}")
    return found


def test_feature_gates_of_the_schema_are_those_of_the_program() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    gates = schema["properties"]["config"]["properties"]["featureGates"]["properties"]
    assert set(gates) == {*settings.FEATURE_GATES, "AllAlpha", "AllBeta"}


def test_python_of_the_image_is_one_the_package_supports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    image = re.search(r"^ARG PYTHON=3\.(\d+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.M)
    lowest = re.fullmatch(r">=3\.(\d+)", project["requires-python"])
    assert image is not None
    assert lowest is not None
    assert int(image[1]) >= int(lowest[1])


# In a real control plane


def test_install_serves_the_crds(playground: Playground, chart: Any) -> None:
    served = playground.kubectl("api-resources", "--api-group=kro.run", "--output=name", "--no-headers")
    assert {"resourcegroups.kro.run", "resourcegraphdefinitions.kro.run"} <= set(served.split())


def test_the_deployment_of_the_chart_is_accepted(playground: Playground, chart: Any) -> None:
    playground.kubectl(
        *("--namespace", chart.namespace, "rollout", "status", f"deployment/{chart.name}", "--timeout=60s")
    )


@pytest.mark.parametrize("resource", CHILDREN)
def test_default_rights_cover(playground: Playground, chart: Any, resource: str) -> None:
    for verb in ("list", "create", "patch", "delete"):
        assert can(playground, chart.user, verb, resource)


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("create", "pods"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
        ("create", "rolebindings.rbac.authorization.k8s.io"),
        ("impersonate", "users"),
        ("get", "nodes"),
        ("delete", "nodes"),
        ("list", "leases.coordination.k8s.io"),
    ],
)
def test_default_rights_end_before(playground: Playground, chart: Any, verb: str, resource: str) -> None:
    assert not can(playground, chart.user, verb, resource)


def can(playground: Playground, user: str, verb: str, resource: str) -> bool:
    name, _, group = resource.partition(".")
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {
                "verb": verb,
                "resource": name,
                "group": group or GROUPS.get(name, ""),
                "namespace": "default",
            },
        },
    }
    answer = playground.kubectl("create", "--filename=-", "--output=json", input=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


GROUPS = {
    **dict.fromkeys(("deployments", "statefulsets", "daemonsets"), "apps"),
    **dict.fromkeys(("jobs", "cronjobs"), "batch"),
    **dict.fromkeys(("ingresses", "networkpolicies"), "networking.k8s.io"),
    "horizontalpodautoscalers": "autoscaling",
    "poddisruptionbudgets": "policy",
}


def test_the_web_application_becomes_active_with_the_rights_of_the_chart(
    playground: Playground,
    chart: Any,
    controller: Any,
    namespace: str,
    forbidden: Callable[[str], list[str]],
) -> None:
    def kubectl(*arguments: str) -> str:
        return playground.kubectl("--namespace", namespace, *arguments)

    kubectl("apply", f"--filename={WEB_APPLICATION / 'resourcegroup.yaml'}")
    kubectl("wait", "--for=jsonpath={.status.state}=Active", "resourcegroup/webapplication", "--timeout=30s")
    kubectl("apply", f"--filename={WEB_APPLICATION / 'instance.yaml'}")
    kubectl("wait", "--for=condition=Ready", "webapplication/my-app", "--timeout=60s")
    status = json.loads(kubectl("get", "webapplication/my-app", "--output=json"))["status"]
    assert status["state"] == "ACTIVE"
    assert status["availableReplicas"] == 3
    kubectl("get", "deployment/web-app", "service/web-app", "ingress/web-app")
    kubectl("delete", "webapplication/my-app", "--timeout=60s")
    assert kubectl("get", "deployment,service,ingress", "--output=name") == ""
    kubectl("delete", "resourcegroup/webapplication", "--timeout=60s")
    assert forbidden(chart.user) == []


def test_edit_in_one_namespace_is_no_right_to_define(
    playground: Playground,
    chart: Any,
    controller: Any,
    namespace: str,
    tmp_path: Path,
) -> None:
    """This suffices for instances; a definition would act with the controller's rights in every namespace."""
    definition, instance = str(WEB_APPLICATION / "resourcegroup.yaml"), str(WEB_APPLICATION / "instance.yaml")
    here = ("--namespace", namespace)
    playground.kubectl(*here, "create", "serviceaccount", "editor")
    playground.kubectl(
        *(*here, "create", "rolebinding", "editor", "--clusterrole=edit", f"--serviceaccount={namespace}:editor")
    )
    token = playground.kubectl(*here, "create", "token", "editor").strip()
    config = playground.kubeconfig_for_token(token, tmp_path / "kubeconfig")
    as_editor = (*here, f"--kubeconfig={config}")

    def refused(*arguments: str) -> bool:
        with pytest.raises(CommandError) as error:
            playground.kubectl(*as_editor, *arguments)
        return "acts with the controller's rights" in str(error.value)

    # Aggregated roles and policies take effect with some delay.
    assert eventually(
        lambda: refused("apply", "-f", definition), timeout_s=30, what="the definition is refused by the policy"
    )
    playground.kubectl(*here, "apply", "-f", definition)
    playground.kubectl(
        *(*here, "wait", "--for=jsonpath={.status.state}=Active", "resourcegroup/webapplication", "--timeout=30s")
    )
    patch = '{"spec":{"schema":{"spec":{"more":"string"}}}}'
    assert refused("patch", "resourcegroup/webapplication", "--type=merge", f"--patch={patch}")
    assert refused("annotate", "resourcegroup/webapplication", "kro.run/allow-breaking-changes=true")
    assert refused("delete", "resourcegroup/webapplication")
    playground.kubectl(*as_editor, "label", "resourcegroup/webapplication", "a=b")
    empty = '{"apiVersion":"kro.run/v1alpha1","kind":"ResourceGroup","metadata":{"name":"empty"}}'
    playground.kubectl(*here, "apply", "-f", "-", input=empty)
    playground.kubectl(*here, "wait", "--for=jsonpath={.status.state}=Inactive", "resourcegroup/empty", "--timeout=30s")
    playground.kubectl(*here, "delete", "resourcegroup/empty", "--timeout=30s")
    playground.kubectl(*as_editor, "apply", "-f", instance)
    playground.kubectl(*as_editor, "wait", "--for=condition=Ready", "webapplication/my-app", "--timeout=60s")
    playground.kubectl(*as_editor, "delete", "webapplication/my-app", "--timeout=60s")
    playground.kubectl(*here, "delete", "resourcegroup/webapplication", "--timeout=60s")


def test_leader_election_works_with_the_rights_of_the_chart(
    playground: Playground,
    chart: Any,
    controller_kubeconfig: Path,
    controller_process: Any,
    forbidden: Callable[[str], list[str]],
    tmp_path: Path,
) -> None:
    process = controller_process(
        kubeconfig=controller_kubeconfig,
        log=tmp_path / "controller.log",
        arguments=("--leader-elect", f"--leader-election-namespace={chart.namespace}"),
    )
    process.start()
    try:
        process.wait_ready()
        arguments = ("--namespace", chart.namespace, "get", "lease/controller.kroasync", "--output=json")

        def holder() -> str:
            found = playground.kubectl(*arguments, "--ignore-not-found")
            return str(json.loads(found)["spec"].get("holderIdentity", "")) if found else ""

        assert f"_{process.pid}" in eventually(holder, timeout_s=30)
    finally:
        process.stop()
    assert holder() == ""
    assert forbidden(chart.user) == []


def test_without_rights_the_controller_is_unready_says_why_and_lives(
    playground: Playground,
    chart: Any,
    namespace: str,
    controller_process: Any,
    forbidden: Callable[[str], list[str]],
    tmp_path: Path,
) -> None:
    """`forbidden` would also find the requests that a missing rule of the chart refuses."""
    playground.kubectl("--namespace", namespace, "create", "serviceaccount", "nobody")
    token = playground.kubectl("--namespace", namespace, "create", "token", "nobody").strip()
    process = controller_process(
        kubeconfig=playground.kubeconfig_for_token(token, tmp_path / "kubeconfig"),
        log=tmp_path / "controller.log",
    )
    process.start()
    try:
        assert eventually(lambda: "forbidden" in process.get("/readyz")[1], timeout_s=30, what="readiness says why")
        assert process.get("/readyz")[0] == 500
        assert process.get("/healthz")[0] == 200
        refused = forbidden(f"system:serviceaccount:{namespace}:nobody")
        assert any("/resourcegroups" in request for request in refused)
    finally:
        assert process.stop() == 0
