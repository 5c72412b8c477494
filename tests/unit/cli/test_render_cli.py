"""`render`: manifests in order on stdout, waiting resources with the reason on stderr, exit codes."""

import json
import subprocess
import sys

import pytest
import typer
import yaml
from typer.testing import CliRunner

from kroasync.cli.render import render_command

DEFINITION = """\
apiVersion: kro.run/v1alpha1
kind: ResourceGroup
metadata: {name: web, namespace: default}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Web
    spec:
      replicas: integer | default=2
      debug: boolean | default=false
    status: {name: "${config.metadata.name}"}
  resources:
    - id: service
      template:
        apiVersion: v1
        kind: Service
        metadata: {name: "${deployment.metadata.name}"}
        spec: {ports: [{port: 80}]}
    - id: deployment
      readyWhen: ["${deployment.status.?availableReplicas.orValue(0) == deployment.spec.replicas}"]
      template:
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: "${schema.metadata.name}"}
        spec:
          replicas: ${schema.spec.replicas}
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec: {containers: [{name: web, image: nginx, env: [{name: C, value: "${config.metadata.name}"}]}]}
    - id: config
      template: {apiVersion: v1, kind: ConfigMap, metadata: {name: "${schema.metadata.name}-config"}}
    - id: debug
      includeWhen: ["${schema.spec.debug}"]
      template: {apiVersion: v1, kind: ConfigMap, metadata: {name: debug}}
"""
INSTANCE = """\
apiVersion: kro.run/v1alpha1
kind: Web
metadata: {name: shop}
spec: {}
"""
OBSERVED = """\
apiVersion: v1
kind: List
items:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: shop, namespace: default}
    status: {availableReplicas: 2}
"""


@pytest.fixture
def run(tmp_path):
    app = typer.Typer()
    app.command()(render_command)
    files = {"definition": DEFINITION, "instance": INSTANCE, "observed": OBSERVED}

    def invoke(*options, **texts):
        for name, text in {**files, **texts}.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        paths = {f"@{name}": str(tmp_path / f"{name}.yaml") for name in {**files, **texts}}
        arguments = ("@definition", "@instance", *options)
        return CliRunner().invoke(app, [paths.get(argument, argument) for argument in arguments])

    return invoke


def test_manifests_come_in_the_order_they_would_be_applied_and_what_waits_is_explained(run):
    result = run()
    assert result.exit_code == 0, result.stderr
    objects = list(yaml.safe_load_all(result.stdout))
    assert [(o["kind"], o["metadata"]["name"]) for o in objects] == [
        ("ConfigMap", "shop-config"),
        ("Deployment", "shop"),
    ]
    # The schema's defaults and the namespace are filled in as by the API server.
    assert objects[1]["spec"]["replicas"] == 2
    assert objects[1]["metadata"]["namespace"] == "default"
    assert 'left out: node "debug": excluded by includeWhen' in result.stderr
    assert 'waiting: node "deployment" not ready: ' in result.stderr
    assert "no such key: status" in result.stderr
    assert 'waiting: node "service": dependent node "deployment" not ready' in result.stderr


def test_observed_objects_let_the_rest_follow(run):
    result = run("--observed", "@observed")
    assert result.exit_code == 0, result.stderr
    assert [o["kind"] for o in yaml.safe_load_all(result.stdout)] == ["ConfigMap", "Deployment", "Service"]
    assert "waiting" not in result.stderr


def test_the_status_is_the_last_document(run):
    result = run("--observed", "@observed", "--status", "-o", "json")
    document = json.loads(result.stdout)
    assert (document["kind"], len(document["items"])) == ("List", 4)
    instance = document["items"][-1]
    assert instance["kind"] == "Web"
    status = instance["status"]
    assert (status["state"], status["phase"], status["synced"], status["name"]) == (
        "ACTIVE",
        "Running",
        True,
        "shop-config",
    )
    ready = status["conditions"][-1]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", "ResourcesAvailable")
    assert "lastTransitionTime" not in ready


def test_rendering_twice_gives_the_same_text(run):
    assert run("--status").stdout == run("--status").stdout


def test_definition_and_instance_may_be_in_one_file(run):
    result = run(definition=INSTANCE + "---\n" + DEFINITION, instance=INSTANCE + "---\n" + DEFINITION)
    assert result.exit_code != 0
    one = DEFINITION + "---\n" + INSTANCE
    app = typer.Typer()
    app.command()(render_command)
    found = CliRunner().invoke(app, ["-", "-"], input=one)
    assert found.exit_code == 0, found.stderr
    assert "shop-config" in found.stdout


@pytest.mark.parametrize(
    ("texts", "options", "code", "said"),
    [
        pytest.param(
            {"definition": DEFINITION.replace("schema.metadata.name}-c", "schma.x}-c")}, (), 1, "schma", id="def"
        ),
        pytest.param({"instance": INSTANCE.replace("{}", "{replicas: many}")}, (), 1, "replicas", id="instance"),
        pytest.param({"instance": INSTANCE.replace("{}", "{oops: 1")}, (), 1, "instance.yaml:", id="syntax"),
        pytest.param({"instance": "kind: Other\napiVersion: v1\n"}, (), 2, "no instance of the definition", id="none"),
        pytest.param({"instance": INSTANCE + "---\n" + INSTANCE}, (), 2, "several instances", id="several"),
        pytest.param({"observed": "kind: x"}, ("--observed", "@observed"), 1, "needs apiVersion", id="observed"),
        pytest.param({}, ("--observed", "missing.yaml"), 2, "cannot read", id="missing"),
        pytest.param({}, ("-o", "toml"), 2, "toml", id="format"),
    ],
)
def test_what_is_wrong_is_said_and_the_exit_code_tells(run, texts, options, code, said):
    result = run(*options, **texts)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_an_error_of_a_node_ends_with_status_1_after_the_manifests(run):
    broken = DEFINITION.replace('"${schema.metadata.name}-config"', '"c-${string(1 / (schema.spec.replicas - 2))}"')
    result = run(definition=broken)
    assert result.exit_code == 1
    assert 'error: node "config": failed to evaluate expression: ' in result.stderr


def test_crds_make_kinds_known(run, tmp_path):
    folder = tmp_path / "crds"
    folder.mkdir()
    (folder / "widget.yaml").write_text("""\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {size: {type: integer}}}}
""")
    definition = DEFINITION + (
        "    - id: widget\n"
        "      template:\n"
        "        apiVersion: example.com/v1\n"
        "        kind: Widget\n"
        "        metadata: {name: w}\n"
        "        spec: {size: '${schema.spec.replicas}'}\n"
    )
    assert run(definition=definition).exit_code == 1
    result = run("--crds", str(folder), definition=definition)
    assert result.exit_code == 0, result.stderr
    assert "kind: Widget" in result.stdout


def test_no_kubernetes_client_is_loaded():
    code = (
        "import sys; import kroasync.cli.render, kroasync.cli.offline_pass; "
        "sys.exit('kubernetes_asyncio' in sys.modules or 'aiohttp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_objects_that_are_released_instead_of_deleted_are_named(run):
    policy = "annotations: {kro.run/deletion-policy: Orphaned}"
    definition = DEFINITION.replace(
        'name: "${schema.metadata.name}-config"', f'name: "${{schema.metadata.name}}-config", {policy}'
    )
    definition = definition.replace("metadata: {name: debug}", f"metadata: {{name: debug, {policy}}}")
    assert "reserved-prefix" in run(definition=definition).stderr
    result = run("--feature", "DeletionPolicy", definition=definition)
    assert result.exit_code == 0, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("kept: ")]
    assert 'node "config": ConfigMap default/shop-config' in line
    assert "kro.run/deletion-policy: Orphaned" in line


POLICIES = """\
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: web}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Web
    spec: {items: "[]string", claim: "boolean | default=true"}
  resources:
    - id: claim
      includeWhen: ["${schema.spec.claim}"]
      policy: {deletion: Orphan}
      template: {apiVersion: v1, kind: ConfigMap, metadata: {name: claim}}
    - id: other
      includeWhen: ["${schema.spec.claim}"]
      template: {apiVersion: v1, kind: ConfigMap, metadata: {name: other}}
    - id: many
      forEach: [{part: "${schema.spec.items}"}]
      policy: {maxPrune: 20%}
      template: {apiVersion: v1, kind: ConfigMap, metadata: {name: "${part}"}}
"""


def instance(items, claim, annotations=""):
    meta = f"{{name: shop, annotations: {{{annotations}}}}}" if annotations else "{name: shop}"
    return f"{INSTANCE.replace('{name: shop}', meta).replace('spec: {}', '')}spec: {{items: {items}, claim: {claim}}}\n"


@pytest.fixture
def observed(run):
    """What a former pass left: its manifests and the instance, with the UID and generation of the API server."""
    first = run("--status", definition=POLICIES, instance=instance("[a, b, c]", "true"))
    assert first.exit_code == 0, first.stderr
    objects = list(yaml.safe_load_all(first.stdout))
    objects[-1]["metadata"] |= {"generation": 4}
    return yaml.safe_dump_all(objects)


def test_what_is_released_deleted_and_held_is_named(run, observed):
    later = {"definition": POLICIES, "instance": instance("[a]", "false"), "observed": observed}
    result = run("--observed", "@observed", **later)
    assert result.exit_code == 0, result.stderr
    lines = result.stderr.splitlines()
    assert 'deleted: node "other": ConfigMap default/other is no longer declared' in lines
    assert 'released: node "claim": ConfigMap default/claim stays (kro.run/deletion-policy: Orphaned)' in lines
    (held,) = [line for line in lines if line.startswith("held: ")]
    assert 'node "many" no longer declares 2 of its 3 objects, and policy.maxPrune is 20%: ConfigMap default/b,' in held
    # The edit makes it the next generation.
    assert 'kroasync.io/allow-prune: "5"' in held


def test_the_annotation_releases_a_held_prune(run, observed):
    allowed = instance("[a]", "true", 'kroasync.io/allow-prune: "5"')
    result = run("--observed", "@observed", definition=POLICIES, instance=allowed, observed=observed)
    assert [line for line in result.stderr.splitlines() if not line.startswith("kept: ")] == [
        'deleted: node "many": ConfigMap default/b is no longer declared',
        'deleted: node "many": ConfigMap default/c is no longer declared',
    ]


def test_what_stays_as_it_is_is_not_named(run, observed):
    result = run(
        "--observed", "@observed", definition=POLICIES, instance=instance("[a, b, c]", "true"), observed=observed
    )
    (line,) = result.stderr.splitlines()
    assert line.startswith('kept: node "claim"')


def test_objects_of_another_instance_are_not_named(run, observed):
    *children, mine = yaml.safe_load_all(observed)
    for child in children:
        child["metadata"]["labels"]["kro.run/instance-id"] = "11111111-0000-0000-0000-000000000000"
    later = {"definition": POLICIES, "instance": instance("[]", "true")}
    result = run("--observed", "@observed", observed=yaml.safe_dump_all([*children, mine]), **later)
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["kept"]


def test_fields_that_are_left_to_others_are_named_and_not_rendered(run):
    definition = POLICIES.replace("policy: {deletion: Orphan}", "policy: {conflicts: Yield}").replace(
        "metadata: {name: claim}}", "metadata: {name: claim}, data: {size: ours, other: x}}"
    )
    first = run("--status", definition=definition, instance=instance("[]", "true"))
    objects = list(yaml.safe_load_all(first.stdout))
    claim = next(one for one in objects if one["metadata"]["name"] == "claim")
    claim["data"]["size"] = "theirs"
    owned = {"f:data": {"f:size": {}}}
    claim["metadata"]["managedFields"] = [
        {"manager": "scaler", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": owned}
    ]
    later = {"definition": definition, "instance": instance("[]", "true"), "observed": yaml.safe_dump_all(objects)}
    result = run("--observed", "@observed", **later)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines() == [
        'yielded: ConfigMap default/claim: .data.size is "theirs" by manager "scaler", declared is "ours"'
    ]
    rendered = {one["metadata"]["name"]: one for one in yaml.safe_load_all(result.stdout)}
    assert rendered["claim"]["data"] == {"other": "x"}


def test_what_is_applied_once_is_named_where_it_exists(run):
    definition = POLICIES.replace("policy: {deletion: Orphan}", "policy: {update: Once}")
    texts = {"definition": definition, "instance": instance("[]", "true")}
    first = run("--status", **texts)
    assert first.stderr == ""
    result = run("--observed", "@observed", observed=first.stdout, **texts)
    assert result.stderr.splitlines() == [
        'left as it is: node "claim": ConfigMap default/claim exists, and is never changed (update: Once)'
    ]
    assert "name: claim" not in result.stdout
