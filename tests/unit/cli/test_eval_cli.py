"""`kroasync eval`: its output and its errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from kroasync.cli.eval import eval_command
from kroasync.settings import Settings

DATA = """\
deployment:
  metadata: {name: web}
  status: {availableReplicas: 2}
schema:
  spec: {replicas: 3}
pods:
  - metadata: {name: a, creationTimestamp: "2020-01-01T00:00:00Z"}
  - metadata: {name: b, creationTimestamp: "2021-01-01T00:00:00Z"}
"""


def run(*args: str, stdin: str = DATA) -> Result:
    app = typer.Typer()
    app.command()(eval_command)
    return CliRunner().invoke(app, list(args), input=stdin)


def test_value_type_and_reads_are_printed() -> None:
    result = run("deployment.status.availableReplicas == schema.spec.replicas", "--data", "-")
    assert result.exit_code == 0
    assert result.stdout == (
        "value: false\ntype:  bool\nreads: deployment.status.availableReplicas\n       schema.spec.replicas\n"
    )


def test_json_output() -> None:
    result = run("{'n': pods.map(p, p.metadata.name)}", "--data", "-", "-o", "json")
    assert json.loads(result.stdout) == {
        "value": {"n": ["a", "b"]},
        "type": "map(string, list(dyn))",
        "reads": ["pods.*.metadata.name"],
    }


def test_data_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text('{"x": {"y": 1}}')
    assert run("x.y + 1", "--data", str(file)).stdout.startswith("value: 2\n")


def test_no_data_is_needed() -> None:
    assert run("'a' + 'ä'").stdout == 'value: "aä"\ntype:  string\nreads: nothing\n'


def test_the_braces_of_a_definition_may_stay() -> None:
    assert run("${[1, 2].sum()}").stdout.startswith("value: 3\n")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("quantity('1.5Gi')", '"1536Mi"'),
        ("hash.md5('')", '"1B2M2Y8AsgTpgAmY7PhCfg=="'),
        ("duration('90m')", '"1h30m0s"'),
        ("optional.none()", "null"),
        ("omit()", '"omit()"'),
    ],
)
def test_values_that_json_cannot_hold_are_shown_as_text(expression: str, value: str) -> None:
    assert run(expression).stdout.startswith(f"value: {value}\n")


def test_a_schema_gives_types() -> None:
    args = ("--data", "-", "--schema", "deployment=apps/v1/Deployment", "--schema", "pods=v1/Pod")
    result = run("pods.filter(p, p.metadata.creationTimestamp > timestamp('2020-06-01T00:00:00Z')).size()", *args)
    assert result.stdout.startswith("value: 1\ntype:  int\n")


def test_a_misspelt_field_is_found_before_evaluation() -> None:
    result = run("deployment.status.availableReplica", "--data", "-", "--schema", "deployment=apps/v1/Deployment")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "ERROR: <input>:1:18: undefined field 'availableReplica'\n"
        " | deployment.status.availableReplica\n"
        " | .................^\n"
        "did you mean 'availableReplicas'?\n"
    )


def test_a_syntax_error_shows_its_place() -> None:
    result = run("1 +")
    assert result.exit_code == 1
    assert "ERROR: <input>:1:4: Syntax error" in result.stderr


def test_what_takes_too_long_in_the_controller_does_so_here() -> None:
    result = run("lists.range(700).map(a, lists.range(700).filter(b, a + b > 0).size())")
    assert result.exit_code == 1
    assert f"evaluation exceeds its budget of {Settings().max_evaluation_steps} steps" in result.stderr


def test_missing_data_shows_its_place() -> None:
    result = run("schema.spec.nothing", "--data", "-")
    assert result.exit_code == 1
    assert "no such key: nothing" in result.stderr
    assert "^" in result.stderr


@pytest.mark.parametrize(
    ("args", "stdin", "message"),
    [
        (("1", "--data", "no/such/file.yaml"), "", "no such file"),
        (("1", "--data", "-"), "a: [", "error:"),
        (("1", "--data", "-"), "a: 1\n---\nb: 2\n", "expected one document, found 2"),
        (("1", "--schema", "deployment"), "", "expected VAR=GROUP/VERSION/KIND"),
        (("1", "--schema", "x=Deployment"), "", "expected VAR=GROUP/VERSION/KIND"),
        (("1", "--schema", "x=apps/v1/Deploymint"), "", "no built-in kind Deploymint in apps/v1"),
    ],
)
def test_wrong_use_ends_with_status_two(args: tuple[str, ...], stdin: str, message: str) -> None:
    result = run(*args, stdin=stdin)
    assert result.exit_code == 2
    assert message in result.stderr


def test_empty_data_means_no_variables() -> None:
    assert run("1", "--data", "-", stdin="").exit_code == 0


def test_no_cluster_client_is_loaded() -> None:
    code = (
        "import sys, typer\n"
        "from kroasync.cli.eval import eval_command\n"
        "eval_command('1 + 1', None, ['pod=v1/Pod'])\n"
        "print([name for name in sys.modules if name.startswith(('kubernetes_asyncio', 'aiohttp'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
