"""What is stored must not cost: the same operations with more and more jobs in the store that are not due."""

from statistics import median

from tests.bench.table import Growth, Line, Side, row
from tests.bench.workshop import Contest, Workshop

SIZES = (0, 100, 1_000, 10_000, 100_000)
QUICK_SIZES = (0, 100, 10_000)
JOBS = 20
PAGE = 20
LOOKS = 3  # around a drain there may be a look at the queue more or less; the fewest requests are those of its jobs
METHODS = {
    "enqueue": ("enqueue", JOBS),
    "claim, send, settle": ("drain",),
    "list, first page": ("list", PAGE),
    "stats": ("stats",),
}
A_JOB = ("enqueue", "claim, send, settle")


@row
def growth(workshop: Workshop) -> list[Line | Growth]:
    """Times and requests to IndexedDB, with finished, failed, delayed and blocked jobs stored in equal parts."""
    sizes = QUICK_SIZES if workshop.quick else SIZES
    times: dict[str, list[list[float]]] = {name: [] for name in METHODS}
    requests: dict[str, list[float]] = {name: [] for name in METHODS}
    with workshop.contest() as contest:
        contest.run("holdfast", "empty")
        _costs(contest, "timed")
        for before, size in zip((0, *sizes), sizes, strict=False):
            contest.run("holdfast", "fill", before, size)
            rounds = [_costs(contest, "timed") for _ in range(workshop.rounds)]
            counts = [_costs(contest, "counted") for _ in range(LOOKS)]
            for name in METHODS:
                requests[name].append(round(min(one[name] for one in counts)))
                times[name].append([one[name] for one in rounds])
        contest.run("holdfast", "empty")
    largest = f"{sizes[-1]:,} not due"
    lines = [
        Line(
            what=f"{name}, requests to IndexedDB",
            unit="requests",
            ours=Side(name=largest, values=[requests[name][-1]]),
            other=Side(name="none", values=[requests[name][0]]),
            at_least=1 if name == "claim, send, settle" else None,
        )
        for name in METHODS
    ]
    lines += [
        Line(
            what=f"{name}, time",
            unit="ms",
            ours=Side(name=largest, values=times[name][-1]),
            other=Side(name="none", values=times[name][0]),
        )
        for name in METHODS
    ]
    stored = slice(1, None)  # a logarithm knows no zero
    medians = {name: [median(values) for values in times[name][stored]] for name in METHODS}
    counts = {name: requests[name][stored] for name in METHODS}
    return [
        *lines,
        Growth(what="time with so many stored jobs", unit="ms", sizes=sizes[stored], costs=medians),
        Growth(what="requests with so many stored jobs", unit="requests", sizes=sizes[stored], costs=counts),
    ]


def _costs(contest: Contest, measure: str) -> dict[str, float]:
    """The cost of each operation by `timed` or `counted`; of those that handle jobs, for one."""
    contest.run("holdfast", "shut")  # or what is enqueued would be sent meanwhile
    cost_of = getattr(contest, measure)
    return {
        name: cost_of("holdfast", method, *given) / (JOBS if name in A_JOB else 1)
        for name, (method, *given) in METHODS.items()
    }
