"""What people read about a job: every state, every reason, every wait."""

import re
import string
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from app import sentences
from app.words import BECAUSE, ENDS, IN_THE_WAY, LABELS, WAITS, Action, look
from holdfast.errors import ActionRefusedError, JobNotFoundError, Obstacle
from holdfast.lifecycle import REASONS, REASONS_OF, REDRIVABLE, STATES, Reason, State

NOW = int(datetime(2026, 11, 21, 14, 35, 40, tzinfo=UTC).timestamp() * 1_000)
MINUTE = 60_000
EVERY = [(state, reason) for state in STATES for reason in sorted(REASONS_OF[state], key=str)]


def job(state: str = "pending", reason: str | None = None, **facts: Any) -> dict[str, Any]:
    return {
        "id": "a", "key": "k", "state": state, "reason": reason, "waits": None, "attempts": 0, "max_attempts": 8,
        "run_at": NOW, "created_at": NOW - MINUTE, "updated_at": NOW, "expires_at": None, "said": {},
        "summary": {"site": "Lock 7"}, "unknown_since": None, "ahead": 0, **facts,
    }  # fmt: skip


def shown(row: dict[str, Any], **facts: Any) -> Any:
    return sentences.described(row, now_ms=NOW, zone=UTC, **facts)


@pytest.mark.parametrize(("state", "reason"), EVERY)
@pytest.mark.parametrize("waits", [None, *sorted(filter(None, WAITS))])
def test_every_state_and_reason_has_whole_words(state: State, reason: Reason | None, waits: str | None):
    """No row is without a pill, an icon and a sentence with all its facts, whatever is missing in it."""
    look_of_it = shown(job(state, reason, waits=waits if state == State.PENDING else None))
    assert look_of_it.pill
    assert not re.search(r"[{}]|None", look_of_it.pill + look_of_it.line)
    assert look_of_it.line == "" or look_of_it.line.endswith(".")
    assert look_of_it.icon


@pytest.mark.parametrize(("state", "reason"), [each for each in EVERY if each[0] in REDRIVABLE])
def test_a_row_says_when_it_will_be_deleted(state: State, reason: Reason):
    """Where an app does not keep failures for ever: the day, the time, and what to do, after all else there is to say."""
    kept, ends = (shown(job(state, reason, prunes_at=at)).line for at in (None, NOW + 24 * 60 * MINUTE))
    assert ends == f"{kept} Unless you act on it, it is deleted from this device on 22 Nov 14:35. An export keeps it."
    today = shown(job(state, reason, prunes_at=NOW + MINUTE)).line
    assert today.endswith("is deleted from this device at 14:36. An export keeps it.")


def test_the_table_is_neither_short_of_a_reason_nor_knows_one_too_many():
    """The engine's table of states and reasons and the table of words have the same keys."""
    ends = {(state, reason) for state, reason in EVERY if state != State.PENDING}
    assert set(ENDS) == ends
    assert set(BECAUSE) == set(REASONS_OF[State.PENDING])
    assert {reason for _, reason in EVERY if reason} == set(REASONS)


def test_the_tone_says_who_has_to_act():
    """The person acts on what failed, conflicts, expired, or waits for sign-in or for room; on nothing else."""
    tones = {state: {look(job(state, reason)).tone for reason in REASONS_OF[state]} for state in STATES}
    assert tones == {
        State.PENDING: {"waiting"}, State.PROCESSING: {"moving"}, State.COMPLETED: {"received"},
        State.FAILED: {"yours"}, State.CANCELLED: {"ended"}, State.EXPIRED: {"yours"}, State.CONFLICT: {"yours"},
    }  # fmt: skip
    assert look(job(waits="sign-in")).tone == look(job(waits="space")).tone == "yours"


def test_what_needs_the_person_offers_something_to_do():
    """A row in the tone `yours` has an advised action, and every action has a label."""
    for state, reason in EVERY:
        actions = look(job(state, reason)).actions
        assert all(action in LABELS for action in actions)
        if look(job(state, reason)).tone == "yours":
            assert actions


def test_a_state_of_a_newer_version_is_shown_and_not_hidden():
    """A row this version has no words for still needs the person."""
    row = shown(job("hibernating", "moon"))
    assert (row.tone, row.pill, row.actions) == ("yours", "Failed", (Action.UPDATE,))


# The words of the design, one situation a line: row, pill, line, actions.
SITUATIONS: list[tuple[dict[str, Any], str, str, list[str]]] = [
    (job(), "Saved on this device", "It is sent by itself.", ["Cancel"]),
    (
        job(reason="unreachable", waits="network"),
        "Waiting for network", "Being offline uses up no attempt.", ["Retry now", "Cancel"],
    ),
    (
        job(reason="server_error", waits="retry", run_at=NOW + 40_000, said={"status": 503}),
        "Waiting to retry in 40 s", "The server answered with a fault of its own (503).", ["Retry now", "Cancel"],
    ),
    (
        job(reason="signed_out", waits="sign-in"),
        "Waiting for sign-in", "Goes out after sign-in. No attempt was used.", ["Sign in", "Cancel"],
    ),
    (job("completed", updated_at=NOW - 33 * MINUTE), "Received 14:02", "", []),
    (job("completed", updated_at=NOW - 30 * 60 * MINUTE), "Received 20 Nov", "", []),
    (
        job("failed", "refused", said={"status": 422, "errors": [{"pointer": "/inspected_on", "detail": "“Inspected on” lies in the future. Correct the date."}]}),
        "Failed", "The server refused it: “Inspected on” lies in the future. Correct the date, then send it again.",
        ["Edit", "Retry now", "Cancel"],
    ),
    (
        job("failed", "exhausted", attempts=8, said={"status": 503}),
        "Failed",
        "All 8 attempts are used; the last ended with a server fault (503). Retry later: it starts again at 0 of 8.",
        ["Retry now", "Cancel"],
    ),
    (
        job(waits="space"),
        "Saved, waiting for room",
        (
            "Saved on this device, which has no room to prepare it for sending. It goes out by itself once there is room: "
            "free some space, or export it and cancel it."
        ),
        ["Export", "Cancel"],
    ),
    (
        job("failed", "invalid", said={"errors": [{"pointer": "/site", "message": "Enter the site."}]}),
        "Failed", "Saved before its rules could be checked: enter the site.", ["Edit", "Cancel"],
    ),
    (
        job("failed", "unknown_type"),
        "Failed", "This version of Holdfast cannot read it. Update, then retry.", ["Update now", "Retry now"],
    ),
    (
        job("conflict", "server_conflict"),
        "Conflict",
        "The server already has a different version and kept it. Yours is still here: edit it, or cancel it.",
        ["Edit", "Retry now", "Cancel"],
    ),
    (
        job("failed", "outcome_unknown", unknown_since=NOW - (53 * 60 + 21) * MINUTE),
        "Outcome unknown",
        (
            "Sent 19 Nov 09:14, no answer came. The server can no longer tell a repeat from a new one, "
            "so it is not sent again by itself. Look in the list first."
        ),
        ["Look in the list", "Send again", "Cancel"],
    ),
    (
        job("expired", "ttl", expires_at=NOW - (20 * 60 + 35) * MINUTE),
        "Expired", "Not received by 20 Nov 18:00, the end set for it. It is kept and no longer sent by itself.",
        ["Send anyway", "Edit", "Cancel"],
    ),
    (
        job("cancelled", "by_person", updated_at=NOW - 38 * MINUTE),
        "Cancelled", "Cancelled by you at 13:57, before any of it was sent.", [],
    ),
    (
        job("cancelled", "in_flight", updated_at=NOW - 38 * MINUTE),
        "Cancelled", "Cancelled by you at 13:57. It may already have reached the server.", [],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("row", "pill", "line", "actions"), SITUATIONS)
def test_each_situation_reads_as_designed(row: dict[str, Any], pill: str, line: str, actions: list[str]):
    """The words of the table, with their facts."""
    look_of_it = shown(row)
    assert (look_of_it.pill, look_of_it.line) == (pill, line)
    assert [LABELS[action] for action in look_of_it.actions] == actions


def test_a_job_in_its_lane_names_the_one_before_it():
    """One before it is named, several are counted."""
    row = job(waits="turn", ahead=1)
    after = shown(row, goes_after="Harbour Street 4, cellar")
    assert after.line == "Goes after “Harbour Street 4, cellar”, in the order they were saved."
    assert shown(row | {"ahead": 2}, goes_after="x").line == "2 go before it."


def test_an_upload_says_how_far_it_is_and_promises_nothing():
    """Handed to the network is not received."""
    sending = shown(job("processing"), sent=(3_100_000, 5_000_000))
    assert sending.pill == "Sending… 62 %"
    assert sending.line == "3.1 of 5.0 MB handed to the network. It counts as received only when the server says so."
    assert shown(job("processing")).pill == "Sending…"


def test_what_may_have_arrived_is_not_offered_for_editing():
    """An edit has a key of its own, so it would make a second one."""
    assert Action.EDIT not in shown(job("conflict", "server_conflict", unknown_since=NOW)).actions
    assert sentences.confirm_cancel(job(reason="no_answer", unknown_since=NOW)) == "It may have arrived. Cancel anyway?"
    assert sentences.confirm_cancel(job("processing")) == "It may have arrived. Cancel anyway?"
    assert sentences.confirm_cancel(job()) == ""


def test_facts_of_a_waiting_job():
    """Saved, attempts, and the next try to the second."""
    row = job(reason="server_error", waits="retry", attempts=2, run_at=NOW + 40_000)
    assert sentences.facts(row, now_ms=NOW, zone=UTC) == [
        ("Saved", "14:34"), ("Attempts used", "2 of 8"), ("Next try", "14:36:20"),
    ]  # fmt: skip


def test_a_time_never_stands_without_its_day_unless_it_is_today():
    """Today is the person's today, in their zone."""
    late = NOW - 15 * 60 * MINUTE
    assert sentences.moment(late, NOW, UTC) == "20 Nov 23:35"
    assert sentences.moment(late, NOW, timezone(timedelta(hours=2))) == "01:35"
    assert sentences.time_or_day(NOW - 400 * 24 * 60 * MINUTE, NOW, UTC) == "17 Oct 2025"
    assert sentences.full_day("2026-11-21") == "21 Nov 2026"
    assert sentences.full_day("soon") == "soon"


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (-5, "1 s"),
        (1, "1 s"),
        (40_000, "40 s"),
        (40_001, "41 s"),
        (100_000, "2 min"),
        (300_000, "5 min"),
        (7_200_000, "2 h"),
    ],
)
def test_a_wait_is_rounded_up(ms: int, words: str):
    """A wait that is said to be over is over."""
    assert sentences.span(ms) == words


@pytest.mark.parametrize(
    ("rows", "header", "summary"),
    [
        ([], ("All received", "received"), ""),
        ([job("completed"), job("cancelled", "by_person")], ("All received", "received"), ""),
        ([job()], ("1 unsent", "waiting"), "1 unsent: 1 on the way."),
        (
            [job(), job("processing"), job("failed", "refused")],
            ("3 unsent, 1 needs you", "yours"),
            "3 unsent: 1 needs you, 2 on the way.",
        ),
        (
            [job("conflict", "server_conflict"), job("expired", "ttl")],
            ("2 unsent, 2 need you", "yours"),
            "2 unsent: 2 need you.",
        ),
    ],
)
def test_the_count_in_the_header(rows: list[dict[str, Any]], header: tuple[str, str], summary: str):
    """Unsent is what is neither received nor cancelled."""
    tally = sentences.tones(rows)
    states = {state: sum(row["state"] == state for row in rows) for state in STATES}
    assert sentences.tally({"states": states, "held": 0, "inbox": 0}) == tally
    assert sentences.header(tally) == header
    assert sentences.summary(tally) == summary


def test_the_list_says_what_others_cannot_see():
    """In numbers, singular included."""
    assert sentences.only_here(6, 11) == "6 of these 11 are on this device only."
    assert sentences.only_here(1, 11) == "1 of these 11 is on this device only."
    assert sentences.only_here(1, 1) == "This one is on this device only."
    assert (
        sentences.only_here(2, 3, 1_200) == "2 of these 3 are on this device only. So are 1,200 more, not listed here."
    )


def test_what_a_list_leaves_out_is_counted():
    """Nobody takes a hundred rows for all there is; what is held waits for the person wherever it is counted."""
    assert sentences.and_more(1_200) == "and 1,200 more, counted and exported, not shown one by one."
    assert sentences.and_more(0) == ""
    stats = {"states": dict.fromkeys(STATES, 0) | {"pending": 1_000, "failed": 300}}
    tally = sentences.tally(stats | {"held": 400, "inbox": 1})
    assert sentences.header(tally) == ("1,300 unsent, 701 need you", "yours")
    assert shown(job(waits="turn", ahead=None)).line == "Another goes before it."


def test_alarms_are_said_in_words():
    """How much room is left, and what has not moved since when."""
    assert sentences.room(58_000_000, 100_000_000) == "This browser has 42.0 MB left for what is saved here."
    assert sentences.room(101, 100) == "This browser has 0.0 MB left for what is saved here."
    since = NOW - 12 * MINUTE
    assert sentences.stands_still(since, NOW, UTC) == "Nothing has moved since 14:23."
    waiting = job(run_at=since, summary={"site": "Lock 7"})
    left = "could have been sent by then, and nothing known holds it back."
    assert sentences.could_go(since, [job(run_at=NOW), waiting]) == f"“Lock 7” {left}"
    assert sentences.could_go(since, [job("completed", run_at=since)]) == f"An inspection {left}"


def test_work_unsent_for_three_days_warns_once_with_its_day():
    """How many there are and since when."""
    old = NOW - 3 * 24 * 60 * MINUTE
    assert sentences.waited(2, old, NOW, UTC) == "2 inspections have waited since 18 Nov."
    assert sentences.waited(0, NOW, NOW, UTC) == sentences.waited(0, None, NOW, UTC) == ""


def test_news_gathers_what_was_received_and_names_what_needs_the_person():
    """Turns, retries and percentages are silent."""
    before = {name: job() for name in "abcd"}
    after = before | {
        "a": job("completed"), "b": job("completed"), "c": job("failed", "refused"), "d": job(waits="turn"),
        "e": job(), "f": job("completed"),
    }  # fmt: skip
    assert sentences.news(before, after) == ("3 received.", "“Lock 7” needs you: failed.")
    assert sentences.news(after, after) == ("", "")


def test_the_tab_line_promises_no_more_than_the_browser_does():
    """With Background Sync the tab may go; without it it should stay; Safari's rule is told where it holds."""
    assert sentences.tab_line({"backgroundSync": True}).startswith("You may close this tab.")
    assert sentences.tab_line({"backgroundSync": False}).startswith("Keep this tab open to send.")
    assert "seven days" in sentences.tab_line({"forgets": True})
    assert "seven days" not in sentences.tab_line({"forgets": False})


def test_no_sentence_of_the_table_has_a_fact_nobody_can_tell():
    """Each `{name}` in the table is a fact that `sentences` knows."""
    known = {name for name in vars(sentences._Facts) if not name.startswith("_")}
    texts = [text for shape in [*ENDS.values(), *WAITS.values()] for text in (shape.pill, shape.line)] + list(
        BECAUSE.values()
    )
    named = {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}
    assert named <= known


@pytest.mark.parametrize("waits", sorted(WAITS, key=str))
@pytest.mark.parametrize(("state", "reason"), EVERY)
def test_what_did_not_wait_for_the_disk_is_never_called_saved(state: State, reason: Reason | None, waits: str | None):
    """A power cut may take it; the words are the same otherwise."""
    strict, relaxed = (job(state, reason, waits=waits, durability=how) for how in ("strict", "relaxed"))
    saved, accepted = shown(strict), shown(relaxed)
    assert "Saved on" not in accepted.pill
    assert "Saved" not in [name for name, _ in sentences.facts(relaxed, now_ms=NOW, zone=UTC)]
    assert (accepted.tone, accepted.line, accepted.actions) == (saved.tone, saved.line, saved.actions)


@pytest.mark.parametrize("obstacle", Obstacle)
def test_a_refused_action_is_told_without_the_names_of_developers(obstacle: Obstacle):
    """Ids and states are for logs; people read why, in a whole sentence."""
    told = sentences.why_not(ActionRefusedError(obstacle, "Job 'a1' is processing."))
    assert told == IN_THE_WAY[obstacle]
    assert told.endswith(".")
    assert "Job" not in told
    assert "a1" not in sentences.why_not(JobNotFoundError("a1"))
