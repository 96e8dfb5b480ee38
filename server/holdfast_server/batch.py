"""`POST /api/batch`: many requests with a key each, in one. The wire format, which the client follows:

    {"items": [{"key": "…", "method": "POST", "path": "/api/inspections", "lane": "…", "halts": false, "body": {…}}, …]}

`key` is the item's Idempotency-Key, `body` its JSON body; requests with files go by themselves. `lane` is any text: items of
one lane run in their order; an item without a lane has one of its own. `halts` (false if absent) is for routes whose failed
head keeps its place: then any answer but 2xx stops the lane. `Holdfast-Account` on the request counts for all items.

    {"results": [{"status": 201, "headers": {"idempotency-key": "…", "content-type": "…"}, "body": {…}}, …]}

One result for each item, in their order: status, headers (names in lower case) and JSON body (null if none) as the item would
have got by itself; a result that names the item's key is its receipt. A lane stops at the first answer that is not final (401,
408, 409 still running, 425, 429, 5xx); the rest of it gets 424 `urn:holdfast:problem:not-run` and has burnt nothing. An item
whose path or method takes no part in batches gets 404 or 405 `urn:holdfast:problem:not-batched` and stops its lane too: it goes by
itself. One item's fate touches no other lane. Refused as a whole (400, 401, 413, 415, 422, 503) nothing has run. At most 1,000 items.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from holdfast_server.body import JSON, JsonBody, read_body
from holdfast_server.idempotency import Mismatch, Replay, StoredResponse, is_final, key_fault
from holdfast_server.inspections import METHOD, PATH, Inspections
from holdfast_server.once import answer
from holdfast_server.problems import INVALID, MALFORMED_KEY, NOT_BATCHED, NOT_RUN, Problem, fault, malformed_body
from holdfast_server.refusal import let_pass
from holdfast_server.stores.port import BatchItem, Done, Effect, Outcome
from holdfast_server.stores.statements import Steps

ITEMS_LIMIT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Batch:
    """The route."""

    inspections: Inspections

    async def answer(self, request: Request) -> Response:
        """Run what can run and give one result for each item."""
        try:
            account = await self.inspections.account_of(request)
        except Problem:
            await let_pass(request, request.receive)
            raise
        api = self.inspections
        limits = replace(api.limits, text=api.limits.batch)
        async with read_body(
            request, accept=frozenset({JSON}), limits=limits, new_path=api.attachments.new_path
        ) as body:
            items = _items(body.value if isinstance(body, JsonBody) else None)
        lanes: dict[object, list[tuple[int, BatchItem]]] = {}
        results: list[Response | None] = [None] * len(items)
        stopped: set[object] = set()
        for number, item in enumerate(items):
            lane = _lane(item, number)
            if lane in stopped:
                results[number] = _named(_not_run().response(), item)
                continue
            try:
                batch_item = self._item(item, account)
            except Problem as problem:
                results[number] = _named(problem.response(), item)
                if problem.type == NOT_BATCHED or (isinstance(item, dict) and item.get("halts") is True):
                    stopped.add(lane)
                continue
            lanes.setdefault(lane, []).append((number, batch_item))
        work = [[item for _, item in lane] for lane in lanes.values()]
        ends = await api.keys.run_lanes(work, now_ms=api.now_ms())
        for lane_items, outcomes in zip(lanes.values(), ends, strict=True):
            for (number, _), outcome in zip(lane_items, outcomes, strict=True):
                results[number] = _named(self._response(outcome), items[number])
        whole = b'{"results": [' + b", ".join(_result(result) for result in results if result is not None) + b"]}"
        return Response(whole, headers={"Cache-Control": "no-store"}, media_type=JSON)

    def _item(self, item: Any, account: str) -> BatchItem:
        """The work of an item.

        Raises:
            Problem: it is none.
        """
        if not isinstance(item, dict):
            raise malformed_body("An item of a batch is an object.")
        key, lane, halts = item.get("key"), item.get("lane"), item.get("halts", False)
        broken = key_fault([key] if isinstance(key, str) else [])
        if broken is not None:
            raise Problem(400, MALFORMED_KEY, title="Idempotency-Key malformed", detail=broken)
        if not (lane is None or isinstance(lane, str)) or not isinstance(halts, bool) or "body" not in item:
            raise malformed_body("An item has a body, perhaps a lane (text), and halts (true or false).")
        if item.get("path") != PATH:
            raise Problem(404, NOT_BATCHED, title="Not in a batch", detail="This path takes no part in batches.")
        if item.get("method") != METHOD:
            detail = f"In a batch {PATH} takes {METHOD}."
            raise Problem(405, NOT_BATCHED, title="Not in a batch", detail=detail, headers={"Allow": METHOD})
        body = JsonBody(item["body"])
        keyed = self.inspections.keyed(body, account=account, key=str(key))
        return BatchItem(keyed, self._effect(body, account, str(key)), _stops_at_any if halts else _stops)

    def _effect(self, body: JsonBody, account: str, key: str) -> Effect:
        """Rules are looked at only if the request runs: a repeat is answered as it was."""
        api = self.inspections

        def effect() -> Steps[StoredResponse | Replay | Mismatch]:
            payload, _ = api.checked(body)
            return (yield from api.effect(api.keyed(body, account=account, key=key), payload, account=account)())

        return effect

    def _response(self, outcome: Outcome | Exception | None) -> Response:
        if outcome is None:
            return _not_run().response()
        if isinstance(outcome, Problem):
            return outcome.response()
        if isinstance(outcome, Exception):
            return fault(outcome).response()
        try:
            return answer(outcome, self.inspections.metrics)
        except Problem as problem:
            return problem.response()


def _items(document: Any) -> list[Any]:
    if not isinstance(document, dict) or not isinstance(document.get("items"), list):
        raise malformed_body('A batch is {"items": [...]}.')
    items: list[Any] = document["items"]
    if len(items) > ITEMS_LIMIT:
        broken = [("/items", f"A batch may have {ITEMS_LIMIT:,} items.")]
        raise Problem(422, INVALID, title="Too many items", detail="Send them in several batches.", errors=broken)
    return items


def _lane(item: Any, number: int) -> object:
    """What runs in order: items that name one lane; every other item by itself."""
    lane = item.get("lane") if isinstance(item, dict) else None
    return ("in", lane) if isinstance(lane, str) else ("own", number)


def _not_run() -> Problem:
    detail = "An earlier item of this lane has no final answer, so this one was not run. Send it again after that one."
    return Problem(424, NOT_RUN, title="Not run", detail=detail)


def _stops(outcome: Outcome | Exception) -> bool:
    """Whether an item's answer leaves open how its request ends."""
    if isinstance(outcome, Done | Replay | Mismatch):
        return False
    return not (isinstance(outcome, Problem) and is_final(outcome.status))


def _stops_at_any(outcome: Outcome | Exception) -> bool:
    return not isinstance(outcome, Done | Replay)


def _named(response: Response, item: Any) -> Response:
    key = item.get("key") if isinstance(item, dict) else None
    if isinstance(key, str) and key_fault([key]) is None:
        response.headers["Idempotency-Key"] = key
    return response


def _result(response: Response) -> bytes:
    """A result as JSON; a JSON body goes in as it is."""
    kept = {name: value for name, value in response.headers.items() if name not in ("content-length", "cache-control")}
    head = json.dumps({"status": response.status_code, "headers": kept}, ensure_ascii=False)
    return head[:-1].encode() + b', "body": ' + (bytes(response.body) or b"null") + b"}"
