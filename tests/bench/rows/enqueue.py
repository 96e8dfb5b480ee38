"""Taking jobs in: one by one, a thousand at once, with the disk waited for and without; against a loop of bare writes."""

from tests.bench.table import Line, Side, row
from tests.bench.workshop import Contest, Workshop

STRICT, RELAXED = "strict", "relaxed"
TOGETHER = 100
"""As many as share a commit of Holdfast's."""


@row
def enqueue(workshop: Workshop) -> list[Line]:
    """The queue is shut meanwhile, so nothing is sent. All sides store the same inspection in the same page."""
    count = 100 if workshop.quick else 1_000
    sides: dict[str, list[float]] = {}
    with workshop.contest() as contest:
        for warm_up in [True] + [False] * workshop.rounds:
            taken = _round(contest, 20 if warm_up else count)
            for name, ms in taken.items():
                sides.setdefault(name, []).extend([] if warm_up else [1_000 * ms / count])

    def line(what: str, ours: str, other: str, at_least: float | None = None) -> Line:
        sides_of = {"ours": Side(name=OURS[ours], values=sides[ours]), "other": Side(name=other, values=sides[other])}
        return Line(what=what, unit="us", at_least=at_least, **sides_of)

    return [
        line("enqueue one by one, strict", "python strict", "bare writes, strict", 0.8),
        line("enqueue one by one, relaxed", "python relaxed", "bare writes, relaxed", 0.8),
        line(f"enqueue {count:,} at once, strict", "at once strict", "bare writes, strict", 5),
        line(f"enqueue {count:,} at once, strict", "at once strict", f"bare writes, strict, {TOGETHER} at a time"),
        line(f"enqueue {count:,} at once, relaxed", "at once relaxed", "bare writes, relaxed"),
        line("enqueue one by one from JavaScript, strict", "client", "bare writes, strict"),
        line("enqueue one by one, strict", "python strict", "idb queue, strict"),
        line("enqueue one by one, relaxed", "python relaxed", "idb queue, relaxed"),
        line("enqueue one by one, relaxed", "python relaxed", "Workbox"),
    ]


OURS = {
    "python strict": "Outbox",
    "python relaxed": "Outbox",
    "at once strict": "Outbox",
    "at once relaxed": "Outbox",
    "client": "holdfast.js",
}


def _round(contest: Contest, count: int) -> dict[str, float]:
    """Milliseconds of each side, one after the other; the queues are emptied outside of the time taken."""
    taken = {}
    for name, method, *given in (
        ("python strict", "enqueue", STRICT),
        ("python relaxed", "enqueue", RELAXED),
        ("at once strict", "enqueueAtOnce", STRICT),
        ("at once relaxed", "enqueueAtOnce", RELAXED),
        ("client", "client"),
    ):
        contest.run("holdfast", "empty")
        taken[name] = contest.timed("holdfast", method, count, *given)
    contest.run("holdfast", "empty")
    for durability in (STRICT, RELAXED):
        contest.run("bare", "empty")
        taken[f"bare writes, {durability}"] = contest.timed("bare", "writes", count, durability)
        contest.run("bare", "empty")
        together = contest.timed("bare", "writes", count, durability, TOGETHER)
        taken[f"bare writes, {durability}, {TOGETHER} at a time"] = together
        taken[f"idb queue, {durability}"] = contest.timed("idb", "enqueue", count, durability)
        contest.run("idb", "empty")
    taken["Workbox"] = contest.timed("workbox", "enqueue", count)
    contest.run("workbox", "empty")
    return taken
