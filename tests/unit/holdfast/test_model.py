"""The engine beside a plain model of it, step by step: what it does is what the model allows, and nothing else is left to do."""

import asyncio
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from holdfast import Outbox
from holdfast.errors import ActionRefusedError
from holdfast.ports import Answer, Request
from holdfast.testing import answer_with, receipt
from tests.support.device import STEADY, Device, check_laws
from tests.support.plain_queue import ATTEMPTS, ENDED, REDRIVABLE, Job, PlainQueue

TAKES_MS = 10
"""How long the server works on each job."""
TYPES = ("note", "stop")
FATES = {"good": (0, 201), "flaky": (2, 201), "refused": (0, 422), "outdated": (0, 412), "down": (99, 503)}
"""How the server takes a job: how often it answers 503 first, and then what."""


class Wish(NamedTuple):
    """What is to be enqueued."""

    type: str
    lane: str | None
    priority: int
    delay_ms: int
    ttl_ms: int | None
    fate: str


wishes = st.builds(
    Wish,
    type=st.sampled_from(TYPES),
    lane=st.sampled_from([None, "a", "a"]),
    priority=st.sampled_from([2, 5, 5]),
    delay_ms=st.sampled_from([0, 0, 5, 3_000]),
    ttl_ms=st.sampled_from([None, None, 15, 4_000]),
    fate=st.sampled_from(sorted(FATES)),
)
numbers = st.integers(0, 9)
VERBS = ["enqueue"] * 6 + ["pause_type", "edit", "deliver"] * 2 + ["cancel", "retry", "die", "wait"]
steps = st.tuples(st.sampled_from(VERBS), numbers, wishes)


class Beside:
    """The engine and the model."""

    def __init__(self, *, concurrency: int, batch: bool | int) -> None:
        self.device = Device()
        self.batch = batch
        self.model = PlainQueue(concurrency=concurrency, together={False: 1, True: 50}.get(batch, int(batch)))
        self.outbox: Any = None
        self.asked: Counter[str] = Counter()
        self.fates: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.device.network.answer = self.answer

    def describe(self) -> Outbox:
        outbox = Outbox("test", app_version=1)
        outbox.queue("notes", concurrency=self.model.concurrency)
        for type_ in TYPES:
            outbox.route(
                type_,
                "POST",
                "/api",
                queue="notes",
                attempts=ATTEMPTS,
                backoff=STEADY,
                halt=type_ == "stop",
                batch=self.batch,
            )
        return outbox

    # The server

    async def answer(self, request: Request) -> Answer:
        name = request.payload["text"]
        names = next(names for names in map(carried, reversed(self.device.network.sent)) if name in names)
        if name == names[0]:
            self.model.begin(names, self.now())
        await self.device.clock.sleep(TAKES_MS)
        self.asked[name] += 1
        before, last = FATES[self.fates[name]]
        status = 503 if self.asked[name] <= before else last
        job = self.model.jobs[name]
        self.model.answered(job, status, self.now())
        if name == names[-1] or status == 503 or (job.halts and status != 201):
            self.model.ended(names)
        return receipt(request) if status == 201 else answer_with(status)(request)

    # The steps

    async def apply(self, verb: str, number: int, wish: Wish) -> None:
        if self.outbox is None:
            self.outbox = await self.device.context(self.describe())
            await self.outbox.pause()
        if verb in {"cancel", "retry", "edit"}:
            if self.ids:
                await getattr(self, verb)(self.model.jobs[sorted(self.ids)[number % len(self.ids)]], wish)
        else:
            await getattr(self, verb)(number, wish)
        await self.device.rest()

    async def enqueue(self, number: int, wish: Wish) -> None:
        await self.device.clock.advance(number)
        name = self.named(wish)
        options = wish._asdict() | {"type_": wish.type}
        del options["fate"], options["type"]
        accepted = await self.outbox.enqueue(options.pop("type_"), {"text": name}, **options)
        self.ids[name] = accepted.id
        self.model.add(self.job(name, wish.type, wish.lane, wish.priority, delay_ms=wish.delay_ms, ttl_ms=wish.ttl_ms))

    async def cancel(self, job: Job, _wish: Wish) -> None:
        if await self.allowed(self.outbox.cancel(self.ids[job.name]), job.state not in ENDED):
            self.model.cancel(job, "by_person")

    async def retry(self, job: Job, _wish: Wish) -> None:
        if await self.allowed(self.outbox.retry(self.ids[job.name]), job.state in REDRIVABLE):
            self.asked[job.name] = 0
            self.model.retry(job, self.now())

    async def edit(self, job: Job, wish: Wish) -> None:
        """The new one has the lane and the place of the old one; what waits for its first send keeps its times."""
        name, waits = self.named(wish), job.state == "pending"
        accepted = await self.allowed(self.outbox.edit(self.ids[job.name], {"text": name}), job.state not in ENDED)
        if accepted:
            self.ids[name] = accepted.id
            delay_ms = max(0, job.run_at - self.now()) if waits and job.reason is None else 0
            ttl_ms = max(1, job.expires_at - self.now()) if waits and job.expires_at is not None else None
            new = self.job(name, job.type, job.lane, job.priority, delay_ms=delay_ms, ttl_ms=ttl_ms)
            place = self.model.cancel(job, "replaced")
            self.model.add(new, place if new.lane_key == job.lane_key else None)

    async def deliver(self, _number: int, _wish: Wish) -> None:
        """Until nothing is left that could go by itself."""
        self.model.paused.remove("all")
        await self.outbox.resume()
        wake_at: int | None = self.now()
        while wake_at is not None:
            await self.device.clock.advance(max(0, wake_at - self.now()))
            draining = asyncio.ensure_future(self.outbox.drain())
            while not draining.done():
                await self.device.clock.advance(TAKES_MS)
            wake_at = draining.result()["next_wake_at"]
        self.notice_what_is_over()
        assert self.model.left_behind(self.now()) == []
        assert [job for job in self.model.jobs.values() if job.is_over(self.now())] == []
        await self.outbox.pause()
        self.model.paused.add("all")

    async def die(self, _number: int, _wish: Wish) -> None:
        await self.device.crash()
        self.outbox = None

    async def wait(self, number: int, _wish: Wish) -> None:
        await self.device.clock.advance(number * 1_000)

    async def pause_type(self, _number: int, wish: Wish) -> None:
        """Or resume it."""
        await (self.outbox.resume if wish.type in self.model.paused else self.outbox.pause)(type_=wish.type)
        self.model.paused ^= {wish.type}

    # Inside

    def now(self) -> int:
        return self.device.clock.now()

    def named(self, wish: Wish) -> str:
        name = f"j{len(self.fates):02}"
        self.fates[name] = wish.fate
        return name

    def job(self, name: str, type_: str, lane: str | None, priority: int, *, delay_ms: int, ttl_ms: int | None) -> Job:
        expires_at = None if ttl_ms is None else self.now() + ttl_ms
        return Job(name, lane, type_, priority, self.now() + delay_ms, delay_ms > 0, expires_at)

    async def allowed(self, act: Any, expected: bool) -> Any:
        """What it answers if the model allows it; else it must be refused."""
        try:
            answer = await act
        except ActionRefusedError:
            assert not expected
            return None
        assert expected
        return answer

    def notice_what_is_over(self) -> None:
        """The engine notices it with its next drain, whenever that is."""
        for name, job in self.model.jobs.items():
            if job.is_over(self.now()) and self.device.end(self.ids[name])[0] == "expired":
                self.model.expire(job)

    def compare(self) -> None:
        self.notice_what_is_over()
        stored = {name: self.device.record(job_id) for name, job_id in self.ids.items()}
        real = {name: (record["state"], record["reason"], record["attempts"]) for name, record in stored.items()}
        assert real == {name: (job.state, job.reason, job.attempts) for name, job in self.model.jobs.items()}
        lanes = defaultdict(list)
        for name, record in sorted(stored.items(), key=lambda item: item[1].get("place", 0)):
            if "place" in record:
                lanes[record["lane_key"]].append(name)
        plain = [[job.name for job in lane] for lane in self.model.lanes.values() if lane]
        assert sorted(lanes.values()) == sorted(plain)
        check_laws(self.device.store)


def carried(request: Request) -> list[str]:
    """The jobs in a request."""
    items = request.payload.get("items")
    return [item["body"]["text"] for item in items] if items else [request.payload["text"]]


@given(st.lists(steps, min_size=5, max_size=20), st.sampled_from([1, 2]), st.sampled_from([False, 2, True]))
async def test_the_engine_does_what_a_plain_model_does(
    history: list[tuple[str, int, Wish]], concurrency: int, batch: bool | int
) -> None:
    """Enqueue, deliver, cancel, retry, edit, pauses, deaths and time in any order, with priorities, delays and time limits:
    whatever is sent may be sent, nothing that may is left, and states, reasons, attempts and each lane's order agree.
    """
    both = Beside(concurrency=concurrency, batch=batch)
    for step in [*history, ("deliver", 0, Wish("note", None, 5, 0, None, "good"))]:
        await both.apply(*step)
        both.compare()
