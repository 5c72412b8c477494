"""`kroasync validate`: the problems with their positions, the formats, and the exit status."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import kroasync
from kroasync.cli.validate import validate_command

GOOD = """\
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata:
  name: web
spec:
  schema:
    apiVersion: v1alpha1
    kind: Web
    spec:
      name: string | required=true
      replicas: integer | default=2 minimum=1
      mode: string | enum="on-demand,spot" default="spot"
      tags: map[string]string
      ports: "[]integer"
  resources:
    - id: config
      template:
        apiVersion: v1
        kind: ConfigMap
        metadata:
          name: ${schema.spec.name}
        data:
          text: |
            first line
            replicas ${string(schema.spec.replicas)} end
"""
INSTANCE = """\
---
apiVersion: kro.run/v1alpha1
kind: Web
metadata:
  name: shop
spec:
  name: shop
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(validate_command)

    def run(*args, input=None, **files):
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return CliRunner().invoke(app, list(args), input=input)

    return run


def test_a_good_definition(run):
    result = run("web.yaml", web=GOOD + INSTANCE)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "1 definition and 1 instance: valid\n", "")


def test_standard_input(run):
    assert run("-", input=GOOD).exit_code == 0
    result = run("-", input=GOOD.replace("schema.spec.name", "schema.spec.nme"))
    assert result.exit_code == 1
    assert result.stderr.startswith("<stdin>:21:30: error: spec.resources[0].template.metadata.name: ")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "nothing to validate"),
        (["absent.yaml"], "cannot read absent.yaml: no such file or directory"),
        (["-R", "absent"], "cannot read absent: not a directory"),
        (["web.yaml", "."], "cannot read .: is a directory; read the manifests below it with -R ."),
        (["web.yaml", "--crds", "absent"], "cannot read absent: not a directory"),
        (["other.yaml"], "no definition in the input"),
        (["binary.yaml"], "not UTF-8"),
    ],
)
def test_a_wrong_call_has_status_2(run, tmp_path, args, text):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfd")
    result = run(*args, web=GOOD, other="kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n")
    assert result.exit_code == 2
    assert text in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("old", "new", "place", "text"),
    [
        # In a plain, quoted or multi-line string: the position of the character, not only of the value.
        ("${schema.spec.name}", "${schema.spec.nme}", "21:30", "undefined field 'nme'"),
        ("${schema.spec.name}", '"a-${schema.spec.nme}"', "21:33", "undefined field 'nme'"),
        ("string(schema.spec.replicas)", "schema.spec.replicas + 1", "25:24", "found no matching overload"),
        ("        data:", "        dta:", "22:9", 'did you mean "data"?'),
        ("kind: ConfigMap", "kind: ConfigMaps", "19:15", 'did you mean "v1, Kind=ConfigMap"?'),
        ("apiVersion: v1\n", "apiVersion: core/v1\n", "19:15", 'did you mean "v1, Kind=ConfigMap"?'),
        ("id: config", "id: Config", "16:11", "naming convention violation"),
        ("name: string", "name: strng", "10:13", "unknown type: strng"),
        ("kind: Web", "kind: web", "8:11", "must be UpperCamelCase"),
        ("    kind: Web", "    kind: Web\n    kind: Web", "9:5", "duplicate"),
        ("metadata:\n  name: web", "metadata: [", "5:9", "expected"),
    ],
)
def test_a_problem_has_its_place(run, old, new, place, text):
    result = run("web.yaml", web=GOOD.replace(old, new, 1))
    assert result.exit_code == 1
    found = [line for line in result.stderr.splitlines() if line.startswith(f"web.yaml:{place}: error")]
    assert found, result.stderr
    assert text in result.stderr


def test_a_definition_that_is_too_large_says_where_it_is_so(run):
    """The expression that exceeds the budget of the definition; and an expression that alone is too large."""
    long = [f"          k{n}: ${{{'+'.join(['schema.spec.name'] * 700)}+'{n}'}}" for n in range(60)]
    result = run("web.yaml", web=GOOD.replace("        data:\n", "\n".join(["        data:", *long, ""])))
    assert result.exit_code == 1
    (found,) = [line for line in result.stderr.splitlines() if "[definition-size]" in line]
    # Each one has 2,802 nodes: the 18th exceeds the budget.
    assert found.startswith("web.yaml:40:16: error: spec.resources[0].template.data.k17: the definition is too large: ")
    assert "expected at most 50000 nodes in expressions, found 50" in found
    terms = "+".join(["schema.spec.name"] * 900)
    result = run("web.yaml", web=GOOD.replace("${schema.spec.name}", f"${{{terms}}}", 1))
    assert "web.yaml:21:19: error: " in result.stderr
    assert "expression has more than 3000 nodes" in result.stderr


def test_every_problem_of_every_file_is_reported_in_order(run):
    result = run(
        "b.yaml",
        "a.yaml",
        a=GOOD.replace("  data:", "  dta:").replace("schema.spec.name", "schema.spec.nme"),
        b=GOOD.replace("name: web", "name: other").replace("kind: Web", "kind: Other").replace("  data:", "  dta:"),
    )
    places = [line.split(": error")[0] for line in result.stderr.splitlines() if ": error" in line]
    assert places == ["a.yaml:21:30", "a.yaml:22:9", "b.yaml:22:9"]


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ("{name: shop, replicas: 0}", "instance-value", "spec.replicas: expected at least 1, found 0"),
        ("{name: 5}", "instance-type", "spec.name: expected string, found a number"),
        ("{}", "instance-required", "spec.name: required field is missing"),
        ("{name: a, mode: spt}", "instance-value", 'expected one of on-demand, spot, found spt (did you mean "spot"?)'),
        ("{name: a, tags: {b: 1}}", "instance-type", "spec.tags.b: expected string, found a number"),
        ("{name: a, ports: [1, x]}", "instance-type", "spec.ports[1]: expected integer, found a string"),
    ],
)
def test_an_instance_is_checked_against_its_kind(run, spec, code, text):
    result = run("web.yaml", web=GOOD + INSTANCE.replace("spec:\n  name: shop\n", f"spec: {spec}\n"))
    assert result.exit_code == 1
    assert text in result.stderr
    assert f"[{code}]" in result.stderr


def test_an_instance_is_checked_as_far_as_the_schema_of_its_kind_is_known(run):
    broken = GOOD.replace("      mode:", "      lost: strng\n      mode:")
    assert broken != GOOD
    text = INSTANCE.replace("spec:\n  name: shop\n", "spec: {lost: 1, name: 2, nope: 3}\n")
    result = run("web.yaml", web=broken + text)
    found = re.findall(r"\[([a-z-]+)\]$", result.stderr, re.MULTILINE)
    assert found == ["schema-unknown-type", "instance-type", "instance-unknown-field"], result.stderr


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ('string | validation="self =="', "Syntax error"),
        ('string | validation="self.size > 3"', "does not support field selection"),
        ('integer | validation="self + 1"', "expected a result of type bool, found int"),
        ('"[]integer | validation=\\"self == 1\\""', "no matching overload"),
        ("{deep: 'string | validation=\"self >\"'}", "Syntax error"),
    ],
)
def test_a_rule_that_the_api_server_refuses_is_a_warning(run, field, text):
    result = run("-", input=GOOD.replace("      mode:", f"      ruled: {field}\n      mode:"))
    assert (result.exit_code, "[validation-rule]" in result.output, text in result.output) == (0, True, True)
    assert "warning: spec.schema.spec.ruled" in result.output


@pytest.mark.parametrize(
    "field",
    [
        'integer | validation="self >= oldSelf" immutable=true',
        'string | validation="!format.dns1123Label().validate(self).hasValue()"',
        "string | validation=\"self.find('[0-9]+') == '' || quantity(self).isInteger()\"",
        '"[]string | validation=\\"self.all(x, x.matches(\'^a\'))\\""',
    ],
)
def test_a_rule_that_the_api_server_takes_is_no_problem(run, field):
    result = run("-", input=GOOD.replace("      mode:", f"      ruled: {field}\n      mode:"))
    assert (result.exit_code, result.output) == (0, "1 definition: valid\n")


def test_the_name_of_an_instance_is_checked_at_its_place(run):
    rules = GOOD.replace("    kind: Web\n", "    kind: Web\n    metadata: {nameValidation: maxLength=3}\n")
    result = run("-", input=rules + INSTANCE)
    line = (rules + INSTANCE).splitlines().index("  name: shop", len(rules.splitlines())) + 1
    text = f"<stdin>:{line}:9: error: metadata.name: expected length at most 3, found 4 [instance-value]"
    assert (result.exit_code, text in result.output) == (1, True), result.output


def test_an_expression_without_an_end_is_found_where_it_begins(run):
    for old, new in (("end\n", "${end\n"), ("name: ${schema.spec.name}", "name: web-${schema.spec.name")):
        text = GOOD.replace(old, new)
        line, column = next(
            (number, row.rindex("${") + 1) for number, row in enumerate(text.splitlines(), 1) if new.strip() in row
        )
        result = run("-", input=text)
        place = f"<stdin>:{line}:{column}: error: spec.resources[0].template."
        assert (result.exit_code, place in result.output) == (1, True), result.output
        assert "[unterminated-expression]" in result.output


@pytest.mark.parametrize("output", ["text", "json", "sarif", "github"])
def test_strict_makes_every_warning_an_error(run, output):
    files = {"web": GOOD + INSTANCE + "  repliacs: 3\n"}
    assert run("web.yaml", "-o", output, **files).exit_code == 0
    result = run("--strict", "web.yaml", "-o", output, **files)
    assert result.exit_code == 1
    assert "warning" not in result.output
    assert "error" in result.output
    assert run("--strict", "web.yaml", web=GOOD + INSTANCE).exit_code == 0


def test_an_unknown_field_of_an_instance_is_a_warning(run):
    result = run("web.yaml", web=GOOD + INSTANCE + "  repliacs: 3\n")
    assert result.exit_code == 0
    assert result.stdout == "1 definition and 1 instance: valid, 1 warning\n"
    assert 'warning: spec.repliacs: unknown field "repliacs" (did you mean "replicas"?)' in result.stderr


def test_a_folder_and_crds_of_another(run, tmp_path):
    crd = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: buckets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Bucket, plural: buckets}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object}}}}
"""
    uses = (
        GOOD.replace("apiVersion: v1\n", "apiVersion: example.com/v1\n")
        .replace("kind: ConfigMap", "kind: Bucket")
        .split("        data:")[0]
    )
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "crds").mkdir()
    (tmp_path / "in" / "deep" / "web.yml").write_text(uses)
    (tmp_path / "crds" / "bucket.yaml").write_text(crd)
    assert "[kind-not-found]" in run("-R", "in").stderr
    assert run("-R", "in", "--crds", "crds").exit_code == 0
    assert run("-R", "in", "crds/bucket.yaml").exit_code == 0
    (tmp_path / "crds" / "bucket.yaml").write_text(crd.replace("plural: buckets", "x: y"))
    assert "[crd-incomplete]" in run("-R", "in", "--crds", "crds").stderr


def test_definitions_know_each_others_kinds(run):
    uses = GOOD.replace("name: web", "name: site").replace("kind: Web", "kind: Site").split("    - id: config")[0]
    uses += """\
    - id: web
      template:
        apiVersion: kro.run/v1alpha1
        kind: Web
        metadata: {name: a}
        spec: {name: "${schema.spec.name}", replicas: 3}
"""
    assert run("a.yaml", "b.yaml", a=uses, b=GOOD).exit_code == 0
    result = run("a.yaml", "b.yaml", a=uses.replace("replicas: 3", "replicas: three"), b=GOOD)
    assert "expected integer type for path spec.replicas, got string" in result.stderr


def test_definitions_in_a_circle_are_still_checked(run):
    def uses(own, other):
        head = GOOD.replace("name: web", f"name: {own.lower()}").replace("kind: Web", f"kind: {own}")
        return head.split("    - id: config")[0] + (
            "    - id: other\n      template:\n        apiVersion: kro.run/v1alpha1\n"
            f"        kind: {other}\n        metadata: {{name: '${{schema.spec.nme}}'}}\n"
        )

    result = run("a.yaml", "b.yaml", a=uses("A", "B"), b=uses("B", "A"))
    assert result.stderr.count("undefined field 'nme'") == 2
    assert "kind-not-found" not in result.stderr


def test_two_definitions_of_one_kind(run):
    result = run("a.yaml", "b.yaml", a=GOOD, b=GOOD.replace("name: web", "name: other"))
    assert (
        "b.yaml:8:11: error: spec.schema.kind: kind Web of group kro.run is already generated by web" in result.stderr
    )


def test_a_definition_in_a_definition(run):
    nested = (
        GOOD.split("    - id: config")[0]
        + """\
    - id: inner
      template:
        apiVersion: kro.run/v1alpha1
        kind: ResourceGraphDefinition
        metadata: {name: inner}
        spec:
          schema:
            apiVersion: v1alpha1
            kind: Inner
            spec: {text: 'string'}
          resources:
            - id: config
              template: {apiVersion: v1, kind: ConfigMap, metadata: {name: '${"${schema.spec.text}"}'}}
"""
    )
    result = run("a.yaml", a=nested)
    assert (result.exit_code, result.stderr) == (0, "")


def test_feature_gates(run):
    text = GOOD.replace("${string(schema.spec.replicas)}", "").replace("text: |", "a: ${omit()}\n          text: |")
    assert "[omit-disabled]" in run("web.yaml", web=text).stderr
    assert run("web.yaml", "--feature", "CELOmitFunction", web=text).exit_code == 0


BAD = GOOD.replace("schema.spec.name", "schema.spec.nme")


def test_json(run):
    result = run("web.yaml", "-o", "json", web=BAD)
    assert result.exit_code == 1
    assert result.stderr == ""
    (problem,) = json.loads(result.stdout)["problems"]
    assert {key: problem[key] for key in ("severity", "code", "file", "line", "column", "suggestion")} == {
        "severity": "error",
        "code": "expression-type",
        "file": "web.yaml",
        "line": 21,
        "column": 30,
        "suggestion": "name",
    }
    assert json.loads(run("web.yaml", "-o", "json", web=GOOD).stdout) == {"problems": []}


def test_sarif(run):
    log = json.loads(run("web.yaml", "-o", "sarif", web=BAD).stdout)
    assert log["version"] == "2.1.0"
    (one_run,) = log["runs"]
    (result,) = one_run["results"]
    assert one_run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "expression-type"
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "web.yaml"}, "region": {"startLine": 21, "startColumn": 30}}
    assert json.loads(run("web.yaml", "-o", "sarif", web=GOOD).stdout)["runs"][0]["results"] == []


def test_github(run):
    result = run("web.yaml", "-o", "github", web=BAD)
    (line,) = result.stdout.splitlines()
    assert line.startswith("::error file=web.yaml,line=21,col=30,title=expression-type::")
    assert "%0A | schema.spec.nme" in line


def test_the_command_leaves_cluster_libraries_alone(tmp_path):
    (tmp_path / "web.yaml").write_text(GOOD)
    code = (
        "import sys, typer; from kroasync.cli.validate import validate_command; app = typer.Typer();"
        "app.command()(validate_command); app(['web.yaml'], standalone_mode=False);"
        "print(sorted({'kubernetes_asyncio', 'aiohttp', 'celpy', 'uvloop'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(kroasync.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 definition: valid\n[]\n"
