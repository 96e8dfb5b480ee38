"""List, Outbox, header and banners: drawn from what the outbox and the server say, in the words of `app/`.

No storage and no request here: a `Moment` comes in.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import js

from app import sentences
from app.page import dom
from app.page.rows import Button, Fact, Row, Rows
from app.words import LABELS, Action, Look, Tone

Jobs = dict[str, dict[str, Any]]
UNSENT: tuple[Tone, ...] = ("waiting", "moving", "yours")
GONE = "yes-cancel"
KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything the screens show, at one moment."""

    now_ms: int
    jobs: Jobs
    sent: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Bytes handed over and in all, by job."""
    asked: frozenset[str] = frozenset()
    """Jobs whose cancelling waits for a yes."""
    answers: dict[str, str] = field(default_factory=dict)
    """What came of an action on a job, for the person to read."""
    tally: dict[Tone, int] = field(default_factory=lambda: sentences.tones(()))
    """How many jobs have each tone, those included that are not shown."""
    received: tuple[dict[str, Any], ...] = ()
    """The server's items."""
    last_received_ms: int | None = None
    _looks: dict[str, Look] = field(default_factory=dict)

    def look(self, job: dict[str, Any]) -> Look:
        """A job with its facts in words."""
        known = self._looks.get(job["id"])
        if known is None:
            before = self.jobs.get(job.get("after") or "")
            known = self._looks[job["id"]] = sentences.described(
                job,
                now_ms=self.now_ms,
                goes_after=sentences.title(before) if before else "",
                sent=self.sent.get(job["id"]),
            )
        return known


class ListScreen:
    """The inspections: this device's own among those the server has."""

    def __init__(self) -> None:
        self._rows = Rows("list", [dom.by_id("list")])

    def draw(self, moment: Moment, *, loaded: bool, failed: str, as_of: str, older: bool) -> None:
        """Show the list, newest first."""
        own = {job["key"]: job for job in moment.jobs.values() if moment.look(job).tone != "ended"}
        placed = [(job["created_at"], _own_row(job, moment)) for job in own.values()]
        others = [item for item in moment.received if item["idempotency_key"] not in own]
        placed += [(_instant(item["received_at"]), _their_row(item, moment)) for item in others]
        placed.sort(key=lambda pair: pair[0], reverse=True)
        self._rows.show([[row for _, row in placed]])
        unsent = sum(moment.look(job).tone != "received" for job in own.values())
        more = sum(moment.tally[tone] for tone in UNSENT) - unsent
        dom.write(dom.part(dom.by_id("only-here"), "count"), sentences.only_here(unsent, len(placed), more))
        dom.show(dom.by_id("only-here"), unsent > 0)
        dom.show(dom.by_id("list-empty"), loaded and not placed and not failed)
        why = f"{failed} Your own unsent inspections are still shown." if failed else ""
        dom.write(dom.part(dom.by_id("list-failed"), "why"), why)
        dom.show(dom.by_id("list-failed"), bool(failed))
        dom.write(dom.by_id("list-as-of"), as_of)
        dom.show(dom.find(dom.by_id("inspections"), '[data-do="older"]'), older)


class OutboxScreen:
    """Every job: needs you, on the way in order of delivery, finished."""

    GROUPS = (("yours", "Needs you"), ("way", "On the way"), ("finished", "Finished"))

    def __init__(self) -> None:
        self._rows = Rows("outbox", [dom.find(dom.by_id(f"group-{name}"), "ul") for name, _ in self.GROUPS])

    def draw(self, moment: Moment) -> None:
        """Show all jobs."""
        groups: dict[str, list[dict[str, Any]]] = {name: [] for name, _ in self.GROUPS}
        for job in moment.jobs.values():
            groups[_group(moment.look(job).tone)].append(job)
        groups["yours"].sort(key=lambda job: -job["created_at"])
        groups["way"].sort(
            key=lambda job: (job["priority"], job["ahead"] is not None, -(job["ahead"] or 0), -job["created_at"]),
            reverse=True,
        )
        groups["finished"].sort(key=lambda job: -job["updated_at"])
        tally = moment.tally
        numbers = {"yours": tally["yours"], "way": tally["waiting"] + tally["moving"]}
        for name, words in self.GROUPS:
            number = numbers.get(name)
            dom.write(dom.by_id(f"group-{name}-title"), words if number is None else f"{words} ({number:,})")
            if number is not None:
                more = sentences.and_more(number - len(groups[name]))
                dom.write(dom.part(dom.by_id(f"group-{name}"), "more"), more)
                dom.show(dom.part(dom.by_id(f"group-{name}"), "more"), bool(more))
            # Groups open before the rows move and close after them: the focus is never inside what is hidden.
            if groups[name]:
                dom.show(dom.by_id(f"group-{name}"), True)
        self._rows.show([[_outbox_row(job, moment) for job in groups[name]] for name, _ in self.GROUPS])
        for name, _ in self.GROUPS:
            dom.show(dom.by_id(f"group-{name}"), bool(groups[name]))
        words = sentences.summary(tally)
        last = moment.last_received_ms
        summary = dom.by_id("outbox-summary")
        dom.write(dom.part(summary, "unsent"), words)
        dom.write(
            dom.part(summary, "last"), f"Last received {sentences.moment(last, moment.now_ms, None)}." if last else ""
        )
        dom.show(summary, bool(words))
        empty = dom.by_id("outbox-empty")
        dom.write(dom.part(empty, "words"), sentences.nothing_waits(last, moment.now_ms, None))
        dom.show(empty, not words)


def draw_header(moment: Moment) -> None:
    """The count of the unsent, on every screen."""
    words, tone = sentences.header(moment.tally)
    count = dom.by_id("count")
    dom.write(count, words)
    dom.attribute(count, "data-tone", tone)
    dom.show(count, True)
    dom.attribute(dom.find(js.document, ".bar"), "data-unsent", None if tone == "received" else "")


def draw_sites(moment: Moment) -> None:
    """Offer the sites that were inspected before."""
    sites = {sentences.title(job) for job in moment.jobs.values()} | {item["site"] for item in moment.received}
    names = sorted(sites)[:50]
    target = dom.by_id("sites")
    if [option.value for option in target.children] == names:
        return
    options = []
    for name in names:
        option = js.document.createElement("option")
        option.value = name
        options.append(option)
    target.replaceChildren(*options)


def _group(tone: Tone) -> str:
    if tone in ("received", "ended"):
        return "finished"
    return "yours" if tone == "yours" else "way"


def _outbox_row(job: dict[str, Any], moment: Moment) -> Row:
    look = moment.look(job)
    sent = moment.sent.get(job["id"]) if look.tone == "moving" else None
    line, buttons = look.line, tuple(_button(action) for action in look.actions)
    advised = look.actions[0] if look.tone == "yours" and look.actions else ""
    if job["id"] in moment.asked:
        line = "It may have arrived. Cancel anyway?"
        buttons = (Button(GONE, "Yes, cancel it"), Button(KEEP, "No, keep it"))
        advised = ""
    elif job["id"] in moment.answers:
        line = f"{line} {moment.answers[job['id']]}".strip()
    facts = tuple(Fact(name, value) for name, value in sentences.facts(job, now_ms=moment.now_ms))
    return Row(
        key=job["id"],
        job_id=job["id"],
        state=job["state"],
        tone=look.tone,
        title=sentences.title(job),
        pill=look.pill,
        icon=look.icon,
        line=line,
        percent=100 * sent[0] // max(1, sent[1]) if sent else None,
        facts=facts,
        buttons=buttons,
        advised=advised,
    )


def _button(action: Action) -> Button:
    return Button(action, LABELS[action], "#inspections" if action is Action.LOOK else "")


def _own_row(job: dict[str, Any], moment: Moment) -> Row:
    look = moment.look(job)
    summary = job.get("summary") or {}
    buttons = (Button("to-outbox", "What to do", "#outbox"),) if look.tone == "yours" else ()
    return Row(
        key=job["id"],
        job_id=job["id"],
        state=job["state"],
        tone=look.tone,
        title=sentences.title(job),
        pill=look.pill,
        icon=look.icon,
        facts=_list_facts(summary, job.get("files") or 0),
        buttons=buttons,
    )


def _their_row(item: dict[str, Any], moment: Moment) -> Row:
    received = sentences.time_or_day(_instant(item["received_at"]), moment.now_ms, None)
    return Row(
        key=f"received-{item['id']}",
        tone="received",
        title=item["site"],
        pill=f"Received {received}",
        icon="received",
        facts=_list_facts(item, len(item.get("photos") or ())),
    )


def _list_facts(summary: dict[str, Any], photos: int) -> tuple[Fact, ...]:
    return tuple(_facts_of(summary, photos))


def _facts_of(summary: dict[str, Any], photos: int) -> Iterable[Fact]:
    day = str(summary.get("inspected_on") or "")
    if day:
        yield Fact("Inspected on", sentences.full_day(day), name_shown=False)
    severity = summary.get("severity")
    if severity in ("low", "medium", "high"):
        yield Fact("Severity", severity.capitalize(), name_shown=False, icon=severity)
    if photos:
        yield Fact("Photos", str(photos))


def _instant(rfc3339: str) -> int:
    return int(js.Date.parse(rfc3339))
