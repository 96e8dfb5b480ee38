"""Taking in what JavaScript took before Python could: insert the job under its id if absent, commit, then delete the entry.

Dying in between leaves the entry, and taking it in again finds its job: nothing is lost, nothing is doubled. An entry that
cannot be copied (a full device) stays where it is, is told of as a job that waits for that, and holds up its own lane only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from holdfast.errors import (
    HoldfastError,
    InvalidOptionError,
    NotUniqueError,
    SecretError,
    StorageError,
    TooLargeError,
)
from holdfast.job import DEFAULT_PRIORITY, File
from holdfast.limits import check_content, check_names, check_options, check_secrets, without_secrets
from holdfast.moments import is_recent
from holdfast.routes import Route, Violation
from holdfast.storage import Transaction
from holdfast.transactions.enqueue import enqueue, enqueue_invalid, enqueue_undecodable, enqueue_unknown, look_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.job import Draft
    from holdfast.outbox import Outbox
    from holdfast.ports import InboxEntry, Millis
    from holdfast.routes import Handler
    from holdfast.storage import Steps
    from holdfast.transactions.enqueue import Stored

BATCH = 50
AGAIN_MS = 10_000
"""How long a mere look leaves an entry alone that could not be stored: each try may copy all its photos."""
LATE_MS = 600_000
"""How old what was read of the inbox may be. Nothing that is finished goes sooner (`tidy`), so that until then a job is found."""
OPTIONS = ("lane", "priority", "delay_ms", "ttl_ms")
NAMES = ("id", "key", "type", "account", "taken_at", "fields", "payload", "options")

Lane = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry on its way into the queue: the job it becomes, and how."""

    position: int
    draft: Draft
    verb: Transaction[Stored]
    lane: Lane | None
    """The lane it joins; None if it is to fail, and so holds up nobody."""


class _LateError(Exception):
    """What was read of the inbox is too old to go by: another context may have taken it in, sent it, and forgotten it since."""


class Intake:
    """Takes the inbox in, for one context."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._refused: dict[int, Millis] = {}

    async def run(self, *, at_once: bool = False) -> list[Waiting]:
        """Move every entry that can be stored into the queue, in order of arrival. One count when it is empty.

        Returns the entries that stay, since the device would not store them or another one of their lane: saved, and tried
        again by the next call after `AGAIN_MS`, or `at_once`.

        Raises:
            StorageError: inbox or store cannot be read.
        """
        inbox = self._outbox.ports.inbox
        left: list[Waiting] = []
        seen: set[int] = set()
        if not await inbox.count():
            return left
        while True:
            read_at = self._outbox.ports.clock.now()
            entries = [entry for entry in await inbox.entries(len(seen) + BATCH) if entry.position not in seen]
            if not entries:
                break
            taken: list[str] = []
            for entry in entries:
                waiting = _waiting(self._outbox, entry)
                held = waiting.lane is not None and any(before.lane == waiting.lane for before in left)
                try:
                    is_taken = not held and await self._take(entry, waiting, read_at, at_once=at_once)
                except _LateError:
                    break
                if not is_taken:
                    seen.add(entry.position)
                    left.append(waiting)
                    continue
                taken.append(entry.id)
                try:
                    await inbox.remove([entry.position])
                except StorageError:
                    seen.add(entry.position)  # its job is found when it is taken in again
            if taken:
                self._outbox.publish({"kind": "change", "ids": taken})
        return await self._not_stored(left)

    async def _not_stored(self, left: list[Waiting]) -> list[Waiting]:
        """Without those that another context has stored meanwhile; under the ids that they will have."""
        found = []
        for waiting in left:
            try:
                draft, is_new = await self._outbox.ports.store.run(look_up(waiting.draft))
            except StorageError:
                draft, is_new = waiting.draft, True  # whoever comes after it in its lane must not overtake it
            if is_new:
                found.append(replace(waiting, draft=draft))
        return found

    async def _take(self, entry: InboxEntry, waiting: Waiting, read_at: Millis, *, at_once: bool) -> bool:
        """Store it; says whether it is stored. Raises `_LateError`: nothing of it is."""
        now = self._outbox.ports.clock.now()
        refused_at = self._refused.pop(entry.position, None)
        if refused_at is not None and not at_once and is_recent(refused_at, now, AGAIN_MS):
            self._refused[entry.position] = refused_at
            return False
        store = self._outbox.ports.store
        try:
            try:
                await store.run(self._in_time(waiting.verb, read_at))
            except (NotUniqueError, InvalidOptionError) as error:
                taken = f"The key {entry.key!r} belongs to another job; enter this one anew if it is another write."
                problem = taken if isinstance(error, NotUniqueError) else str(error)
                other = replace(entry, key=_key_for(entry))
                other_verb = _read(self._outbox, other, also=[{"pointer": "", "message": problem}]).verb
                await store.run(self._in_time(other_verb, read_at))
        except StorageError:
            self._refused[entry.position] = now
            return False
        return True

    def _in_time(self, verb: Transaction[Stored], read_at: Millis) -> Transaction[Stored]:
        """The same, given up where it comes too late. Within the transaction: a tab may be frozen for days before it."""

        def steps() -> Steps[Stored]:
            stored = yield from verb
            if not is_recent(read_at, self._outbox.ports.clock.now(), LATE_MS):
                raise _LateError
            return stored

        return replace(verb, start=steps)


def lane_of(draft: Draft) -> Lane:
    """The lane that a job joins."""
    return draft.record["account"], draft.record["queue"], draft.record["lane_key"]


def _waiting(outbox: Outbox, entry: InboxEntry) -> Waiting:
    damaged = _damage(entry)
    return _undecodable(outbox, entry, damaged) if damaged else _read(outbox, entry)


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
        "fields": fields is None or are_fields(fields),
        "options": isinstance(raw["options"], dict),
    }
    return [name for name, is_sound in sound.items() if not is_sound]


def are_fields(value: Any) -> bool:
    """Whether these are the raw fields of a form: pairs of a name and a text."""
    return isinstance(value, list) and all(
        isinstance(pair, list | tuple) and [type(part) for part in pair] == [str, str] for pair in value
    )


def _undecodable(outbox: Outbox, entry: InboxEntry, damaged: list[str]) -> Waiting:
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
    verb = enqueue_undecodable(draft, {name: getattr(entry, name) for name in NAMES}, [*damaged, "body"])
    return Waiting(entry.position, draft, verb, None)


def _key_for(entry: InboxEntry) -> str:
    """A key that the same entry gets again."""
    return str(uuid5(NAMESPACE_OID, json.dumps([entry.position, entry.id, entry.key])))


def _read(outbox: Outbox, entry: InboxEntry, also: Sequence[dict[str, str]] = ()) -> Waiting:
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
        return Waiting(entry.position, draft, enqueue_unknown(draft), None)
    broken += also
    broken += [{"pointer": "", "message": problem} for problem in problems]
    if broken:
        return Waiting(entry.position, draft, enqueue_invalid(draft, broken), None)
    return Waiting(entry.position, draft, enqueue(draft), lane_of(draft))


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
        elif entry.fields is not None:  # what the form made of them cannot be stored
            payload = without_secrets(dict(entry.fields), secrets)
        violations = [Violation("", str(error))]
    except Exception as error:  # noqa: BLE001  (a form is the app's code)
        violations = [Violation("", f"The form's rules could not be applied: {error!r}.")]
    return payload, [{"pointer": v.pointer, "message": v.message} for v in violations or too_large]


def _options(entry: InboxEntry) -> tuple[dict[str, object], list[str]]:
    """The options of an entry if they are right; none if not; and what is wrong with them, its id or its key."""
    options = {name: entry.options[name] for name in OPTIONS if name in entry.options}
    known = ", ".join(OPTIONS)
    problems = [f"There is no option {name!r}; there are {known}." for name in entry.options if name not in OPTIONS]
    try:
        check_names(id=entry.id, key=entry.key)
    except InvalidOptionError as error:
        problems.append(str(error))
    try:
        check_options(**{"lane": None, "priority": DEFAULT_PRIORITY, "delay_ms": 0, "ttl_ms": None} | options)
    except InvalidOptionError as error:
        return {}, [*problems, str(error)]
    return options, problems
