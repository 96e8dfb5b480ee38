"""The reference app's API: inspections are taken in once per key, listed, and their photos shown."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from holdfast.routes import Violation
from holdfast_server import records
from holdfast_server.attachments import Attachments, IncomingFile
from holdfast_server.body import JSON, MULTIPART, FormBody, JsonBody, read_body
from holdfast_server.files import WholeFile
from holdfast_server.idempotency import KeyedRequest, Mismatch, Replay, StoredResponse, scope_of
from holdfast_server.limits import Limits
from holdfast_server.metrics import Metrics
from holdfast_server.middleware import require_key
from holdfast_server.once import answer_once
from holdfast_server.problems import INVALID, Problem, malformed_body
from holdfast_server.refusal import let_pass
from holdfast_server.security import CONTENT_SECURITY_POLICY
from holdfast_server.stores.port import Database, Effect, EffectStore
from holdfast_server.stores.statements import Steps

METHOD: Final = "POST"
PATH: Final = "/api/inspections"
PAGE_LIMIT: Final = 1_000
PAGE_DEFAULT: Final = 100
_LARGEST_ID: Final = 2**63 - 1
_ZERO: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""A zero character as JSON spells it, and not a backslash that somebody typed."""

SHOWN_TYPES: Final = frozenset(
    {"image/avif", "image/gif", "image/heic", "image/heif", "image/jpeg", "image/png", "image/webp"}
)
"""What a browser may show from our origin: pictures that cannot carry script (SVG can). All else is only downloaded."""


class InspectionRules(Protocol):
    """The form's rules: `holdfast.routes.Form`, told of the files as well."""

    def parse(self, fields: list[tuple[str, str]]) -> dict[str, Any]:
        """Turn raw form fields, in order, into a payload."""
        ...

    def violations(self, payload: Any, files: Sequence[Mapping[str, Any]] = ()) -> list[Violation]:
        """Every broken rule; `files` are `{"field", "name", "type", "size"}` each."""
        ...


@dataclass(frozen=True, slots=True)
class Inspections:
    """The routes, and what they stand on."""

    database: Database
    keys: EffectStore
    attachments: Attachments
    rules: InspectionRules
    limits: Limits
    metrics: Metrics
    account_of: Callable[[Request], Awaitable[str]]
    now_ms: Callable[[], int]

    async def collection(self, request: Request) -> Response:
        """`/api/inspections`."""
        return await (self._create(request) if request.method == METHOD else self._list(request))

    async def _create(self, request: Request) -> Response:
        try:
            key = require_key(request)
            account = await self.account_of(request)
        except Problem:
            await let_pass(request, request.receive)
            raise
        accept = frozenset({JSON, MULTIPART})
        async with read_body(request, accept=accept, limits=self.limits, new_path=self.attachments.new_path) as body:
            keyed = self.keyed(body, account=account, key=key)

            async def prepare() -> Effect:
                payload, files = self.checked(body)
                if files:
                    await asyncio.to_thread(self.attachments.keep, files)
                return self.effect(keyed, payload, files, account=account)

            return await answer_once(self.keys, keyed, prepare, now_ms=self.now_ms, metrics=self.metrics)

    def keyed(self, body: JsonBody | FormBody, *, account: str, key: str) -> KeyedRequest:
        """The request as key stores know it."""
        return KeyedRequest(scope_of(f"{METHOD} {PATH}", account), key, body.fingerprint(METHOD, PATH))

    def checked(self, body: JsonBody | FormBody) -> tuple[dict[str, Any], Sequence[IncomingFile]]:
        """The payload and files of a body that keeps all rules.

        Raises:
            Problem: 422 with every broken rule; 400 where a text cannot be stored.
        """
        payload = body.value if isinstance(body, JsonBody) else self.rules.parse(body.fields)
        files = [] if isinstance(body, JsonBody) else body.files
        facts = [{"field": file.field, "name": file.name, "type": file.type, "size": file.size} for file in files]
        broken = self.rules.violations(payload, facts)
        if broken:
            detail = "Correct what is listed, then send it again under a key of its own."
            raise Problem(422, INVALID, title="The inspection breaks rules", detail=detail, errors=broken)
        text = json.dumps(payload, ensure_ascii=False)
        if _ZERO.search(text):
            raise malformed_body("A text has a zero character in it, which PostgreSQL cannot hold.")
        try:
            text.encode()
        except (
            UnicodeEncodeError
        ) as error:  # JSON can spell half a surrogate pair; neither UTF-8 nor a database can hold it
            raise malformed_body("A text has half a character in it (a lone surrogate).") from error
        return payload, files

    def effect(
        self, keyed: KeyedRequest, payload: Mapping[str, Any], files: Sequence[IncomingFile] = (), *, account: str
    ) -> Effect:
        """What the request does: an inspection is stored, unless its key has one. However old the key is, it tells."""
        new = records.NewInspection(account, keyed.key, keyed.fingerprint, self.now_ms(), payload, files)

        def effect() -> Steps[StoredResponse | Replay | Mismatch]:
            stored = yield from records.insert(new)
            if not isinstance(stored, records.Known):
                return _receipt(stored)
            if stored.fingerprint not in ("", keyed.fingerprint):
                return Mismatch()
            return Replay(_receipt(stored.item))

        return effect

    async def create_without_script(self, body: FormBody, account: str) -> int:
        """Take in an inspection from a form that has no key: it gets one here. Returns its id.

        Raises:
            Problem: 422 with every broken rule.
        """
        payload, files = self.checked(body)
        if files:
            await asyncio.to_thread(self.attachments.keep, files)
        new = records.NewInspection(account, str(uuid4()), "", self.now_ms(), payload, files)
        stored = await self.database.write_in_turn(records.insert(new))
        assert not isinstance(stored, records.Known)  # noqa: S101  (the key is new)
        inspection_id: int = stored["id"]
        return inspection_id

    async def _list(self, request: Request) -> Response:
        limit = _number(request, "limit", default=PAGE_DEFAULT, least=1, most=PAGE_LIMIT)
        after = _number(request, "after", default=0, least=0, most=_LARGEST_ID)
        account = await self.account_of(request)
        found = await self.database.read(records.page(account, limit=limit, after=after))
        body = json.dumps(found, ensure_ascii=False).encode()
        return Response(body, headers={"Cache-Control": "no-store"}, media_type=JSON)

    async def photo(self, request: Request) -> Response:
        """`/api/inspections/{id}/photos/{place}`."""
        inspection_id = _whole_number(request.path_params["id"], least=1, most=_LARGEST_ID)
        place = _whole_number(request.path_params["place"], least=1, most=_LARGEST_ID)
        if inspection_id is None or place is None:
            raise Problem(404)
        account = await self.account_of(request)
        found = await self.database.read(records.photo(account, inspection_id, place))
        if found is None:
            raise Problem(404)
        etag = f'"{found.sha256}"'
        shown = found.type in SHOWN_TYPES
        headers = {
            # The browser's cache knows no accounts: whoever signs in on that device next must ask.
            "Cache-Control": "private, no-cache" if account else "private, max-age=31536000, immutable",
            "Content-Disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{quote(found.name, safe='')}",
            "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; sandbox",
            "ETag": etag,
        }
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        path = self.attachments.path(found.sha256)
        return WholeFile(path, headers=headers, media_type=found.type if shown else "application/octet-stream")


def _receipt(item: Mapping[str, Any]) -> StoredResponse:
    return StoredResponse(201, (("Content-Type", JSON),), json.dumps(item, ensure_ascii=False).encode())


def _number(request: Request, name: str, *, default: int, least: int, most: int) -> int:
    """A whole number from the query.

    Raises:
        Problem: 400, it is none, or out of range.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    number = _whole_number(text, least=least, most=most)
    if number is None:
        raise Problem(400, detail=f"“{name}” takes a whole number from {least} to {most}.")
    return number


def _whole_number(text: str, *, least: int, most: int) -> int | None:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most))):
        return None
    number = int(text)
    return number if least <= number <= most else None
