"""Facts in words: times, spans, counts, and the sentences of a row that hold them.

Pure: a row, now and the person's time zone come in (`None` is the zone of the device). Which sentence belongs to which
state is in `words.py`.
"""

import string
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, tzinfo
from typing import Any, Final

from app.forms import megabytes
from app.words import IN_THE_WAY, Action, Look, Tone, look
from holdfast.errors import ActionRefusedError, HoldfastError, JobNotFoundError
from holdfast.lifecycle import State

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
THREE_DAYS_MS: Final = 3 * 86_400_000

Row = dict[str, Any]


def local(at_ms: int, zone: tzinfo | None) -> datetime:
    """An instant on the person's clock."""
    return datetime.fromtimestamp(at_ms / 1_000, zone)


def day(of: date, today: date) -> str:
    """A day: `20 Nov`, with its year unless it is this one."""
    year = "" if of.year == today.year else f" {of.year}"
    return f"{of.day} {MONTHS[of.month - 1]}{year}"


def full_day(text: str) -> str:
    """A day as a form holds it, `2026-11-21`, with its year in any case: `21 Nov 2026`. Anything else stays as it is."""
    try:
        of = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{of.day} {MONTHS[of.month - 1]} {of.year}"


def time_or_day(at_ms: int, now_ms: int, zone: tzinfo | None) -> str:
    """`14:02` if it is today, else `20 Nov`."""
    at, now = local(at_ms, zone), local(now_ms, zone)
    return f"{at:%H:%M}" if at.date() == now.date() else day(at.date(), now.date())


def moment(at_ms: int, now_ms: int, zone: tzinfo | None) -> str:
    """`14:02` if it is today, else `20 Nov 18:00`: never a time without its day."""
    at, now = local(at_ms, zone), local(now_ms, zone)
    clock = f"{at:%H:%M}"
    return clock if at.date() == now.date() else f"{day(at.date(), now.date())} {clock}"


def span(ms: int) -> str:
    """A wait as people say it, rounded up so that it never reads as over: `40 s`, `3 min`, `2 h`."""
    seconds = max(1, -(-ms // 1_000))
    if seconds < 100:
        return f"{seconds} s"
    minutes = -(-seconds // 60)
    return f"{minutes} min" if minutes < 100 else f"{-(-minutes // 60)} h"


def count(number: int, one: str, many: str) -> str:
    """`1 photo`, `2 photos`."""
    return f"{number:,} {one if number == 1 else many}"


def title(row: Row) -> str:
    """What people call this job."""
    return str((row.get("summary") or {}).get("site") or "").strip() or "Without a site"


def described(
    row: Row,
    *,
    now_ms: int,
    zone: tzinfo | None = None,
    goes_after: str = "",
    sent: tuple[int, int] | None = None,
) -> Look:
    """The look of a row with its facts filled in.

    `goes_after` is the title of the job before it in its lane; `sent` are the bytes handed over and in all.
    """
    shown = look(row)
    if shown.pill == "Waiting to retry in {wait}" and row["run_at"] <= now_ms:
        shown = replace(shown, pill="Retrying now")
    known = _Facts(row, now_ms, zone, goes_after, sent)
    actions = tuple(action for action in shown.actions if action is not Action.EDIT or not may_have_arrived(row))
    line = f"{_fill(shown.line, known)} {known.end()}".strip()
    return replace(shown, pill=_fill(shown.pill, known), line=line, actions=actions)


def may_have_arrived(row: Row) -> bool:
    """Whether it was handed to the network and nobody knows what became of it: editing would make a second one."""
    return row.get("unknown_since") is not None


def facts(row: Row, *, now_ms: int, zone: tzinfo | None = None) -> list[tuple[str, str]]:
    """The facts below a row of the Outbox, each with its name."""
    came = "Saved" if row.get("durability", "strict") == "strict" else "Made"
    found = [(came, moment(row["created_at"], now_ms, zone))]
    if row["state"] != State.CANCELLED:
        found.append(("Attempts used", f"{row['attempts']} of {row.get('max_attempts') or 8}"))
    if row["state"] == State.PENDING and row.get("waits") == "retry" and row["run_at"] > now_ms:
        found.append(("Next try", f"{local(row['run_at'], zone):%H:%M:%S}"))
    return found


class _Facts:
    """The facts a sentence may name, looked up as they are needed."""

    def __init__(
        self, row: Row, now_ms: int, zone: tzinfo | None, goes_after: str, sent: tuple[int, int] | None
    ) -> None:
        self._row, self._now, self._zone, self._goes_after, self._sent = row, now_ms, zone, goes_after, sent
        self._said: dict[str, Any] = row.get("said") or {}

    def __getitem__(self, name: str) -> str:
        return str(getattr(self, name)())

    def wait(self) -> str:
        return span(self._row["run_at"] - self._now)

    def due(self) -> str:
        return moment(self._row["run_at"], self._now, self._zone)

    def received(self) -> str:
        return time_or_day(self._row["updated_at"], self._now, self._zone)

    def sent(self) -> str:
        return moment(self._row.get("unknown_since") or self._row["updated_at"], self._now, self._zone)

    def expired(self) -> str:
        return moment(self._row.get("expires_at") or self._row["updated_at"], self._now, self._zone)

    def cancelled(self) -> str:
        return self._when(self._row["updated_at"])

    def end(self) -> str:
        """The warning of an app that does not keep failures for ever; empty if there is none."""
        at = self._row.get("prunes_at")
        warning = "Unless you act on it, it is deleted from this device {when}. An export keeps it."
        return "" if at is None else warning.format(when=self._when(at))

    def _when(self, at_ms: int) -> str:
        at, now = local(at_ms, self._zone), local(self._now, self._zone)
        when = moment(at_ms, self._now, self._zone)
        return f"at {when}" if at.date() == now.date() else f"on {when}"

    def max(self) -> int:
        return self._row.get("max_attempts") or 8

    def status(self) -> str:
        return f" ({self._said['status']})" if self._said.get("status") else ""

    def last(self) -> str:
        status = self._said.get("status")
        if not status:
            return "the last got no answer"
        if status >= 500:
            return f"the last ended with a server fault ({status})"
        return f"the last was answered with {status}"

    def refusal(self) -> str:
        errors = [error["detail"] for error in self._said.get("errors") or [] if error.get("detail")]
        if errors:
            return " ".join(errors).removesuffix(".") + ", then send it again."
        detail = self._said.get("detail") or self._said.get("title")
        status = self._said.get("status")
        if detail:
            return f"{str(detail).rstrip('.')}. Correct it, then send it again."
        return f"it answered with {status}." if status else "it gave no reason."

    def violation(self) -> str:
        errors = [error.get("message") or error.get("detail") for error in self._said.get("errors") or []]
        words = " ".join(word for word in errors if word) or "It breaks a rule of the form."
        return words[0].lower() + words[1:]

    def before(self) -> str:
        ahead = self._row.get("ahead") or 0
        if ahead == 1 and self._goes_after:
            return f"Goes after “{self._goes_after}”, in the order they were saved."
        return f"{ahead:,} go before it." if ahead > 1 else "Another goes before it."

    def percent(self) -> str:
        return f" {_percent(self._sent)} %" if self._sent else ""

    def progress(self) -> str:
        if not self._sent:
            return "It counts as received only when the server says so."
        done, total = self._sent
        handed = f"{done / 1_000_000:.1f} of {megabytes(total)} handed to the network."
        return f"{handed} It counts as received only when the server says so."


def _percent(sent: tuple[int, int]) -> int:
    done, total = sent
    return min(100, 100 * done // max(1, total))


def _fill(words: str, facts: _Facts) -> str:
    names = {name for _, name, _, _ in string.Formatter().parse(words) if name}
    return words.format(**{name: facts[name] for name in names})


def tones(rows: Iterable[Row]) -> dict[Tone, int]:
    """How many rows have each tone."""
    tally: dict[Tone, int] = {"waiting": 0, "moving": 0, "yours": 0, "received": 0, "ended": 0}
    for row in rows:
        tally[look(row).tone] += 1
    return tally


def tally(stats: dict[str, Any]) -> dict[Tone, int]:
    """How many jobs have each tone, also where only some of them are listed."""
    states, held = stats["states"], stats["held"] + stats["inbox"]
    return {
        "waiting": max(0, states[State.PENDING] - held),
        "moving": states[State.PROCESSING],
        "yours": states[State.FAILED] + states[State.CONFLICT] + states[State.EXPIRED] + held,
        "received": states[State.COMPLETED],
        "ended": states[State.CANCELLED],
    }


def and_more(number: int) -> str:
    """What a list leaves out; empty if that is nothing."""
    return f"and {number:,} more, counted and exported, not shown one by one." if number > 0 else ""


def header(tally: dict[Tone, int]) -> tuple[str, Tone]:
    """The count in the header, and its tone."""
    unsent = tally["waiting"] + tally["moving"] + tally["yours"]
    if not unsent:
        return "All received", "received"
    if tally["yours"]:
        return f"{unsent:,} unsent, {count(tally['yours'], 'needs', 'need')} you", "yours"
    return f"{unsent:,} unsent", "waiting"


def summary(tally: dict[Tone, int]) -> str:
    """The Outbox in one sentence."""
    on_the_way = tally["waiting"] + tally["moving"]
    unsent = on_the_way + tally["yours"]
    if not unsent:
        return ""
    parts = [count(tally["yours"], "needs", "need") + " you"] if tally["yours"] else []
    if on_the_way:
        parts.append(f"{on_the_way:,} on the way")
    return f"{unsent:,} unsent: {', '.join(parts)}."


def only_here(unsent: int, shown: int, more: int = 0) -> str:
    """How much of the list nobody else can see, and how much `more` there is that it does not show."""
    rest = f" So {'is' if more == 1 else 'are'} {more:,} more, not listed here." if more > 0 else ""
    if unsent == 1:
        one = f"1 of these {shown:,} is on this device only." if shown > 1 else "This one is on this device only."
        return one + rest
    return f"{unsent:,} of these {shown:,} are on this device only.{rest}"


def nothing_waits(last_received_ms: int | None, now_ms: int, zone: tzinfo | None) -> str:
    """The empty Outbox."""
    if last_received_ms is None:
        return "What you save shows here until the server has it."
    last = moment(last_received_ms, now_ms, zone)
    return f"All that was saved on this device has been received, the last at {last}."


def waited(number: int, oldest_ms: int | None, now_ms: int, zone: tzinfo | None) -> str:
    """The warning about work that has been unsent for three days: how much, and since when; empty if there is none."""
    if not number or oldest_ms is None:
        return ""
    since = day(local(oldest_ms, zone).date(), local(now_ms, zone).date())
    return f"{count(number, 'inspection has', 'inspections have')} waited since {since}."


def room(usage: int, quota: int) -> str:
    """How much the browser leaves for all that is saved here."""
    return f"This browser has {megabytes(max(0, quota - usage))} left for what is saved here."


def stands_still(since_ms: int, now_ms: int, zone: tzinfo | None) -> str:
    """The warning that nothing moves."""
    return f"Nothing has moved since {moment(since_ms, now_ms, zone)}."


def could_go(since_ms: int, rows: Iterable[Row]) -> str:
    """What could have gone at that moment and has not, as far as it is listed."""
    names = [title(row) for row in rows if row["state"] == State.PENDING and row["run_at"] == since_ms]
    what = f"“{names[0]}”" if names else "An inspection"
    return f"{what} could have been sent by then, and nothing known holds it back."


def news(before: dict[str, Row], after: dict[str, Row]) -> tuple[str, str]:
    """What to announce when rows change: politely, and at once because the person is needed. Empty: nothing."""
    received, needed = 0, []
    for job_id, row in after.items():
        tone = look(row).tone
        # One that is new was saved a moment ago, which has been said.
        tone_before = look(before[job_id]).tone if job_id in before else "waiting"
        received += tone == "received" != tone_before
        if tone == "yours" != tone_before:
            needed.append(f"“{title(row)}” needs you: {look(row).pill.lower()}.")
    return (f"{received:,} received." if received else ""), " ".join(needed)


def tab_line(capabilities: dict[str, Any]) -> str:
    """What goes on after this tab is closed, in this very browser."""
    if capabilities.get("backgroundSync"):
        return (
            "You may close this tab. This browser tries to send the rest in the background; "
            "if it cannot, they go out when Holdfast is next opened."
        )
    words = "Keep this tab open to send. If you close it, the rest goes out when Holdfast is next opened."
    if capabilities.get("forgets"):
        words += " It may delete unsent work after seven days without a visit."
    return words


def why_not(error: HoldfastError) -> str:
    """Why a button did nothing, without the names a developer would look for."""
    if isinstance(error, ActionRefusedError):
        return IN_THE_WAY[error.obstacle]
    return "It is no longer on this device." if isinstance(error, JobNotFoundError) else str(error)


def confirm_cancel(row: Row) -> str:
    """The question before cancelling what may have left; empty where none is needed."""
    return "It may have arrived. Cancel anyway?" if row["state"] == State.PROCESSING or may_have_arrived(row) else ""
