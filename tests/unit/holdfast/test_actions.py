"""What a person does to a job: retry, cancel, edit; and what is refused, with the reason."""

import tracemalloc

import pytest

from holdfast import File
from holdfast.errors import ActionRefusedError, InvalidPayloadError, JobNotFoundError, Obstacle
from holdfast.outbox import EXPORT_BATCH
from holdfast.ports import Answer
from holdfast.routes import Violation
from holdfast.testing import answer_with, receipt
from tests.support.device import Device, Outage, Silence, check_laws, describe, in_turn


class NeedsText:
    """A form with one required field."""

    def parse(self, fields: list[tuple[str, str]]) -> dict[str, object]:
        return dict(fields)

    def violations(self, payload: dict[str, object], files: object = ()) -> list[Violation]:
        del files
        return [] if payload.get("text") else [Violation("/text", "Enter a text")]


@pytest.mark.parametrize("status", [422, 412])
async def test_a_dead_letter_can_be_sent_again_under_its_id_and_key(status: int) -> None:
    """Attempts start anew, at the end of its lane, which went on without it."""
    device = Device()
    device.network.answer = in_turn(answer_with(status))
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    device.offline()
    await outbox.enqueue("note", {"text": "b"})
    await device.rest()
    row = await outbox.retry(accepted.id)
    assert (row["state"], row["reason"], row["attempts"], row["key"]) == ("pending", None, 0, accepted.key)
    check_laws(device.store)
    device.online()
    device.network.sent.clear()
    await outbox.drain()
    assert device.sent() == ["b", "a"]
    assert device.end(accepted.id) == ("completed", None)


async def test_an_expired_job_can_be_sent_all_the_same() -> None:
    """A person decides that it is still worth it; its time limit is lifted."""
    device = Device()
    device.offline()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"}, ttl_ms=1_000)
    await device.clock.advance(1_000)
    await outbox.drain()
    assert device.end(accepted.id) == ("expired", "ttl")
    device.online()
    await outbox.retry(accepted.id)
    await outbox.drain()
    assert device.end(accepted.id) == ("completed", None)


async def test_a_head_in_backoff_goes_at_once_when_asked() -> None:
    """Retry now means now."""
    device = Device()
    device.network.answer = in_turn(answer_with(503, retry_after="3600"))
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    await outbox.retry(accepted.id)
    await outbox.drain()
    assert device.end(accepted.id) == ("completed", None)


async def test_a_retry_during_an_outage_looks_at_the_server_at_once() -> None:
    """A person who knows better does not wait for the breaker."""
    device = Device()
    device.offline()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    device.online()
    await outbox.retry(accepted.id)
    await outbox.drain()
    assert device.end(accepted.id) == ("completed", None)


async def test_nobody_jumps_a_lane() -> None:
    """A job behind another says behind whom."""
    device = Device()
    device.offline()
    outbox = await device.context()
    first = await outbox.enqueue("note", {"text": "a"})
    second = await outbox.enqueue("note", {"text": "b"})
    await device.rest()
    with pytest.raises(ActionRefusedError, match=first.id):
        await outbox.retry(second.id)
    check_laws(device.store)


async def test_a_retry_while_held_says_so() -> None:
    """Before sign-in there is nothing a retry could do."""
    device = Device()
    device.network.answer = answer_with(401)
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    with pytest.raises(ActionRefusedError, match="sign in"):
        await outbox.retry(accepted.id)


@pytest.mark.parametrize("answer", [receipt, None], ids=["completed", "processing"])
async def test_what_is_done_or_on_its_way_is_not_retried(answer: object) -> None:
    """The answer says what it is instead."""
    device = Device()
    device.network.answer = answer or Silence()  # type: ignore[assignment]
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    with pytest.raises(ActionRefusedError, match=device.record(accepted.id)["state"]):
        await outbox.retry(accepted.id)


async def test_a_job_cancelled_before_it_was_sent_never_leaves() -> None:
    """It ends as cancelled by a person, kept, and its lane goes on."""
    device = Device()
    outbox = await device.context()
    first = await outbox.enqueue("note", {"text": "a"}, delay_ms=1_000, lane="site")
    await outbox.enqueue("note", {"text": "b"}, lane="site")
    await outbox.cancel(first.id)
    assert device.end(first.id) == ("cancelled", "by_person")
    await device.deliver_all(outbox)
    assert device.sent() == ["b"]
    check_laws(device.store)


async def test_a_job_cancelled_while_it_is_sent_may_have_arrived() -> None:
    """It is cancelled at once, says so, its send is aborted, and the next one goes."""
    device = Device()
    device.network.answer = silence = Silence()
    outbox = await device.context()
    first = await outbox.enqueue("note", {"text": "a"})
    await outbox.enqueue("note", {"text": "b"})
    await device.rest()
    await outbox.cancel(first.id)
    await device.rest()
    assert device.end(first.id) == ("cancelled", "in_flight")
    assert silence.waiting[0][1].cancelled()
    assert device.sent() == ["a", "b"]
    check_laws(device.store)


async def test_a_cancel_reaches_the_tab_that_sends() -> None:
    """Whichever tab it was made in."""
    device = Device()
    device.network.answer = silence = Silence()
    sender, other = await device.context(), await device.context()
    accepted = await sender.enqueue("note", {"text": "a"})
    await device.rest()
    await other.cancel(accepted.id)
    await device.rest()
    assert silence.waiting[0][1].cancelled()


async def test_a_receipt_after_a_cancel_completes_the_job() -> None:
    """It had arrived: the one legal move out of cancelled."""
    device = Device()
    device.network.answer = silence = Silence()
    sender, other = await device.context(), await device.context()
    accepted = await sender.enqueue("note", {"text": "a"})
    await device.rest()
    for end in device.lab._ends:
        end._callbacks.clear()  # the news of the cancel is lost on its way
    await other.cancel(accepted.id)
    silence.answer()
    await device.rest()
    assert device.end(accepted.id) == ("completed", None)
    check_laws(device.store)


async def test_any_other_answer_after_a_cancel_changes_nothing() -> None:
    """Cancelled stays cancelled."""
    device = Device()
    device.network.answer = silence = Silence()
    sender, other = await device.context(), await device.context()
    accepted = await sender.enqueue("note", {"text": "a"})
    await device.rest()
    for end in device.lab._ends:
        end._callbacks.clear()
    await other.cancel(accepted.id)
    silence.answer(answer_with(503))
    await device.rest()
    assert device.end(accepted.id) == ("cancelled", "in_flight")
    check_laws(device.store)


async def test_what_is_over_is_not_cancelled() -> None:
    """Neither what was received nor what was cancelled already."""
    device = Device()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    with pytest.raises(ActionRefusedError, match="completed"):
        await outbox.cancel(accepted.id)


async def test_an_edited_job_takes_the_place_of_the_old_one() -> None:
    """New id, new key, same place in the lane; the old one is cancelled in the same commit."""
    device = Device()
    outbox = await device.context()
    first = await outbox.enqueue("note", {"text": "first"}, lane="site", delay_ms=1_000)
    second = await outbox.enqueue("note", {"text": "secnd"}, lane="site")
    await outbox.enqueue("note", {"text": "third"}, lane="site")
    edited = await outbox.edit(second.id, {"text": "second"})
    assert edited.id != second.id
    assert edited.key != second.key
    assert device.end(second.id) == ("cancelled", "replaced")
    check_laws(device.store)
    await device.deliver_all(outbox)
    assert device.sent() == ["first", "second", "third"]
    assert device.end(first.id) == ("completed", None)


async def test_an_edit_that_is_told_twice_is_done_once() -> None:
    """Under one id and with one content, as after a tab that ended before it heard of the commit; other content is another."""
    device = Device()
    device.offline()
    outbox = await device.context()
    first = await outbox.enqueue("note", {"text": "frist"})
    edited = await outbox.edit(first.id, {"text": "first"}, id="mine", key="key-mine")
    assert edited == ("mine", "key-mine")
    assert await outbox.edit(first.id, {"text": "first"}, id="mine", key="key-mine") == edited
    with pytest.raises(ActionRefusedError, match="cancelled"):
        await outbox.edit(first.id, {"text": "another"}, id="mine", key="key-mine")
    assert [(row["id"], row["state"]) for row in await outbox.jobs(state="pending")] == [("mine", "pending")]
    check_laws(device.store)


async def test_a_retry_does_not_make_known_what_is_not() -> None:
    """Sent and never answered, used up, redriven: what it came to is as open as before, so it cannot become another job."""
    device = Device()
    device.network.answer = lambda _request: Answer(failure="timeout")
    outbox = await device.context(attempts=1)
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    assert device.end(accepted.id) == ("failed", "exhausted")
    await outbox.pause()
    await outbox.retry(accepted.id)
    with pytest.raises(ActionRefusedError) as refused:
        await outbox.edit(accepted.id, {"text": "b"})
    assert refused.value.obstacle is Obstacle.MAY_HAVE_ARRIVED


async def test_an_edited_head_stays_the_head() -> None:
    """The first of a lane, corrected, still goes first."""
    device = Device()
    device.network.answer = in_turn(answer_with(503, retry_after="60"))
    outbox = await device.context()
    first = await outbox.enqueue("note", {"text": "frist"})
    await outbox.enqueue("note", {"text": "second"})
    await device.rest()
    await outbox.edit(first.id, {"text": "first"})
    check_laws(device.store)
    await device.deliver_all(outbox)
    assert device.sent() == ["frist", "first", "second"]


async def test_an_edited_dead_letter_joins_the_end_of_its_lane() -> None:
    """Its place is gone, since the lane went on."""
    device = Device()
    device.network.answer = in_turn(answer_with(422))
    outbox = await device.context()
    refused = await outbox.enqueue("note", {"text": "wrong"})
    await device.rest()
    edited = await outbox.edit(refused.id, {"text": "right"})
    await device.rest()
    assert device.sent() == ["wrong", "right"]
    assert device.end(edited.id) == ("completed", None)
    assert device.end(refused.id) == ("cancelled", "replaced")


async def test_an_edited_job_keeps_its_time() -> None:
    """A correction changes the content, not when it is to go nor until when it is worth it."""
    device = Device()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"}, delay_ms=60_000, ttl_ms=90_000)
    await outbox.enqueue("note", {"text": "now"}, delay_ms=1)
    before = device.record(accepted.id)
    await device.clock.advance(1_000)
    edited = await outbox.edit(accepted.id, {"text": "b"})
    await device.rest()
    after = device.record(edited.id)
    assert [after[name] for name in ("run_at", "expires_at", "expire_by")] == [
        before[name] for name in ("run_at", "expires_at", "expire_by")
    ]
    assert device.sent() == ["now"]
    check_laws(device.store)


async def test_an_edited_job_of_a_lane_of_its_own_jumps_nobody() -> None:
    """A delayed job's early place counts in its own lane only, never in the queue's."""
    device = Device()
    outbox = await device.context()
    delayed = await outbox.enqueue("note", {"text": "a"}, delay_ms=60_000)
    device.offline()
    await device.clock.advance(60_000)
    await outbox.enqueue("note", {"text": "x"})
    await outbox.enqueue("note", {"text": "y"})
    await device.rest()
    await outbox.edit(delayed.id, {"text": "b"})
    check_laws(device.store)
    device.online()
    await outbox.drain()
    assert device.sent() == ["x", "y", "b"]


async def test_an_edit_keeps_the_attachments_unless_new_ones_are_given() -> None:
    """Bytes stay with the job they belong to."""
    device = Device()
    outbox = await device.context()
    photo = File("photos", "a.jpg", "image/jpeg", 3, b"abc")
    accepted = await outbox.enqueue("photo", {"text": "a"}, attachments=[photo], delay_ms=60_000)
    edited = await outbox.edit(accepted.id, {"text": "b"})
    assert await outbox.files(edited.id) == [photo]
    again = await outbox.edit(edited.id, {"text": "c"}, attachments=[])
    assert await outbox.files(again.id) == []


async def test_what_may_have_arrived_is_not_edited() -> None:
    """A corrected copy under a new key could be done beside the first one."""
    device = Device()
    device.network.answer = Outage(device)
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    with pytest.raises(ActionRefusedError, match="may have arrived"):
        await outbox.edit(accepted.id, {"text": "b"})


async def test_a_job_the_server_still_works_on_is_not_edited() -> None:
    """The server named the key, but not the end."""
    device = Device()
    device.network.answer = answer_with(409, {"type": "urn:holdfast:problem:in-progress"}, retry_after="60")
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    with pytest.raises(ActionRefusedError, match="may have arrived"):
        await outbox.edit(accepted.id, {"text": "b"})


@pytest.mark.parametrize("answer", [receipt, None], ids=["completed", "processing"])
async def test_what_is_done_or_on_its_way_is_not_edited(answer: object) -> None:
    """Refused with its state."""
    device = Device()
    device.network.answer = answer or Silence()  # type: ignore[assignment]
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    with pytest.raises(ActionRefusedError, match=device.record(accepted.id)["state"]):
        await outbox.edit(accepted.id, {"text": "b"})


async def test_an_edit_that_breaks_the_forms_rules_changes_nothing() -> None:
    """The old job stays as it is."""
    device = Device()
    outbox = describe()
    outbox.route("form", "POST", "/api/form", queue="notes", form=NeedsText())
    await device.context(outbox)
    accepted = await outbox.enqueue("form", {"text": "a"}, delay_ms=60_000)
    with pytest.raises(InvalidPayloadError):
        await outbox.edit(accepted.id, {})
    assert device.end(accepted.id) == ("pending", None)


@pytest.mark.parametrize("verb", ["retry", "cancel", "edit", "files"])
async def test_a_job_that_is_not_there_is_said_to_be_missing(verb: str) -> None:
    """No verb makes one up."""
    outbox = await Device().context()
    arguments = ("nowhere", {"text": "x"}) if verb == "edit" else ("nowhere",)
    with pytest.raises(JobNotFoundError):
        await getattr(outbox, verb)(*arguments)


async def test_the_same_id_enqueued_twice_is_one_job() -> None:
    """A double tap: same id, same content, one job, the same answer."""
    device = Device()
    outbox = await device.context()
    first = await outbox.enqueue("note", {"text": "a"}, id="i1", key="k1")
    second = await outbox.enqueue("note", {"text": "a"}, id="i1", key="k1")
    await device.rest()
    assert first == second == ("i1", "k1")
    assert device.sent() == ["a"]
    assert (await outbox.stats())["states"]["completed"] == 1


async def test_the_same_id_with_other_content_is_a_new_job() -> None:
    """Nothing a person was told is saved may vanish: a changed form that was not reset is a write of its own."""
    device = Device()
    outbox = await device.context()
    first = await outbox.enqueue("note", {"text": "a"}, id="i1", key="k1")
    second = await outbox.enqueue("note", {"text": "b"}, id="i1", key="k1")
    third = await outbox.enqueue("note", {"text": "b"}, id="i1", key="k1")
    assert first == ("i1", "k1")
    assert second.id != first.id
    assert second.key != first.key
    assert third == second
    await device.rest()
    assert device.sent() == ["a", "b"]
    check_laws(device.store)


async def test_the_same_id_of_another_account_is_a_new_job() -> None:
    """One person's job never swallows another's."""
    device = Device()
    outbox = await device.context()
    device.inbox.signed_in_account = "ann"
    hers = await outbox.enqueue("note", {"text": "a"}, id="i1", key="k1")
    device.inbox.signed_in_account = "bob"
    his = await outbox.enqueue("note", {"text": "a"}, id="i1", key="k1")
    assert hers.id != his.id
    assert [row["id"] for row in await outbox.jobs()] == [his.id]


async def test_a_form_is_checked_before_anything_is_stored() -> None:
    """It rejects with every broken rule, and the store is as it was."""
    device = Device()
    outbox = describe()
    outbox.route("form", "POST", "/api/form", queue="notes", form=NeedsText())
    await device.context(outbox)
    with pytest.raises(InvalidPayloadError) as refused:
        await outbox.enqueue("form", {})
    assert refused.value.violations == [Violation("/text", "Enter a text")]
    assert device.store.records("jobs") == []


async def test_an_outcome_that_can_no_longer_be_known_is_parked() -> None:
    """Sent, never answered, and the server has forgotten the key: a person decides, and says so."""
    device = Device()
    device.network.flags["key_lifetime_ms"] = 86_400_000
    device.network.answer = Outage(device)
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    await device.clock.advance(86_400_001)
    device.online()
    device.network.sent.clear()
    await outbox.drain()
    assert device.end(accepted.id) == ("failed", "outcome_unknown")
    assert device.sent() == []
    with pytest.raises(ActionRefusedError, match="accept_duplicate"):
        await outbox.retry(accepted.id)
    await outbox.retry(accepted.id, accept_duplicate=True)
    await outbox.drain()
    assert device.end(accepted.id) == ("completed", None)
    check_laws(device.store)


async def test_a_job_that_outlives_its_key_is_warned_of_once() -> None:
    """Its time limit is longer than the server keeps keys: every context hears of it before it is first sent."""
    device = Device()
    device.network.flags["key_lifetime_ms"] = 86_400_000
    device.network.answer = answer_with(503)
    outbox, other = await device.context(), await device.context()
    heard: list[tuple[str, int]] = []
    for context in (outbox, other):
        context.listen(
            lambda event: (
                heard.append((event["id"], event["key_lifetime_ms"])) if event["kind"] == "outlives_key" else None
            )
        )
    long = await outbox.enqueue("note", {"text": "long"}, lane="long", ttl_ms=86_400_001)
    await outbox.enqueue("note", {"text": "as long"}, lane="as long", ttl_ms=86_400_000)
    await outbox.enqueue("note", {"text": "for ever"}, lane="for ever")
    await device.deliver_all(outbox, span_ms=60_000)
    assert len(device.sent()) > 3
    assert heard == [(long.id, 86_400_000)] * 2


async def test_an_export_holds_everything_unsent() -> None:
    """Payloads and files, for a person to keep elsewhere; what was received is left out."""
    device = Device()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "done"})
    await device.rest()
    photo = File("photos", "a.jpg", "image/jpeg", 3, b"abc")
    kept = await outbox.enqueue("photo", {"text": "kept"}, attachments=[photo], delay_ms=60_000)
    [job] = [job async for job in outbox.export()]
    assert (job["id"], job["payload"]) == (kept.id, {"text": "kept"})
    assert job["attachments"][0]["data"] == "YWJj"


async def test_an_export_leaves_none_of_many_out() -> None:
    """More than are read at once, also where as many changed in one moment; newest first."""
    device = Device()
    device.offline()
    outbox = await device.context()
    made = []
    for number in range(3):
        for _ in range(EXPORT_BATCH):
            made.append((number, (await outbox.enqueue("note", {"text": "a"}, delay_ms=9)).id))  # noqa: PERF401
        await device.clock.advance(1 if number == 1 else 0)
    ids = await outbox.unsent()
    assert set(ids) == {job_id for _, job_id in made}
    assert len(ids) == len(made)
    assert set(ids[:EXPORT_BATCH]) == {job_id for number, job_id in made if number == 2}


async def test_an_export_holds_the_photos_of_one_job_at_a_time() -> None:
    """However many there are: their bytes are let go before the next are read."""
    device = Device()
    device.offline()
    outbox = await device.context()
    photo = File("photos", "a.jpg", "image/jpeg", 1_000_000, bytes(1_000_000))
    for _ in range(60):
        await outbox.enqueue("photo", {"text": "a"}, attachments=[photo], delay_ms=60_000)
    tracemalloc.start()
    try:
        sizes = [len(job["attachments"][0]["data"]) async for job in outbox.export()]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sizes == [1_333_336] * 60
    assert peak < 8_000_000
