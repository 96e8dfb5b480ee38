"""Sending: one request a job, one lane or several, or one for all, against loops of bare fetches and the other queues."""

from tests.bench.table import Line, Side, row
from tests.bench.workshop import Contest, Workshop

LANES = 6
SAME_RECORDS = "a bare loop over the same records"
BATCH = 1_000
"""In a batch a job costs so little that fewer would tell of the one request."""


@row
def drain(workshop: Workshop) -> list[Line]:
    """All sides send the same inspections from the same page to a server that answers at once, with a receipt."""
    count = 100 if workshop.quick else 1_000
    sides: dict[str, list[float]] = {}
    with workshop.contest() as contest:
        for warm_up in [True] + [False] * workshop.rounds:
            taken = _round(workshop, contest, 20 if warm_up else count, 20 if warm_up else BATCH)
            for name, us in taken.items():
                sides.setdefault(name, []).extend([] if warm_up else [us])

    def line(what: str, ours: str, other: str, at_least: float | None = None) -> Line:
        ours_side, other_side = Side(name="Holdfast", values=sides[ours]), Side(name=other, values=sides[other])
        return Line(what=what, unit="us", ours=ours_side, other=other_side, at_least=at_least)

    one, several = f"drain of {count:,}, one lane", f"drain of {count:,}, {LANES} lanes"
    batch = f"drain of {BATCH:,} in one batch"
    return [
        line(one, "one request a job", "bare fetches", 0.8),
        line(one, "one request a job", SAME_RECORDS),
        line(one, "one request a job", "Workbox", 1.2),
        line(one, "one request a job", "idb queue"),
        line(several, "lanes", f"bare fetches, {LANES} at a time"),
        line(several, "lanes", "Workbox"),
        line(batch, "one batch", "one request a job", 10),
        line(batch, "one batch", f"{SAME_RECORDS}, one batch"),
        line(batch, "one batch", "Workbox"),
    ]


def _round(workshop: Workshop, contest: Contest, count: int, batch: int) -> dict[str, float]:
    """Microseconds a job of each side, one after the other; filling and emptying are outside of the time taken."""
    fills = {
        "one request a job": ("holdfast", "enqueueAtOnce", "drain"),
        "lanes": ("holdfast", "enqueueInLanes", "drainLanes"),
        "one batch": ("holdfast", "enqueueForBatch", "drainBatch"),
        "Workbox": ("workbox", "enqueue", "drain"),
        "idb queue": ("idb", "enqueue", "drain"),
        SAME_RECORDS: ("bare", "writes", "drain"),
        f"{SAME_RECORDS}, one batch": ("bare", "writes", "drainBatch"),
    }
    taken = {}
    for name, (who, fill, send) in fills.items():
        jobs = batch if name.endswith("one batch") else count
        contest.run(who, "empty")
        contest.run(who, fill, jobs)
        seen = len(workshop.gate.keys)
        taken[name] = 1_000 * contest.timed(who, send) / jobs
        assert len(workshop.gate.keys) == seen + jobs, name
    contest.run("holdfast", "empty")
    taken["bare fetches"] = 1_000 * contest.timed("bare", "fetches", count) / count
    taken[f"bare fetches, {LANES} at a time"] = 1_000 * contest.timed("bare", "fetches", count, LANES) / count
    return taken
