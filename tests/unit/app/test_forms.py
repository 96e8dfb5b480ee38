"""The rules of the inspection, as page, worker and server ask for them."""

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.forms import (
    CHECKLIST_LIMIT,
    FORMS,
    INSPECTION,
    PHOTO_BYTES_LIMIT,
    PHOTO_LIMIT,
    PHOTOS_BYTES_LIMIT,
    TEXT_LIMITS,
    InspectionForm,
    fields_of,
)

FORM = InspectionForm(today=lambda: date(2026, 11, 21))
GOOD = {"site": "Lock 7, pump house", "inspected_on": "2026-11-21", "severity": "low"}


def said(payload: Any, files: Any = ()) -> dict[str, str]:
    return dict(FORM.violations(payload, files))


def photo(**facts: Any) -> dict[str, Any]:
    return {"field": "photos", "name": "a.jpg", "type": "image/jpeg", "size": 1_000, **facts}


def test_the_form_is_registered_for_its_job_type():
    """Page, worker and server find the same object under the type's name."""
    assert FORMS == {"inspection.create": INSPECTION}


def test_a_whole_inspection_breaks_no_rule():
    """What the form sends is accepted."""
    whole = GOOD | {"notes": "Wet.", "checklist": [{"label": "Access is safe", "ok": True}]}
    assert FORM.violations(whole, [photo()]) == []


def test_all_broken_rules_are_told_at_once_in_the_order_of_the_form():
    """Nobody has to save five times to learn of five mistakes."""
    assert FORM.violations({}) == [
        ("/site", "Enter the site, for example “Lock 7, pump house”."),
        ("/inspected_on", "Enter the day of the inspection."),
        ("/severity", "Choose a severity: low, medium or high."),
    ]


@pytest.mark.parametrize("site", ["", "   ", None, 7])
def test_a_site_without_a_letter_is_no_site(site: Any):
    """Blank is not filled in."""
    assert said(GOOD | {"site": site}) == {"/site": "Enter the site, for example “Lock 7, pump house”."}


def test_a_date_in_the_future_is_refused_with_what_to_do():
    """The words of the form and of the server's refusal are the same."""
    assert said(GOOD | {"inspected_on": "2026-11-23"}) == {
        "/inspected_on": "“Inspected on” lies in the future. Correct the date."
    }


def test_tomorrow_in_utc_is_today_for_somebody():
    """One day of tolerance: in Auckland the next day begins thirteen hours earlier."""
    assert said(GOOD | {"inspected_on": "2026-11-22"}) == {}


@pytest.mark.parametrize(
    "day", ["2026-02-30", "21.11.2026", "2026-W47-6", "20261121", "2026-11-21T10:00", "\u0662026-11-21"]
)
def test_only_days_of_the_calendar_are_days(day: str):
    """A day is written as RFC 3339 writes it, and exists."""
    assert said(GOOD | {"inspected_on": day}) == {"/inspected_on": "Enter a day of the calendar, such as 2026-11-21."}


@pytest.mark.parametrize("field", ["site", "notes"])
def test_a_text_over_its_limit_says_both_lengths(field: str):
    """The limit and the length are named, so that one knows how much to cut."""
    limit = TEXT_LIMITS[field]
    assert said(GOOD | {field: "x" * limit}) == {}
    told = said(GOOD | {field: "x" * (limit + 1)})[f"/{field}"]
    assert f"{limit:,}" in told
    assert f"{limit + 1:,}" in told


def test_each_faulty_item_of_the_checklist_is_pointed_at():
    """The pointer names the item and the part of it."""
    checklist = [{"label": "A", "ok": True}, {"label": " ", "ok": 1}, {}, "x"]
    assert list(said(GOOD | {"checklist": checklist})) == [
        "/checklist/1/label",
        "/checklist/1/ok",
        "/checklist/2/label",
        "/checklist/2/ok",
        "/checklist/3",
    ]


def test_a_checklist_has_an_end():
    """More items than can be shown are refused."""
    assert "/checklist" in said(GOOD | {"checklist": [{"label": "x", "ok": True}] * (CHECKLIST_LIMIT + 1)})


def test_unknown_fields_are_named():
    """A field nobody would read is not taken in silently, and its name is a safe pointer."""
    assert said(GOOD | {"a/b~": 1}) == {"/a~1b~0": "An inspection has no field “a/b~”. Remove it."}


@pytest.mark.parametrize("payload", [None, [], "x", 7, True])
def test_what_is_no_object_is_told_as_a_whole(payload: Any):
    """Any JSON value may come over the wire."""
    assert said(payload) == {"": "Enter the inspection as fields with values."}


def test_photos_have_caps_with_sentences():
    """Count, size of one, size of all, and kind."""
    assert said(GOOD, [photo()] * PHOTO_LIMIT) == {}
    assert said(GOOD, [photo()] * (PHOTO_LIMIT + 2)) == {"/photos": f"Keep to {PHOTO_LIMIT} photos: remove 2."}
    assert "/photos/0" in said(GOOD, [photo(size=PHOTO_BYTES_LIMIT + 1)])
    assert "/photos" in said(GOOD, [photo(size=PHOTOS_BYTES_LIMIT // 3 + 1)] * 3)
    assert said(GOOD, [photo(), photo(name="a.pdf", type="application/pdf")]) == {
        "/photos/1": "“a.pdf” is not a picture. Remove it."
    }
    assert said(GOOD, [photo(field="plan")]) == {"/plan": "An inspection has no field “plan”. Remove it."}


@pytest.mark.parametrize("kind", ["", "application/octet-stream"])
def test_a_picture_the_browser_has_no_name_for_may_be_sent(kind: str):
    """HEIC comes without a type from some phones; the original is kept rather than refused."""
    assert said(GOOD, [photo(type=kind)]) == {}


def test_raw_fields_become_a_payload():
    """Blanks around a line go, line ends are those of text, unknown names are left out."""
    fields = [
        ("site", " Lock 7 "),
        ("inspected_on", "2026-11-21"),
        ("severity", "low"),
        ("notes", "a\r\nb"),
        ("x", "1"),
    ]
    assert FORM.parse(fields) == {"site": "Lock 7", "inspected_on": "2026-11-21", "severity": "low", "notes": "a\nb"}


def test_a_checklist_without_script_keeps_what_is_not_ticked():
    """Every item has a hidden label; a browser sends boxes only if they are ticked."""
    fields = [("checklist_items", "A"), ("checklist", "B"), ("checklist_items", "B"), ("checklist_items", " ")]
    assert FORM.parse(fields) == {"checklist": [{"label": "A", "ok": False}, {"label": "B", "ok": True}]}


def test_a_checklist_as_one_json_part_is_read():
    """That is how the outbox sends it."""
    items = [{"label": "A", "ok": False}]
    assert FORM.parse([("checklist", json.dumps(items))]) == {"checklist": items}


def test_a_broken_json_part_is_kept_for_the_rules_to_refuse():
    """Parsing never raises."""
    payload = FORM.parse([("checklist", "[{")])
    assert payload == {"checklist": "[{"}
    assert "/checklist" in said(GOOD | payload)


def test_repeated_boxes_alone_are_items_in_order():
    """A form without hidden labels says at least what was ticked."""
    assert FORM.parse([("checklist", "A"), ("checklist", "B")]) == {
        "checklist": [{"label": "A", "ok": True}, {"label": "B", "ok": True}]
    }


lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).map(str.strip).filter(bool)
payloads = st.fixed_dictionaries(
    {"site": lines, "inspected_on": st.dates(date(2000, 1, 1), date(2026, 11, 21)).map(str)},
    optional={
        "severity": st.sampled_from(["low", "medium", "high"]),
        "notes": lines,
        "checklist": st.lists(
            st.fixed_dictionaries({"label": lines, "ok": st.booleans()}),
            min_size=1,
            unique_by=lambda item: item["label"],
        ),
    },
)


@given(payloads)
def test_a_payload_put_into_the_form_comes_out_as_it_was(payload: dict[str, Any]):
    """Editing a job changes only what the person changes."""
    assert FORM.parse(fields_of(payload)) == payload


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from([*GOOD, "notes", "checklist", "x"]), json_values) | json_values)
def test_whatever_is_sent_is_answered_with_sentences(payload: Any):
    """No JSON value makes the rules fail; each violation is one sentence at one place."""
    violations = FORM.violations(payload)
    assert all(v.message.endswith(".") and (v.pointer == "" or v.pointer.startswith("/")) for v in violations)
    assert len({v.pointer for v in violations}) == len(violations)


@given(st.dictionaries(st.sampled_from([*GOOD, "notes", "checklist"]), json_values) | json_values)
def test_whatever_a_client_has_enqueued_can_be_edited(payload: Any):
    """The form shows what it can of a payload that breaks the rules, and complains of the rest at its save."""
    fields = fields_of(payload)
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in fields)
    FORM.violations(FORM.parse(fields))


@pytest.mark.parametrize("checklist", [None, "abc", [1], [{}], [{"label": None}], [{"label": "a"}], {"a": 1}])
def test_a_checklist_of_a_strange_shape_can_be_edited(checklist: Any):
    """What it names is shown, unticked where it is not said to be fine."""
    fields = fields_of({"site": "Lock 7", "checklist": checklist})
    assert fields[0] == ("site", "Lock 7")
    assert all(name == "checklist_items" for name, _ in fields[1:])
