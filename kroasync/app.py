"""The process: one event loop with the server, the client and the controller, until a signal or a bug ends it.

Exit codes: 0 stopped on request, 1 a bug or an unusable configuration, 3 the lead is lost (restart the process).
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import random
import signal
import socket
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from kroasync import __version__, logs
from kroasync.controller.runtime import Runtime, RuntimeOptions
from kroasync.controller.sealing import load_key
from kroasync.engine.plan import Options
from kroasync.graph.build import Limits
from kroasync.kube.client import Client
from kroasync.kube.config import ConfigError, Connection, connect
from kroasync.kube.lease import Elector, LeaseLostError, lead
from kroasync.kube.rights import Rights
from kroasync.kube.watch import Sink, Watch
from kroasync.metrics import Metrics
from kroasync.model import names
from kroasync.model.kinds import LEASES
from kroasync.model.policies import Adoption, Conflicts, Deletion, Policies, Update
from kroasync.server import Check, Server, parse_address
from kroasync.settings import DEFAULT_DEFINITION_WORKERS, Settings

log = logging.getLogger("setup")

STOPPED, FAILED, DEPOSED = 0, 1, 3
# An event loop that did not turn for this long is stuck.
_STUCK_S = 10.0
_BEAT_S = 0.5
# M_ARENA_MAX, M_MMAP_THRESHOLD (an explicit threshold does not grow) and M_TRIM_THRESHOLD.
_MALLOC = ((-8, 1), (-3, 64 << 10), (-1, 128 << 10))
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def main(settings: Settings, warnings: Sequence[str] = ()) -> int:
    """Run until stopped; returns the exit code."""
    logs.setup(
        devel=settings.zap_devel,
        encoder=settings.zap_encoder,
        level=settings.zap_log_level,
        stacktrace_level=settings.zap_stacktrace_level,
        time_encoding=settings.zap_time_encoding,
    )
    for warning in warnings:
        log.warning("%s", warning)
    _keep_memory_together()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(Process(settings).run())


def _keep_memory_together() -> None:
    """Make glibc return freed memory. By default it uses many arenas and keeps blocks of up to 32 MB.

    See mallopt(3). Without glibc, nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for parameter, value in _MALLOC:
        mallopt(parameter, value)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # a platform without it
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def runtime_options(settings: Settings, *, identity: str, seal_key: bytes = b"") -> RuntimeOptions:
    """The part of the settings that the controller reads."""
    version = settings.version_label or _version()
    return RuntimeOptions(
        version=version,
        identity=identity,
        workers=settings.workers,
        definition_workers=max(DEFAULT_DEFINITION_WORKERS, settings.resource_graph_definition_concurrent_reconciles),
        min_delay_s=settings.dynamic_controller_rate_limiter_min_delay_s,
        max_delay_s=settings.dynamic_controller_rate_limiter_max_delay_s,
        resync_s=settings.dynamic_controller_default_resync_period_s,
        requeue_s=settings.instance_requeue_interval_s,
        progress_s=settings.rgd_progress_requeue_delay_s,
        stop_after_s=settings.graceful_shutdown_timeout_s,
        idle_deadline_s=settings.idle_watch_deadline_s,
        events=settings.events,
        allow_crd_deletion=settings.allow_crd_deletion,
        max_revisions=settings.rgd_max_graph_revisions,
        limits=Limits(max_dimensions=settings.rgd_max_collection_dimension_size),
        engine=Options(
            version=version,
            max_collection_size=settings.rgd_max_collection_size,
            evaluation_steps=settings.max_evaluation_steps,
            pass_steps=settings.max_pass_steps,
            max_object_bytes=settings.max_object_bytes,
            seal_key=seal_key,
            policies=Policies(
                adoption=Adoption(settings.default_adoption_policy),
                deletion=Deletion(settings.default_deletion_policy),
                update=Update(settings.default_update_policy),
                conflicts=Conflicts(settings.default_conflicts_policy),
            ),
            unpropagated_labels=(*names.UNPROPAGATED_LABELS, *settings.label_propagation_exclude),
        ),
        features=settings.feature_gates,
        kro_namespaces=frozenset(settings.kro_namespaces),
    )


def _version() -> str:
    """The version in labels: of the installed package, or `devel` if this code is not what was installed."""
    try:
        package = metadata.distribution("kroasync")
    except metadata.PackageNotFoundError:
        return "devel"
    installed = Path(str(package.locate_file("kroasync"))).resolve()
    return package.version if installed == Path(__file__).resolve().parent else "devel"


class Process:
    """One run of the program. `clock` is monotonic seconds, for every part but the Lease (see `kube.lease`)."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._metrics = Metrics()
        self._clock = clock
        self._beat = clock()
        self._runtime: Runtime | None = None
        self._client: Client | None = None
        self._rights: Rights | None = None
        self._elector: Elector | None = None
        self._leads = not settings.leader_elect
        self._seal_key = b""
        # Pods in their host's network have the same host name and, in their own PID namespaces, the same process id.
        self._identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"

    async def run(self) -> int:
        """Serve health immediately, then connect and control; returns the exit code."""
        self._handle_signals()
        settings = self._settings
        server = Server(
            health_address=parse_address(settings.health_probe_bind_address),
            metrics_address=parse_address(settings.metrics_bind_address),
            live=(
                Check(name="event-loop", probe=self._loop_check),
                Check(name="tasks", probe=self._task_check),
            ),
            ready=(
                Check(name="api-server", probe=self._api_check),
                Check(name="leadership", probe=self._lease_check, details=self._lease_lines),
                Check(name="kro", probe=self._kro_check),
                Check(name="definitions", probe=self._definitions_check),
                Check(name="kinds", probe=self._kinds_check, details=self._watch_lines),
            ),
            metrics=self._metrics,
        )
        try:
            await server.start()
        except OSError as error:
            log.error("cannot serve health and metrics: %s", error)
            return FAILED
        log.info("serving", extra={"ports": dict(server.ports), "version": __version__})
        try:
            return await self._connected()
        finally:
            await server.close()

    async def _connected(self) -> int:
        settings = self._settings
        try:
            connection = await connect(
                kubeconfig=settings.kubeconfig or None,
                context=settings.context or None,
                in_cluster=None,
                user_agent=f"kroasync/{__version__}",
            )
        except ConfigError as error:
            log.error("cannot connect to a cluster: %s", error)
            return FAILED
        try:
            return await self._controlled(connection)
        finally:
            await connection.close()

    async def _controlled(self, connection: Connection) -> int:
        settings = self._settings
        # A separate client: a renewal never waits for the requests of passes, and needs no permission to write.
        elections = Client(connection, metrics=self._metrics)
        elector = self._candidate(elections) if settings.leader_elect else None
        client = Client(
            connection,
            metrics=self._metrics,
            concurrency=settings.request_concurrency,
            may_write=elector.may_write if elector is not None else None,
        )
        # Everything loaded so far lives as long as the process, so the garbage collector need not visit it.
        gc.collect()
        gc.freeze()
        log.info("connecting", extra={"server": connection.base_url})
        self._seal_key = await load_key(elections, self._namespace(), self._stop)
        return await self.control(client, elector)

    def _namespace(self) -> str:
        return self._settings.leader_election_namespace or _own_namespace()

    async def control(self, client: Client, elector: Elector | None) -> int:
        """Run the controller until a signal or a failure; returns the exit code."""
        settings = self._settings
        runtime = Runtime(
            client,
            options=runtime_options(settings, identity=self._identity, seal_key=self._seal_key),
            metrics=self._metrics,
            clock=self._clock,
            now=lambda: datetime.now(UTC),
            cpu=time.thread_time,
            rng=random.Random(),
            begin=logs.reconcile_key.set,
        )
        self._runtime, self._client, self._elector = runtime, client, elector
        self._rights = Rights(client)
        runtime.parts.watchdog.start()
        code = STOPPED
        try:
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(self._pulse(), name="pulse"),
                    group.create_task(self._rights.run(), name="rights"),
                ]
                if elector is None:
                    await runtime.run(self._stop)
                else:
                    self._metrics.leader_election_master_status.set(0, names.LEASE_NAME)
                    await lead(
                        elector,
                        lambda leads: runtime.run(self._stop, lead=leads),
                        self._stop,
                        warm=settings.enable_controller_warmup,
                        began=self._began,
                        settled=lambda: not client.left_unanswered,
                    )
                for task in beside:
                    task.cancel()
        except* LeaseLostError as failures:
            for failure in _leaves(failures):
                log.error("the lead is lost; exiting", extra={"reason": str(failure)})
            code = DEPOSED
        except* Exception as failures:
            for failure in _leaves(failures):
                log.error("a long-lived task failed; exiting", exc_info=failure)
            code = FAILED
        runtime.parts.watchdog.stop()
        log.info("stopped", extra={"code": code})
        return code

    def _candidate(self, client: Client) -> Elector:
        settings = self._settings
        namespace = self._namespace()

        def follow(sink: Sink) -> Coroutine[Any, Any, None]:
            selector = f"metadata.name={names.LEASE_NAME}"
            return Watch(client, LEASES, namespace=namespace, field_selector=selector, sink=sink).run()

        return Elector(
            client,
            namespace,
            names.LEASE_NAME,
            self._identity,
            lease_duration_s=settings.leader_election_lease_duration_s,
            renew_deadline_s=settings.leader_election_renew_deadline_s,
            retry_period_s=settings.leader_election_retry_period_s,
            follow=follow,
        )

    def _began(self) -> None:
        self._leads = True
        self._metrics.leader_election_master_status.set(1, names.LEASE_NAME)
        log.info("leading", extra={"lease": names.LEASE_NAME})

    async def _pulse(self) -> None:
        """Measure how late the event loop wakes up."""
        while True:
            before = self._clock()
            await asyncio.sleep(_BEAT_S)
            self._beat = self._clock()
            self._metrics.kroasync_event_loop_lag_seconds.set(max(0.0, self._beat - before - _BEAT_S))

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # a platform without signal handlers
                loop.add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """Stop in an orderly way."""
        log.info("stopping")
        self._stop.set()

    # Checks

    def _loop_check(self) -> str | None:
        late = self._clock() - self._beat
        return None if self._runtime is None or late < _STUCK_S else f"the event loop has not turned for {late:.0f} s"

    def _task_check(self) -> str | None:
        dead = self._runtime.dead_tasks() if self._runtime is not None else []
        return f"ended: {', '.join(dead)}" if dead and not self._stop.is_set() else None

    def _api_check(self) -> str | None:
        if self._runtime is None:
            return "not connected yet"
        standing = self._client.standing.problem() if self._client is not None else None
        rights = self._rights.problem if self._rights is not None else None
        return api_problem(self._runtime.core_watches(), standing, rights)

    def _lease_check(self) -> str | None:
        """A standby that could not take over is unready, and so is a leader that is about to lose the lead."""
        return self._elector.trouble if self._elector is not None else None

    def _kro_check(self) -> str | None:
        return self._runtime.parts.neighbour.problem() if self._runtime is not None else None

    def _lease_lines(self) -> list[str]:
        if self._elector is None:
            return ["no election: this process acts"]
        if self._leads:
            return [f"{self._identity} leads"]
        return [f"standby; the leader is {self._elector.holder or 'not known yet'}"]

    def _definitions_check(self) -> str | None:
        if self._runtime is None:
            return "not connected yet"
        waiting = [name for name, watch in self._runtime.core_watches() if not watch.synced.is_set()]
        return f"not synced: {', '.join(waiting)}" if waiting else None

    def _kinds_check(self) -> str | None:
        if self._runtime is None:
            return "not connected yet"
        limit_s = 2 * self._settings.idle_watch_deadline_s
        return kinds_problem(self._runtime.watch_states(), self._clock(), limit_s)

    def _watch_lines(self) -> list[str]:
        return watch_lines(self._runtime.watch_states(), self._clock()) if self._runtime is not None else []


class Watched(Protocol):
    """What the checks read of a watch."""

    synced: asyncio.Event
    error: str | None

    def last_event_age_s(self, now: float) -> float: ...


def api_problem(watches: Iterable[tuple[str, Watched]], *others: str | None) -> str | None:
    """What keeps this process from using the API server: watches that it refuses, and `others`, if not None."""
    broken = [f"{name}: {watch.error}" for name, watch in watches if watch.error is not None]
    return "; ".join([*broken, *filter(None, others)]) or None


def kinds_problem(watches: Iterable[tuple[str, Watched]], now: float, limit_s: float) -> str | None:
    """The kinds that are not listed yet, or of which nothing was heard for longer than the limit."""
    wrong = []
    for name, watch in watches:
        if watch.error is not None:
            continue  # definitions that need a refused kind report it
        if not watch.synced.is_set():
            wrong.append(f"{name} not synced")
        elif watch.last_event_age_s(now) > limit_s:
            wrong.append(f"{name} silent for {watch.last_event_age_s(now):.0f} s")
    return "; ".join(wrong) or None


def watch_lines(watches: Iterable[tuple[str, Watched]], now: float) -> list[str]:
    """Every watch with the time since it last received something, and its error."""
    return sorted(
        f"{name}: {'synced' if watch.synced.is_set() else 'not synced'}, {watch.last_event_age_s(now):.0f} s"
        + (f" ({watch.error})" if watch.error else "")
        for name, watch in watches
    )


def _own_namespace() -> str:
    try:
        return _NAMESPACE_FILE.read_text().strip() or "default"
    except OSError:
        return os.environ.get("POD_NAMESPACE", "default")


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for failure in group.exceptions:
        if isinstance(failure, BaseExceptionGroup):
            yield from _leaves(failure)
        else:
            yield failure
