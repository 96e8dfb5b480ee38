"""The worker's cold start: from stopped, by a sync event with no page open, to the first write at the server."""

import time

from tests.bench.table import Line, Side, row
from tests.bench.workshop import ENQUEUE, INSPECTION, Workshop

EMPTY, WORKBOX = "/bench/empty/", "/bench/workbox/"
STATS = {"holdfast": 1, "method": "stats", "params": {}}
WORKBOX_TAG = "workbox-background-sync:worker"


@row
def worker_start(workshop: Workshop) -> list[Line]:
    """Restored against plain: the same build, cache and wheels, and nothing that waits on purpose on either side.

    Beside it Workbox, and a worker that does nothing else.
    """
    workshop.register("empty_worker.js", EMPTY)
    workshop.register("workbox_worker.js", WORKBOX)
    restored, plain, workbox, empty = [], [], [], []
    for number in range(workshop.rounds):
        workshop.with_snapshot()
        restored.append(_with_one_job(workshop))
        workshop.tell(WORKBOX, "push")
        workbox.append(_to_first_write(workshop, WORKBOX, WORKBOX_TAG))
        empty.append(_to_first_write(workshop, EMPTY, "any"))
        if number < workshop.slow_rounds:
            workshop.without_snapshot()
            plain.append(_with_one_job(workshop))
    what, ours = "worker, from stopped to the first write", Side(name="restored", values=restored)
    others = {"plain": (plain, 3), "Workbox": (workbox, None), "an empty worker": (empty, None)}
    return [
        Line(what=what, unit="ms", ours=ours, other=Side(name=name, values=values), at_least=at_least)
        for name, (values, at_least) in others.items()
    ]


def _with_one_job(workshop: Workshop) -> float:
    workshop.stop_workers()  # one with Python in it would hear of the job, and send it before it is stopped
    workshop.quietly(ENQUEUE, [workshop.build, INSPECTION])
    taken = _to_first_write(workshop, "/", "holdfast")
    workshop.wait_for(
        lambda: workshop.tell("/", STATS)["ok"]["unsent"] == 0, "a settled job"
    )  # or the next would wait for it
    return taken


def _to_first_write(workshop: Workshop, scope: str, tag: str) -> float:
    workshop.stop_workers()
    seen = len(workshop.gate.arrived_at)
    begun = time.perf_counter()
    workshop.sync(scope, tag)
    workshop.wait_for(lambda: len(workshop.gate.arrived_at) > seen, "a write")
    return 1_000 * (workshop.gate.arrived_at[seen] - begun)
