"""What was saved while nobody was signed in: kept apart, and somebody's once a person says so."""

from holdfast.testing import answer_with
from tests.support.device import Device, Outage, Silence, check_laws, describe, entry, in_turn

SIGNED_OUT = answer_with(401)


async def saved_by_nobody(device: Device, *texts: str, **options: object):
    """An outbox whose account is nobody, and what was saved in it; the server wants a sign-in."""
    device.network.answer = SIGNED_OUT
    outbox = await device.context()
    saved = [await outbox.enqueue("note", {"text": text}, **options) for text in texts]
    await device.rest()
    return outbox, saved


async def test_what_nobody_saved_waits_and_is_sent_as_nobody_elses() -> None:
    """Who signs in sees how much there is, and no more; none of it is sent under that name by itself."""
    device = Device()
    outbox, [first, second] = await saved_by_nobody(device, "a", "b")
    await outbox.sign_in("ann")
    device.network.sent.clear()
    await outbox.drain()
    assert device.sent() == []
    assert await outbox.jobs() == []
    assert await outbox.waiting_accounts() == {"": 2}
    assert [device.end(job.id)[0] for job in (first, second)] == ["pending", "pending"]


async def test_adopted_jobs_go_out_in_their_order_after_the_accounts_own() -> None:
    """Under the account's name, with the keys they were saved with; nobody has anything left."""
    device = Device()
    outbox, saved = await saved_by_nobody(device, "a", "b")
    device.inbox.add(entry("c", "c"))
    device.offline()
    await outbox.sign_in("ann")
    own = await outbox.enqueue("note", {"text": "own"})
    await device.rest()
    assert await outbox.adopt() == [saved[0].id, saved[1].id, "c"]
    check_laws(device.store)
    assert await outbox.waiting_accounts() == {"ann": 4}
    device.online()
    device.network.sent.clear()
    device.network.answer = in_turn()
    await outbox.drain()
    assert device.sent() == ["own", "a", "b", "c"]
    assert {request.headers["Holdfast-Account"] for request in device.network.sent} == {"ann"}
    keys = [request.headers["Idempotency-Key"] for request in device.network.sent]
    assert keys == [own.key, saved[0].key, saved[1].key, "key-c"]
    check_laws(device.store)


async def test_what_may_have_arrived_as_nobodys_is_put_before_the_person() -> None:
    """The server keeps keys apart by account, so it could not tell the repeat from a new one."""
    device = Device()
    device.network.answer = Outage(device)
    outbox = await device.context()
    lost = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    await outbox.sign_in("ann")
    assert await outbox.adopt() == [lost.id]
    check_laws(device.store)
    assert device.end(lost.id) == ("failed", "outcome_unknown")
    assert device.record(lost.id)["account"] == "ann"


async def test_what_failed_is_adopted_as_it_is_and_can_be_sent_again() -> None:
    """A dead letter of nobody's, with its reason; retried it goes out for the account."""
    device = Device()
    device.network.answer = answer_with(422)
    outbox = await device.context()
    refused = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    await outbox.sign_in("ann")
    await outbox.adopt()
    check_laws(device.store)
    assert device.end(refused.id) == ("failed", "refused")
    device.network.answer = in_turn()
    await outbox.retry(refused.id)
    await outbox.drain()
    assert device.end(refused.id) == ("completed", None)
    check_laws(device.store)


async def test_a_lane_with_a_job_on_its_way_is_left_alone() -> None:
    """Its order would break; it can be adopted when that job has come back."""
    device = Device()
    silence = Silence()
    device.network.answer = silence
    outbox = await device.context(describe())
    await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    await outbox.enqueue("note", {"text": "b"})
    other = await outbox.enqueue("note", {"text": "c"}, lane="other")
    await device.rest()
    await outbox.sign_in("ann")
    assert await outbox.adopt() == [other.id]
    check_laws(device.store)
    silence.answer(SIGNED_OUT)
    await device.rest()
    assert len(await outbox.adopt()) == 2
    check_laws(device.store)
    await device.crash()


async def test_nobody_adopts_nothing() -> None:
    """Without an account there is nobody to take them."""
    device = Device()
    outbox, _ = await saved_by_nobody(device, "a")
    assert await outbox.adopt() == []
    assert await outbox.waiting_accounts() == {"": 1}
