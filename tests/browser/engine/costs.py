"""What jobs cost on real IndexedDB: requests to the database, and crossings between Python and JavaScript for them."""

import itertools
import json

from pyodide.code import run_js

from holdfast import Outbox
from holdfast.browser.idb import IndexedDBStore
from holdfast.schema import MIGRATIONS
from holdfast.storage import Put, schema_of, transaction
from holdfast.testing import Laboratory, receipt
from holdfast.transactions.tidy import Retention
from tests.unit.holdfast.test_costs import KINDS, counters, stored

COUNT = """() => {
    const counted = { requests: 0, crossings: 0 };
    const count = (object, name, what) => {
        const own = object[name];
        object[name] = function (...given) {
            counted[what]++;
            return own.apply(this, given);
        };
    };
    for (const name of ["get", "getAll", "count", "openCursor"])
        for (const { prototype } of [IDBObjectStore, IDBIndex]) count(prototype, name, "requests");
    for (const name of ["put", "delete"]) count(IDBObjectStore.prototype, name, "requests");
    count(IDBCursor.prototype, "continue", "requests");
    const { driven } = holdfastTransactions;
    holdfastTransactions.driven = (step, kept) => {
        const python = { step, kept };
        count(python, "step", "crossings");
        count(python, "kept", "crossings");
        const made = driven((...given) => python.step(...given), (...given) => python.kept(...given));
        count(made, "run", "crossings");
        return made;
    };
    return counted;
}"""
FILL = 5_000
"""Records that one transaction puts."""

_numbers = itertools.count()
_counted = []


@transaction(*schema_of(MIGRATIONS), durability="relaxed")
def put(store, records):
    for record in records:
        yield Put(store, record)


async def costs(each):
    """Of one enqueue, of its claim, of its settle, of the statistics, and of a look that finds nothing; as JSON by name.

    Beside as many stored jobs of each kind that is not due.
    """
    store = _new_store()
    jobs = [stored(number, kind) for kind in KINDS for number in range(1, int(each) + 1)]
    for first in range(0, len(jobs), FILL):
        await store.run(put("jobs", jobs[first : first + FILL]))
    await store.run(put("queues", [counters(int(each))]))
    outbox = Outbox("test", app_version=1, retention=Retention(finished_count=1_000_000))
    outbox.queue("notes", depth=1_000_000)
    outbox.route("note", "POST", "/api/notes", queue="notes")
    lab = Laboratory(store=store)
    await outbox.open(lab.ports())
    await outbox.drain()
    outbox.wake = lambda: None
    found = {}

    async def spend(name, work):
        found[name] = await _spent(work)

    await spend("look", outbox.drain)
    await spend("enqueue", lambda: outbox.enqueue("note", {"text": "a"}, lane="mine"))
    claimed = _now()

    def answer(request):
        nonlocal claimed
        found["claim"], claimed = _since(claimed), _now()
        return receipt(request)

    lab.transport.answer = answer
    await outbox.drain()
    found["settle"] = _since(claimed)
    await spend("stats", outbox.stats)
    await outbox.pause()
    await spend("enqueue behind a pause", lambda: outbox.enqueue("note", {"text": "b"}, lane="mine"))
    store.close()
    return json.dumps(found)


async def costs_of_batch(jobs):
    """Of the way of so many jobs from claim to settled, in one request; as JSON."""
    store = _new_store()
    outbox = Outbox("test", app_version=1)
    outbox.queue("readings")
    outbox.route("reading", "POST", "/api/readings", queue="readings", batch=1_000)
    lab = Laboratory(store=store)
    await outbox.open(lab.ports())
    await outbox.pause()
    for number in range(int(jobs)):
        await outbox.enqueue("reading", {"number": number})
    outbox.wake = lambda: None
    await outbox.resume()
    spent = await _spent(outbox.drain)
    assert len(lab.transport.sent) == 1
    store.close()
    return json.dumps(spent)


def _new_store():
    if not _counted:
        _counted.append(run_js(COUNT)())
    return IndexedDBStore(f"costs-{next(_numbers)}")


async def _spent(work):
    before = _now()
    await work()
    return _since(before)


def _now():
    [counted] = _counted
    return counted.requests, counted.crossings


def _since(before):
    return [after - earlier for after, earlier in zip(_now(), before, strict=True)]
