"""`python -m tests.simulation 1000` runs the seeds 0 to 999, `python -m tests.simulation --seed 123` tells one in full."""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator

from tests.simulation.world import Result, simulate

CHUNK = 8


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run_all(seeds: range, *, processes: int | None = None) -> Iterator[Result]:
    """The runs of many seeds, on all processors, in order."""
    if len(seeds) <= CHUNK:
        yield from map(simulate, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(simulate, seeds, chunksize=CHUNK)


def main() -> int:
    """0 if no law was broken; else 1, and the first seed that broke one is told in full."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seeds", type=int, nargs="?", default=1_000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--all", action="store_true", help="go on after the first fault")
    options = parser.parse_args()
    if options.seed is not None:
        return _tell(simulate(options.seed, traced=True))
    began = time.monotonic()
    simulated_ms = done = 0
    broken = []
    for result in run_all(range(options.first, options.first + options.seeds), processes=options.processes):
        done += 1
        simulated_ms += result.simulated_ms
        if result.faults:
            broken.append(result.seed)
            say(f"seed {result.seed}: {result.faults[0]}")
            if not options.all:
                break
    took = time.monotonic() - began
    say(
        f"{done} seeds, {simulated_ms / 86_400_000:.1f} simulated days in {took:.0f} s "
        f"({done / took * 60:.0f} seeds a minute); {len(broken)} broke a law"
    )
    if broken and not options.all:
        say(f"The whole story: make simulate SEED={broken[0]}")
    return 1 if broken else 0


def _tell(result: Result) -> int:
    say("\n".join(result.trace))
    for fault in result.faults:
        say(f"BROKEN: {fault}")
    say(f"seed {result.seed}: {result.simulated_ms / 1_000:.0f} simulated seconds, {result.steps} steps")
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
