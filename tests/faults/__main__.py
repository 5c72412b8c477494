"""`python -m tests.faults {kills,outage,etcd,replicas,together,churn,all}`: 1 if a guarantee was broken, and where."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from tests.faults import churn, etcd, kills, outage, replicas, together
from tests.faults.site import Report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("scenario", choices=("kills", "outage", "etcd", "replicas", "together", "churn", "all"))
    parser.add_argument("-n", type=int, default=200, help="instances")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")
    parser.add_argument("--minutes", type=float, default=45, help="of churn; the last two thirds are judged")
    asked = parser.parse_args()
    # Stop the controllers even if the run is stopped from outside.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    runs: dict[str, Callable[[], Report]] = {
        "kills": lambda: kills.main(asked.n, asked.seed),
        "outage": lambda: outage.main(asked.n),
        "etcd": lambda: etcd.main(asked.n),
        "replicas": replicas.main,
        "together": together.main,
        "churn": lambda: churn.main(asked.n, asked.seed, asked.minutes),
    }
    # Churn takes too long.
    chosen = [name for name in runs if name != "churn"] if asked.scenario == "all" else [asked.scenario]
    reports = []
    for name in chosen:
        reports.append(runs[name]())
        print(reports[-1], flush=True)
    return 1 if any(report.broken for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
