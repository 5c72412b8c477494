"""The control plane's components in the order in which they start: command lines, ports and health endpoints.

They are tuned for tests and two cores: etcd does not wait for the disk, there is no leader election, and requests of
controllers are not limited. Everything listens only on 127.0.0.1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kroasync.playground.binaries import Binaries

SERVICE_RANGE = "10.0.0.0/16"
NODE = "node-0"
# The same users as in a real cluster, so that an audit log can omit them.
OWN_USERS = ("system:kube-controller-manager", "system:kube-scheduler", "system:kwok")


@dataclass(frozen=True, slots=True)
class Layout:
    """The files and folders in the playground's directory."""

    directory: Path

    @property
    def state(self) -> Path:
        return self.directory / "state.json"

    @property
    def pki(self) -> Path:
        """The API server writes its self-signed serving certificate here, and reads it after a restart."""
        return self.directory / "pki"

    @property
    def certificate(self) -> Path:
        return self.pki / "apiserver.crt"

    @property
    def key(self) -> Path:
        return self.pki / "apiserver.key"

    @property
    def tokens(self) -> Path:
        return self.pki / "tokens.csv"

    @property
    def audit_policy(self) -> Path:
        return self.pki / "audit.json"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def scratch(self) -> Path:
        """Caches and settings of kubectl and helm, separate from those of the user."""
        return self.directory / "clients"

    def kubeconfig_of(self, component: str) -> Path:
        return self.pki / f"{component}.kubeconfig"

    def log(self, component: str) -> Path:
        return self.directory / "logs" / f"{component}.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandInputs:
    """The input of the command lines. The keys of `ports` are the components and `etcd-peer`."""

    layout: Layout
    ports: dict[str, int]
    binaries: Binaries
    audited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One program.

    `health` is a URL path on its port; `user` is its user name, if it is a client.
    """

    name: str
    arguments: Callable[[CommandInputs], list[str]]
    scheme: str
    health: str
    user: str = ""

    def command(self, plan: CommandInputs) -> list[str]:
        """Absolute program and arguments."""
        return [str(plan.binaries.path(self.name)), *self.arguments(plan)]


def _etcd(plan: CommandInputs) -> list[str]:
    client = f"http://127.0.0.1:{plan.ports['etcd']}"
    peer = f"http://127.0.0.1:{plan.ports['etcd-peer']}"
    return [
        "--name=playground",
        f"--data-dir={plan.layout.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=playground={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver(plan: CommandInputs) -> list[str]:
    layout = plan.layout
    audit = [
        f"--audit-policy-file={layout.audit_policy}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-mode=batch",
    ]
    return [
        f"--etcd-servers=http://127.0.0.1:{plan.ports['etcd']}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",  # a loopback address is not a valid endpoint of Service `kubernetes`
        f"--secure-port={plan.ports['kube-apiserver']}",
        f"--cert-dir={layout.pki}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={layout.key}",  # the serving key also signs tokens, so that one key suffices
        f"--service-account-signing-key-file={layout.key}",
        f"--token-auth-file={layout.tokens}",
        "--authorization-mode=RBAC",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--allow-privileged=true",
        "--shutdown-send-retry-after=true",  # also ends open watches after 2 s instead of 60
        "--profiling=false",
        *(audit if plan.audited else []),
    ]


def _client(plan: CommandInputs, name: str) -> list[str]:
    return [
        f"--kubeconfig={plan.layout.kubeconfig_of(name)}",
        f"--authentication-kubeconfig={plan.layout.kubeconfig_of(name)}",
        f"--authorization-kubeconfig={plan.layout.kubeconfig_of(name)}",
        "--authentication-skip-lookup=true",
        "--bind-address=127.0.0.1",
        f"--secure-port={plan.ports[name]}",
        f"--tls-cert-file={plan.layout.certificate}",
        f"--tls-private-key-file={plan.layout.key}",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--profiling=false",
    ]


def _controller_manager(plan: CommandInputs) -> list[str]:
    return [
        *_client(plan, "kube-controller-manager"),
        "--use-service-account-credentials=false",
        f"--service-account-private-key-file={plan.layout.key}",
        f"--root-ca-file={plan.layout.certificate}",
        "--controllers=*,-nodeipam,-cloud-node-lifecycle",
    ]


def _scheduler(plan: CommandInputs) -> list[str]:
    return _client(plan, "kube-scheduler")


def _kwok(plan: CommandInputs) -> list[str]:
    return [
        f"--kubeconfig={plan.layout.kubeconfig_of('kwok')}",
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40",
        f"--server-address=127.0.0.1:{plan.ports['kwok']}",
        *(f"--config={file}" for file in plan.binaries.kwok_stages()),
    ]


COMPONENTS = (
    Component(name="etcd", arguments=_etcd, scheme="http", health="/health"),
    Component(name="kube-apiserver", arguments=_apiserver, scheme="https", health="/readyz"),
    Component(
        name="kube-controller-manager",
        arguments=_controller_manager,
        scheme="https",
        health="/healthz",
        user="system:kube-controller-manager",
    ),
    Component(
        name="kube-scheduler",
        arguments=_scheduler,
        scheme="https",
        health="/healthz",
        user="system:kube-scheduler",
    ),
    Component(name="kwok", arguments=_kwok, scheme="http", health="/healthz", user="system:kwok"),
)
BY_NAME = {component.name: component for component in COMPONENTS}
PORT_NAMES = (*BY_NAME, "etcd-peer")


def audit_policy(users: Sequence[str]) -> str:
    """One Metadata line for each answered request of `users`; without users, of everyone except the control plane."""
    rules: list[dict[str, Any]] = (
        [{"level": "Metadata", "users": list(users)}, {"level": "None"}]
        if users
        else [
            {"level": "None", "users": [*OWN_USERS, "system:apiserver", "system:anonymous"]},
            {"level": "Metadata"},
        ]
    )
    return json.dumps(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": rules,
        }
    )


def node() -> dict[str, Any]:
    """The only node, large enough for every test; kwok simulates its kubelet."""
    room = {"cpu": "100000", "memory": "100Ti", "ephemeral-storage": "100Ti", "pods": "100000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"},
        },
        "status": {"allocatable": room, "capacity": room},
    }
