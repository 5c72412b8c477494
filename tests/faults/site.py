"""The site of a scenario: a control plane, a controller process, and a kind whose instances own a chain and a Secret.

Requests of users are repeated until the API server accepts them, as users do.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from kroasync.playground import CommandError, Playground, reporting
from tests.faults.checks import (
    Call,
    calls_of,
    chain_of,
    created_out_of_order,
    created_twice,
    unfinished,
    work_of,
)
from tests.integration.cluster import Cluster, Lab, Obj, RefusedError, config, config_map, eventually, node
from tests.integration.process import ROOT, ControllerProcess

T = TypeVar("T")

GROUP = "faults.example.com"
SYSTEM = "faults-system"
_NAMED = 5
_TELL_S = 5.0
_RETRY_S = 0.2
# Events are written after the passes: the last one is written after a pause of this length without any write. The
# number limits the attempts to see such a pause.
_CALM_S, _CALM_WITHIN = 2.0, 15


@dataclass(slots=True)
class Report:
    """The figures of a scenario, in order, and the broken guarantees."""

    name: str
    figures: list[tuple[str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def figure(self, what: str, text: object) -> None:
        self.figures.append((what, str(text)))
        self.note(f"{what}: {text}")

    def check(self, what: str, wrong: Sequence[object]) -> None:
        """Record that a guarantee holds, or all its violations."""
        self.figure(what, "holds" if not wrong else f"BROKEN {len(wrong)} times")
        self.broken += [f"{what}: {text}" for text in wrong]

    def note(self, text: str) -> None:
        print(f"[{self.name} {time.monotonic() - self._began:6.1f} s] {text}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        wide = max(len(what) for what, _ in self.figures)
        lines = [f"{self.name}: {'BROKEN' if self.broken else 'held'}"]
        lines += [f"  {what:{wide}}  {text}" for what, text in self.figures]
        return "\n".join(lines + [f"  ! {text}" for text in self.broken[:50]])


@dataclass(slots=True, kw_only=True)
class Site:
    """One kind in one namespace, and its declared state: the values of instances by name."""

    lab: Lab
    kind: str = "Family"
    # The controller's account in the audit log.
    user: str
    declared: dict[str, str] = field(default_factory=dict)
    _began_at: int = 0

    @property
    def cluster(self) -> Cluster:
        return self.lab.cluster

    @property
    def playground(self) -> Playground:
        return self.lab.cluster.playground

    @property
    def controller(self) -> ControllerProcess:
        controller: ControllerProcess = self.lab.controller
        return controller

    # Actions of users

    def open(self) -> None:
        """Create the definition in an open lab, and wait until the kind is served."""
        self._began_at = self.mark()
        self.lab.define_object(self.definition())

    def definition(self) -> Obj:
        return self.lab.definition(self.kind, family(), spec={"value": "string"})

    def instance(self, name: str, value: str) -> Obj:
        return {
            "apiVersion": f"{self.lab.group}/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": name, "namespace": self.lab.namespace},
            "spec": {"value": value},
        }

    def put(self, name: str, value: str) -> None:
        """Declare a new instance, or another value of an instance."""
        persistently(lambda: self.cluster.apply(self.instance(name, value)))
        self.declared[name] = value

    def delete(self, name: str) -> None:
        persistently(lambda: self.cluster.delete(self.lab.path(self.kind, name)))
        self.declared.pop(name)

    def put_bystander(self, name: str) -> Obj:
        """A ConfigMap of someone else with every label and annotation of a child, like a manual copy."""
        child = self.lab.child("ConfigMap", name)["metadata"]
        copied = {part: child[part] for part in ("labels", "annotations") if part in child}
        bystander = config_map("bystander", self.lab.namespace, {"of": "someone else"}, **copied)
        return self.cluster.create(bystander)

    # The state of the cluster

    def mark(self) -> int:
        """The end of the audit log now."""
        return sum(part.stat().st_size for part in self._audit_logs())

    def calls(self, since: int | None = None) -> list[Call]:
        """The audited requests since a mark, or since the site was opened."""
        return calls_of(self._lines(self._began_at if since is None else since))

    def _audit_logs(self) -> list[Path]:
        """The audit log, after the parts that the API server rotated at 100 MB."""
        log = self.playground.audit_log
        return [*sorted(log.parent.glob(f"{log.stem}-*{log.suffix}")), *([log] if log.exists() else [])]

    def _lines(self, since: int) -> Iterator[bytes]:
        for part in self._audit_logs():
            size = part.stat().st_size
            if since < size:
                with part.open("rb") as log:
                    log.seek(since)
                    yield from log
            since = max(0, since - size)

    def here(self, since: int | None = None) -> list[Call]:
        """The `calls` to the site's namespace."""
        return [call for call in self.calls(since) if call.namespace == self.lab.namespace]

    def ours(self, since: int) -> list[Call]:
        """The `calls` to the site's namespace, or to its definitions, their CRDs, revisions and Events.

        A control plane may be shared: objects of the previous test may still be deleted when the next test begins.
        """
        namespace, group = self.lab.namespace, self.lab.group
        return [call for call in self.calls(since) if call.namespace == namespace or group in call.name]

    def children(self, kind: str) -> list[Obj]:
        """The controller's objects of a kind, without the bystander."""
        path = self.cluster.path(kind, self.lab.namespace)
        found = self.cluster.list(path, "kro.run/owned=true")
        return [obj for obj in found if obj["metadata"]["name"] != "bystander"]

    def uids(self) -> dict[str, str]:
        found = self.children("ConfigMap") + self.children("Secret")
        return {obj["metadata"]["name"]: obj["metadata"]["uid"] for obj in found}

    def unfinished(self) -> list[str]:
        """The differences from the current declared state."""
        wanted = dict(self.declared)
        instances = self.cluster.list(
            self.cluster.path(self.kind, self.lab.namespace, api_version=f"{self.lab.group}/v1alpha1")
        )
        return unfinished(wanted, instances, self.children("ConfigMap"), self.children("Secret"))

    # Guarantees

    def settle(self, report: Report, when: str, *, within_s: float = 180.0) -> float:
        """The seconds until everything is as declared."""
        began = told = time.monotonic()
        while left := persistently(self.unfinished):
            named = "; ".join(left[:_NAMED]) + (f"; and {len(left) - _NAMED} more" if len(left) > _NAMED else "")
            if time.monotonic() - began > within_s:
                report.check(f"converged {when}", [f"not within {within_s:g} s: {named}"])
                break
            if time.monotonic() - told > _TELL_S:
                told = time.monotonic()
                report.note(f"unfinished: {named}")
            pause(0.1)
        return time.monotonic() - began

    def rest(self, report: Report, when: str, *, seconds: float = 10.0, users: Sequence[str] = ()) -> None:
        """Wait until the controller, or one of several, writes nothing any more."""
        for _ in range(_CALM_WITHIN):
            if not self._written(_CALM_S, users):
                break
        writes = self._written(seconds, users)
        report.check(f"no write in {seconds:g} s {when}", writes)

    def _written(self, seconds: float, users: Sequence[str]) -> list[Call]:
        mark = self.mark()
        pause(seconds)
        calls = self.ours(mark)
        return [call for user in users or [self.user] for call in work_of(calls, user)]

    def check_creation(self, report: Report) -> None:
        calls = self.here()
        chains = [chain_of(name) for name in self.declared]
        report.check("no child created twice", created_twice(_children(calls)))
        report.check("creation order", created_out_of_order(_children(calls), chains))


def family() -> list[Obj]:
    """a, then b, then c, each with the UID of the one before; and a Secret that depends on none of them."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "${schema.metadata.name}-s"},
        "data": {"value": "${base64.encode(bytes(schema.spec.value))}"},
    }
    value = "${schema.spec.value}"
    return [
        config("a", data={"value": value, "of": ""}),
        config("b", data={"value": value, "of": "${a.metadata.uid}"}),
        config("c", data={"value": value, "of": "${b.metadata.uid}"}),
        node("s", secret),
    ]


def _children(calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if call.resource in ("configmaps", "secrets")]


def names(count: int) -> list[str]:
    return [f"i{number:04}" for number in range(count)]


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def persistently(call: Callable[[], T], *, within_s: float = 180.0) -> T:
    """The result of `call`, which is repeated while the API server is down or not ready."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return call()
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            if time.monotonic() > deadline:
                raise
        except RefusedError as error:
            # 403: after its start, an API server has not read its roles yet.
            if (error.status not in (403, 404, 429) and error.status < 500) or time.monotonic() > deadline:
                raise
        pause(_RETRY_S)


class Spread:
    """Make changes in the background, one after the other; the end of the block raises their exception."""

    def __init__(self, changes: Sequence[Callable[[], object]], *, over_s: float) -> None:
        self._changes = changes
        self._pause_s = over_s / max(1, len(changes))
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._make, daemon=True)

    def __enter__(self) -> Spread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def _make(self) -> None:
        began = time.monotonic()
        try:
            for number, change in enumerate(self._changes):
                pause(max(0.0, began + number * self._pause_s - time.monotonic()))
                change()
        except BaseException as error:
            self._failure = error


@contextmanager
def control_plane() -> Iterator[tuple[Playground, Path]]:
    """An audited playground that serves kroasync's CRDs, and a folder; both are deleted at the end."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with reporting(sys.stderr):
            playground = Playground.up(name=f"faults-{time.time_ns()}", directory=folder / "playground", audit=True)
        with playground:
            playground.kubectl("apply", "-f", str(ROOT / "charts" / "kroasync" / "crds"))
            eventually(lambda: _serves_crds(playground), timeout_s=60, what="kroasync's CRDs are served")
            playground.kubectl("create", "namespace", SYSTEM)
            yield playground, folder


def _serves_crds(playground: Playground) -> bool:
    crds = ("crd/resourcegroups.kro.run", "crd/resourcegraphdefinitions.kro.run", "crd/graphrevisions.internal.kro.run")
    try:
        playground.kubectl("wait", "--for=condition=Established", *crds)
    except CommandError:  # they have no conditions at all yet
        return False
    return True


def account(playground: Playground, folder: Path, name: str) -> tuple[str, Path]:
    """The user name and kubeconfig of a service account with all rights, because this does not test RBAC."""
    playground.kubectl("create", "serviceaccount", name, "-n", SYSTEM)
    binding = ("clusterrolebinding", f"faults-{name}", "--clusterrole=cluster-admin")
    playground.kubectl("create", *binding, f"--serviceaccount={SYSTEM}:{name}")
    token = playground.kubectl("create", "token", name, "-n", SYSTEM, "--duration=24h").strip()
    return f"system:serviceaccount:{SYSTEM}:{name}", playground.kubeconfig_for_token(token, folder / name)


@contextmanager
def site(*, flags: Sequence[str] = ()) -> Iterator[Site]:
    """A separate control plane with one ready controller."""
    with control_plane() as (playground, folder):
        user, kubeconfig = account(playground, folder, "controller")
        controller = ControllerProcess(kubeconfig=kubeconfig, log=folder / "controller.log", arguments=flags)
        cluster = Cluster(playground)
        lab = Lab(cluster, namespace="faults", group=GROUP, controller=controller)
        controller.start()
        try:
            controller.wait_ready()
            lab.open()
            found = Site(lab=lab, user=user)
            found.open()
            yield found
        except BaseException:
            print(controller.tail(), file=sys.stderr)
            raise
        finally:
            if controller.is_running:
                controller.stop()
            cluster.close()
