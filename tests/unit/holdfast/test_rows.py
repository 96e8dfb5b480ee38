"""What a list says of each job beside its record: what it waits for, and who goes first."""

from typing import Any

import pytest

from holdfast.gates import Gates, flags_name, hold_name, pause_name
from holdfast.registry import Registry
from holdfast.rows import rows, waits_for
from holdfast.transactions.tidy import Retention

NOW = 1_800_000_000_000
BREAKER = {"name": "breaker:", "failures": 1, "open_until": NOW + 30_000, "wait_ms": 30_000}
HOLD = {"name": hold_name("ann")}
PAUSE = {"name": pause_name("notes", None)}
OFF = {"name": flags_name(""), "read_at": NOW, "flags": {"disabled": {"all": True}}}


def record(**changed: Any) -> dict[str, Any]:
    """A head that is free to go."""
    fields: dict[str, Any] = {
        "id": "j1",
        "type": "note",
        "queue": "notes",
        "account": "ann",
        "lane_key": "#5",
        "state": "pending",
        "reason": None,
        "attempts": 0,
        "run_at": NOW,
        "ready_at": NOW,
        "unknown_since": None,
    }
    return {name: value for name, value in (fields | changed).items() if value != "absent"}


WAITS = [
    pytest.param({}, [], None, id="free to go"),
    pytest.param({"ready_at": "absent"}, [], "turn", id="another is first"),
    pytest.param({"ready_at": "absent"}, [HOLD, BREAKER, PAUSE, OFF], "turn", id="another is first, all shut"),
    pytest.param({}, [HOLD], "sign-in", id="held"),
    pytest.param({}, [HOLD, BREAKER, PAUSE], "sign-in", id="held, all shut"),
    pytest.param({}, [PAUSE], "pause", id="paused"),
    pytest.param({}, [OFF], "pause", id="switched off"),
    pytest.param({}, [PAUSE, BREAKER], "pause", id="paused, no network"),
    pytest.param({}, [BREAKER], "network", id="no network"),
    pytest.param({"run_at": NOW + 1}, [], "time", id="delayed"),
    pytest.param({"run_at": NOW + 1, "attempts": 1}, [], "retry", id="in backoff"),
    pytest.param({"run_at": NOW + 1, "reason": "in_progress"}, [], "retry", id="server still busy"),
    pytest.param({"run_at": NOW + 1, "attempts": 1}, [BREAKER], "network", id="in backoff, no network"),
    *(
        pytest.param({"state": state}, [HOLD, BREAKER, PAUSE], None, id=state)
        for state in ("processing", "completed", "failed", "cancelled", "expired", "conflict")
    ),
]


@pytest.mark.parametrize(("changed", "gates", "expected"), WAITS)
def test_a_pending_job_says_what_it_waits_for(
    changed: dict[str, Any], gates: list[dict[str, Any]], expected: str | None
) -> None:
    """One word for the person, the most telling one; a job that does not wait says nothing."""
    assert waits_for(record(**changed), Gates.of(gates), "", NOW) == expected


def test_each_job_of_a_lane_knows_who_goes_first() -> None:
    """The one before it and how many in all, whatever the order of the list; other lanes do not count."""
    lane = [record(id=f"j{place}", place=place) for place in (3, 1, 2)]
    other = record(id="other", place=4, lane_key="=site")
    shown = rows([*lane, other], Gates.of([]), Registry(), Retention(), NOW)
    found = {row["id"]: (row["ahead"], row["after"]) for row in shown}
    assert found == {"j1": (0, None), "j2": (1, "j1"), "j3": (2, "j2"), "other": (0, None)}
