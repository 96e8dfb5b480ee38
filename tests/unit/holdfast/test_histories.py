"""Whatever happens in whatever order: the laws of the store hold after each step, and counters equal a full count."""

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import ActionRefusedError
from holdfast.ports import Answer
from holdfast.testing import answer_with, receipt
from tests.support.device import Device, Silence, check_laws, entry

ANSWERS: list[Any] = [
    receipt,
    answer_with(503),
    answer_with(422),
    answer_with(412),
    answer_with(401),
    answer_with(409, {"type": "urn:holdfast:problem:in-progress"}),
    lambda _request: Answer(200),
    lambda _request: Answer(failure="network"),
]

numbers = st.integers(0, 9)
steps = st.one_of(
    st.tuples(st.just("enqueue"), numbers, numbers),
    st.tuples(st.just("inbox"), numbers, numbers),
    st.tuples(st.sampled_from(["retry", "cancel", "edit"]), numbers, numbers),
    st.tuples(st.just("answer"), st.integers(0, len(ANSWERS)), numbers),
    st.tuples(st.just("network"), st.integers(0, 1), numbers),
    st.tuples(st.just("advance"), numbers, numbers),
    st.tuples(st.just("drain"), numbers, numbers),
    st.tuples(st.just("sign_in"), numbers, numbers),
    st.tuples(st.sampled_from(["visit", "pause", "crash"]), numbers, numbers),
)


class History:
    """Applies steps to a device and remembers which jobs were accepted."""

    def __init__(self) -> None:
        self.device = Device()
        self.ids: list[str] = []
        self.outbox: Any = None

    async def apply(self, step: tuple[str, int, int]) -> None:
        verb, number, other = step
        if self.outbox is None:
            self.outbox = await self.device.context(attempts=3)
        await getattr(self, verb)(number, other)
        if other % 2:
            await self.device.rest()

    async def enqueue(self, number: int, other: int) -> None:
        accepted = await self.outbox.enqueue(
            ("note", "memo", "photo")[number % 3],
            {"text": f"{number}"},
            lane=(None, "a", "b")[other % 3],
            priority=number,
            delay_ms=(0, 0, 5_000)[number % 3],
            ttl_ms=(None, None, None, 20_000)[other % 4],
        )
        self.ids.append(accepted.id)

    async def inbox(self, number: int, other: int) -> None:
        self.device.inbox.add(entry(f"e{number}", str(other), options={"ttl_ms": 10_000} if other == 1 else {}))
        await self.outbox.jobs()

    async def answer(self, number: int, _other: int) -> None:
        self.device.network.answer = Silence() if number == len(ANSWERS) else ANSWERS[number]

    async def network(self, number: int, _other: int) -> None:
        self.device.network.reachable = bool(number)

    async def advance(self, number: int, _other: int) -> None:
        await self.device.clock.advance(10 ** (number % 6))

    async def drain(self, _number: int, _other: int) -> None:
        self.outbox.wake()

    async def sign_in(self, _number: int, _other: int) -> None:
        await self.outbox.sign_in("")

    async def pause(self, number: int, _other: int) -> None:
        await (self.outbox.pause if number % 2 else self.outbox.resume)(queue="notes")

    async def visit(self, _number: int, _other: int) -> None:
        await self.outbox.visit()

    async def crash(self, _number: int, _other: int) -> None:
        await self.device.crash()
        self.outbox = None

    async def retry(self, number: int, _other: int) -> None:
        await self._act(number, self.outbox.retry)

    async def cancel(self, number: int, _other: int) -> None:
        await self._act(number, self.outbox.cancel)

    async def edit(self, number: int, other: int) -> None:
        edited = await self._act(number, self.outbox.edit, {"text": f"e{other}"})
        if edited is not None:
            self.ids.append(edited.id)

    async def _act(self, number: int, verb: Any, *arguments: Any) -> Any:
        if not self.ids:
            return None
        with contextlib.suppress(ActionRefusedError):
            return await verb(self.ids[number % len(self.ids)], *arguments)
        return None


@given(st.lists(steps, max_size=25))
@settings(max_examples=150)
async def test_the_laws_hold_after_every_step_of_any_history(history: list[tuple[str, int, int]]) -> None:
    """Crashes, outages, refusals, edits, cancels in any order: sparse fields, lanes, counters and accepted jobs stand."""
    run = History()
    for step in history:
        await run.apply(step)
        check_laws(run.device.store)
    stored = {record["id"] for record in run.device.store.records("jobs")}
    assert set(run.ids) <= stored
    await run.device.crash()
    outbox = await run.device.context(attempts=3)
    stats = await outbox.stats()
    states = [record["state"] for record in run.device.store.records("jobs")]
    assert stats["states"] == {state: states.count(state) for state in stats["states"]}
    assert stats["unsent"] == sum(state not in {"completed", "cancelled"} for state in states)


@given(st.lists(steps, max_size=15))
@settings(max_examples=60)
async def test_after_any_history_everything_waiting_arrives_in_order(history: list[tuple[str, int, int]]) -> None:
    """Network back, signed in, server well: all that is pending is delivered, each lane in its order."""
    run = History()
    for step in history:
        await run.apply(step)
    device = run.device
    await device.crash()
    outbox = await device.context(attempts=3)
    await outbox.jobs()
    waiting = [record for record in device.store.records("jobs") if record["state"] in {"pending", "processing"}]
    device.network.answer, device.network.reachable = receipt, True
    device.network.sent.clear()
    await outbox.resume(queue="notes")
    await outbox.sign_in("")
    await device.deliver_all(outbox)
    left = [record for record in device.store.records("jobs") if record["state"] in {"pending", "processing"}]
    assert left == []
    order: dict[tuple[str, str], list[str]] = {}
    for record in sorted(waiting, key=lambda record: record["place"]):
        order.setdefault((record["queue"], record["lane_key"]), []).append(record["id"])
    sent = [request.job_id for request in device.network.sent]
    assert len(sent) == len(set(sent))
    for lane in order.values():
        delivered = [job_id for job_id in sent if job_id in lane]
        assert delivered == [job_id for job_id in lane if job_id in delivered]
    check_laws(device.store)
