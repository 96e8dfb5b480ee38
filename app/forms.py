"""The rules of the app's forms: one object each, asked by page, service worker and server alike.

Here are the schema, the words for each broken rule, and how raw form fields become a payload. Nothing here knows a
document, a request or a job.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeGuard

import fastjsonschema

from holdfast.routes import Violation

TEXT_LIMITS: Final[dict[str, int]] = {"site": 200, "notes": 10_000, "label": 200}
CHECKLIST_LIMIT: Final = 50
PHOTO_LIMIT: Final = 12
PHOTO_BYTES_LIMIT: Final = 20_000_000
PHOTOS_BYTES_LIMIT: Final = 50_000_000

# The day is compared in UTC, and somewhere on Earth the next one has begun up to 14 hours earlier.
ZONE_TOLERANCE: Final = timedelta(days=1)

SCHEMA: Final[dict[str, Any]] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Inspection",
    "type": "object",
    "required": ["site", "inspected_on", "severity"],
    "additionalProperties": False,
    "properties": {
        "site": {"type": "string", "pattern": r"\S", "maxLength": TEXT_LIMITS["site"]},
        "inspected_on": {"type": "string", "format": "calendar-date"},
        "severity": {"enum": ["low", "medium", "high"]},
        "notes": {"type": "string", "maxLength": TEXT_LIMITS["notes"]},
        "checklist": {
            "type": "array",
            "maxItems": CHECKLIST_LIMIT,
            "items": {
                "type": "object",
                "required": ["label", "ok"],
                "additionalProperties": False,
                "properties": {
                    "label": {"type": "string", "pattern": r"\S", "maxLength": TEXT_LIMITS["label"]},
                    "ok": {"type": "boolean"},
                },
            },
        },
    },
}

# Looked up by field and rule, then by field alone: a field's general sentence says what to enter.
MESSAGES: Final[dict[str, str]] = {
    "site": "Enter the site, for example “Lock 7, pump house”.",
    "site maxLength": "Shorten the site to {limit:,} characters. It has {length:,}.",
    "inspected_on": "Enter the day of the inspection.",
    "inspected_on format": "Enter a day of the calendar, such as 2026-11-21.",
    "inspected_on future": "“Inspected on” lies in the future. Correct the date.",
    "severity": "Choose a severity: low, medium or high.",
    "notes": "Enter the notes as text.",
    "notes maxLength": "Shorten the notes to {limit:,} characters. They have {length:,}.",
    "checklist": "Enter the checklist as items, each with a label and whether it is in order.",
    "checklist maxItems": "Keep the checklist to {limit:,} items. It has {length:,}.",
    "label": "Give each checklist item a label.",
    "label maxLength": "Shorten this checklist item to {limit:,} characters. It has {length:,}.",
    "ok": "Say whether this checklist item is in order.",
    "photos": "Send photos as files.",
}
# What a browser says of a picture it has no decoder for, such as HEIC.
_NO_TYPE: Final = "application/octet-stream"

UNKNOWN_FIELD: Final = "An inspection has no field “{name}”. Remove it."
NOT_AN_OBJECT: Final = "Enter the inspection as fields with values."


def utc_today() -> date:
    """The day it is in UTC."""
    return datetime.now(UTC).date()  # noqa: TID251  (the one default; whoever needs another day hands it in)


class InspectionForm:
    """The rules of an inspection, as the `Form` that routes ask for.

    `today` tells the day in UTC; a test hands in its own.
    """

    def __init__(self, *, today: Callable[[], date] = utc_today) -> None:
        self._today = today

    def parse(self, fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Turn raw form fields, in their order, into a payload; names the form does not have are left out."""
        values: dict[str, list[str]] = {}
        for name, value in fields:
            values.setdefault(name, []).append(value.replace("\r\n", "\n"))
        payload: dict[str, Any] = {
            name: values[name][0].strip() for name in ("site", "inspected_on", "severity", "notes") if name in values
        }
        if "checklist" in values or "checklist_items" in values:
            payload["checklist"] = _checklist(values.get("checklist", []), values.get("checklist_items", []))
        return payload

    def violations(self, payload: Any, files: Sequence[Mapping[str, Any]] = ()) -> list[Violation]:
        """Every broken rule, in the order of the form's fields, one sentence for each place.

        `files` are the attachments' facts, `{"field", "name", "type", "size"}` each.
        """
        found = [*_schema_violations(payload), *self._future(payload), *_photo_violations(files)]
        first = {violation.pointer: violation for violation in reversed(found)}
        return sorted(first.values(), key=_place_in_form)

    def _future(self, payload: Any) -> list[Violation]:
        day = payload.get("inspected_on") if isinstance(payload, dict) else None
        if is_calendar_date(day) and date.fromisoformat(day) > self._today() + ZONE_TOLERANCE:
            return [Violation("/inspected_on", MESSAGES["inspected_on future"])]
        return []


def is_calendar_date(text: Any) -> TypeGuard[str]:
    """Whether this is a real day written as RFC 3339 writes it (`full-date`)."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


_validate = fastjsonschema.compile(SCHEMA, formats={"calendar-date": is_calendar_date}, fast_fail=False)


def _checklist(ticked: list[str], labels: list[str]) -> Any:
    """Read the checklist from one JSON text, or from labels and ticked boxes as a form without script sends them."""
    if not labels and len(ticked) == 1 and ticked[0].lstrip().startswith("["):
        try:
            return json.loads(ticked[0])
        except (ValueError, RecursionError):
            return ticked[0]
    if not labels:
        return [{"label": label.strip(), "ok": True} for label in ticked]
    boxes = Counter(ticked)
    items = []
    for label in labels:
        if not label.strip():
            continue  # a line that was added and left empty says nothing
        items.append({"label": label.strip(), "ok": boxes[label] > 0})
        boxes[label] -= 1
    return items


def fields_of(payload: Any) -> list[tuple[str, str]]:
    """A payload as raw form fields again: what `parse` turns back into the same payload.

    Of a payload that breaks the rules, as one from a client may, whatever a form can show.
    """
    if not isinstance(payload, Mapping):
        return []
    names = ("site", "inspected_on", "severity", "notes")
    fields = [(name, str(payload[name])) for name in names if payload.get(name) is not None]
    checklist = payload.get("checklist")
    for item in checklist if isinstance(checklist, list) else []:
        label = item.get("label") if isinstance(item, Mapping) else item
        if label is not None:
            fields.append(("checklist_items", str(label)))
            if isinstance(item, Mapping) and item.get("ok") is True:
                fields.append(("checklist", str(label)))
    return fields


def _schema_violations(payload: Any) -> list[Violation]:
    try:
        _validate(payload)
    except fastjsonschema.JsonSchemaValuesException as broken:
        return [violation for error in broken.errors for violation in _in_words(error)]
    return []


def _in_words(error: fastjsonschema.JsonSchemaValueException) -> list[Violation]:
    path = error.path[1:]
    if error.rule == "required":
        missing = [name for name in error.rule_definition if name not in error.value]
        return [Violation(_pointer([*path, name]), MESSAGES[name]) for name in missing]
    if error.rule == "additionalProperties":
        unknown = sorted(set(error.value) - set(error.definition["properties"]))
        return [Violation(_pointer([*path, name]), UNKNOWN_FIELD.format(name=name)) for name in unknown]
    if not path:
        return [Violation("", NOT_AN_OBJECT)]
    field = "checklist" if path[-1].isdigit() else path[-1]
    words = MESSAGES[field] if error.value == "" else MESSAGES.get(f"{field} {error.rule}", MESSAGES[field])
    length = len(error.value) if isinstance(error.value, str | list) else 0
    return [Violation(_pointer(path), words.format(limit=error.rule_definition, length=length))]


def _photo_violations(files: Sequence[Mapping[str, Any]]) -> list[Violation]:
    broken = []
    if len(files) > PHOTO_LIMIT:
        excess = len(files) - PHOTO_LIMIT
        broken.append(Violation("/photos", f"Keep to {PHOTO_LIMIT} photos: remove {excess}."))
    total = sum(file["size"] for file in files)
    if total > PHOTOS_BYTES_LIMIT:
        words = (
            f"The photos have {megabytes(total)} together; {megabytes(PHOTOS_BYTES_LIMIT)} can be sent. Remove some."
        )
        broken.append(Violation("/photos", words))
    for index, file in enumerate(files):
        if file["field"] != "photos":
            broken.append(Violation(_pointer([file["field"]]), UNKNOWN_FIELD.format(name=file["field"])))
        elif not str(file["type"] or _NO_TYPE).startswith(("image/", _NO_TYPE)):
            broken.append(Violation(f"/photos/{index}", f"“{file['name']}” is not a picture. Remove it."))
        elif file["size"] > PHOTO_BYTES_LIMIT:
            words = (
                f"“{file['name']}” has {megabytes(file['size'])}; one photo may have {megabytes(PHOTO_BYTES_LIMIT)}. "
                "Remove it or take it again smaller."
            )
            broken.append(Violation(f"/photos/{index}", words))
    return broken


def megabytes(size: int) -> str:
    """A size as people read it, in decimal megabytes as devices count them."""
    return f"{size / 1_000_000:.1f} MB"


def _pointer(path: Sequence[str]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def _place_in_form(violation: Violation) -> tuple[int, int, str]:
    """Sort by the order of the form, items of a list by their number."""
    parts = violation.pointer.split("/")[1:]
    names = ["site", "inspected_on", "severity", "checklist", "notes", "photos"]
    first = names.index(parts[0]) if parts and parts[0] in names else len(names)
    index = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else -1
    return first, index, violation.pointer


INSPECTION: Final = InspectionForm()
FORMS: Final = {"inspection.create": INSPECTION}
