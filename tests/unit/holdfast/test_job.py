"""What a job's record says of itself."""

import json
from typing import Any

import pytest

from holdfast.job import PUBLIC_FIELDS, File, lane_key, may_have_arrived, new_job, public_row

NOW = 1_800_000_000_000


def draft(**changed: Any) -> Any:
    fields: dict[str, Any] = {
        "id": "j1",
        "key": "k1",
        "type": "note",
        "queue": "notes",
        "account": "ann",
        "payload": {"text": "x"},
        "max_attempts": 8,
        "app_version": 3,
        "now": NOW,
    }
    return new_job(**(fields | changed))


def test_a_new_job_is_pending_and_due_at_once() -> None:
    """It starts without attempts, fence, reason or an end."""
    record = draft().record
    assert (record["state"], record["reason"], record["attempts"], record["fence"]) == ("pending", None, 0, 0)
    assert (record["run_at"], record["created_at"], record["expires_at"]) == (NOW, NOW, None)


def test_a_new_job_is_in_no_index_but_that_of_its_state() -> None:
    """Sparse fields come with its place in the lane."""
    assert not {"place", "ready_at", "lease_until", "expire_by"} & draft().record.keys()
    assert draft(ttl_ms=5).record["expire_by"] == NOW + 5


@pytest.mark.parametrize(
    ("lane", "delay_ms", "key"),
    [(None, 0, "#5"), ("site", 0, "=site"), ("site", 10, "=site"), (None, 10, "!j1"), ("#5", 0, "=#5")],
)
def test_lanes_never_share_a_name_by_accident(lane: str | None, delay_ms: int, key: str) -> None:
    """Named lanes, a queue's own lane and a delayed job's lane have keys of their own kind."""
    assert lane_key("j1", lane, 5, delayed=delay_ms > 0) == key
    assert draft(lane=lane, delay_ms=delay_ms).record["lane_key"] == key


def test_higher_priority_has_the_lower_rank() -> None:
    """Indexes sort upwards."""
    assert [draft(priority=priority).record["rank"] for priority in (9, 5, 0)] == [0, 4, 9]


def test_a_record_is_plain_json_without_the_bytes() -> None:
    """Handles stay beside it; the body describes the attachments."""
    made = draft(files=(File("photos", "a.jpg", "image/jpeg", 3, b"abc"),))
    json.dumps([made.record, made.body], allow_nan=False)
    assert made.body["attachments"] == [{"field": "photos", "name": "a.jpg", "type": "image/jpeg", "size": 3}]
    assert made.record["files"] == 1


def test_the_public_row_has_the_documented_fields_and_no_more() -> None:
    """Fence, holder and lanes are nobody's business."""
    row = public_row(draft().record)
    assert tuple(row) == PUBLIC_FIELDS
    documented = "id key type queue lane priority account state reason attempts run_at created_at updated_at expires_at"
    assert set(documented.split()) <= set(row)


def test_a_send_without_an_end_may_have_arrived() -> None:
    """From its start until an answer names the key."""
    assert not may_have_arrived(draft().record)
    assert may_have_arrived(draft().record | {"unknown_since": NOW})
