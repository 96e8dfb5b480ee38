"""Nothing is found by walking: what is stored and does not matter costs no storage request more."""

import pytest

from holdfast.lifecycle import Reason, State
from holdfast.storage import Put, transaction
from holdfast.transactions.tidy import Retention
from tests.support.device import Device, describe

NOW = 1_800_000_000_000


@transaction("jobs", "bodies", "queues", durability="relaxed")
def fill(records, counters):  # type: ignore[no-untyped-def]
    for record in records:
        yield Put("jobs", record)
    yield Put("queues", counters)


def stored(number: int, kind: str) -> dict[str, object]:
    """One of many jobs that a claim has nothing to do with."""
    record: dict[str, object] = {
        "id": f"{kind}-{number}",
        "key": f"k-{kind}-{number}",
        "type": "note",
        "queue": "notes",
        "lane": None,
        "lane_key": "#5",
        "priority": 5,
        "rank": 4,
        "account": "",
        "state": State.PENDING,
        "reason": None,
        "said": {},
        "summary": {},
        "files": 0,
        "attempts": 0,
        "max_attempts": 8,
        "run_at": NOW,
        "wait_ms": 0,
        "created_at": NOW,
        "updated_at": NOW,
        "expires_at": None,
        "fence": 0,
        "holder": "",
        "crashes": 0,
        "no_receipts": 0,
        "unknown_since": None,
        "payload_version": 1,
        "app_version": 1,
        "halt": False,
        "seq": number,
    }
    match kind:
        case "failed":
            record |= {"state": State.FAILED, "reason": Reason.REFUSED}
        case "completed":
            record |= {"state": State.COMPLETED}
        case "future":
            later = NOW + 86_400_000 + number
            record |= {"lane_key": f"!{number}", "place": number, "run_at": later, "ready_at": later}
            record |= {"wait_ms": later - NOW}
        case "blocked":
            record |= {"lane_key": "=blocked", "place": number}
            if number == 1:
                record |= {"run_at": NOW + 86_400_000, "ready_at": NOW + 86_400_000, "wait_ms": 86_400_000}
    return record


async def costs(kind: str, amount: int) -> dict[str, int]:
    """Storage requests of one enqueue, and of one drain that claims, sends and settles it."""
    device = Device()
    records = [stored(number, kind) for number in range(1, amount + 1)]
    states = {record["state"]: amount for record in records} | {"completed": amount if kind == "completed" else 0}
    counters = {
        "account": "",
        "queue": "notes",
        "last_place": 20_000,
        "states": states,
        "retries": 0,
        "failures": {},
        "latency": {},
        "last_received_at": None,
    }
    await device.store.run(fill(records, counters))
    outbox = describe(retention=Retention(finished_count=100_000))
    outbox.queue("notes", depth=100_000)
    await device.context(outbox)
    spent: dict[str, int] = {}
    outbox.wake = lambda: None  # type: ignore[method-assign]
    before = device.store.requests
    await outbox.enqueue("note", {"text": "a"}, lane="mine")
    spent["enqueue"] = device.store.requests - before
    before = device.store.requests
    await outbox.drain()
    spent["claim, send and settle"] = device.store.requests - before
    assert device.sent() == ["a"]
    before = device.store.requests
    await outbox.stats()
    spent["stats"] = device.store.requests - before
    return spent


@pytest.mark.parametrize("kind", ["failed", "completed", "future", "blocked"])
async def test_stored_jobs_cost_a_claim_nothing(kind: str) -> None:
    """With one, 100 and 10,000 of them, enqueue, claim, settle and stats make the same number of requests."""
    few, some, many = await costs(kind, 1), await costs(kind, 100), await costs(kind, 10_000)
    assert few == some == many


async def test_an_idle_look_costs_a_handful_of_requests() -> None:
    """With nothing to do a drain of one queue reads its gates, leases, limits and heads, and that is all."""
    device = Device()
    outbox = await device.context()
    await outbox.drain()
    before = device.store.requests
    await outbox.drain()
    assert (device.store.requests - before) / 2 <= 12
