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

import kroasync
from kroasync import settings
from kroasync.playground import CommandError, Playground
from tests.waiting import eventually

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "kroasync"
WEB_APPLICATION = ROOT / "examples" / "webapplication"
KUBERNETES = "1.36.0"
POLICIES = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"
CHILDREN = (
    *("configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims"),
    *("deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "ingresses", "networkpolicies"),
    *("horizontalpodautoscalers", "poddisruptionbudgets"),
)


class Chart:
    """The chart through helm, without a cluster."""

    def __init__(self, helm: Path, folder: Path) -> None:
        self._helm = helm
        self._environment = {"HOME": str(folder), "PATH": ""}

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._helm), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=self._environment)

    def template(
        self, *values: str, namespace: str = "system", release: str = "demo", api_versions: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """The rendered objects; `values` as in --set-json, `api_versions` are those of the cluster."""
        served = [part for version in api_versions for part in ("--api-versions", version)]
        done = self.call(*self._template(values, namespace, release), *served)
        assert done.returncode == 0, done.stderr
        return [obj for obj in yaml.safe_load_all(done.stdout) if obj]

    def refused(self, *values: str) -> str:
        """The message that refuses these values."""
        done = self.call(*self._template(values, "system", "demo"))
        assert done.returncode != 0, done.stdout
        return done.stderr

    def _template(self, values: Sequence[str], namespace: str, release: str) -> list[str]:
        chosen = [part for value in values for part in ("--set-json", value)]
        return [
            *("template", release, str(CHART), "--namespace", namespace, "--kube-version", KUBERNETES),
            *chosen,
        ]


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
    """The rules that the controller gets."""
    label = "rbac.kro.run/aggregate-to-controller"
    roles = [o for o in objects if o["kind"] == "ClusterRole" and label in o["metadata"]["labels"]]
    return [rule for role in roles for rule in role["rules"]]


# Rendering


def test_lint_is_clean(offline: Chart) -> None:
    done = offline.call("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_chart_and_program_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (kroasync.__version__, kroasync.__version__)


def test_default_objects(offline: Chart) -> None:
    assert kinds(offline.template()) == {
        *("Deployment", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
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
        f"config.{key}" if key not in ("rgd", "instance") else f"config.{key}.{inner}"
        for key, value in values.items()
        for inner in (value if key in ("rgd", "instance") else [""])
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
    assert {port["name"]: port["containerPort"] for port in found["ports"]} == {
        "health": 9000,
        "metricsport": 8078,
    }
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


def test_definitions_are_protected_where_the_cluster_can(offline: Chart) -> None:
    served = offline.template(api_versions=(POLICIES,))
    policies = {o["metadata"]["name"]: o["spec"] for o in served if o["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [o["spec"] for o in served if o["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert {spec["policyName"] for spec in bindings} == set(policies) != set()
    assert all(spec["validationActions"] == ["Deny"] for spec in bindings)
    assert all(spec["failurePolicy"] == "Fail" for spec in policies.values())
    assert "ValidatingAdmissionPolicy" not in kinds(offline.template())
    declined = offline.template("rbac.protectDefinitions=false", api_versions=(POLICIES,))
    assert "ValidatingAdmissionPolicy" not in kinds(declined)


def test_policies_cover_definitions_whatever_the_groups_of_instances(offline: Chart) -> None:
    served = offline.template('rbac.instanceGroups=["shop.example.com"]', api_versions=(POLICIES,))
    for name in ("demo-kroasync-deletions", "demo-kroasync-statuses"):
        (rule,) = only(served, "ValidatingAdmissionPolicy", name)["spec"]["matchConstraints"]["resourceRules"]
        assert rule["apiGroups"] == ["kro.run", "internal.kro.run", "shop.example.com"]


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
    assert controller_rules(objects) == []


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


def test_names_follow_the_release(offline: Chart) -> None:
    assert only(offline.template(), "Deployment")["metadata"]["name"] == "demo-kroasync"
    assert only(offline.template(release="my-kroasync"), "Deployment")["metadata"]["name"] == "my-kroasync"
    named = offline.template('fullnameOverride="x"', 'serviceAccount.name="y"')
    assert only(named, "Deployment")["metadata"]["name"] == "x"
    assert only(named, "ClusterRoleBinding")["subjects"][0]["name"] == "y"


WRONG = [
    ("config.clientQps=5", "clientQps"),
    ('config.gracefulShutdownTimeout="5 minutes"', "gracefulShutdownTimeout"),
    ("config.workers=0", "workers"),
    ('config.featureGates={"Nonsense":true}', "Nonsense"),
    ('config.metricsBindAddress="8078"', "metricsBindAddress"),
    ('config.healthProbeBindAddress=":0"', "healthProbeBindAddress"),
    ('config.healthProbeBindAddress="0"', "healthProbeBindAddress"),
    ('config.logLevel="loud"', "logLevel"),
    ('rbac.mode="none"', "mode"),
    ('rbac.kinds=[{"apiGroups":["apps"]}]', "resources"),
    ("replicas=3", "replicas"),
    ('image.digest="sha256:12"', "digest"),
    ('deployment.replicaCount="two"', "replicaCount"),
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
        (("metrics.serviceMonitor.enabled=true",), "needs metrics.service.create"),
    ],
)
def test_what_cannot_work_together_is_refused(offline: Chart, values: tuple[str, ...], message: str) -> None:
    assert message in offline.refused(*values)


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
