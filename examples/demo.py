"""The demonstration of `make demo`: a definition, its instance, and what becomes of it, on a real control plane.

Every step is shown with kubectl as it happens, and checked. The first one that does not happen ends the demonstration
with status 1 and the end of the controller's log.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from kroasync.playground import Binaries, CommandError, NotUpError, Playground, PlaygroundError, reporting

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
# As seen from the checkout, where the commands run.
DEFINITION = Path("examples/webapplication/resourcegroup.yaml")
INSTANCE = Path("examples/webapplication/instance.yaml")
CHART = Path("charts/kroasync")
SYSTEM = "kroasync-system"
KINDS = ("deployments", "services", "ingresses")
CHILD = "web-app"
OBJECT = "webapplication/my-app"
NEW_IMAGE = "nginx:1.29"
READY_MESSAGE = "All resources are available and configured correctly"
_POLL_S = 0.05
_TAIL_LINES = 25


class DemoError(Exception):
    """Something that was to be shown did not happen."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a watch of kubectl reported. Versions are those of the store: they order changes of all kinds."""

    seen_at: float
    type: str
    kind: str
    name: str
    version: int


class Changes:
    """Every change of the instance and its children, as `kubectl get --watch` reports it, one for each kind."""

    def __init__(self, playground: Playground) -> None:
        self._playground = playground
        self._kubectl = Binaries.ensure(["kubectl"]).path("kubectl")
        self._incoming: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._seen: list[Change] = []
        self._watches: list[subprocess.Popen[str]] = []

    def watch(self, kind: str) -> None:
        """Report this kind from now on."""
        form = '{.type} {.object.kind} {.object.metadata.name} {.object.metadata.resourceVersion}{"\\n"}'
        watch = subprocess.Popen(
            [
                *(str(self._kubectl), f"--kubeconfig={self._playground.kubeconfig}", "get", kind),
                *("--watch", "--output-watch-events", f"--output=jsonpath={form}"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._watches.append(watch)
        threading.Thread(target=self._read, args=(watch,), daemon=True).start()

    def _read(self, watch: subprocess.Popen[str]) -> None:
        assert watch.stdout is not None
        for line in watch.stdout:
            type_, kind, name, version = line.split()
            if name in (CHILD, "my-app"):
                self._incoming.put(Change(time.monotonic(), type_, kind, name, int(version)))

    def since(self, start: float, *types: str) -> list[Change]:
        """The first change of each type and kind seen after `start`, in the order they happened."""
        while not self._incoming.empty():
            self._seen.append(self._incoming.get())
        found: dict[tuple[str, str], Change] = {}
        for change in self._seen:
            if change.seen_at >= start and change.type in types:
                found.setdefault((change.type, change.kind), change)
        return sorted(found.values(), key=lambda change: change.version)

    def close(self) -> None:
        for watch in self._watches:
            watch.terminate()
            watch.wait(10)


class Demo:
    """The stage: a console, a playground, a controller, and the steps as methods."""

    def __init__(self, console: Console, playground: Playground, folder: Path) -> None:
        self._console = console
        self._playground = playground
        self._controller_log = folder / "controller.log"
        self._controller: subprocess.Popen[bytes] | None = None
        self._changes = Changes(playground)
        for kind in KINDS:
            self._changes.watch(kind)

    # The steps, in order

    def install(self) -> None:
        self._heading("The chart", "helm installs CRDs, ServiceAccount and RBAC")
        self._shown(
            "helm",
            *("install", "kroasync", str(CHART), "--namespace", SYSTEM, "--create-namespace"),
            # Nothing runs images here: the controller is a process.
            *("--set", "image.repository=registry.example.com/kroasync"),
            lines=6,
        )
        self._kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/resourcegroups.kro.run")
        token = self._kubectl("create", "token", "kroasync", f"--namespace={SYSTEM}", "--duration=24h")
        kubeconfig = self._playground.kubeconfig_for_token(
            token.strip(), self._playground.directory / "controller-kubeconfig"
        )
        self.start_controller(kubeconfig)
        started = time.monotonic()
        self._until("the controller is ready", self._is_ready)
        ready_s = time.monotonic() - started
        self._say(
            f"The controller is ready after {ready_s:.1f} s: a process with a token of the chart's ServiceAccount."
        )
        self._say(f"Its log: {self._controller_log}")

    def start_controller(self, kubeconfig: Path) -> None:
        with self._controller_log.open("wb") as log:
            self._controller = subprocess.Popen(
                [
                    *(sys.executable, "-m", "kroasync", "run", f"--kubeconfig={kubeconfig}"),
                    *("--health-probe-bind-address=127.0.0.1:0", "--metrics-bind-address=0", "--zap-log-level=info"),
                ],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )

    def _is_ready(self) -> bool:
        found = re.search(r'"health":(\d+)', self._controller_log.read_text(encoding="utf-8"))
        if found is None:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:  # not ready, or not listening
            return False

    def define(self) -> None:
        self._heading("A definition becomes an API")
        started = time.monotonic()
        self._shown("kubectl", "apply", f"--filename={DEFINITION}")
        self._until("the definition is Active", lambda: self._field("rg/webapplication", "state") == "Active")
        self._say(f"Active after {time.monotonic() - started:.1f} s.")
        shown = self._shown("kubectl", "get", "resourcegroup", "webapplication")
        self._expect("ResourceGroup" in self._kubectl("api-resources", "--api-group=kro.run"), "the API is served")
        self._expect("WebApplication" in shown and "Active" in shown, "the table names the kind")
        shown = self._shown("kubectl", "api-resources", "--api-group=kro.run")
        self._expect("WebApplication" in shown, "the new kind is an API resource")
        self._shown("kubectl", "get", "crd", "webapplications.kro.run")

    def create(self) -> None:
        self._heading("An instance becomes resources", "each as soon as what it reads is there")
        self._say(INSTANCE.read_text(encoding="utf-8").rstrip(), style="dim")
        self._changes.watch("webapplications")
        started = time.monotonic()
        self._shown("kubectl", "apply", f"--filename={INSTANCE}")
        order = ("WebApplication", "Deployment", "Service", "Ingress")
        created = self._changed(started, "ADDED", order)
        self._table(created[0].seen_at, created)
        self._kinds_in_order(created, order)
        self._active()
        header, row = self._shown("kubectl", "get", "webapplication", "my-app").splitlines()
        self._expect(header.split() == ["NAME", "STATUS", "SYNCED", "AGE"], "the columns are those of the page")
        self._expect(row.split()[:3] == ["my-app", "ACTIVE", "true"], "my-app is ACTIVE and synced")

    def show_status(self) -> None:
        self._heading("The status")
        self._say("$ kubectl get webapplication my-app --output=yaml", style="cyan")
        text = self._kubectl("get", "webapplication", "my-app", "--output=yaml")
        self._say(text[text.index("status:") :].rstrip())
        status = self._object(OBJECT)["status"]
        self._expect(status["availableReplicas"] == 3, "availableReplicas is 3")
        (ready,) = [c for c in status["conditions"] if c["type"] == "Ready"]
        self._expect(ready["status"] == "True", "the condition Ready is True")
        self._expect(ready["reason"] == "ResourcesAvailable", "its reason is ResourcesAvailable")
        self._expect(ready["message"] == READY_MESSAGE, "its message is that of the page")

    def heal(self) -> None:
        self._heading("A deleted resource comes back")
        before = self._uid(f"service/{CHILD}")
        started = time.monotonic()
        self._shown("kubectl", "delete", f"service/{CHILD}")
        changes = self._changed(started, "ADDED", ("Service",), also=("DELETED",))
        deleted = next(c for c in changes if c.type == "DELETED")
        added = next(c for c in changes if c.type == "ADDED")
        self._say(f"Back after {1000 * (added.seen_at - deleted.seen_at):.0f} ms, as kubectl saw it.")
        self._expect(self._uid(f"service/{CHILD}") != before, "it is a new object")
        self._shown("kubectl", "get", f"service/{CHILD}")
        self._active()

    def change(self) -> None:
        self._heading("A changed image is rolled out")
        patch = json.dumps({"spec": {"image": NEW_IMAGE}})
        self._shown("kubectl", "patch", OBJECT, "--type=merge", f"--patch={patch}")
        self._until(
            "the Deployment has the new image",
            lambda: self._image() == NEW_IMAGE,
        )
        self._shown("kubectl", "rollout", "status", f"deployment/{CHILD}", "--timeout=60s", lines=1, last=True)
        self._active()
        columns = "NAME:.metadata.name,IMAGE:.spec.template.spec.containers[0].image,READY:.status.readyReplicas"
        shown = self._shown("kubectl", "get", "replicasets", f"--output=custom-columns={columns}")
        (row,) = [line for line in shown.splitlines() if NEW_IMAGE in line]
        self._expect(row.split()[-1] == "3", "three replicas run the new image")

    def exclude(self) -> None:
        self._heading("ingress.enabled: false removes just the Ingress")
        kept = [self._uid(f"{kind}/{CHILD}") for kind in ("deployment", "service")]
        started = time.monotonic()
        self._set_ingress(False)
        self._changed(started, "DELETED", ("Ingress",))
        self._active()
        shown = self._shown(
            "kubectl", "get", "deployments,services,ingresses", f"--field-selector=metadata.name={CHILD}"
        )
        self._expect("ingress" not in shown, "the Ingress is gone")
        self._expect(
            [self._uid(f"{kind}/{CHILD}") for kind in ("deployment", "service")] == kept,
            "Deployment and Service are the same objects as before",
        )

    def events(self) -> None:
        self._heading("Events tell the story")
        wanted = {"Created", "Ready", "Healed", "Updated", "Deleted"}

        def told() -> set[str]:
            regarding = "--field-selector=involvedObject.name=my-app"
            return set(self._kubectl("get", "events", regarding, "--output=jsonpath={.items[*].reason}").split())

        self._until(f"the Events {', '.join(sorted(wanted))}", lambda: wanted <= told())
        text = self._kubectl("describe", "webapplication", "my-app")
        self._say("$ kubectl describe webapplication my-app", style="cyan")
        events = text[text.index("Events:") :]
        self._say(events.rstrip())
        self._expect(all(reason in events for reason in wanted), "kubectl describe shows them")

    def delete(self) -> None:
        self._heading("Deletion in reverse order", "each gone before the next one goes")
        started = time.monotonic()
        self._set_ingress(True)
        self._changed(started, "ADDED", ("Ingress",))
        self._active()
        started = time.monotonic()
        self._shown("kubectl", "delete", OBJECT, "--timeout=60s")
        order = ("Ingress", "Service", "Deployment", "WebApplication")
        deleted = self._changed(started, "DELETED", order)
        self._table(started, deleted)
        self._kinds_in_order(deleted, order)
        left = self._kubectl("get", "deployments,ingresses,webapplications", "--output=name")
        self._expect(left == "", "nothing is left")

    def give_back(self) -> None:
        """Have something there to look at."""
        self._kubectl("apply", f"--filename={INSTANCE}")
        self._active()

    def say_how_to_talk(self) -> None:
        assert self._controller is not None
        name = self._playground.name
        self._heading("Left running")
        command = f"{Path(sys.executable).with_name('kroasync')} playground down --name {name}"
        self._say(f"export KUBECONFIG={self._playground.kubeconfig}")
        self._say("kubectl get webapplications")
        self._say(f"tail -f {self._controller_log}")
        self._say("To end it:")
        self._say(f"kill {self._controller.pid}; {command}")

    # What the steps are made of

    def close(self, *, keep: bool) -> None:
        self._changes.close()
        if self._controller is not None and not keep and self._controller.poll() is None:
            self._controller.terminate()
            self._controller.wait(60)

    def log_tail(self) -> str:
        """The end of the controller's log."""
        if not self._controller_log.exists():
            return ""
        lines = self._controller_log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def _heading(self, text: str, remark: str = "") -> None:
        self._console.print()
        self._console.print(f"[bold]{text}[/bold]" + (f"  [dim]{remark}[/dim]" if remark else ""))
        self._console.print()

    def _say(self, text: str, *, style: str = "") -> None:
        for line in text.splitlines():
            self._console.print(f"  {line}", style=style, markup=False, soft_wrap=True)

    def _shown(self, program: str, *arguments: str, lines: int = 0, last: bool = False) -> str:
        """Run it and show it; with `lines` only the first (or last) so many of its answer."""
        quoted = [f"'{a}'" if set(a) & set(' {"[') else a for a in arguments]
        self._say(f"$ {program} {' '.join(quoted)}", style="cyan")
        call = self._playground.helm if program == "helm" else self._playground.kubectl
        answer = call(*arguments)
        parts = answer.rstrip().splitlines()
        if lines:
            parts = parts[-lines:] if last else parts[:lines]
        self._say("\n".join(parts))
        return answer

    def _kubectl(self, *arguments: str) -> str:
        return self._playground.kubectl(*arguments)

    def _object(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._kubectl("get", name, "--output=json"))
        return found

    def _field(self, name: str, field: str) -> object:
        return self._object(name).get("status", {}).get(field)

    def _uid(self, name: str) -> str:
        return str(self._object(name)["metadata"]["uid"])

    def _image(self) -> str:
        spec = self._object(f"deployment/{CHILD}")["spec"]["template"]["spec"]
        return str(spec["containers"][0]["image"])

    def _set_ingress(self, enabled: bool) -> None:
        patch = json.dumps({"spec": {"ingress": {"enabled": enabled}}})
        self._shown("kubectl", "patch", OBJECT, "--type=merge", f"--patch={patch}")

    def _active(self) -> None:
        """The instance is ACTIVE and synced, and its status speaks of its present spec."""

        def holds() -> bool:
            found = self._object(OBJECT)
            status = found.get("status", {})
            return (
                status.get("state") == "ACTIVE"
                and status.get("synced") is True
                and status.get("observedGeneration") == found["metadata"]["generation"]
            )

        self._until("my-app is ACTIVE", holds)

    def _changed(self, started: float, type_: str, kinds: Sequence[str], *, also: Sequence[str] = ()) -> list[Change]:
        def found() -> list[Change]:
            changes = self._changes.since(started, type_, *also)
            return changes if {c.kind for c in changes if c.type == type_} >= set(kinds) else []

        return self._until(f"{type_.lower()}: {', '.join(kinds)}", found)

    def _kinds_in_order(self, changes: Sequence[Change], kinds: Sequence[str]) -> None:
        order = [change.kind for change in changes]
        self._expect(order == list(kinds), f"the order is {', '.join(kinds)} (it was {', '.join(order)})")

    def _table(self, started: float, changes: Sequence[Change]) -> None:
        """The changes by revision of the store; the time is that of the last one as kubectl told it."""
        self._say(f"{'REVISION':>8}   {'CHANGE':<9} OBJECT", style="dim")
        for change in changes:
            self._say(f"{change.version:>8}   {change.type.lower():<9} {change.kind} {change.name}")
        took_ms = 1000 * (max(change.seen_at for change in changes) - started)
        self._say(f"All of it within {took_ms:.0f} ms.")

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise DemoError(f"not so: {what}")

    def _until(self, what: str, check: Callable[[], T], timeout_s: float = 60.0) -> T:
        deadline = time.monotonic() + timeout_s
        while not (found := check()):
            if self._controller is not None and self._controller.poll() is not None:
                raise DemoError(f"the controller ended with status {self._controller.returncode}")
            if time.monotonic() > deadline:
                raise DemoError(f"not within {timeout_s:.0f} s: {what}")
            threading.Event().wait(_POLL_S)
        return found


def _play(console: Console, playground: Playground, folder: Path, *, keep: bool) -> None:
    demo = Demo(console, playground, folder)
    try:
        demo.install()
        demo.define()
        demo.create()
        demo.show_status()
        demo.heal()
        demo.change()
        demo.exclude()
        demo.events()
        demo.delete()
        if keep:
            demo.give_back()
            demo.say_how_to_talk()
    except BaseException:
        console.print()
        console.print("The controller's log ends:", style="bold red")
        console.print(demo.log_tail(), markup=False, soft_wrap=True)
        demo.close(keep=False)
        raise
    demo.close(keep=keep)


@contextmanager
def _control_plane(console: Console, name: str, *, keep: bool) -> Iterator[Playground]:
    console.print("[bold]A control plane[/bold]  [dim]etcd, API server, controllers, scheduler, a simulated node[/dim]")
    console.print()
    with reporting(sys.stderr) as progress:
        binaries = Binaries.ensure(progress=progress)
        binaries.path("helm")
    try:
        Playground.load(name).down()
        console.print(f"  The playground {name} of an earlier run is removed.")
    except NotUpError:
        pass
    started = time.monotonic()
    playground = Playground.up(name=name, detach=keep, binaries=binaries)
    console.print(f"  Up after {time.monotonic() - started:.1f} s: {playground.server}")
    try:
        yield playground
    except BaseException:
        playground.down()
        raise
    if not keep:
        playground.down()


def main(arguments: Sequence[str] | None = None) -> int:
    """Show everything; 0 if all of it happened, 1 if not, 130 when interrupted."""
    parser = argparse.ArgumentParser(description="Show kroasync at work on a real control plane.")
    parser.add_argument("--keep", action="store_true", help="leave everything running, and say how to talk to it")
    parser.add_argument("--name", default="demo", help="name of the playground (default: demo)")
    chosen = parser.parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    started = time.monotonic()
    os.chdir(ROOT)
    try:
        folder = ROOT / ".demo" / chosen.name
        folder.mkdir(parents=True, exist_ok=True)
        with _control_plane(console, chosen.name, keep=chosen.keep) as playground:
            _play(console, playground, folder, keep=chosen.keep)
    except (DemoError, CommandError, PlaygroundError) as error:
        console.print()
        console.print(f"FAILED: {error}", style="bold red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    console.print()
    console.print(f"[bold green]All of it happened[/bold green], in {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
