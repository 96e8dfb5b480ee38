"""The engine beside a plain model of it: lists for lanes, a word for each job, nothing else."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import ActionRefusedError
from holdfast.ports import Request
from holdfast.testing import answer_with, receipt
from tests.support.device import Device, check_laws, describe

ATTEMPTS = 3
LANES = ("a", "b", "c")
FATES = {"good": 0, "flaky": 2, "refused": 0, "down": 99}
"""How the server takes a job: how often it answers 503 before it takes or refuses it."""

numbers = st.integers(0, 9)
steps = st.one_of(
    st.tuples(st.just("enqueue"), numbers, st.sampled_from(sorted(FATES))),
    st.tuples(st.sampled_from(["cancel", "retry", "edit", "deliver", "die"]), numbers, st.just("good")),
)


class Model:
    """What ought to be."""

    def __init__(self) -> None:
        self.lanes: dict[str, list[str]] = {lane: [] for lane in LANES}
        self.lane_of: dict[str, str] = {}
        self.fates: dict[str, str] = {}
        self.states: dict[str, tuple[str, str | None, int]] = {}
        """State, reason, attempts."""
        self.sent: dict[str, list[str]] = {lane: [] for lane in LANES}

    def enqueue(self, job: str, lane: str, fate: str, place: int | None = None) -> None:
        self.lanes[lane].insert(len(self.lanes[lane]) if place is None else place, job)
        self.lane_of[job], self.fates[job] = lane, fate
        self.states[job] = ("pending", None, 0)

    def deliver(self) -> None:
        for lane, jobs in self.lanes.items():
            for job in jobs:
                fate = self.fates[job]
                attempts = min(FATES[fate] + 1, ATTEMPTS)
                self.sent[lane] += [job] * attempts
                ends = {
                    "good": ("completed", None, 0),
                    "flaky": ("completed", None, 2),
                    "refused": ("failed", "refused", 1),
                    "down": ("failed", "exhausted", ATTEMPTS),
                }
                self.states[job] = ends[fate]
            jobs.clear()


class Beside:
    """The engine and the model, step by step."""

    def __init__(self, batch: bool | int) -> None:
        self.model, self.device = Model(), Device()
        self.batch = batch
        self.arrived: list[str] = []
        self.outbox: Any = None
        self.asked: Counter[str] = Counter()
        self.ids: dict[str, str] = {}
        self.device.network.answer = self.answer

    def answer(self, request: Request) -> Any:
        job = request.payload["text"]
        self.arrived.append(job)
        self.asked[job] += 1
        fate = self.model.fates[job]
        if self.asked[job] <= FATES[fate]:
            return answer_with(503)(request)
        return answer_with(422)(request) if fate == "refused" else receipt(request)

    async def apply(self, verb: str, number: int, fate: str) -> None:
        if self.outbox is None:
            self.outbox = await self.device.context(describe(attempts=ATTEMPTS, batch=self.batch))
            await self.outbox.pause()
        job = sorted(self.ids)[number % len(self.ids)] if self.ids else ""
        if verb in {"cancel", "retry", "edit"} and not job:
            return
        await getattr(self, verb)(number if verb == "enqueue" else job, fate)

    async def enqueue(self, number: int, fate: str) -> None:
        job, lane = f"j{len(self.ids):02}", LANES[number % len(LANES)]
        self.ids[job] = (await self.outbox.enqueue("note", {"text": job}, lane=lane)).id
        self.model.enqueue(job, lane, fate)

    async def cancel(self, job: str, _fate: str) -> None:
        state, _, attempts = self.model.states[job]
        if await self.allowed(self.outbox.cancel(self.ids[job]), state not in {"completed", "cancelled"}):
            self.model.states[job] = ("cancelled", "by_person", attempts)
            self.leave(job)

    async def retry(self, job: str, _fate: str) -> None:
        if self.model.states[job][0] != "failed":
            return
        await self.outbox.retry(self.ids[job])
        self.asked[job] = 0
        self.model.enqueue(job, self.model.lane_of[job], self.model.fates[job])

    async def edit(self, job: str, fate: str) -> None:
        state, _, attempts = self.model.states[job]
        new, lane = f"j{len(self.ids):02}", self.model.lane_of[job]
        accepted = await self.allowed(
            self.outbox.edit(self.ids[job], {"text": new}), state not in {"completed", "cancelled"}
        )
        if accepted:
            place = self.model.lanes[lane].index(job) if job in self.model.lanes[lane] else None
            self.leave(job)
            self.model.states[job] = ("cancelled", "replaced", attempts)
            self.ids[new] = accepted.id
            self.model.enqueue(new, lane, fate, place)

    async def deliver(self, _job: str, _fate: str) -> None:
        await self.outbox.resume()
        await self.device.deliver_all(self.outbox)
        await self.outbox.pause()
        self.model.deliver()

    async def die(self, _job: str, _fate: str) -> None:
        await self.device.crash()
        self.outbox = None

    async def allowed(self, act: Any, expected: bool) -> Any:
        """What it answers if the model allows it; else it must be refused."""
        try:
            answer = await act
        except ActionRefusedError:
            assert not expected
            return None
        assert expected
        return answer

    def leave(self, job: str) -> None:
        lane = self.model.lanes[self.model.lane_of[job]]
        if job in lane:
            lane.remove(job)

    def compare(self) -> None:
        stored = {name: self.device.record(job_id) for name, job_id in self.ids.items()}
        real = {name: (record["state"], record["reason"], record["attempts"]) for name, record in stored.items()}
        assert real == self.model.states
        for lane, sent in self.model.sent.items():
            assert [job for job in self.arrived if self.model.lane_of[job] == lane] == sent
        check_laws(self.device.store)


@given(st.lists(steps, max_size=20), st.sampled_from([False, 2, True]))
@settings(max_examples=90)
async def test_the_engine_does_what_a_plain_model_does(history: list[tuple[str, int, str]], batch: bool | int) -> None:
    """Enqueue, deliver, cancel, retry, edit, death in any order: states, reasons, attempts and each lane's order agree,
    whether jobs go one by one or together.
    """
    both = Beside(batch)
    for step in [*history, ("deliver", 0, "good")]:
        await both.apply(*step)
        both.compare()
