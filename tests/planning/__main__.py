"""`python -m tests.planning --seed 1 --edits 40 --instances 200`: 1 if something else happened than was planned."""

from __future__ import annotations

import argparse
import signal
import sys
from random import Random

from tests.faults.site import account, control_plane
from tests.integration.cluster import Cluster, Lab
from tests.integration.process import ControllerProcess
from tests.planning.edits import Wanted
from tests.planning.rounds import Rounds, chosen

_SHOWN = 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.planning", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--edits", type=int, default=40)
    parser.add_argument("--instances", type=int, default=200)
    asked = parser.parse_args()
    # Stop the controller even if the run is stopped from outside.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chance = Random(asked.seed)
    with control_plane() as (playground, folder):
        user, kubeconfig = account(playground, folder, "planning")
        controller = ControllerProcess(kubeconfig=kubeconfig, log=folder / "controller.log")
        controller.start()
        try:
            controller.wait_ready()
            lab = Lab(Cluster(playground), namespace="planning", group="planning.example.com", controller=controller)
            lab.open()
            names = [f"i{number}" for number in range(asked.instances)]
            rounds = Rounds(
                lab, user, Wanted(lab, names), chance, lambda text: print(text, file=sys.stderr, flush=True)
            )
            rounds.play(chosen(chance, asked.edits))
        finally:
            controller.stop()
    print(
        f"{asked.edits} edits of {asked.instances} instances: {rounds.steps} steps, {len(rounds.broken)} not as planned"
    )
    for text in rounds.broken[:_SHOWN]:
        print(f"  ! {text}")
    return 1 if rounds.broken else 0


if __name__ == "__main__":
    sys.exit(main())
