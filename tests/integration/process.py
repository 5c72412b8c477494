"""`kroasync run` as a process: tests start, kill and freeze it, and read its health endpoints."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_POLL_S = 0.05
_TAIL_LINES = 60


class ControllerProcess:
    """`kroasync run` as a process of this machine; it can start again after it ended."""

    def __init__(
        self,
        *,
        kubeconfig: Path,
        log: Path,
        arguments: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.log = log
        self._command = [
            *(sys.executable, "-m", "kroasync", "run"),
            f"--kubeconfig={kubeconfig}",
            "--health-probe-bind-address=127.0.0.1:0",
            "--metrics-bind-address=127.0.0.1:0",
            "--zap-devel=false",
            "--zap-log-level=info",
            *arguments,
        ]
        self._environment = os.environ | (environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._begins_at = 0

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the controller was not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process unless it runs; returns at once."""
        if self.is_running:
            return
        with self.log.open("ab") as log:
            self._begins_at = log.tell()
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=ROOT, env=self._environment)

    def kill(self) -> None:
        """Send SIGKILL, like a crash."""
        if self.is_running:
            self.process.kill()
            self.process.wait(10)

    def stop(self, timeout_s: float = 60.0) -> int:
        """Send SIGTERM, like a rollout; returns the exit code."""
        if self.is_running:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        return self.process.wait(timeout_s)

    def pause(self) -> None:
        """Send SIGSTOP: the process keeps its connections and does nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until /readyz succeeds; raises AssertionError with the end of the log if it does not."""
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            assert time.monotonic() < deadline, f"the controller is not ready after {timeout_s:g} s\n{self.tail()}"
            threading.Event().wait(_POLL_S)

    def is_ready(self) -> bool:
        assert self.is_running, f"the controller ended with {self.process.returncode}\n{self.tail()}"
        return self.get("/readyz")[0] == 200

    def get(self, path: str) -> tuple[int, str]:
        """The status and text of a path of the health server, or of `/metrics`; status 0 without an answer."""
        port = self.ports().get("metrics" if path == "/metrics" else "health")
        if not port:
            return 0, ""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def ports(self) -> dict[str, int]:
        """The ports that this run listens on, by name; empty before it listens."""
        for line in self.lines():
            if line.get("msg") == "serving":
                return dict(line["ports"])
        return {}

    def lines(self) -> list[dict[str, Any]]:
        """The structured log lines of this run."""
        with self.log.open("rb") as log:
            log.seek(self._begins_at)
            return [json.loads(line) for line in log.read().splitlines() if line.startswith(b"{")]

    def tail(self) -> str:
        """The end of the log, for people."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-_TAIL_LINES:])
