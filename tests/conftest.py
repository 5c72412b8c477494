"""One real control plane for the test session, the chart installed in it, and a controller process.

All of them end with pytest, however pytest ends. The controller has a token of the chart's ServiceAccount. If the
chart's RBAC lacks a rule, the API server refuses a request, and the session fails.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from kroasync.playground import Binaries, Playground, ensure_binary, reporting
from tests.integration.cluster import Cluster, Lab
from tests.integration.process import ROOT, ControllerProcess
from tests.waiting import eventually

# The folders of tests that use a control plane.
ON_CONTROL_PLANES = frozenset({"attacks", "contract", "integration"})
# A test that needs its own group takes the next one; the chart grants all of them.
API_GROUPS = tuple(f"g{number}.example.com" for number in range(300))


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The chart as installed in the session's control plane."""

    name: str
    namespace: str
    service_account: str

    @property
    def user(self) -> str:
        """The user name of the controller in the API server."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the attacks last: one of them leaves a right to the session's controller."""
    items.sort(key=lambda item: "attacks" in item.path.parts)


class OnePlane(LoadScopeScheduling):  # type: ignore[misc]
    """Lets one process run everything that uses a control plane; the others share the rest by files."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if ON_CONTROL_PLANES.isdisjoint(path.split("/")) else "control plane"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return OnePlane(config, log)


@pytest.fixture(scope="session")
def playground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """The session's control plane, audited. The first time, its programs are built, with visible progress."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled(), reporting(sys.stderr) as progress:
        binaries = Binaries.ensure(progress=progress)
    directory = tmp_path_factory.mktemp("playground") / "data"
    name = f"tests-{os.getpid()}"
    with Playground.up(name=name, directory=directory, audit=True, binaries=binaries) as running:
        yield running


@pytest.fixture(scope="session")
def kubeconfig(playground: Playground) -> Path:
    """The administrator's kubeconfig of the session's control plane."""
    return playground.kubeconfig


@pytest.fixture(scope="session")
def helm(request: pytest.FixtureRequest) -> Path:
    """The helm program, built if there is none."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled(), reporting(sys.stderr) as progress:
        return ensure_binary("helm", progress=progress)


@pytest.fixture(scope="session")
def chart(playground: Playground, helm: Path) -> Release:
    """The chart, installed by helm; its CRDs are served."""
    release = Release(name="kroasync", namespace="kroasync-system", service_account="kroasync")
    groups = ",".join(("kro.run", *API_GROUPS))
    playground.helm(
        *("install", release.name, str(ROOT / "charts" / "kroasync")),
        *("--namespace", release.namespace, "--create-namespace"),
        *("--set", "image.repository=registry.example.com/kroasync"),
        *("--set", f"rbac.instanceGroups={{{groups}}}", "--set", "config.allowCRDDeletion=true"),
    )
    playground.kubectl(
        *("wait", "--for=condition=Established", "--timeout=30s"),
        *("crd/resourcegroups.kro.run", "crd/resourcegraphdefinitions.kro.run"),
        "crd/graphrevisions.internal.kro.run",
    )
    return release


@pytest.fixture(scope="session")
def controller_kubeconfig(playground: Playground, chart: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig with a token of the chart's ServiceAccount."""
    token = playground.kubectl(
        *("create", "token", chart.service_account, "--namespace", chart.namespace, "--duration=24h")
    ).strip()
    return playground.kubeconfig_for_token(token, tmp_path_factory.mktemp("controller") / "kubeconfig")


@pytest.fixture(scope="session")
def controller_arguments() -> tuple[str, ...]:
    """The arguments of every controller of the session; they match the installed chart."""
    return ("--allow-crd-deletion",)


@pytest.fixture(scope="session")
def controller(
    playground: Playground, chart: Release, controller_kubeconfig: Path, controller_arguments: tuple[str, ...]
) -> Iterator[ControllerProcess]:
    """The session's controller, ready. A test that stops it starts it again.

    When the session ends, no request of it may have been forbidden.
    """
    process = ControllerProcess(
        kubeconfig=controller_kubeconfig,
        log=controller_kubeconfig.with_name("controller.log"),
        arguments=controller_arguments,
    )
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        if process.is_running:
            process.stop()
    assert forbidden_requests(playground, chart.user) == []


def forbidden_requests(playground: Playground, user: str) -> list[str]:
    """The verb and URI of every request of the user that RBAC refused permanently, from the audit log.

    After its start, an API server refuses for a moment requests that its roles allow. The question for one's own rights
    follows only a refusal and may not be repeated, so it does not count: `system:basic-user` lets every user ask it.
    """
    refused: dict[tuple[str, str], str] = {}
    for line in playground.audit_log.read_text(encoding="utf-8").splitlines():
        if user not in line or not line.endswith("}"):
            continue
        event = json.loads(line)
        if event["user"]["username"] != user:
            continue
        what = (event["verb"], event["requestURI"].partition("?")[0])
        if what[1].endswith("/selfsubjectaccessreviews"):
            continue
        # Admission also answers 403, for example for a new object in a namespace that is being deleted.
        if event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid":
            refused[what] = f"{event['verb']} {event['requestURI']}"
        else:
            refused.pop(what, None)
    return sorted(refused.values())


@pytest.fixture(scope="session")
def forbidden(playground: Playground) -> Callable[[str], list[str]]:
    """forbidden(user): the requests of that user that RBAC has refused so far."""
    return lambda user: forbidden_requests(playground, user)


@pytest.fixture(scope="session")
def controller_process() -> type[ControllerProcess]:
    """The class, for a test that needs its own controller."""
    return ControllerProcess


_numbers = itertools.count()


@pytest.fixture
def namespace(playground: Playground) -> Iterator[str]:
    """A namespace for one test; deleted afterwards, without waiting."""
    name = f"test-{next(_numbers)}"
    playground.kubectl("create", "namespace", name)
    yield name
    playground.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


_groups = iter(API_GROUPS)


@pytest.fixture
def api_group() -> str:
    """An API group for one test, which the controller may serve."""
    return next(_groups)


@pytest.fixture(scope="session")
def cluster(playground: Playground, chart: Release) -> Iterator[Cluster]:
    """The control plane, where the controller may also manage the kinds that only tests have as children."""
    cluster = Cluster(playground)
    verbs = ["get", "list", "watch", "create", "patch", "delete"]
    definitions = {"apiGroups": ["kro.run"], "resources": ["resourcegraphdefinitions"], "verbs": verbs}
    priorities = {"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": verbs}
    namespaces = {"apiGroups": [""], "resources": ["namespaces"], "verbs": verbs}
    cluster.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "test-kinds", "labels": {"rbac.kro.run/aggregate-to-controller": "true"}},
            "rules": [definitions, priorities, namespaces],
        }
    )
    asked = {"group": "scheduling.k8s.io", "resource": "priorityclasses", "verb": "create"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": chart.user, "resourceAttributes": asked},
    }
    eventually(
        lambda: cluster.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"],
        timeout_s=30,
        what="the role is aggregated",
    )
    yield cluster
    cluster.close()


@pytest.fixture
def lab(cluster: Cluster, controller: ControllerProcess, api_group: str) -> Iterator[Lab]:
    """A namespace and an API group with a running controller; both are deleted afterwards, without waiting."""
    lab = Lab(cluster, namespace=f"lab-{next(_numbers)}", group=api_group, controller=controller)
    lab.open()
    yield lab
    lab.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:  # pragma: no cover - shown on failure only
    report = yield
    process = getattr(item, "funcargs", {}).get("controller")
    if report.failed and isinstance(process, ControllerProcess):  # type: ignore[attr-defined]
        report.sections.append(("controller log", process.tail()))  # type: ignore[attr-defined]
    return report
