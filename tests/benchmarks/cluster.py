"""The common parts of the measurements: a bare client, a controller process, and their cost."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import yaml

from kroasync.playground import Playground

NAMESPACE = "bench"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:controller"


class Api:
    """A bare aiohttp client, which measures the baseline."""

    def __init__(self, kubeconfig: Path, *, connections: int = 20) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = cluster["server"]
        self._token = user["token"]
        self._connections = connections

    async def __aenter__(self) -> "Api":
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        connector = aiohttp.TCPConnector(ssl=tls, limit=self._connections)
        self._session = aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {self._token}"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(
        self, method: str, path: str, body: Any = None, *, content: str = "application/json", ok: Sequence[int] = ()
    ) -> Any:
        """One request; the parsed answer. Raises RuntimeError unless 2xx or listed."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content}
        async with self._session.request(method, self._server + path, data=data, headers=headers) as response:
            answer = await response.json(content_type=None)
            if response.status >= 300 and response.status not in ok:
                raise RuntimeError(f"{method} {path}: {response.status} {answer.get('message')}")
            return answer

    async def all(self, calls: Iterable[Awaitable[Any]]) -> None:
        """Await all, one per connection at a time."""
        slots = asyncio.Semaphore(self._connections)

        async def one(call: Awaitable[Any]) -> None:
            async with slots:
                await call

        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(one(call))


class Controller:
    """`kroasync run` as a separate process, with an account whose calls the playground audits."""

    def __init__(self, playground: Playground, log: Path, flags: Sequence[str] = ()) -> None:
        token = playground.kubectl("create", "token", "controller", "-n", NAMESPACE, "--duration=24h").strip()
        self._kubeconfig = playground.kubeconfig_for_token(token, log.parent / "controller.kubeconfig")
        self._audit = playground.audit_log
        self._log = log
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        # How many lines of the log belong to earlier runs.
        self._lines = 0

    def __enter__(self) -> "Controller":
        command = [
            *(sys.executable, "-m", "kroasync", "run", "--kubeconfig", str(self._kubeconfig)),
            *("--health-probe-bind-address=127.0.0.1:0", "--metrics-bind-address=0"),
            *("--zap-devel=false", "--zap-log-level=info", *self._flags),
        ]
        self._lines = len(self._log.read_text().splitlines()) if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu_s(self) -> float:
        """The user and system CPU time of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, key: str = "VmRSS") -> float:
        """Resident memory now, or at its highest (`VmHWM`)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    async def is_ready(self) -> bool:
        """Whether /readyz of the process says ok; its port is in its log."""
        for line in reversed(self._log.read_text().splitlines()[self._lines :]):
            if '"msg":"serving"' in line:
                port = json.loads(line)["ports"]["health"]
                try:
                    async with aiohttp.request("GET", f"http://127.0.0.1:{port}/readyz") as answer:
                        return answer.status == 200
                except aiohttp.ClientError:
                    return False
        return False

    def calls(self) -> list[dict[str, Any]]:
        """Every audited request of the controller's account."""
        found = []
        for line in self._audit.read_bytes().splitlines():
            entry = json.loads(line)
            if entry.get("user", {}).get("username") == ACCOUNT:
                found.append(entry)
        return found


def prepare(playground: Playground, charts: Path) -> None:
    """The controller's CRDs, namespace and account; it has all rights, because this does not measure RBAC."""
    playground.kubectl("apply", "-f", str(charts / "crds"))
    playground.kubectl("create", "namespace", NAMESPACE)
    playground.kubectl("create", "serviceaccount", "controller", "-n", NAMESPACE)
    playground.kubectl(
        *("create", "clusterrolebinding", "bench", "--clusterrole=cluster-admin"),
        f"--serviceaccount={NAMESPACE}:controller",
    )


async def until(holds: Callable[[], Awaitable[bool]], *, within_s: float, every_s: float = 0.1) -> float:
    """The seconds until a condition is true; raises TimeoutError."""
    started = time.monotonic()
    async with asyncio.timeout(within_s):
        while not await holds():  # noqa: ASYNC110 - the condition is in another process
            await asyncio.sleep(every_s)
    return time.monotonic() - started
