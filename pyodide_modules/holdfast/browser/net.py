"""The network as the `Transport` port: `fetch`; in a page XMLHttpRequest for files, since that tells of upload progress."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import JsException, create_proxy

from holdfast.limits import read_json
from holdfast.ports import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.ports import Millis, Next, Request

PATIENCE_MS = 10_000
"""How long an answer that nobody needs is waited for."""
TOLD = ("idempotency-key", "retry-after", "content-type")
"""The headers an outcome depends on."""


class BrowserTransport:
    """Sends with the browser's own cookies for this origin; nothing secret passes through here."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[str]] = {}
        """By the number of the request that is under way, or is to go behind one that is."""
        self._behind: dict[str, tuple[int, int]] = {}
        """By job, what goes behind another request: that one's number, and its own."""
        self._javascript = js.holdfastSending.sender(create_proxy(self._answered))

    async def send(self, request: Request, progress: Callable[[int, int], None], then: Next | None = None) -> Answer:
        """One attempt; cancelling the task aborts it. `then` goes without Python being asked in between."""
        if request.parts and hasattr(js, "XMLHttpRequest"):
            return await _send_by_xhr(request, progress)
        return await self._send_by_fetch(request, then)

    def withdraw(self, job_id: str) -> bool:
        if job_id not in self._behind:
            return False
        before, number = self._behind[job_id]
        if self._answers[number].done() or self._javascript.withdraw(before, number):
            return True
        del self._answers[number], self._behind[job_id]
        return False

    def drop(self, job_id: str) -> None:
        if self.withdraw(job_id):
            _, number = self._behind.pop(job_id)
            del self._answers[number]
            self._javascript.stop(number)

    async def fetch_json(self, url: str, timeout_ms: Millis) -> Any:
        """A fresh document; None if there is no answer in time, or not one of JSON."""
        options = {"cache": "no-store", "headers": {"Accept": "application/json"}}
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                response = await _fetch(url, options)
                return read_json(await response.text()) if response.ok else None
        except (JsException, TimeoutError, ValueError):
            return None

    async def _send_by_fetch(self, request: Request, then: Next | None) -> Answer:
        if self.withdraw(request.job_id):
            _, number = self._behind.pop(request.job_id)
        else:
            number = self._numbered()
            body = _form(request) if request.parts else json.dumps(request.payload)
            self._javascript.send(number, _asked(request), body)
        if then is not None:
            behind = self._numbered()
            self._behind[then.request.job_id] = number, behind
            body = json.dumps(then.request.payload)
            self._javascript.sendBehind(number, behind, _asked(then.request), body, then.since, then.until)
        try:
            found = json.loads(await self._answers[number])
        except asyncio.CancelledError:
            self._javascript.stop(number)
            if then is not None:
                self.drop(then.request.job_id)
            raise
        finally:
            del self._answers[number]
        if "failure" in found:
            return Answer(failure=found["failure"])
        return Answer(found["status"], found["headers"], found["body"])

    def _numbered(self) -> int:
        number = next(self._numbers)
        self._answers[number] = asyncio.Future()
        return number

    def _answered(self, number: int, text: str) -> None:
        """What JavaScript has to tell of a request, if somebody still waits for it."""
        answer = self._answers.get(number)
        if answer is not None and not answer.done():
            answer.set_result(text)


async def post(url: str, document: dict[str, Any]) -> None:
    """Hand a small JSON document to our own origin, past the end of this page if need be; what becomes of it is not told."""
    options = {
        "method": "POST",
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(document),
        "credentials": "omit",
        "keepalive": True,
    }
    with suppress(JsException):
        await _fetch(url, options, signal=js.AbortSignal.timeout(PATIENCE_MS))


async def _send_by_xhr(request: Request, progress: Callable[[int, int], None]) -> Answer:
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    xhr = js.XMLHttpRequest.new()

    def settle(answer: Answer) -> None:
        if not answered.done():
            answered.set_result(answer)

    def loaded(_event: Any) -> None:
        headers = {name: value for name in TOLD if (value := xhr.getResponseHeader(name))}
        settle(Answer(int(xhr.status), headers, str(xhr.responseText)[: request.answer_limit]))

    def told(event: Any) -> None:
        if event.lengthComputable:
            progress(int(event.loaded), int(event.total))

    listeners = {
        "load": create_proxy(loaded),
        "error": create_proxy(lambda _event: settle(Answer(failure="network"))),
        "timeout": create_proxy(lambda _event: settle(Answer(failure="timeout"))),
        "abort": create_proxy(lambda _event: settle(Answer(failure="aborted"))),
    }
    on_progress = create_proxy(told)
    for event, listener in listeners.items():
        xhr.addEventListener(event, listener)
    xhr.upload.addEventListener("progress", on_progress)
    xhr.open(request.method, request.url)
    xhr.timeout = request.timeout_ms
    for name, value in _headers(request).items():
        xhr.setRequestHeader(name, value)
    xhr.send(_form(request))
    try:
        return await answered
    finally:
        if not answered.done() or answered.cancelled():
            xhr.abort()
        for event, listener in listeners.items():
            xhr.removeEventListener(event, listener)
            listener.destroy()
        xhr.upload.removeEventListener("progress", on_progress)
        on_progress.destroy()


async def _fetch(url: str, options: dict[str, Any], **handles: Any) -> Any:
    given = js.JSON.parse(json.dumps(options))
    for name, handle in handles.items():
        setattr(given, name, handle)
    return await js.fetch(url, given)


def _asked(request: Request) -> str:
    asked = {
        "url": request.url,
        "timeout_ms": request.timeout_ms,
        "limit": request.answer_limit,
        "told": TOLD,
        "method": request.method,
        "headers": _headers(request),
        "credentials": "same-origin",
        "cache": "no-store",
    }
    return json.dumps(asked)


def _headers(request: Request) -> dict[str, str]:
    """A form's own boundary is the browser's to write, so only JSON names its type."""
    return request.headers if request.parts else {**request.headers, "Content-Type": "application/json"}


def _form(request: Request) -> Any:
    form = js.FormData.new()
    fields = request.payload if isinstance(request.payload, dict) else {"payload": request.payload}
    for name, value in fields.items():
        form.append(name, value if isinstance(value, str) else json.dumps(value))
    for part in request.parts:
        form.append(part.field, part.handle, part.name)
    return form
