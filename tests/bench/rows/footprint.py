"""What it weighs: bytes over the network on the first visit and the next, and memory of a page and of a worker."""

from pathlib import Path

from tests.bench.table import Line, Side, row
from tests.bench.workshop import QUIET, Workshop
from tests.support.browsers import wait_until_offline_capable, wait_until_ready
from tests.support.processes import PROC, tree

MB = 1_000_000


@row
def footprint(workshop: Workshop) -> list[Line]:
    """Bytes by the server's count; memory as the browser's processes hold it, shared pages divided among them (PSS)."""
    return [*_bytes(workshop), *_memory(workshop)]


def _bytes(workshop: Workshop) -> list[Line]:
    first, following = [], []
    with workshop.elsewhere() as device:
        for sizes in (first, following):
            before = workshop.gate.bytes_out
            page = device.open(workshop.gate.url)
            wait_until_offline_capable(page)
            sizes.append((workshop.gate.bytes_out - before) / MB)
            page.close()
    return [
        Line(what="bytes over the network, first visit", unit="MB", ours=Side(name="app", values=first)),
        Line(what="bytes over the network, next visit", unit="MB", ours=Side(name="app", values=following)),
    ]


def _memory(workshop: Workshop) -> list[Line]:
    page_values, worker_values = [], []
    workshop.with_snapshot()
    for _ in range(workshop.slow_rounds):
        workshop.stop_workers()
        with workshop.device.context.new_page() as page:
            page.goto(workshop.gate.url + QUIET)
            empty = _held(workshop.device.profile)
            workshop.tell("/", {"holdfast": 1, "method": "stats", "params": {}})
            worker_values.append(_held(workshop.device.profile) - empty)
            workshop.stop_workers()
            before = _held(workshop.device.profile)
            page.goto(workshop.gate.url)
            wait_until_ready(page)  # it has asked for a sync event by then, which may come while the worker stops
            workshop.stop_workers()
            page_values.append(_held(workshop.device.profile) - before)
    return [
        Line(
            what="memory of a worker with Python", unit="MB", ours=Side(name="over a stopped one", values=worker_values)
        ),
        Line(what="memory of a page with Python", unit="MB", ours=Side(name="over an empty page", values=page_values)),
    ]


def _held(profile: Path) -> float:
    """Megabytes of all processes of the browser on this profile."""
    return sum(_pss(pid) for pid in tree(str(profile))) / MB


def _pss(pid: int) -> int:
    try:
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0  # it has ended
    line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return 1_024 * int(line.split()[1])
