"""Taking in what JavaScript took before Python could: insert the job under its id if absent, commit, then delete the entry.

Dying in between leaves the entry, and taking it in again finds its job: nothing is lost, nothing is doubled.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from holdfast.errors import HoldfastError, InvalidOptionError, NotUniqueError, SecretError, TooLargeError
from holdfast.job import DEFAULT_PRIORITY, File
from holdfast.limits import check_content, check_names, check_options, check_secrets, without_secrets
from holdfast.routes import Route, Violation
from holdfast.transactions.enqueue import enqueue, enqueue_invalid, enqueue_undecodable, enqueue_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.outbox import Outbox
    from holdfast.ports import InboxEntry
    from holdfast.routes import Handler
    from holdfast.storage import Transaction

BATCH = 50
OPTIONS = ("lane", "priority", "delay_ms", "ttl_ms")
NAMES = ("id", "key", "type", "account", "taken_at", "fields", "payload", "options")


async def take_in(outbox: Outbox) -> None:
    """Move every entry of the inbox into the queue, in order of arrival. One count when it is empty."""
    inbox = outbox.ports.inbox
    while await inbox.count():
        entries = await inbox.entries(BATCH)
        for entry in entries:
            await _take(outbox, entry)
            await inbox.remove([entry.position])
        outbox.publish({"kind": "change", "ids": [entry.id for entry in entries]})


async def _take(outbox: Outbox, entry: InboxEntry) -> None:
    store = outbox.ports.store
    if damage := _damage(entry):
        await store.run(_undecodable(outbox, entry, damage))
        return
    try:
        await store.run(_verb(outbox, entry))
    except NotUniqueError:
        problem = f"The key {entry.key!r} belongs to another job; enter this one anew if it is another write."
        other = replace(entry, key=_key_for(entry))
        await store.run(_verb(outbox, other, also=[{"pointer": "", "message": problem}]))


def _damage(entry: InboxEntry) -> list[str]:
    """The fields of an entry that cannot be what was submitted, whatever was."""
    raw: dict[str, Any] = {name: getattr(entry, name) for name in NAMES}
    fields, taken_at = raw["fields"], raw["taken_at"]
    sound = {
        "id": isinstance(raw["id"], str) and raw["id"] != "",
        "key": isinstance(raw["key"], str),
        "type": isinstance(raw["type"], str),
        "account": isinstance(raw["account"], str),
        "taken_at": type(taken_at) is int and taken_at >= 0,
        "fields": fields is None or (isinstance(fields, list) and all(_is_pair(pair) for pair in fields)),
        "options": isinstance(raw["options"], dict),
    }
    return [name for name, is_sound in sound.items() if not is_sound]


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and [type(part) for part in pair] == [str, str]


def _undecodable(outbox: Outbox, entry: InboxEntry, damaged: list[str]) -> Transaction[tuple[str, str]]:
    """A failed job under what of the entry can be read, and the whole of it as it was found."""
    sound = {name: getattr(entry, name) for name in ("id", "type", "account") if name not in damaged}
    known = {"id": _key_for(entry), "type": "unknown", "account": ""} | sound
    draft = outbox.draft(
        known["type"],
        entry.payload,
        [File(*file) for file in entry.files],
        id=known["id"],
        key=_key_for(entry),
        account=known["account"],
        options={},
    )
    return enqueue_undecodable(draft, {name: getattr(entry, name) for name in NAMES}, [*damaged, "body"])


def _key_for(entry: InboxEntry) -> str:
    """A key that the same entry gets again."""
    return str(uuid5(NAMESPACE_OID, json.dumps([entry.position, entry.id, entry.key])))


def _verb(outbox: Outbox, entry: InboxEntry, also: Sequence[dict[str, str]] = ()) -> Transaction[tuple[str, str]]:
    handler = outbox.handlers.get(entry.type)
    files = tuple(File(*file) for file in entry.files)
    payload, broken = _checked(handler, entry, files)
    options, problems = _options(entry)
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
    broken += also
    broken += [{"pointer": "", "message": problem} for problem in problems]
    return enqueue_invalid(draft, broken) if broken else enqueue(draft)


def _checked(handler: Handler | None, entry: InboxEntry, files: Sequence[File]) -> tuple[Any, list[dict[str, str]]]:
    """The payload of an entry and the rules it breaks. A form that raises must not hold up the entries behind this one."""
    route = handler if isinstance(handler, Route) else None
    form, field, secrets = (route.form, route.files_field, route.secrets) if route else (None, "files", frozenset())
    payload: Any = dict(entry.fields) if entry.fields is not None else entry.payload
    described = [{"field": f.field or field, "name": f.name, "type": f.media_type, "size": f.size} for f in files]
    too_large: list[Violation] = []
    try:
        if form is not None and entry.fields is not None:
            payload = form.parse(entry.fields)
        try:
            check_content(payload, files)
        except TooLargeError as error:
            too_large.append(Violation("", str(error)))
        check_secrets(payload, secrets)
        # Where something is too large the form says which field, if it can.
        violations = [] if form is None else form.violations(payload, described)
    except HoldfastError as error:
        if isinstance(error, SecretError):
            payload = without_secrets(payload, secrets)
        violations = [Violation("", str(error))]
    except Exception as error:  # noqa: BLE001  (a form is the app's code)
        violations = [Violation("", f"The form's rules could not be applied: {error!r}.")]
    return payload, [{"pointer": v.pointer, "message": v.message} for v in violations or too_large]


def _options(entry: InboxEntry) -> tuple[dict[str, object], list[str]]:
    """The options of an entry if they are right; none if not; and what is wrong with them, its id or its key."""
    options = {name: entry.options[name] for name in OPTIONS if name in entry.options}
    problems = []
    try:
        check_names(id=entry.id, key=entry.key)
    except InvalidOptionError as error:
        problems.append(str(error))
    try:
        check_options(**{"lane": None, "priority": DEFAULT_PRIORITY, "delay_ms": 0, "ttl_ms": None} | options)
    except InvalidOptionError as error:
        return {}, [*problems, str(error)]
    return options, problems
