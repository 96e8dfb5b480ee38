"""The engine in thousands of hostile days; `make simulate SEED=…` tells the whole story of a seed."""

import os

from tests.simulation.__main__ import run_all
from tests.simulation.world import simulate

SEEDS = 20_000 if os.environ.get("HOLDFAST_LONG") else 1_000


def test_the_laws_hold_whatever_happens() -> None:
    """Nothing accepted is lost, effects come once and in order, and the queue comes to rest; laws.py has them all."""
    broken = {result.seed: result.faults[0] for result in run_all(range(SEEDS)) if result.faults}
    assert broken == {}


def test_a_seed_tells_the_same_story_each_time_and_no_other_does() -> None:
    """Every choice comes from the seed, so a run that broke a law can be looked at as often as it takes; and a thousand of
    them prove more than one.
    """
    stories = set()
    for seed in range(20):
        first, second = (simulate(seed, traced=True) for _ in range(2))
        assert len(first.trace) > 20
        assert (first.trace, first.steps) == (second.trace, second.steps)
        stories.add("\n".join(first.trace[1:]))
    assert len(stories) == 20
