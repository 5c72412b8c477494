"""The image, built and run as the chart says, by podman or buildah. Without them, the tests are skipped and say so.

The container has the arguments and the security context of the chart's Deployment, and a service account volume as the
kubelet makes it: a token behind a link that is replaced, and whose old token ends.
KROASYNC_IMAGE_BASE and KROASYNC_IMAGE_BUILDER name other base images, for a machine without a registry.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kroasync.playground import CommandError, Playground
from tests.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "kroasync"
SYSTEM = "kroasync-system"
# /var/run is a link, which buildah does not follow inside of the image.
ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"
DEFINITION = """
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: greeting}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Greeting
    spec: {text: string}
  resources:
    - id: message
      template:
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: "${schema.metadata.name}"}
        data: {text: "${schema.spec.text}"}
"""
# Prints the number of compiled files, and of those that Python would compare with their source.
COMPILED = """
import glob, sysconfig
flags = [
    open(path, "rb").read(8)[4]
    for folder in (sysconfig.get_path("stdlib"), "/opt/kroasync/lib")
    for path in glob.glob(folder + "/**/*.pyc", recursive=True)
]
print(len(flags), sum(flag != 1 for flag in flags))
"""
INSTALLERS = "import importlib.util as u; print([n for n in ('pip', 'ensurepip', 'networkx.tests') if u.find_spec(n)])"


def done(*command: str, timeout_s: float = 60) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    assert finished.returncode == 0, f"{' '.join(command)}\n{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}"
    return finished.stdout


@dataclass(frozen=True, slots=True)
class Engine:
    """podman or buildah: what both can do, with the options that a security context of Kubernetes stands for."""

    program: str
    image: str = "localhost/kroasync:test"

    def build(self) -> None:
        bases = {"BASE": os.environ.get("KROASYNC_IMAGE_BASE"), "BUILDER": os.environ.get("KROASYNC_IMAGE_BUILDER")}
        given = [part for name, base in bases.items() if base for part in ("--build-arg", f"{name}={base}")]
        done(self.program, "build", "--isolation=chroot", *given, f"--tag={self.image}", str(ROOT), timeout_s=800)

    def can_pull(self, base: str) -> str:
        """Why the base image is not there; empty if it is."""
        pulled = subprocess.run([self.program, "pull", base], capture_output=True, text=True, timeout=300)
        return "" if pulled.returncode == 0 else pulled.stderr.strip().splitlines()[-1]

    def command(
        self, context: dict[str, Any], program: str, *arguments: str, options: tuple[str, ...] = ()
    ) -> list[str]:
        """Runs a program of the image. `options` are those that podman and buildah share."""
        user = f"--user={context['runAsUser']}:{context['runAsGroup']}"
        dropped = [f"--cap-drop={name}" for name in context["capabilities"]["drop"]]
        shared = (user, *dropped, "--mount=type=tmpfs,destination=/tmp", *options)
        if Path(self.program).name == "podman":
            root = ["--read-only"] if context["readOnlyRootFilesystem"] else []
            fixed = [] if context["allowPrivilegeEscalation"] else ["--security-opt=no-new-privileges"]
            own = ("run", "--rm", "--network=host", f"--entrypoint={program}", *shared, *root, *fixed, self.image)
            return [self.program, *own, *arguments]
        # buildah keeps the root writable for those who may write there. This user may not.
        container = done(self.program, "from", self.image).strip()
        return [self.program, "run", "--isolation=chroot", *shared, container, "--", program, *arguments]


@pytest.fixture(scope="module")
def engine() -> Engine:
    """An engine with the image, freshly built."""
    found = next(filter(None, map(shutil.which, ("podman", "buildah"))), None)
    if found is None:
        pytest.skip("the image is neither built nor run: there is no podman and no buildah on the PATH")
    engine = Engine(found)
    python = next(line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ARG PYTHON="))
    base = os.environ.get("KROASYNC_IMAGE_BASE") or f"docker.io/library/python:{python.partition('=')[2]}-slim"
    if reason := engine.can_pull(base):
        pytest.skip(f"the image is neither built nor run: {base} is not there: {reason}")
    engine.build()
    return engine


@pytest.fixture(scope="module")
def own(engine: Engine, helm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """A control plane with the chart, in which nothing but the container acts."""
    with Playground.up(name="image", directory=tmp_path_factory.mktemp("own") / "data") as running:
        image = ("--set", "image.repository=localhost/kroasync", "--set", "image.tag=test")
        running.helm("install", "kroasync", str(CHART), "--namespace", SYSTEM, "--create-namespace", *image)
        yield running


@pytest.fixture(scope="module")
def container(own: Playground) -> dict[str, Any]:
    """The container as the API server has it."""
    deployment = json.loads(own.kubectl("--namespace", SYSTEM, "get", "deployment/kroasync", "--output=json"))
    return dict(deployment["spec"]["template"]["spec"]["containers"][0])


class Volume:
    """A service account volume: the kubelet puts new files into a new folder, and turns the link `..data` to it."""

    def __init__(self, folder: Path, certificate: bytes) -> None:
        self.folder = folder
        self._certificate = certificate
        self._number = 0
        folder.mkdir()
        for name in ("token", "ca.crt", "namespace"):
            (folder / name).symlink_to(f"..data/{name}")

    def write(self, token: str) -> None:
        self._number += 1
        fresh = self.folder / f"..{self._number}"
        fresh.mkdir()
        for name, content in (("token", token.encode()), ("ca.crt", self._certificate), ("namespace", SYSTEM.encode())):
            (fresh / name).write_bytes(content)
        link = self.folder / "..data_tmp"
        link.symlink_to(fresh.name)
        link.replace(self.folder / "..data")


def bound_token(own: Playground, name: str) -> str:
    """A token that ends with the Secret of this name."""
    own.kubectl("--namespace", SYSTEM, "create", "secret", "generic", name)
    bound = ("--bound-object-kind=Secret", f"--bound-object-name={name}")
    return own.kubectl("--namespace", SYSTEM, "create", "token", "kroasync", *bound).strip()


def accepted(own: Playground, token: str) -> bool:
    """Whether the API server takes this token. It remembers for some seconds that a token was good."""
    try:
        own.kubectl(f"--token={token}", "get", "--raw=/api")
    except CommandError as error:
        return "Unauthorized" not in str(error) and "must be logged in" not in str(error)
    return True


def innermost(pid: int) -> int:
    """The last descendant: with buildah the controller; podman has none, and passes signals on."""
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[-1])
    return pid


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def test_the_image_has_nothing_that_installs_and_all_of_it_compiled(engine: Engine, container: dict[str, Any]) -> None:
    def python(program: str) -> str:
        return done(*engine.command(container["securityContext"], "python", "-c", program)).strip()

    assert python(INSTALLERS) == "[]"
    count, compared = map(int, python(COMPILED).split())
    assert count > 1000
    assert compared == 0


def test_the_image_works_as_the_chart_runs_it_and_takes_the_next_token(
    engine: Engine, own: Playground, container: dict[str, Any], tmp_path: Path
) -> None:
    volume = Volume(tmp_path / "account", own.certificate.read_bytes())
    token = bound_token(own, "first")
    volume.write(token)
    address, health = urlsplit(own.server), free_port()
    environment = {
        "KUBERNETES_SERVICE_HOST": address.hostname,
        "KUBERNETES_SERVICE_PORT": address.port,
        "POD_NAMESPACE": SYSTEM,
    }
    options = (f"--volume={volume.folder}:{ACCOUNT}:ro", *(f"--env={k}={v}" for k, v in environment.items()))
    # Ports of this machine, which others may have taken.
    ports = ("--metrics-bind-address=0", f"--health-probe-bind-address=127.0.0.1:{health}")
    arguments = ("kroasync", *container["args"], *ports)
    command = engine.command(container["securityContext"], *arguments, options=options)
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:

        def ready() -> bool:
            assert process.poll() is None, log.read_text()[-3000:]
            return answer(health, "/readyz")[0] == 200

        eventually(ready, timeout_s=60, what="the container is ready")
        own.kubectl("apply", "--filename=-", input=DEFINITION)
        own.kubectl("wait", "--for=condition=Ready", "resourcegraphdefinition/greeting", "--timeout=60s")
        volume.write(bound_token(own, "second"))
        own.kubectl("--namespace", SYSTEM, "delete", "secret", "first")
        eventually(lambda: not accepted(own, token), timeout_s=60, what="the first token has ended")
        instance = {
            "apiVersion": "kro.run/v1alpha1",
            "kind": "Greeting",
            "metadata": {"name": "one", "namespace": "default"},
            "spec": {"text": "hello"},
        }
        own.kubectl("apply", "--filename=-", input=json.dumps(instance))
        own.kubectl("wait", "--for=condition=Ready", "greeting/one", "--timeout=60s")
        assert answer(health, "/readyz")[0] == 200
    finally:
        if process.poll() is None:
            os.kill(innermost(process.pid), signal.SIGTERM)
        process.wait(90)
    assert '"msg":"stopped"' in log.read_text()
    assert process.returncode == 0
