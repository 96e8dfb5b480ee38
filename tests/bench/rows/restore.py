"""Restoring Python alone, against what a worker needs to read the same bytes without starting anything."""

from tests.bench.table import Line, Side, row
from tests.bench.workshop import Workshop

SCOPE = "/bench/floor/"


@row
def restore(workshop: Workshop) -> list[Line]:
    """Both in the same worker, started anew for each."""
    workshop.with_snapshot()
    workshop.register("floor_worker.js", SCOPE, module=True)
    restored, floor = [], []
    for _ in range(workshop.rounds):
        restored.append(_taken(workshop, "restored"))
        floor.append(_taken(workshop, "floor"))
    return [
        Line(
            what="restoring Python in a worker",
            unit="ms",
            ours=Side(name="restored", values=restored),
            other=Side(name="wasm compiled, snapshot read", values=floor),
            at_least=1 / 2.5,
        )
    ]


def _taken(workshop: Workshop, what: str) -> float:
    workshop.stop_workers()
    answer = workshop.tell(SCOPE, what)
    assert isinstance(answer, float | int), answer
    return float(answer)
