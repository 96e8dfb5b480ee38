"""One message shape and one table: what a page, another tab or a page without Python can ask of an outbox.

A message is `{"holdfast": 1, "method": …, "params": {…}}` with its files beside it; a reply is `{"ok": value}` or
`{"error": {"name", "message", …}}`. JSON crosses the bridge, blobs pass as they are.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from holdfast.errors import HoldfastError, InvalidOptionError, InvalidPayloadError
from holdfast.job import File
from holdfast.limits import check_one_of, read_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from holdfast.outbox import Outbox, Wake

    Method = Callable[[Outbox, dict[str, Any], Sequence[File]], Awaitable[Any]]


def _id(params: dict[str, Any]) -> str:
    job_id = params["id"]
    if not isinstance(job_id, str):
        raise InvalidOptionError(f"id takes a text; not {job_id!r}.")
    return job_id


async def _enqueue(outbox: Outbox, params: dict[str, Any], files: Sequence[File]) -> Any:
    options = params.get("options") or {}
    accepted = await outbox.enqueue(params["type"], params.get("payload"), attachments=files, **options)
    return {"id": accepted.id, "key": accepted.key}


async def _submit(outbox: Outbox, params: dict[str, Any], files: Sequence[File]) -> Any:
    entry = params["entry"]
    fields = [(str(name), str(value)) for name, value in entry["fields"]]
    try:
        accepted = await outbox.submit(entry["type"], fields, files, id=entry["id"], key=entry["key"])
    except InvalidPayloadError as refused:
        return {"refused": refused.detail()["violations"]}
    return {"saved": {"id": accepted.id, "key": accepted.key}}


async def _edit(outbox: Outbox, params: dict[str, Any], files: Sequence[File]) -> Any:
    keeps = params.get("keep_attachments", False)
    check_one_of("keep_attachments", keeps, (False, True))
    attachments = None if keeps else files
    options = params.get("options") or {}
    accepted = await outbox.edit(_id(params), params["payload"], attachments=attachments, **options)
    return {"id": accepted.id, "key": accepted.key}


async def _jobs(outbox: Outbox, params: dict[str, Any], _files: Sequence[File]) -> Any:
    return await outbox.jobs(**(params.get("filter") or {}))


async def _job(outbox: Outbox, params: dict[str, Any], _files: Sequence[File]) -> Any:
    return await outbox.job(_id(params))


async def _wait(outbox: Outbox, params: dict[str, Any], _files: Sequence[File]) -> Any:
    return await outbox.wait(_id(params), timeout_ms=params.get("timeout_ms", 10_000))


async def _stats(outbox: Outbox, _params: dict[str, Any], _files: Sequence[File]) -> Any:
    return await outbox.stats()


async def _retry(outbox: Outbox, params: dict[str, Any], _files: Sequence[File]) -> Any:
    return await outbox.retry(_id(params), accept_duplicate=params.get("accept_duplicate", False))


async def _retry_all(outbox: Outbox, params: dict[str, Any], _files: Sequence[File]) -> Any:
    return await outbox.retry_all(reason=params.get("reason"))


async def _pause(outbox: Outbox, params: dict[str, Any], _files: Sequence[File]) -> Any:
    await outbox.pause(queue=params.get("queue"), type_=params.get("type"))


async def _resume(outbox: Outbox, params: dict[str, Any], _files: Sequence[File]) -> Any:
    await outbox.resume(queue=params.get("queue"), type_=params.get("type"))


async def _sign_in(outbox: Outbox, params: dict[str, Any], _files: Sequence[File]) -> Any:
    await outbox.sign_in(params["account"])


async def _sign_out(outbox: Outbox, _params: dict[str, Any], _files: Sequence[File]) -> Any:
    return {"unsent": await outbox.sign_out()}


async def _cancel(outbox: Outbox, params: dict[str, Any], _files: Sequence[File]) -> Any:
    return await outbox.cancel(_id(params))


async def _drain(outbox: Outbox, params: dict[str, Any], _files: Sequence[File]) -> Any:
    wake: Wake = "person" if params.get("reason") == "asked" else "wake"
    return await outbox.drain(timeout_ms=params.get("timeout_ms", 10_000), wake=wake)


async def _unsent(outbox: Outbox, _params: dict[str, Any], _files: Sequence[File]) -> Any:
    return await outbox.unsent()


METHODS: dict[str, tuple[Method, tuple[str, ...]]] = {
    "enqueue": (_enqueue, ("type", "payload", "options")),
    "submit": (_submit, ("entry",)),
    "edit": (_edit, ("id", "payload", "keep_attachments", "options")),
    "jobs": (_jobs, ("filter",)),
    "job": (_job, ("id",)),
    "wait": (_wait, ("id", "timeout_ms")),
    "stats": (_stats, ()),
    "retry": (_retry, ("id", "accept_duplicate")),
    "retry_all": (_retry_all, ("reason",)),
    "cancel": (_cancel, ("id",)),
    "pause": (_pause, ("queue", "type")),
    "resume": (_resume, ("queue", "type")),
    "sign_in": (_sign_in, ("account",)),
    "sign_out": (_sign_out, ()),
    "drain": (_drain, ("timeout_ms", "reason", "last_chance")),
    "unsent": (_unsent, ()),
}
"""Each with the names of its parameters: a misspelt one must not mean what leaving it out means, such as to pause everything."""


def _check_names(method: str, params: dict[str, Any], known: Sequence[str]) -> None:
    unknown = [param for param in params if param not in known]
    if unknown:
        raise InvalidOptionError(f"{method} has no {unknown[0]!r}; it takes {', '.join(known) or 'nothing'}.")


async def dispatch(outbox: Outbox, message: str, files: Sequence[File] = ()) -> str:
    """Answer one message. Never raises for what the caller did: that is an `error` reply."""
    try:
        request = read_json(message)
        name, params = request.get("method"), request.get("params") or {}
        check_one_of("method", name, list(METHODS))
        method, known = METHODS[name]
        _check_names(name, params, known)
        return json.dumps({"ok": await method(outbox, params, files)})
    except HoldfastError as error:
        reply = {"name": type(error).__name__, "message": str(error), **error.detail()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reply = {"name": "InvalidOptionError", "message": f"The message could not be understood: {error!r}."}
    except Exception as error:  # noqa: BLE001  (whatever it is: who hears nothing takes Python for dead)
        reply = {"name": "UnavailableError", "message": f"Python could not do it: {error!r}."}
    return json.dumps({"error": reply})
