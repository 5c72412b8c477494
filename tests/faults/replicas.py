"""Two replicas with leader election: the leader is killed, paused for longer than its Lease, and stopped gracefully.

Instances are created all the time. Each replica has its own account, so the audit log shows which one wrote.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kroasync.playground import Playground
from tests.faults.checks import Call, overtaken, work_of
from tests.faults.site import GROUP, SYSTEM, Report, Site, account, control_plane, pause
from tests.integration.cluster import Cluster, Lab, eventually
from tests.integration.process import ControllerProcess

_LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/controller.kroasync"
_FLAGS = ("--leader-elect", "--enable-controller-warmup", f"--leader-election-namespace={SYSTEM}")
# Defaults of kroasync: candidates wait until the Lease expires, and read it every 2 to 2.4 s.
_LEASE_S, _RETRY_S = 15.0, 2.4
_PAUSE_S = 30.0
_HAND_OVERS, _HAND_OVER_S = 5, 2.0
_EVERY_S = 0.2
_BEFORE_S, _AFTER_S = 3.0, 2.0
_DEPOSED = 3


@dataclass(slots=True)
class _Replica:
    user: str
    process: ControllerProcess

    @property
    def name(self) -> str:
        return self.user.rsplit(":", 1)[-1]


@dataclass(slots=True)
class _Work:
    """Creates an instance every 0.2 s while the block runs."""

    place: Site
    count: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> _Work:
        self._stop.clear()
        self._thread = threading.Thread(target=self._make, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self._stop.set()
        self._thread.join()

    def _make(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.place.put(f"w{self.count:05}", "one")
            self.count += 1


def main() -> Report:
    report = Report("replicas")
    with control_plane() as (playground, folder):
        replicas = [_replica(playground, folder, name) for name in ("red", "blue")]
        cluster = Cluster(playground)
        lab = Lab(cluster, namespace="faults", group=GROUP, controller=replicas[0].process)
        place = Site(lab=lab, user=replicas[0].user)
        try:
            for replica in replicas:
                replica.process.start()
            lab.open()
            place.open()
            _Scenario(place, replicas, report, _Work(place)).run()
        finally:
            for replica in replicas:
                if replica.process.is_running:
                    replica.process.stop()
            cluster.close()
    return report


def _replica(playground: Playground, folder: Path, name: str) -> _Replica:
    user, kubeconfig = account(playground, folder, name)
    return _Replica(user, ControllerProcess(kubeconfig=kubeconfig, log=folder / f"{name}.log", arguments=_FLAGS))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """One change of leader: the seconds since the leader stopped, and the forbidden writes."""

    taken_s: float
    acted_s: float
    early: list[Call]
    late: list[Call]
    # Requests of the leader that the API server was still answering.
    open: int


@dataclass(slots=True)
class _Scenario:
    place: Site
    replicas: list[_Replica]
    report: Report
    work: _Work

    def run(self) -> None:
        report = self.report
        in_time_s = _LEASE_S + _RETRY_S + 1.0
        self._tell("killed", [self._change_of_leader(self._kill)], in_time_s)
        self._tell(f"paused for {_PAUSE_S:g} s", [self._change_of_leader(self._pause)], in_time_s)
        self._tell("stopped", [self._change_of_leader(self._stop) for _ in range(_HAND_OVERS)], _HAND_OVER_S)
        report.figure("converged afterwards", f"{self.place.settle(report, 'afterwards'):.1f} s")
        report.figure("instances created meanwhile", self.work.count)
        self.place.check_creation(report)
        self.place.rest(report, "afterwards", users=[replica.user for replica in self.replicas])

    def _change_of_leader(self, end: Callable[[_Replica, Callable[[], bool]], None]) -> _Change:
        """Start the stopped replicas, end the leader during work, and wait until the other replica acts."""
        for replica in self.replicas:
            replica.process.start()
            replica.process.wait_ready()
        leader, other = self._leader_and_other()
        mark = self.place.mark()

        def taken_over() -> bool:
            return bool(work_of(self.place.calls(mark), other.user))

        with self.work:
            pause(_BEFORE_S)
            ended = time.time()
            end(leader, taken_over)
            eventually(taken_over, timeout_s=60, what=f"{other.name} acts")
            pause(_AFTER_S)
        calls = self.place.calls(mark)
        lease = next(c for c in calls if c.user == other.user and c.resource == "leases" and c.is_write and c.succeeded)
        acted = work_of(calls, other.user)[0]
        return _Change(
            taken_s=lease.ended - ended,
            acted_s=acted.began - ended,
            early=[acted] if acted.began < lease.began else [],
            late=overtaken(calls, earlier=leader.user, later=other.user),
            open=sum(c.ended > lease.ended for c in work_of(calls, leader.user)),
        )

    def _tell(self, how: str, changes: list[_Change], limit_s: float) -> None:
        report, times = self.report, "" if len(changes) == 1 else f" ({len(changes)} times)"
        for what, seconds in (
            ("until the other has the Lease", [c.taken_s for c in changes]),
            ("until the first write of the other", [c.acted_s for c in changes]),
        ):
            report.figure(f"leader {how}{times}: {what}", ", ".join(f"{s:.2f}" for s in seconds) + " s")
        slow = [f"{c.taken_s:.2f} s" for c in changes if c.taken_s > limit_s]
        report.check(f"leader {how}: the other has the Lease within {limit_s:g} s", slow)
        early, late = [call for c in changes for call in c.early], [call for c in changes for call in c.late]
        report.check(f"leader {how}: the other wrote nothing before it had the Lease", early)
        report.check(f"leader {how}: it wrote nothing after the other began", late)
        report.figure(f"leader {how}: its requests open when the other got the Lease", sum(c.open for c in changes))

    def _leader_and_other(self) -> tuple[_Replica, _Replica]:
        def holder() -> _Replica | None:
            lease = self.place.cluster.read(_LEASE) or {}
            identity = str(lease.get("spec", {}).get("holderIdentity", "")).split("_")
            return next((r for r in self.replicas if str(r.process.pid) in identity), None)

        leader = eventually(holder, timeout_s=40, what="one of the replicas leads")
        assert leader is not None
        return leader, next(replica for replica in self.replicas if replica is not leader)

    def _kill(self, leader: _Replica, _: Callable[[], bool]) -> None:
        leader.process.kill()

    def _pause(self, leader: _Replica, taken_over: Callable[[], bool]) -> None:
        leader.process.pause()
        pause(_PAUSE_S)
        self.report.check("leader paused: the other acts meanwhile", [] if taken_over() else ["it did not"])
        leader.process.resume()
        resumed = time.monotonic()
        code = leader.process.process.wait(60)
        self.report.figure("leader paused: ended after it was resumed", f"{time.monotonic() - resumed:.2f} s")
        self.report.check("leader paused: it ends as deposed", [] if code == _DEPOSED else [f"exit code {code}"])

    def _stop(self, leader: _Replica, _: Callable[[], bool]) -> None:
        code = leader.process.stop()
        if code != 0:
            self.report.check("leader stopped: it ends in good order", [f"exit code {code}"])
