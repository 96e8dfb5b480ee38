"""The worker's cold start: from stopped, by a sync event with no page open, to the first write at the server."""

import time

from tests.bench.table import Line, Side, row
from tests.bench.workshop import ENQUEUE, INSPECTION, Workshop


@row
def worker_start(workshop: Workshop) -> list[Line]:
    """Restored against plain: the same build, cache and wheels, and nothing that waits on purpose on either side."""
    restored, plain = [], []
    for _ in range(workshop.rounds):
        workshop.with_snapshot()
        restored.append(_to_first_write(workshop))
        workshop.without_snapshot()
        plain.append(_to_first_write(workshop))
    return [
        Line(
            what="worker, from stopped to the first write",
            unit="ms",
            ours=Side(name="restored", values=restored),
            other=Side(name="plain", values=plain),
            at_least=3,
        )
    ]


def _to_first_write(workshop: Workshop) -> float:
    workshop.quietly(ENQUEUE, [workshop.build, INSPECTION])
    workshop.stop_worker()
    seen = len(workshop.relay.at)
    begun = time.perf_counter()
    workshop.sync()
    workshop.wait_for(lambda: len(workshop.relay.at) > seen, "a write")
    return 1_000 * (workshop.relay.at[seen] - begun)
