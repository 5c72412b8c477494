"""`python -m tests.benchmarks.planning [-n 1000]`: how long `kroasync plan` takes, from its start to its output.

Each instance has a ConfigMap, a Secret and a ConfigMap that reads the Secret's name. The edit changes two of them. The
times are those of whole processes, with their imports; the memory is the highest of each.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.site import account, control_plane, persistently
from tests.integration.cluster import Cluster, Lab, Obj, config, eventually, node
from tests.integration.process import ControllerProcess

KIND = "Planned"
RUNS: Sequence[tuple[str, Sequence[str]]] = (
    ("all instances, with dry runs", ()),
    ("all instances, without dry runs", ("--dry-run=none",)),
    ("one instance", (f"--instance={KIND}/planning/i0",)),
)


def resources(value: str) -> list[Obj]:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "${schema.metadata.name}-secret"},
        "stringData": {"user": "one"},
    }
    return [
        config("first", data={"value": value, "size": "${schema.spec.size}"}),
        node("secret", secret),
        config("last", data={"value": value, "ref": "${secret.metadata.name}"}),
    ]


def measured(files: Sequence[Path], kubeconfig: Path, options: Sequence[str]) -> str:
    """Run the command once."""
    command = [sys.executable, "-m", "kroasync", "plan", f"--kubeconfig={kubeconfig}", "-o", "json", *options]
    command += [f"--filename={file}" for file in files]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        plan = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    took_s, cpu_s = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    steps = plan["summary"]["steps"]
    return f"{took_s:6.2f} s, {cpu_s:6.2f} s of CPU, {usage.ru_maxrss / 1024:4.0f} MB, steps {steps}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.planning", description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="instances")
    count = parser.parse_args().n
    with control_plane() as (playground, folder):
        _, kubeconfig = account(playground, folder, "planning")
        controller = ControllerProcess(kubeconfig=kubeconfig, log=folder / "controller.log")
        controller.start()
        try:
            controller.wait_ready()
            lab = Lab(Cluster(playground), namespace="planning", group="planning.example.com", controller=controller)
            lab.open()
            spec = {"size": "string | default=small"}
            lab.define(KIND, resources("1"), spec=spec)
            for number in range(count):
                persistently(lambda name=f"i{number}": lab.instance(KIND, name))  # type: ignore[misc]
            path = lab.path(KIND, "").rstrip("/")
            eventually(
                lambda: lab.cluster.list(path),
                lambda found: all(obj.get("status", {}).get("state") == "ACTIVE" for obj in found),
                timeout_s=600,
                what="all instances are ACTIVE",
            )
            file = folder / "definition.json"
            file.write_text(json.dumps(lab.definition(KIND, resources("2"), spec=spec)))
            for what, options in RUNS:
                print(f"{what:32} {measured([file], playground.kubeconfig, options)}", flush=True)
        finally:
            controller.stop()


if __name__ == "__main__":
    main()
