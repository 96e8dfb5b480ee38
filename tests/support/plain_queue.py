"""A queue as one would explain it: lanes are lists of jobs, time is a number, and each send is judged by the rules.

It knows priorities, delays, time limits, pauses, halting types, batches and how many lanes go at once. It chooses nothing by
itself: of several jobs that may go it is told which one went.
"""

from dataclasses import dataclass

ATTEMPTS = 3
WAITS_MS = (1_000, 2_000)
"""After the first and the second attempt."""
ENDED = {"completed", "cancelled"}
REDRIVABLE = {"failed", "expired", "conflict"}


@dataclass
class Job:
    """What the rules speak of."""

    name: str
    lane: str | None
    type: str
    priority: int
    run_at: int
    delayed: bool
    expires_at: int | None
    state: str = "pending"
    reason: str | None = None
    attempts: int = 0

    @property
    def lane_key(self) -> str:
        """The named lane; without a name that of its priority, or one of its own if it was delayed."""
        if self.lane is not None:
            return f"={self.lane}"
        return f"!{self.name}" if self.delayed else f"#{self.priority}"

    @property
    def halts(self) -> bool:
        return self.type == "stop"

    def is_over(self, now: int) -> bool:
        return self.state == "pending" and self.expires_at is not None and self.expires_at <= now

    def end(self, state: str, reason: str | None) -> None:
        self.state, self.reason = state, reason


class PlainQueue:
    """All jobs, in their lanes."""

    def __init__(self, *, concurrency: int, together: int) -> None:
        self.concurrency, self.together = concurrency, together
        self.jobs: dict[str, Job] = {}
        self.lanes: dict[str, list[Job]] = {}
        self.under_way: set[str] = set()
        """Lanes."""
        self.paused: set[str] = {"all"}

    # What people do

    def add(self, job: Job, place: int | None = None) -> None:
        lane = self.lanes.setdefault(job.lane_key, [])
        lane.insert(len(lane) if place is None else place, job)
        self.jobs[job.name] = job

    def cancel(self, job: Job, reason: str) -> int | None:
        """Returns the place that it had in its lane."""
        place = self.place(job)
        job.end("cancelled", reason)
        self._leave(job)
        return place

    def retry(self, job: Job, now: int) -> None:
        """From the end of its lane, unless it halted it: then from where it is."""
        job.end("pending", None)
        job.attempts, job.run_at, job.expires_at = 0, now, None
        if self.place(job) is None:
            self.add(job)

    def place(self, job: Job) -> int | None:
        lane = self.lanes.get(job.lane_key, [])
        return lane.index(job) if job in lane else None

    # What time does

    def expire(self, job: Job) -> None:
        self._fail(job, "expired", "ttl")

    # What the queue does

    def begin(self, names: list[str], now: int) -> None:
        """These leave in one request."""
        for job in self.jobs.values():
            if job.is_over(now):
                self.expire(job)
        jobs = [self.jobs[name] for name in names]
        head = jobs[0]
        assert self.lanes[head.lane_key][: len(jobs)] == jobs, f"{names} are not the first of {head.lane_key}"
        assert len(self.under_way - {head.lane_key}) < self.concurrency, f"{names} are one lane too many"
        assert len(jobs) == 1 or (len(jobs) <= self.together and all(job.reason is None for job in jobs)), names
        assert {job.priority for job in jobs} == {head.priority}, names
        free = self._free(now)
        assert head in free, f"{names} may not go"
        assert all(self._may_go(job, now) for job in jobs), names
        passed_over = [job for job in free if (-job.priority, job.run_at) < (-head.priority, head.run_at)]
        assert not passed_over, f"{names} go before {passed_over}"
        self.under_way.add(head.lane_key)
        for job in jobs:
            job.end("processing", None)

    def answered(self, job: Job, status: int, now: int) -> None:
        if status == 503 and job.attempts + 1 < ATTEMPTS:
            job.end("pending", "server_error")
            job.run_at = now + WAITS_MS[job.attempts]
        elif status == 201:
            job.end("completed", None)
            self._leave(job)
            return
        else:
            ends = {503: ("failed", "exhausted"), 422: ("failed", "refused"), 412: ("conflict", "server_conflict")}
            self._fail(job, *ends[status])
        job.attempts += 1

    def ended(self, names: list[str]) -> None:
        """A request is over; what of it was not run waits again."""
        for name in names:
            self.under_way.discard(self.jobs[name].lane_key)
            if self.jobs[name].state == "processing":
                self.jobs[name].end("pending", None)

    def left_behind(self, now: int) -> list[Job]:
        """What could go and has not gone."""
        return self._free(now)

    def _free(self, now: int) -> list[Job]:
        heads = [lane[0] for key, lane in self.lanes.items() if lane and key not in self.under_way]
        return [head for head in heads if self._may_go(head, now)]

    def _may_go(self, job: Job, now: int) -> bool:
        return job.state == "pending" and job.run_at <= now and not self.paused & {"all", job.type}

    def _fail(self, job: Job, state: str, reason: str) -> None:
        job.end(state, reason)
        if not job.halts:
            self._leave(job)

    def _leave(self, job: Job) -> None:
        if self.place(job) is not None:
            self.lanes[job.lane_key].remove(job)
