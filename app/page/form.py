"""The form with Python at its side: broken rules beside their fields, and jobs that are edited in it.

A new inspection is saved by the submit listener, which asks the outbox; only an edit is saved from here.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import js

from app.forms import INSPECTION, fields_of
from app.page import dom
from app.sentences import count, why_not
from holdfast.browser.files import from_js
from holdfast.errors import (
    ActionRefusedError,
    HoldfastError,
    InvalidPayloadError,
    JobNotFoundError,
    StorageFullError,
)
from holdfast.outbox import Outbox

FIELDS = ("site", "inspected_on", "severity", "checklist", "notes", "photos")


class InspectionFormView:
    """The one form of the page."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._element = dom.by_id("inspection")
        self._broken: dict[str, str] = {}
        self._saving: dict[str, asyncio.Task[None]] = {}
        # From here on our own words say what is missing, beside the field, instead of the browser's.
        self._element.noValidate = True
        dom.listen(self._element, "holdfast:refused", self._refused)
        dom.listen(self._element, "holdfast:saved", lambda _event: self._draw([]))
        dom.listen(self._element, "reset", lambda _event: self._draw([]))
        for event in ("input", "change"):
            dom.listen(self._element, event, lambda _event: self._look_again())
        dom.listen(js.window, "submit", self._submit, capture=True)

    async def edit(self, job_id: str, title: str) -> None:
        """Fill the form with a job; saving puts the new version in its place."""
        job = await self._outbox.job(job_id)
        if job is None:
            raise JobNotFoundError(job_id)
        files = [[file.field or "photos", _as_file(file)] for file in await self._outbox.files(job_id)]
        detail = {
            "fields": [list(pair) for pair in fields_of(job["payload"])],
            "files": files,
            "edits": job_id,
            "title": title,
        }
        dom.tell(self._element, "app:fill", detail)
        js.location.hash = "#new"

    def _refused(self, event: Any) -> None:
        if not self._is_still(event.detail.submission):
            return
        violations = [(violation.pointer, violation.message) for violation in event.detail.violations]
        self._draw(violations)
        self._focus_first()

    def _submit(self, event: Any) -> None:
        edited = dom.data(self._element, "edits")
        if edited is None or not event.target.isSameNode(self._element):
            return
        event.preventDefault()
        event.stopImmediatePropagation()
        submission = dom.data(self._element, "job-id") or ""
        if submission not in self._saving:
            key = dom.data(self._element, "job-key")
            fields, files = self._content()
            under_way = {"submission": submission, "key": key, "fields": fields, "files": files}
            dom.tell(self._element, "holdfast:sending", under_way)
            self._saving[submission] = asyncio.ensure_future(self._save_edit(submission, key, edited, fields, files))

    async def _save_edit(
        self, submission: str, key: str | None, job_id: str, fields: list[tuple[str, str]], files: list[tuple[str, Any]]
    ) -> None:
        payload = INSPECTION.parse(fields)
        try:
            accepted = await self._outbox.edit(
                job_id, payload, attachments=from_js(files), id=submission or None, key=key
            )
        except HoldfastError as error:
            dom.tell(self._element, "app:not-saved", {"submission": submission})
            if self._is_still(submission):
                self._not_saved(error)
            else:
                self._say(f"Not saved: “{payload.get('site', '')}”. {why_not(error)} It comes back after this one.")
        else:
            said = {"id": accepted.id, "key": accepted.key, "title": payload.get("site", "")}
            dom.tell(
                self._element, "holdfast:saved", said | {"submission": submission, "fields": fields, "files": files}
            )
        finally:
            del self._saving[submission]

    def _is_still(self, submission: str) -> bool:
        """Whether the form is the one that was saved; what was put aside meanwhile comes back as it was."""
        return dom.data(self._element, "job-id") == submission

    def _not_saved(self, error: HoldfastError) -> None:
        if isinstance(error, InvalidPayloadError):
            self._draw([(violation.pointer, violation.message) for violation in error.violations])
            self._focus_first()
        elif isinstance(error, StorageFullError):
            self._say("Not saved: this device is out of space. Remove a photo or free some space, then save again.")
        elif isinstance(error, ActionRefusedError | JobNotFoundError):
            self._element.removeAttribute("data-edits")
            dom.show(dom.by_id("editing"), False)
            dom.tell(self._element, "change", {})  # the draft is no edit any more
            self._say(
                f"Not saved in its place: {why_not(error)} Everything you typed is still here; "
                "save again to keep it as a new one."
            )
        else:
            self._say(f"Not saved: {why_not(error)} Everything you typed is still here.")

    def _content(self) -> tuple[list[tuple[str, str]], list[tuple[str, Any]]]:
        """What the form holds, without its secrets: neither a draft nor a job has them."""
        fields, files = [], []
        secrets = js.holdfastInbox.secretsOf(self._element)
        for name, value in js.Array.from_(js.FormData.new(self._element)):
            if secrets.has(name):
                continue
            if isinstance(value, str):
                fields.append((name, value))
            elif value.name:
                files.append((name, value))
        return fields, files

    def _look_again(self) -> None:
        """Take away what has been put right; nothing new is complained of while someone types."""
        if not self._broken:
            return
        fields, files = self._content()
        facts = [{"field": name, "name": file.name, "type": file.type, "size": file.size} for name, file in files]
        still = [(v.pointer, v.message) for v in INSPECTION.violations(INSPECTION.parse(fields), facts)]
        self._draw([(pointer, words) for pointer, words in still if _field_of(pointer) in self._broken])

    def _draw(self, violations: Sequence[tuple[str, str]]) -> None:
        found: dict[str, list[str]] = {}
        for pointer, words in violations:
            told = found.setdefault(_field_of(pointer), [])
            if words not in told:
                told.append(words)
        self._broken = {name: " ".join(words) for name, words in found.items()}
        for name in FIELDS:
            words = self._broken.get(name, "")
            line = dom.by_id(f"{name}-error")
            dom.write(dom.find(line, "span"), words)
            dom.show(line, bool(words))
            field = dom.by_id(name)
            dom.attribute(field, "aria-invalid", "true" if words else None)
            described = [each for each in (dom.data(field, "hint"), f"{name}-error" if words else "") if each]
            dom.attribute(field, "aria-describedby", " ".join(described) or None)
        if not self._broken:
            self._say("")
            return
        number = count(len(self._broken), "field needs", "fields need")
        other = " ".join(words for name, words in self._broken.items() if name not in FIELDS)
        self._say(f"Not saved: {number} you. Everything you typed is still here. {other}".strip())

    def _say(self, words: str) -> None:
        line = dom.by_id("not-saved")
        dom.write(dom.find(line, "span"), words)
        dom.show(line, bool(words))

    def _focus_first(self) -> None:
        name = next((name for name in FIELDS if name in self._broken), None)
        if name is None:
            return
        field = dom.by_id(name)
        target = field if field.matches("input, textarea") else dom.find(field, "input:not([type=hidden]), button")
        target.focus()


def _field_of(pointer: str) -> str:
    return pointer.split("/")[1] if "/" in pointer else ""


def _as_file(file: Any) -> Any:
    """A stored Blob with its name again, as the form's file control wants it."""
    if js.File.prototype.isPrototypeOf(file.handle) and file.handle.name == file.name:
        return file.handle
    return js.File.new([file.handle], file.name, type=file.media_type)
