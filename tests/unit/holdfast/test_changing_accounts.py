"""Signing out while jobs are being sent: what has left is settled, nothing more leaves under that name, nothing of it stays."""

import asyncio
from collections.abc import Sequence
from typing import Any

from holdfast import Outbox
from holdfast.ports import InboxEntry
from holdfast.storage import Transaction
from holdfast.testing import answer_with, receipt
from holdfast.transactions.redrive import cancel
from tests.support.device import Device, Silence


async def _four_of_mara(device: Device, silence: Silence) -> tuple[Outbox, list[str]]:
    """Mara's outbox with four jobs, of which the first is under way."""
    device.network.answer = silence
    outbox = await device.context()
    await outbox.sign_in("mara")
    ids = [(await outbox.enqueue("note", {"text": text})).id for text in "abcd"]
    await device.rest()
    assert device.sent() == ["a"]
    return outbox, ids


async def _first_arrives_without_content(device: Device, silence: Silence, ids: Sequence[str]) -> None:
    """What is under way is received, and counted; its content is gone from the device, that of the others is not."""
    device.network.answer = receipt
    silence.answer()
    await device.rest()
    assert device.record(ids[0])["state"] == "completed"
    assert device.record(ids[0])["summary"] == {}
    assert {body["id"] for body in device.store.records("bodies")} == set(ids[1:])


async def _visit_slowly(device: Device, outbox: Outbox) -> tuple[asyncio.Future[None], asyncio.Event]:
    """A visit that has read who is signed in, and the event that lets it go on."""
    run, goes_on = device.store.run, asyncio.Event()

    async def run_slowly(steps: Transaction[Any]) -> Any:
        if steps.name == "visit":
            await goes_on.wait()
        return await run(steps)

    device.store.run = run_slowly  # type: ignore[method-assign]
    visiting = asyncio.ensure_future(outbox.visit())
    await device.rest()
    return visiting, goes_on


async def test_after_signing_out_nothing_more_leaves_for_that_account() -> None:
    """The job under way is settled; the rest waits for its account, and whoever signs in then has a queue that runs."""
    device, silence = Device(), Silence()
    outbox, ids = await _four_of_mara(device, silence)
    await outbox.sign_out()
    await outbox.sign_in("ben")
    device.network.answer = receipt
    await outbox.enqueue("note", {"text": "of ben"})
    silence.answer()
    await device.rest()
    assert device.sent() == ["a", "of ben"]
    assert [device.record(job_id)["state"] for job_id in ids] == ["completed", "pending", "pending", "pending"]
    await outbox.sign_in("mara")
    await device.deliver_all(outbox)
    assert device.sent() == ["a", "of ben", "b", "c", "d"]


async def test_what_another_tab_sends_stops_too() -> None:
    """It hears of who has signed out elsewhere."""
    device, silence = Device(), Silence()
    _, ids = await _four_of_mara(device, silence)
    elsewhere = await device.context()
    await elsewhere.sign_out()
    device.network.answer = receipt
    silence.answer()
    await device.rest()
    assert device.sent() == ["a"]
    assert device.record(ids[1])["state"] == "pending"


async def test_a_tab_that_waits_for_its_turn_sends_nothing_for_who_has_left() -> None:
    """Who drains asks for the lock, and gets it after the sign-out."""
    device, silence = Device(), Silence()
    outbox, _ = await _four_of_mara(device, silence)
    waiting = await device.context()
    waiting.wake()
    await device.rest()
    await outbox.sign_out()
    device.network.answer = receipt
    silence.answer()
    await device.rest()
    assert device.sent() == ["a"]


async def test_who_signs_out_while_the_inbox_is_taken_in_sends_nothing_more() -> None:
    """The drain has read who is signed in, and then had to do with the inbox for a while."""
    device = Device()
    outbox = await device.context()
    await outbox.sign_in("mara")
    device.offline()
    await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    device.network.sent.clear()
    device.online()
    device.inbox.add(InboxEntry(1, "i", "k", "note", "mara", 0, None, {"text": "b"}, {}, []))
    remove = device.inbox.remove

    async def remove_late(positions: Sequence[int]) -> None:
        await remove(positions)
        await outbox.sign_out()

    device.inbox.remove = remove_late  # type: ignore[method-assign]
    await device.clock.advance(60_000)
    await device.deliver_all(outbox)
    assert device.sent() == []


async def test_what_arrives_after_signing_out_leaves_no_content_behind() -> None:
    """The same as what had arrived before: the job is counted, its content is gone from the device."""
    device, silence = Device(), Silence()
    outbox, ids = await _four_of_mara(device, silence)
    await outbox.sign_out()
    await _first_arrives_without_content(device, silence, ids)


async def test_who_signs_out_while_a_drain_reads_who_is_signed_in_sends_nothing_more() -> None:
    """It has read the account, and hears of another before it goes on."""
    device = Device()
    outbox, other = await device.context(), await device.context()
    await outbox.sign_in("mara")
    device.offline()
    await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    device.network.sent.clear()
    device.online()
    look = device.inbox.look

    async def look_once() -> tuple[str, int]:
        device.inbox.look = look  # type: ignore[method-assign]
        found = await look()
        await other.sign_out()
        await other.sign_in("ben")
        return found

    device.inbox.look = look_once  # type: ignore[method-assign]
    await device.deliver_all(outbox)
    await device.clock.advance(60_000)
    assert device.sent() == []


async def test_what_arrives_while_signing_out_leaves_no_content_behind() -> None:
    """The answer comes after the content of finished jobs was wiped, and before anybody hears of the sign-out."""
    device, silence = Device(), Silence()
    outbox, ids = await _four_of_mara(device, silence)
    wipe_drafts = device.inbox.wipe_drafts

    async def wipe_late() -> None:
        device.network.answer = answer_with(503)
        silence.answer()
        await device.rest()
        await wipe_drafts()

    device.inbox.wipe_drafts = wipe_late  # type: ignore[method-assign]
    await outbox.sign_out()
    assert device.record(ids[0])["state"] == "completed"
    assert device.record(ids[0])["summary"] == {}
    assert ids[0] not in {body["id"] for body in device.store.records("bodies")}


async def test_what_arrives_as_the_tab_that_sends_it_dies_leaves_no_content_behind() -> None:
    """Its content goes in the same commit that says it was received: there is no moment between them to die in."""
    device, silence = Device(), Silence()
    _, ids = await _four_of_mara(device, silence)
    elsewhere = await device.context()
    await elsewhere.sign_out()
    run = device.store.run

    async def run_last(transaction: Transaction[Any]) -> Any:
        if device.record(ids[0])["state"] == "completed":
            raise asyncio.CancelledError
        return await run(transaction)

    device.store.run = run_last  # type: ignore[method-assign]
    await _first_arrives_without_content(device, silence, ids)


async def test_what_is_cancelled_as_its_account_signs_out_leaves_no_content_behind() -> None:
    """Another tab had read who is signed in, and stores the cancel after the sign-out."""
    device, silence = Device(), Silence()
    outbox, ids = await _four_of_mara(device, silence)
    await outbox.sign_out()
    await device.store.run(cancel("mara", ids[3], device.clock.now()))
    assert device.record(ids[3])["summary"] == {}
    assert {body["id"] for body in device.store.records("bodies")} == set(ids[:3])


async def test_who_signs_in_again_keeps_what_is_received_from_then_on() -> None:
    """Also where a full device could not store the sign-in: the next visit finds who is signed in."""
    device = Device()
    outbox = await device.context()
    await outbox.sign_in("mara")
    for text, comes_back in (("a", outbox.sign_in), ("b", device.inbox.set_account)):
        await outbox.sign_out()
        await comes_back("mara")
        await outbox.visit()
        received = await outbox.enqueue("note", {"text": text})
        await device.deliver_all(outbox)
        assert device.record(received.id)["state"] == "completed"
        assert device.record(received.id)["summary"] == {"text": text}


async def test_what_nobody_has_saved_keeps_its_content_after_a_sign_out_of_nobody() -> None:
    """What was finished is wiped, as for everybody; but nobody stays, and never signs in again."""
    device = Device()
    outbox = await device.context()
    await outbox.sign_out()
    received = await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    assert device.record(received.id)["summary"] == {"text": "a"}


async def test_a_visit_that_had_read_who_is_signed_in_undoes_no_sign_out() -> None:
    """A page starts while another tab signs out: what is received after that leaves no content behind."""
    device, silence = Device(), Silence()
    outbox, ids = await _four_of_mara(device, silence)
    starting = await device.context()
    visiting, go_on = await _visit_slowly(device, starting)
    await outbox.sign_out()
    go_on.set()
    await visiting
    await _first_arrives_without_content(device, silence, ids)


async def test_a_visit_of_nobody_wipes_nothing_though_somebody_signs_in_meanwhile() -> None:
    """Nobody has signed out: what was received for nobody keeps its content."""
    device = Device()
    outbox = await device.context()
    received = await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    visiting, go_on = await _visit_slowly(device, await device.context())
    await outbox.sign_in("mara")
    go_on.set()
    await visiting
    assert device.record(received.id)["summary"] == {"text": "a"}


async def test_a_sign_in_in_the_middle_of_a_sign_out_does_not_undo_half_of_it() -> None:
    """Nobody is signed in afterwards, and so nothing that is received keeps its content."""
    device, silence = Device(), Silence()
    outbox, ids = await _four_of_mara(device, silence)
    elsewhere = await device.context()
    wipe_drafts = device.inbox.wipe_drafts

    async def wipe_late() -> None:
        await elsewhere.sign_in("mara")
        await wipe_drafts()

    device.inbox.wipe_drafts = wipe_late  # type: ignore[method-assign]
    await outbox.sign_out()
    await _first_arrives_without_content(device, silence, ids)
    assert await device.inbox.account() == ""
