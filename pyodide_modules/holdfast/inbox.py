"""Taking in what JavaScript took before Python could: insert the job under its id if absent, commit, then delete the entry.

Dying in between leaves the entry, and taking it in again finds its job: nothing is lost, nothing is doubled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, InvalidOptionError, TooLargeError
from holdfast.job import DEFAULT_PRIORITY, File
from holdfast.limits import check_content, check_options
from holdfast.routes import Route
from holdfast.transactions.enqueue import enqueue, enqueue_invalid, enqueue_unknown

if TYPE_CHECKING:
    from holdfast.outbox import Outbox
    from holdfast.ports import InboxEntry
    from holdfast.storage import Transaction

BATCH = 50
OPTIONS = ("lane", "priority", "delay_ms", "ttl_ms")


async def take_in(outbox: Outbox) -> None:
    """Move every entry of the inbox into the queue, in order of arrival. One count when it is empty."""
    inbox = outbox.ports.inbox
    while await inbox.count():
        entries = await inbox.entries(BATCH)
        for entry in entries:
            await outbox.ports.store.run(_verb(outbox, entry))
            await inbox.remove([entry.position])
        outbox.publish({"kind": "change", "ids": [entry.id for entry in entries]})


def _verb(outbox: Outbox, entry: InboxEntry) -> Transaction[bool]:
    handler = outbox.handlers.get(entry.type)
    files = tuple(File(*file) for file in entry.files)
    form = handler.form if isinstance(handler, Route) else None
    payload = entry.payload
    if entry.fields is not None:
        payload = form.parse(entry.fields) if form else dict(entry.fields)
    options, problem = _options(entry)
    draft = outbox.draft(
        entry.type,
        payload,
        files,
        id=entry.id,
        key=entry.key,
        account=entry.account,
        options=options,
        created_at=entry.taken_at,
    )
    if handler is None:
        return enqueue_unknown(draft)
    try:
        check_content(payload, files)
    except (TooLargeError, InvalidOptionError) as error:
        problem = str(error)
    violations = [] if form is None else form.violations(payload, draft.body["attachments"])
    broken = [{"pointer": v.pointer, "message": v.message} for v in violations]
    if problem:
        broken.append({"pointer": "", "message": problem})
    return enqueue_invalid(draft, broken) if broken else enqueue(draft)


def _options(entry: InboxEntry) -> tuple[dict[str, object], str]:
    """The options of an entry if they are right; none, and what was wrong, if not."""
    options = {name: entry.options[name] for name in OPTIONS if name in entry.options}
    checked = {"lane": None, "priority": DEFAULT_PRIORITY, "delay_ms": 0, "ttl_ms": None} | options
    try:
        check_options(**checked)
    except HoldfastError as error:
        return {}, str(error)
    return options, ""
