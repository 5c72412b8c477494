"""Measures an attack: the memory of the process, the time that its event loop was blocked, its requests and watches."""

from __future__ import annotations

import http.client
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.cluster import Lab, eventually
from tests.integration.process import ControllerProcess

FULL = os.environ.get("KROASYNC_ATTACKS") == "full"
_PROBE_EVERY_S = 0.05
_LONGEST_S = 120.0
LAG = "kroasync_event_loop_lag_seconds"


def samples(controller: ControllerProcess, name: str, **labels: str) -> list[float]:
    """The values of a metric's series that have these labels."""
    status, text = controller.get("/metrics")
    assert status == 200, f"/metrics answers {status}"
    return [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def requests(controller: ControllerProcess) -> int:
    """How many requests the process has sent so far, including watches."""
    return int(sum(samples(controller, "rest_client_requests_total")))


def watches(controller: ControllerProcess) -> int:
    """How many kinds the process watches now."""
    return len(samples(controller, "kroasync_watch_last_event_age_seconds"))


def peak_mb(controller: ControllerProcess) -> float:
    """The peak resident memory of the process."""
    return _memory(controller, "VmHWM")


def resident_mb(controller: ControllerProcess) -> float:
    return _memory(controller, "VmRSS")


def _memory(controller: ControllerProcess, line: str) -> float:
    text = Path(f"/proc/{controller.pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"^{line}:\s+(\d+) kB$", text, re.M)
    assert found, text
    return int(found[1]) / 1024


class LoopProbe:
    """Requests the controller's metrics repeatedly: `longest_s` is the longest time that its event loop was blocked.

    That is the longest time an answer took, or the longest lag the loop itself has noticed. `most_mb` is the most
    resident memory seen meanwhile, by a second thread.
    """

    def __init__(self, controller: ControllerProcess) -> None:
        self.longest_s = 0.0
        self.most_mb = 0.0
        self._controller = controller
        self._port = controller.ports()["metrics"]
        self._end = threading.Event()
        self._threads = [threading.Thread(target=task, daemon=True) for task in (self._ask, self._weigh)]

    def __enter__(self) -> LoopProbe:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(_LONGEST_S)

    def _ask(self) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_LONGEST_S)
            try:
                connection.request("GET", "/metrics")
                text = connection.getresponse().read().decode()
            except (OSError, http.client.HTTPException):
                text = ""
            finally:
                connection.close()
            told = re.search(rf"^{LAG} (\S+)$", text, re.M)
            self.longest_s = max(self.longest_s, time.monotonic() - began, float(told[1]) if told else 0.0)
            self._end.wait(_PROBE_EVERY_S)

    def _weigh(self) -> None:
        while not self._end.is_set() and self._controller.is_running:
            self.most_mb = max(self.most_mb, resident_mb(self._controller))
            self._end.wait(_PROBE_EVERY_S)


def repair_s(lab: Lab, kind: str, name: str, *, timeout_s: float = 120.0) -> float:
    """Delete a child of an instance; the seconds until the controller has created it again."""
    before = lab.child(kind, name)["metadata"]["uid"]
    began = time.monotonic()
    lab.cluster.delete(lab.child_path(kind, name))
    look: Callable[[], str] = lambda: str(lab.child(kind, name).get("metadata", {}).get("uid", before))  # noqa: E731
    eventually(look, lambda uid: uid != before, timeout_s=timeout_s, what=f"{kind} {name} is back")
    return time.monotonic() - began
