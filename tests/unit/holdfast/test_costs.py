"""Nothing is found by walking: what is stored and does not matter costs no storage request more."""

from holdfast.lifecycle import STATES, Reason, State
from holdfast.memory import MemoryStore
from holdfast.ports import Answer, Request
from holdfast.testing import receipt
from holdfast.transactions.tidy import Retention
from tests.support.device import Device, describe

NOW = 1_800_000_000_000


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


KINDS = ("failed", "completed", "future", "blocked")


def fill(store: MemoryStore, each: int) -> None:
    """As many stored jobs of each kind, with their queue's counters."""
    store.fill("jobs", [stored(number, kind) for kind in KINDS for number in range(1, each + 1)])
    store.fill("queues", [counters(each)])


def counters(each: int) -> dict[str, object]:
    """The record of a queue with as many stored jobs of each kind."""
    states = {"failed": each, "completed": each, "pending": 2 * each}
    zero = {"retries": 0, "failures": {}, "latency": {}, "last_received_at": None}
    return {"account": "", "queue": "notes", "last_place": 1_000_000, "states": states} | zero


async def costs(each: int) -> dict[str, int]:
    """Storage requests of one enqueue, of its claim, of its settle, of the statistics and of the overview."""
    device = Device()
    fill(device.store, each)
    outbox = describe(retention=Retention(finished_count=1_000_000))
    outbox.queue("notes", depth=1_000_000)
    await device.context(outbox)
    spent: dict[str, int] = {}
    outbox.wake = lambda: None  # type: ignore[method-assign]
    before = device.store.requests
    await outbox.enqueue("note", {"text": "a"}, lane="mine")
    spent["enqueue"] = device.store.requests - before
    before = device.store.requests
    claimed: list[int] = []

    def answer(request: Request) -> Answer:
        claimed.append(device.store.requests)
        return receipt(request)

    device.network.answer = answer
    await outbox.drain()
    [after] = claimed
    spent["claim"], spent["settle"] = after - before, device.store.requests - after
    before = device.store.requests
    await outbox.stats()
    spent["stats"] = device.store.requests - before
    before = device.store.requests
    assert len((await outbox.overview(limit=2, waited_ms=0))["jobs"]) <= 2 * (len(STATES) + 2)
    spent["overview"] = device.store.requests - before
    return spent


async def test_stored_jobs_cost_a_claim_nothing() -> None:
    """With 4 and with 100,000 of them, failed, completed, future and blocked ones, each verb makes as many requests.

    With none at all it is as many too, less the one look past a head whose time has not come; and the statistics leave out
    what there is none of.
    """
    none, few, many = await costs(0), await costs(1), await costs(25_000)
    assert few == many
    assert none["enqueue"] == few["enqueue"]
    assert none["claim"] == few["claim"]
    assert few["settle"] - none["settle"] <= 1


async def test_an_id_that_was_made_a_moment_ago_is_not_looked_up() -> None:
    """One that is given is."""
    device = Device()
    outbox = await device.context()
    await outbox.pause()
    spent = []
    for given in ("first", None, "second"):
        before = device.store.requests
        await outbox.enqueue("note", {"text": "a"}, id=given)
        spent.append(device.store.requests - before)
    assert spent[1] == spent[2] - 1


async def test_a_commit_that_was_taken_for_lost_and_was_not_is_found_though_the_id_is_new() -> None:
    """A store may begin a transaction anew whose end it did not hear of."""
    device = Device()
    outbox = await device.context()
    run = device.store.run

    async def run_twice(transaction):
        await run(transaction)
        return await run(transaction)

    device.store.run = run_twice  # type: ignore[method-assign]
    accepted = await outbox.enqueue("note", {"text": "a"}, delay_ms=1_000)
    [record] = device.store.records("jobs")
    [queue] = device.store.records("queues")
    assert (record["id"], record["seq"], queue["states"]) == (accepted.id, 1, {"pending": 1})


async def test_an_idle_look_costs_a_handful_of_requests() -> None:
    """With nothing to do a drain of one queue reads its gates, leases, limits and heads, and that is all."""
    device = Device()
    outbox = await device.context()
    await outbox.drain()
    before = device.store.requests
    await outbox.drain()
    assert (device.store.requests - before) / 2 <= 12
