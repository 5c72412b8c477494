"""Attackers, their neighbours, and controllers that replace the controller of the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.attacks.people import People, User
from tests.integration.cluster import Cluster, Lab, Obj
from tests.integration.process import ControllerProcess


@pytest.fixture
def people(cluster: Cluster) -> Iterator[People]:
    made = People(cluster)
    yield made
    made.close()


@pytest.fixture
def neighbour(cluster: Cluster, lab: Lab) -> Iterator[Callable[[str], Lab]]:
    """neighbour(name): another lab in another namespace, with the same kinds and the same controller."""
    opened: list[Lab] = []

    def open_(name: str) -> Lab:
        other = Lab(cluster, namespace=f"{lab.namespace}-{name}", group=lab.group, controller=lab.controller)
        opened.append(other)
        other.open()
        return other

    yield open_
    for other in opened:
        other.close()


class StandIn(Protocol):
    def __call__(self, *arguments: str, kubeconfig: Path | None = None) -> ControllerProcess: ...


@pytest.fixture
def stand_in(
    controller: ControllerProcess,
    controller_arguments: tuple[str, ...],
    controller_kubeconfig: Path,
    tmp_path: Path,
) -> Iterator[StandIn]:
    """stand_in(*arguments, kubeconfig=...): a running controller that replaces the session's until the test ends."""
    made: list[ControllerProcess] = []

    def start(*arguments: str, kubeconfig: Path | None = None) -> ControllerProcess:
        controller.stop()
        process = ControllerProcess(
            kubeconfig=kubeconfig or controller_kubeconfig,
            log=tmp_path / f"controller-{len(made)}.log",
            arguments=(*controller_arguments, *arguments),
        )
        made.append(process)
        process.start()
        return process

    yield start
    for process in made:
        process.kill()
    controller.start()
    controller.wait_ready()


def is_of(binding: Obj, account: Any) -> bool:
    """Whether a binding grants something to the release's ServiceAccount."""
    wanted = ("ServiceAccount", account.service_account, account.namespace)
    return any((s["kind"], s["name"], s.get("namespace")) == wanted for s in binding.get("subjects") or ())


@pytest.fixture
def deputy(cluster: Cluster, chart: Any, lab: Lab, people: People) -> Callable[..., tuple[User, list[str]]]:
    """deputy(): a user with all rights that the chart grants to the controller, and the paths of its bindings.

    deputy(without=kind) leaves the bindings of that kind out.
    """

    def make(*, without: str = "") -> tuple[User, list[str]]:
        user = people.nobody(lab.namespace)
        api = "/apis/rbac.authorization.k8s.io/v1"
        given = []
        for kind, plural in (("ClusterRoleBinding", "clusterrolebindings"), ("RoleBinding", "rolebindings")):
            for binding in cluster.list(f"{api}/{plural}"):
                if kind != without and is_of(binding, chart):
                    role = binding["roleRef"]
                    namespace = binding["metadata"].get("namespace", "")
                    given.append(people.bind(user, role["kind"], role["name"], namespace))
        return user, given

    return make
