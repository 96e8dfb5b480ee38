"""What is stored must not cost: the same operations with more and more jobs in the store that are not due."""

from statistics import median

from tests.bench.table import Growth, Line, Side, row
from tests.bench.workshop import Contest, Workshop

SIZES = (0, 100, 1_000, 10_000, 100_000)
QUICK_SIZES = (0, 100, 10_000)
JOBS = 20
MORE_JOBS = 100
"""What these cost beyond the requests of `JOBS` is what a job costs, without the looks at the queue around them."""
PAGE = 20
LOOKS = 3  # there may be a look at the queue more or less
EQUAL = 0.9
"""How many jobs are claimed at once goes by how fast the last ones went, so a few requests more or less are no growth. The engine's
own tests count one claim, exactly.
"""
ENQUEUE, SEND = "enqueue", "claim, send, settle"
METHODS = {
    ENQUEUE: ("enqueue", JOBS),
    SEND: ("drain",),
    "list, first page": ("list", PAGE),
    "stats": ("stats",),
}
A_JOB = (ENQUEUE, SEND)


@row
def growth(workshop: Workshop) -> list[Line | Growth]:
    """Times and requests to IndexedDB, with finished, failed, delayed and blocked jobs stored in equal parts."""
    sizes = QUICK_SIZES if workshop.quick else SIZES
    times: dict[str, list[list[float]]] = {name: [] for name in METHODS}
    requests: dict[str, list[float]] = {name: [] for name in METHODS}
    with workshop.contest() as contest:
        contest.run("holdfast", "empty")
        _times(contest)
        for before, size in zip((0, *sizes), sizes, strict=False):
            contest.run("holdfast", "fill", before, size)
            rounds = [_times(contest) for _ in range(workshop.rounds)]
            counts = _requests(contest)
            for name in METHODS:
                requests[name].append(counts[name])
                times[name].append([one[name] for one in rounds])
        contest.run("holdfast", "empty")
    largest = f"{sizes[-1]:,} not due"
    lines = [
        Line(
            what=f"{name}, requests to IndexedDB",
            unit="requests",
            ours=Side(name=largest, values=[requests[name][-1]]),
            other=Side(name="none", values=[requests[name][0]]),
            at_least=EQUAL if name == SEND else None,
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


def _times(contest: Contest) -> dict[str, float]:
    """What each operation takes; of those that handle jobs, for one."""
    contest.run("holdfast", "shut")  # or what is enqueued would be sent meanwhile
    return {
        name: contest.timed("holdfast", method, *given) / (JOBS if name in A_JOB else 1)
        for name, (method, *given) in METHODS.items()
    }


def _requests(contest: Contest) -> dict[str, float]:
    """How many requests to IndexedDB each operation makes; of those that handle jobs, for one more."""
    counts = [[_counts(contest, jobs) for _ in range(LOOKS)] for jobs in (JOBS, MORE_JOBS)]
    few, many = ({name: min(one[name] for one in looks) for name in METHODS} for looks in counts)
    return {name: (many[name] - few[name]) / (MORE_JOBS - JOBS) if name in A_JOB else few[name] for name in METHODS}


def _counts(contest: Contest, jobs: int) -> dict[str, int]:
    contest.run("holdfast", "shut")
    counted = {}
    for name, (method, *given) in METHODS.items():
        counted[name] = contest.counted("holdfast", method, *([jobs] if name == ENQUEUE else given))
    return counted
