"""`python -m tests.simulation --schedules N --seed S`: many schedules on every core; failing ones are shrunk."""

import argparse
import gc
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping

from tests.simulation.policy_family import policy_story_of
from tests.simulation.policy_world import PolicyWorld
from tests.simulation.story import Story, shrunk, story_of
from tests.simulation.world import Report, World, play

# Python's own garbage collection takes a seventh of the time; this many objects between collections take about 10 MB.
_COLLECTED_AFTER = 20
_TOLD_EVERY_S = 60.0
_FAMILIES: Mapping[str, tuple[Callable[[int], Story], type[World]]] = {
    "resources": (story_of, World),
    "policies": (policy_story_of, PolicyWorld),
}


def main() -> int:
    """0 if every schedule was played and every invariant held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--family", choices=sorted(_FAMILIES), default="resources", help="of the stories")
    parser.add_argument("--schedules", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule; the others follow")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--stop-after", type=int, default=5, help="failing schedules")
    parser.add_argument("--no-shrink", action="store_true")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The iteration order of sets of strings must be the same in every run of a seed.
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], _environment())
    if arguments.jobs > 1 and arguments.schedules > 1:
        return _spread(arguments)
    return _run(arguments)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0"}


def _spread(arguments: argparse.Namespace) -> int:
    """One process for each part of the seeds."""
    parts = []
    share = -(-arguments.schedules // arguments.jobs)
    for job in range(arguments.jobs):
        count = min(share, arguments.schedules - job * share)
        if count > 0:
            command = [sys.executable, "-m", "tests.simulation", f"--schedules={count}", "--jobs=1"]
            command += [f"--seed={arguments.seed + job * share}", f"--stop-after={arguments.stop_after}"]
            command += [f"--family={arguments.family}"]
            command += ["--no-shrink"] * arguments.no_shrink
            parts.append(subprocess.Popen(command, env=_environment()))
    return max(part.wait() for part in parts)


def _run(arguments: argparse.Namespace) -> int:
    began = told_at = time.perf_counter()
    # Stop between two schedules, and report the schedules so far.
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    injected: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    requests, virtual_s, failed, played = 0, 0.0, 0, 0
    telling, world = _FAMILIES[arguments.family]

    def played_as(story: Story) -> Report:
        return play(story, world=world)

    gc.disable()
    for seed in range(arguments.seed, arguments.seed + arguments.schedules):
        if stopped:
            print(f"stopped before seed {seed}", flush=True)
            break
        story = telling(seed)
        report = played_as(story)
        played += 1
        if time.perf_counter() - told_at > _TOLD_EVERY_S:
            told_at = time.perf_counter()
            print(f"{played} of {arguments.schedules} played, {failed} failed", file=sys.stderr, flush=True)
        if played == 1:
            gc.collect()
            gc.freeze()
        elif played % _COLLECTED_AFTER == 0:
            gc.collect()
        requests += report.requests
        virtual_s += report.virtual_s
        injected.update(report.injected)
        steps.update(step.kind for step in story.steps)
        if not report.ok:
            failed += 1
            if not arguments.no_shrink:
                story = shrunk(story, lambda tried: not played_as(tried).ok)
                report = played_as(story)
            print(f"FAILED {story}\n" + "\n".join(f"  => {text}" for text in report.violations), flush=True)
            if failed >= arguments.stop_after:
                break
    took = time.perf_counter() - began
    told = [", ".join(f"{kind} {n}" for kind, n in sorted(counted.items())) or "none" for counted in (steps, injected)]
    print(
        f"{played} schedules from seed {arguments.seed}: {failed} failed, {requests} requests, "
        f"{virtual_s / 3600:.1f} virtual hours, {took:.1f} s ({played / took:.1f}/s); "
        f"steps: {told[0]}; faulty answers: {told[1]}",
        flush=True,
    )
    return 1 if failed or played < arguments.schedules else 0


if __name__ == "__main__":
    sys.exit(main())
