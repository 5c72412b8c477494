"""`kroasync plan` and `kroasync diff`: wrong calls, exit codes, and errors without a cluster."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kroasync.cli.inputs import default_policies
from kroasync.cli.main import app
from kroasync.cli.preview import classes_of, exit_code
from kroasync.model.policies import Conflicts, Policies, Update
from kroasync.planning.forecast import Forecast, InstanceForecast, SchemaStep, Verb
from tests.unit.planning.samples import definition, delete, instance, misfit, step, update, web

RUNNER = CliRunner()


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    path = tmp_path / "a.yaml"
    path.write_text("{}\n")
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to plan: name files with -f"),
        (["-n", "team"], "nothing to plan"),
        (["-f", "no-such-file.yaml"], "cannot read no-such-file.yaml: no such file or directory"),
        (["-R", "no-such-folder"], "cannot read no-such-folder: not a directory"),
        (["-f", "."], "is a directory; read the manifests below it with -R ."),
        (["-f", "FILE", "-n", "team", "-A"], "-n and -A exclude each other"),
        (["-f", "FILE", "--instance", "web"], '"web" names no instance: expected KIND/NAMESPACE/NAME or KIND/NAME'),
        (["-f", "FILE", "--instance", "Web//a"], '"Web//a" names no instance'),
        (["-f", "FILE", "--fail-on", "delete,destroy"], 'there is no class "destroy"; known: create, update, delete,'),
        (["-f", "FILE", "--dry-run", "client"], "--dry-run"),
        (["-f", "FILE", "-o", "yaml"], "-o"),
        (
            ["-f", "FILE", "--default-policy", "update"],
            '--default-policy update: expected Apply, Once or Recreate, got ""',
        ),
        (
            ["-f", "FILE", "--default-policy", "size=5"],
            "--default-policy: expected NAME=WORD with the name adoption or",
        ),
    ],
)
@pytest.mark.parametrize("command", ["plan", "preview"])
def test_a_wrong_call(command: str, arguments: list[str], message: str, manifest: str) -> None:
    done = RUNNER.invoke(app, [command, *(manifest if word == "FILE" else word for word in arguments)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


def test_default_policies_are_those_of_the_flags() -> None:
    assert default_policies(None) == Policies()
    given = default_policies(["update=Once", "conflicts=Yield"])
    assert given == Policies(update=Update.ONCE, conflicts=Conflicts.YIELD)


@pytest.mark.parametrize("call", [["plan", "-f", "FILE"], ["plan", "--delete", "web"], ["diff", "Web/a"]])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kubeconfig", "/no/such/file"], "error: no kubeconfig at /no/such/file\n"),
        (
            ["--kubeconfig", "CONFIG"],
            "error: GET /apis/apiextensions.k8s.io/v1/",
        ),
        (["--kubeconfig", "CONFIG", "--context", "other"], "error: kubeconfig CONFIG cannot be used: "),
        (["--kubeconfig", "CONFIG", "--as-group", "dev"], "error: impersonation of a group"),
        (["--kubeconfig", "CONFIG", "--as", "a\r\nb"], "error: the header Impersonate-User contains characters"),
    ],
)
def test_what_ends_the_plan_is_one_line(
    call: list[str], options: list[str], message: str, manifest: str, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(
        '{"current-context": "main", "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],'
        ' "users": [], "contexts": [{"name": "main", "context": {"cluster": "c"}}]}'
    )
    words = {"FILE": manifest, "CONFIG": str(config)}
    done = RUNNER.invoke(app, [words.get(word, word) for word in (*call, *options)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(message.replace("CONFIG", str(config)))
    assert done.stderr.count("\n") == 1


BREAKING = definition(schema=(SchemaStep(path="spec.a", text="removed", breaking=True),))
BROKEN = InstanceForecast(key=web("b"), error="forbidden")


@pytest.mark.parametrize(
    ("forecast", "classes"),
    [
        (Forecast(instances=(instance(),)), set()),
        (Forecast(instances=(instance("a", update()), instance("b", delete()))), {"update", "delete"}),
        (Forecast(instances=(instance("a", edit=update()),)), {"update"}),
        (Forecast(instances=(instance("a", drift=(delete(),)),)), {"drift"}),
        (Forecast(instances=(BROKEN,)), {"error"}),
        (Forecast(unread=("secrets",)), {"error"}),
        (Forecast(definitions=(BREAKING,)), {"update", "breaking"}),
        (Forecast(definitions=(definition(misfits=(misfit("x"),)),)), {"update", "breaking"}),
        (Forecast(definitions=(definition(verb=Verb.REFUSED),)), {"refused"}),
        (Forecast(definitions=(definition(verb=None),)), set()),
    ]
    + [(Forecast(instances=(instance("a", step(verb)),)), {verb.value}) for verb in Verb],
)  # fmt: skip
def test_the_classes_of_a_forecast(forecast: Forecast, classes: set[str]) -> None:
    assert classes_of(forecast) == classes


NOTHING = Forecast(instances=(instance(),))
CHANGES = Forecast(instances=(instance("a", update()),))
PARTLY = Forecast(instances=(instance("a", update()), BROKEN))


@pytest.mark.parametrize(
    ("forecast", "fail_on", "detailed", "code"),
    [
        (NOTHING, "", False, 0),
        (CHANGES, "", False, 0),
        (PARTLY, "", False, 0),
        (CHANGES, "delete", False, 0),
        (CHANGES, "update", False, 2),
        (CHANGES, "delete update", False, 2),
        (PARTLY, "error", False, 2),
        (NOTHING, "", True, 0),
        (CHANGES, "", True, 2),
        (PARTLY, "", True, 1),
        (PARTLY, "update", True, 2),
        (CHANGES, "delete", True, 2),
    ],
)
def test_the_exit_code(forecast: Forecast, fail_on: str, detailed: bool, code: int) -> None:
    found = exit_code(forecast, frozenset(fail_on.split()), detailed=detailed, changed=forecast.has_changes)
    assert found == code


def test_a_wrong_call_imports_no_client_of_the_cluster() -> None:
    program = (
        "import sys; from kroasync.cli import preview; "
        "print([name for name in ('aiohttp', 'rich.progress', 'kroasync.engine.walk') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
