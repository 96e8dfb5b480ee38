"""Whatever is stored where a job should be, something that can be read is made of it."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.job import new_job
from holdfast.lifecycle import STATES
from holdfast.soundness import FIELDS, SPARSE, damage_of, is_body, is_newer, saved_body, saved_record
from tests.support.device import Device, check_laws

NOW = 1_800_000_000_000
values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.just([]), st.just({})
)


def sound() -> dict[str, Any]:
    draft = new_job(
        id="j", key="k", type="note", queue="notes", account="", payload={}, max_attempts=8, app_version=1, now=NOW
    )
    stored: dict[str, Any] = json.loads(json.dumps(draft.record | {"seq": 1, "place": 1}))
    return stored


def test_a_new_job_is_sound() -> None:
    """Else nothing would ever be sent."""
    assert damage_of(sound()) == []


@example(changed={"priority": 10}, absent={"state"})
@given(st.dictionaries(st.sampled_from([*FIELDS, *SPARSE]), values), st.sets(st.sampled_from([*FIELDS, *SPARSE])))
def test_what_is_made_of_any_record_is_sound(changed: dict[str, Any], absent: set[str]) -> None:
    """So that it is set aside once, and never again; what was sound is kept as it was."""
    record = {name: value for name, value in (sound() | changed).items() if name == "id" or name not in absent}
    damaged = damage_of(record)
    saved = json.loads(json.dumps(saved_record(record, damaged, NOW)))
    assert damage_of(saved) == []
    kept = set(FIELDS) - set(damaged) - {"state", "reason", "said", "updated_at", "holder", "rank"}
    assert {name: saved[name] for name in kept} == {name: record[name] for name in kept}
    if "state" not in damaged and record["state"] in {"completed", "cancelled"}:
        assert saved["state"] == record["state"]
    else:
        assert (saved["state"], saved["reason"]) == ("failed", "undecodable")


@given(st.dictionaries(st.sampled_from(["payload", "attachments", "x"]), values))
def test_what_is_made_of_any_body_is_one(content: dict[str, Any]) -> None:
    """With its payload, if it has one."""
    body = {"id": "j"} | content
    assert is_body(saved_body(body))
    assert saved_body(body)["payload"] == content.get("payload")


def test_only_a_whole_number_says_that_a_record_is_newer() -> None:
    """Damage to the version itself must not make a record untouchable."""
    assert is_newer({"app_version": 2}, 1)
    for version in (1, 0, "2", None, 2.5, True):
        assert not is_newer({"app_version": version}, 1)


async def test_the_tables_know_every_field_of_a_job() -> None:
    """In each state a record has been in: a new field must say here what it may hold."""
    device = Device()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "a"}, ttl_ms=60_000)
    await outbox.enqueue("note", {"text": "b"})
    seen: set[str] = set()
    for _ in range(3):
        seen |= {name for record in device.store.records("jobs") for name in record}
        await device.rest()
    assert seen <= {*FIELDS, *SPARSE}
    assert set(STATES) >= {record["state"] for record in device.store.records("jobs")}
    check_laws(device.store)
