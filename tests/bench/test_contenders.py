"""Each contender does what it is measured for: it delivers every job it was given, once, in order."""

import pytest

COUNT = 25
OWN = {"id", "key", "seq", "place", "created_at", "updated_at", "run_at", "ready_at", "holder"}
OWN |= {"last_place", "last_received_at", "latency"}  # of a queue


@pytest.fixture(scope="module")
def contest(workshop):
    with workshop.contest() as contest:
        yield contest


@pytest.mark.parametrize(("who", "fill"), [("workbox", "enqueue"), ("idb", "enqueue"), ("bare", "writes")])
def test_a_queue_delivers_what_it_stored_once_and_in_order(workshop, contest, who, fill):
    """The keys are numbers, given in the order of enqueue."""
    contest.run(who, "empty")
    before = len(workshop.gate.keys)
    contest.run(who, fill, COUNT)
    assert len(workshop.gate.keys) == before, "stored first, sent later"
    contest.run(who, "drain")
    assert workshop.gate.keys[before:] == [str(number) for number in range(COUNT)]
    contest.run(who, "drain")
    assert len(workshop.gate.keys) == before + COUNT


@pytest.mark.parametrize(
    ("fill", "drain"),
    [
        ("enqueue", "drain"),
        ("client", "drain"),
        ("enqueueAtOnce", "drain"),
        ("enqueueInLanes", "drainLanes"),
        ("enqueueForBatch", "drainBatch"),
    ],
)
def test_holdfast_delivers_what_it_stored_once(workshop, contest, fill, drain):
    """Nothing leaves while its queue is shut, everything does after, each under a key of its own."""
    contest.run("holdfast", "empty")
    before = len(workshop.gate.keys)
    contest.run("holdfast", fill, COUNT)
    assert len(workshop.gate.keys) == before
    contest.run("holdfast", drain)
    assert len(set(workshop.gate.keys[before:])) == len(workshop.gate.keys) - before == COUNT
    contest.run("holdfast", drain)
    assert len(workshop.gate.keys) == before + COUNT


@pytest.mark.parametrize(("who", "fill"), [("holdfast", "enqueueForBatch"), ("bare", "writes")])
def test_a_batch_is_one_request(workshop, contest, who, fill):
    """Whatever it is compared with."""
    contest.run(who, "empty")
    contest.run(who, fill, COUNT)
    requests, keys = len(workshop.gate.arrived_at), len(workshop.gate.keys)
    contest.run(who, "drainBatch")
    assert (len(workshop.gate.arrived_at), len(workshop.gate.keys)) == (requests + 1, keys + COUNT)


def test_bare_fetches_are_answered(workshop, contest):
    before = len(workshop.gate.keys)
    contest.run("bare", "fetches", COUNT, 3)
    assert sorted(workshop.gate.keys[before:], key=int) == [str(number) for number in range(COUNT)]


@pytest.mark.parametrize(("ours", "theirs"), [([], []), (["drain"], ["drain"]), (["drain"], ["drainBatch"])])
def test_the_bare_loops_store_the_records_that_holdfast_stores(contest, ours, theirs):
    """One job's records there are one job's records here, but for what makes each job itself."""
    held = []
    for who, methods in (("holdfast", ["enqueue", *ours]), ("bare", ["writes", *theirs])):
        contest.run(who, "empty")
        for method in methods:
            contest.run(who, method, 1)
        stored = contest.run(who, "stored")
        held.append({store: [_without(OWN, record) for record in records] for store, records in stored.items()})
    assert held[0] == held[1]
    assert len(held[0]["jobs"]) == 1


def _without(names, record):
    return {name: value for name, value in record.items() if name not in names}


def test_what_fills_the_store_is_not_due(workshop, contest):
    """Finished, failed, delayed and blocked in equal parts; a drain sends none of them, and the counters know them."""
    contest.run("holdfast", "empty")
    contest.run("holdfast", "fill", 0, 40)
    contest.run("holdfast", "drain")
    before = len(workshop.gate.keys)
    contest.run("holdfast", "drain")
    assert len(workshop.gate.keys) == before
    states = contest.run("holdfast", "stats")["states"]
    assert (states["failed"], states["pending"]) == (10, 20)
    assert len(contest.run("holdfast", "stored")["jobs"]) in (40, 41)  # one was enqueued as a sample
    contest.run("holdfast", "empty")
