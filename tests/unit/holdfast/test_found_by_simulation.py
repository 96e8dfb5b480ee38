"""What the simulation found, each in the few steps that show it."""

from typing import Any

from holdfast import Outbox
from tests.support.device import Device


def with_chores(done: list[Any]) -> Outbox:
    """An outbox with a route and, in a queue of its own, a task that writes down what it was given."""
    outbox = Outbox("test", app_version=1)
    outbox.route("note", "POST", "/api/notes", queue="notes")

    @outbox.task("chore", queue="chores")
    async def chore(payload: Any) -> None:
        done.append(payload)

    return outbox


async def test_a_queue_of_tasks_alone_is_worked_off() -> None:
    """No server is looked at for what runs on the device."""
    device, done = Device(), list[Any]()
    outbox = await device.context(with_chores(done))
    accepted = await outbox.enqueue("chore", {"n": 1})
    await device.deliver_all(outbox)
    assert (device.end(accepted.id), done, device.network.probes) == (("completed", None), [{"n": 1}], 0)


async def test_a_task_runs_while_the_server_is_away() -> None:
    """Its breaker stops what is sent, not what runs here."""
    device, done = Device(), list[Any]()
    device.offline()
    outbox = await device.context(with_chores(done))
    note = await outbox.enqueue("note", {"n": 1})
    await device.rest()
    chore = await outbox.enqueue("chore", {"n": 2})
    await device.rest()
    assert (device.end(note.id)[0], device.end(chore.id)[0], done) == ("pending", "completed", [{"n": 2}])
    row = await outbox.job(note.id)
    assert row is not None
    assert row["waits"] == "network"


async def test_a_task_that_was_switched_off_runs_once_it_is_switched_on() -> None:
    """The server's kill switch holds for tasks too, and is read again though nothing else is to be sent."""
    device, done = Device(), list[Any]()
    device.network.flags["disabled"]["types"] = ["chore"]
    outbox = await device.context(with_chores(done))
    await outbox.enqueue("note", {"n": 1})
    await device.rest()
    chore = await outbox.enqueue("chore", {"n": 2})
    await device.rest()
    assert (device.end(chore.id)[0], done) == ("pending", [])
    device.network.flags["disabled"]["types"] = []
    await device.deliver_all(outbox)
    assert (device.end(chore.id)[0], done) == ("completed", [{"n": 2}])
