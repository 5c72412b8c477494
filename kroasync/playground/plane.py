"""A playground: a real control plane on loopback, as processes with one directory.

The directory describes the whole playground (see state.py), so any process can inspect, repair or stop it. Stopping it
removes the processes and the directory.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import kroasync
from kroasync.playground.access import User, kubeconfig, request, write_private
from kroasync.playground.binaries import Binaries
from kroasync.playground.client_programs import run_client
from kroasync.playground.components import (
    BY_NAME,
    COMPONENTS,
    NODE,
    PORT_NAMES,
    CommandInputs,
    Component,
    Layout,
    audit_policy,
    node,
)
from kroasync.playground.directories import alone_in, claim, default_directory
from kroasync.playground.plane_errors import (
    ComponentError,
    NotUpError,
    PlaygroundError,
)
from kroasync.playground.ports import free_ports
from kroasync.playground.processes import Identity, ProcessState, await_end, send, spawn, state_of, tail
from kroasync.playground.state import ComponentRecord, State, read_state, write_state

ADMIN = "playground-admin"
START_TIMEOUT_S = 60.0

_POLL_S = 0.05
_STOP_TIMEOUT_S = 10.0
_KILL_TIMEOUT_S = 10.0

ComponentState = Literal["running", "paused", "stopped", "crashed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStatus:
    """The current state of one component. `log_tail` is set for a crashed component."""

    name: str
    state: ComponentState
    pid: int | None
    port: int
    log: Path
    log_tail: str = ""


class Playground:
    """A control plane that is up, or was left behind. Use `up` to start one, and `load` to find one."""

    def __init__(self, *, layout: Layout, state: State, binaries: Binaries) -> None:
        self._layout = layout
        self._state = state
        self._binaries = binaries
        self._tether: tuple[Identity, int] | None = None

    @classmethod
    def up(
        cls,
        *,
        name: str = "default",
        directory: Path | None = None,
        audit: bool | Sequence[str] = False,
        detach: bool = False,
        binaries: Binaries | None = None,
        timeout_s: float = START_TIMEOUT_S,
    ) -> Playground:
        """Start a control plane and return when it is ready: API served, controllers healthy, node
        schedulable.

        `audit` writes a Metadata line for each request of the named users, or with True of everyone except the
        control plane itself. `directory` must be empty or absent; it belongs to the playground and is removed
        with it. Without `detach`, the playground ends with the calling process, however that ends. Raises
        AlreadyUpError, ComponentError (then nothing is left behind), and the errors of Binaries.ensure.
        """
        default = default_directory(name)
        layout = Layout((directory or default).absolute())
        programs = binaries or Binaries.ensure()
        claim(layout.directory, name=name)
        with alone_in(layout.directory):
            playground = cls._prepared(layout, name=name, audit=audit, binaries=programs)
            try:
                playground._write_files(audit)
                if not detach:
                    playground._tie()
                playground._start_all(timeout_s)
            except BaseException:
                playground._remove()
                raise
        return playground

    @classmethod
    def load(cls, name: str = "default", *, directory: Path | None = None) -> Playground:
        """The playground with that name or directory, running or not. Raises NotUpError if there is none."""
        layout = Layout((directory or default_directory(name)).absolute())
        state = read_state(layout.state)
        if state is None:
            place = f"in {layout.directory}" if directory else f"named {name!r}"
            raise NotUpError(f"there is no playground {place}")
        return cls(layout=layout, state=state, binaries=Binaries())

    @property
    def name(self) -> str:
        return self._state.name

    @property
    def directory(self) -> Path:
        return self._layout.directory

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._layout.kubeconfig

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://127.0.0.1:{self._state.ports['kube-apiserver']}"

    @property
    def admin_token(self) -> str:
        """Bearer token of group system:masters."""
        return self._state.admin_token

    @property
    def certificate(self) -> Path:
        """PEM file that verifies the API server."""
        return self._layout.certificate

    @property
    def audit_log(self) -> Path:
        """JSON lines of audit.k8s.io/v1 Events; absent when the playground was started without audit."""
        return self._layout.audit_log

    @property
    def is_audited(self) -> bool:
        """Whether it was started with audit."""
        command = self._record("kube-apiserver").command
        return any(argument.startswith("--audit-log-path=") for argument in command)

    def log(self, component: str) -> Path:
        """Log file of one component."""
        self._record(component)
        return self._layout.log(component)

    def kubeconfig_for_token(self, token: str, path: Path) -> Path:
        """Write a kubeconfig with `token` that only the user can read; returns `path`."""
        text = kubeconfig(
            server=self.server,
            certificate=self.certificate.read_bytes(),
            token=token,
            context=f"kroasync-playground-{self.name}",
        )
        write_private(path, text)
        return path

    def kubectl(self, *arguments: str, input: str | None = None, timeout_s: float = 60.0) -> str:
        """Standard output of kubectl as administrator. Raises CommandError with its standard error."""
        return self._client("kubectl", arguments, stdin=input, timeout_s=timeout_s)

    def helm(self, *arguments: str, input: str | None = None, timeout_s: float = 120.0) -> str:
        """Standard output of helm as administrator. Raises CommandError with its standard error."""
        return self._client("helm", arguments, stdin=input, timeout_s=timeout_s)

    def status(self) -> tuple[ComponentStatus, ...]:
        """Every component, in start order."""
        self._refresh()
        return tuple(self._status(name) for name in self._state.components)

    def stop(self, component: str) -> None:
        """Stop one component; kill it after ten seconds. Its data and ports stay."""
        self._refresh()
        process = self._record(component).process
        if process is not None:
            send(process, signal.SIGTERM)
            send(process, signal.SIGCONT)
            if not await_end(process, timeout_s=_STOP_TIMEOUT_S):
                _kill([process])
        self._remember(component, None)

    def kill(self, component: str) -> None:
        """Make one component crash (SIGKILL); `status` then reports it."""
        self._refresh()
        process = self._record(component).process
        if process is not None:
            _kill([process])

    def start(self, component: str, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Restart one component with its ports and data, unless it runs, and wait until it is healthy.

        Raises ComponentError if it crashes or is not healthy in time.
        """
        self._refresh()
        self._spawn(component)
        self._await(
            component,
            lambda: self._is_healthy(BY_NAME[component]),
            timeout_s=timeout_s,
            watched=(component,),
        )

    def pause(self, component: str) -> None:
        """Pause one component (SIGSTOP): it keeps connections and answers nothing. Returns when it has stopped."""
        self._signal(component, signal.SIGSTOP)
        self._await_state(component, "paused")

    def resume(self, component: str) -> None:
        """Continue a paused component."""
        self._signal(component, signal.SIGCONT)
        self._await_state(component, "running")

    def repair(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start crashed and stopped components, and resume paused ones, with the same data and ports.

        Raises ComponentError if one crashes again.
        """
        with alone_in(self.directory):
            for status in self.status():
                if status.state == "paused":
                    self.resume(status.name)
                elif status.state == "crashed":
                    self._remember(status.name, None)
            self._start_all(timeout_s)

    def down(self) -> None:
        """Stop all processes and remove the directory. Does nothing if it is gone already."""
        with alone_in(self.directory):
            self._remove()

    def _remove(self) -> None:
        current = read_state(self._layout.state) or self._state
        _kill([record.process for record in current.components.values() if record.process is not None])
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.directory.exists():
            shutil.rmtree(self.directory)  # raises an error that names what could not be removed
        self._untie()

    def __enter__(self) -> Playground:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @classmethod
    def _prepared(cls, layout: Layout, *, name: str, audit: bool | Sequence[str], binaries: Binaries) -> Playground:
        """Decide on everything and write the state, so that `load` finds it from here on."""
        ports = dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True))
        plan = CommandInputs(layout=layout, ports=ports, binaries=binaries, audited=bool(audit))
        state = State(
            name=name,
            admin_token=secrets.token_urlsafe(24),
            ports=ports,
            components={c.name: ComponentRecord(command=tuple(c.command(plan))) for c in COMPONENTS},
        )
        write_state(layout.state, state)
        return cls(layout=layout, state=state, binaries=binaries)

    def _write_files(self, audit: bool | Sequence[str]) -> None:
        """Write the files of the first components; the others follow when the API server has its certificate."""
        layout = self._layout
        for folder in (layout.pki, layout.log("any").parent, layout.scratch):
            folder.mkdir(mode=0o700)
        users = [User(name=ADMIN, token=self.admin_token, groups=("system:masters",))]
        users += [
            User(name=c.user, token=secrets.token_urlsafe(24), groups=("system:masters",)) for c in COMPONENTS if c.user
        ]
        write_private(layout.tokens, "".join(user.row for user in users))
        write_private(layout.audit_policy, audit_policy([] if isinstance(audit, bool) else audit))

    def _start_all(self, timeout_s: float) -> None:
        """Start etcd and the API server together; then, with the certificate of the API server, everything else."""
        deadline = time.monotonic() + timeout_s
        for name in ("etcd", "kube-apiserver"):
            self._spawn(name)
        self._await_healthy("kube-apiserver", deadline)
        self._write_kubeconfigs()
        for component in COMPONENTS:
            self._spawn(component.name)
        self._await("kube-apiserver", self._create_node, timeout_s=deadline - time.monotonic())
        for component in COMPONENTS:
            self._await_healthy(component.name, deadline)
        self._await("kwok", self._is_usable, timeout_s=deadline - time.monotonic())

    def _write_kubeconfigs(self) -> None:
        rows = [row.split(",") for row in self._layout.tokens.read_text(encoding="utf-8").splitlines()]
        tokens = {name: token for token, name, *_ in rows}
        for component in COMPONENTS:
            if component.user:
                self.kubeconfig_for_token(tokens[component.user], self._layout.kubeconfig_of(component.name))
        self.kubeconfig_for_token(self.admin_token, self.kubeconfig)

    def _create_node(self) -> bool:
        status, _ = self._ask("POST", "/api/v1/nodes", node())
        return status in (201, 409)

    def _is_usable(self) -> bool:
        """Whether the node accepts pods (kwok), and namespace `default` has its ServiceAccount (controller manager)."""
        status, body = self._ask("GET", f"/api/v1/nodes/{NODE}")
        if status != 200 or json.loads(body)["spec"].get("taints"):
            return False
        status, _ = self._ask("GET", "/api/v1/namespaces/default/serviceaccounts/default")
        return status == 200

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        return request(
            f"{self.server}{path}",
            method=method,
            body=body,
            token=self.admin_token,
            certificate=self.certificate,
        )

    def _is_healthy(self, component: Component) -> bool:
        url = f"{component.scheme}://127.0.0.1:{self._state.ports[component.name]}{component.health}"
        status, _ = request(
            url, token=self.admin_token, certificate=self.certificate if component.scheme == "https" else None
        )
        return status == 200

    def _await_healthy(self, name: str, deadline: float) -> None:
        self._await(name, lambda: self._is_healthy(BY_NAME[name]), timeout_s=deadline - time.monotonic())

    def _await(
        self,
        component: str,
        holds: Callable[[], bool],
        *,
        timeout_s: float,
        watched: Container[str] = BY_NAME,
    ) -> None:
        """Wait until it holds. Raises ComponentError if a watched component crashes or the time is up."""
        deadline = time.monotonic() + timeout_s
        while True:
            for status in self.status():
                if status.state == "crashed" and status.name in watched:
                    raise self._error(status.name, "crashed")
            try:
                if holds():
                    return
            except (OSError, http.client.HTTPException):
                pass  # not listening yet
            if time.monotonic() >= deadline:
                raise self._error(component, f"is not ready after {timeout_s:.0f} s")
            threading.Event().wait(_POLL_S)

    def _error(self, component: str, what: str) -> ComponentError:
        log_tail = tail(self._layout.log(component))
        return ComponentError(f"{component} {what}; end of its log:", component=component, log_tail=log_tail)

    def _spawn(self, component: str) -> None:
        record = self._record(component)
        if record.process is not None and state_of(record.process) != "gone":
            return
        try:
            process = spawn(record.command, log=self._layout.log(component), environment=os.environ)
        except OSError as error:
            raise self._error(component, f"did not start ({error})") from error
        self._remember(component, process)

    def _signal(self, component: str, number: signal.Signals) -> None:
        self._refresh()
        process = self._record(component).process
        if process is None or not send(process, number):
            raise PlaygroundError(f"{component} is not running")

    def _await_state(self, component: str, state: ProcessState, *, timeout_s: float = 5.0) -> None:
        """Wait until a signal takes effect: the process must be scheduled first, which takes time on a busy machine."""
        process = self._record(component).process
        deadline = time.monotonic() + timeout_s
        while process is not None and state_of(process) != state and time.monotonic() < deadline:
            threading.Event().wait(_POLL_S)

    def _refresh(self) -> None:
        """Read the state again: another process may have changed it. Raises NotUpError if the playground is down."""
        state = read_state(self._layout.state)
        if state is None:
            raise NotUpError(f"playground {self.name!r} is down")
        self._state = state

    def _record(self, component: str) -> ComponentRecord:
        record = self._state.components.get(component)
        if record is None:
            raise PlaygroundError(f"unknown component {component!r}; known: {', '.join(self._state.components)}")
        return record

    def _remember(self, component: str, process: Identity | None) -> None:
        record = replace(self._state.components[component], process=process)
        self._state = replace(self._state, components={**self._state.components, component: record})
        write_state(self._layout.state, self._state)

    def _status(self, name: str) -> ComponentStatus:
        process = self._record(name).process
        found = "stopped" if process is None else state_of(process)
        crashed = found == "gone"
        log = self._layout.log(name)
        return ComponentStatus(
            name=name,
            state="crashed" if crashed else _STATES[found],
            pid=None if process is None or crashed else process.pid,
            port=self._state.ports[name],
            log=log,
            log_tail=tail(log) if crashed else "",
        )

    def _client(self, program: str, arguments: Sequence[str], *, stdin: str | None, timeout_s: float) -> str:
        return run_client(
            self._binaries.path(program),
            arguments,
            kubeconfig=self.kubeconfig,
            scratch=self._layout.scratch,
            stdin=stdin,
            timeout_s=timeout_s,
        )

    def _tie(self) -> None:
        """Start the process that ends the playground when our end of its pipe closes, even by SIGKILL."""
        read_end, write_end = os.pipe()
        root = str(Path(kroasync.__file__).parent.parent)
        search = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        try:
            process = spawn(
                [sys.executable, "-m", "kroasync.playground.tether", str(self.directory)],
                log=self._layout.log("tether"),
                environment=os.environ | {"PYTHONPATH": search},
                stdin=read_end,
            )
        finally:
            os.close(read_end)
        self._tether = (process, write_end)

    def _untie(self) -> None:
        if self._tether is not None:
            process, write_end = self._tether
            self._tether = None
            os.close(write_end)
            if not await_end(process, timeout_s=_KILL_TIMEOUT_S):
                _kill([process])


_STATES: dict[str, ComponentState] = {"running": "running", "paused": "paused", "stopped": "stopped"}


def _kill(processes: Sequence[Identity]) -> None:
    """Kill all processes together; their data is discarded, or survives the kill."""
    for process in processes:
        send(process, signal.SIGKILL)
    for process in processes:
        if not await_end(process, timeout_s=_KILL_TIMEOUT_S):
            raise PlaygroundError(f"process {process.pid} does not exit")
