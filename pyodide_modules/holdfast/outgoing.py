"""What leaves the device: the request of one job, or of many. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from holdfast.batch import ADDRESS
from holdfast.ports import ANSWER_LIMIT, Part, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.ports import Millis
    from holdfast.routes import Route
    from holdfast.storage import Record
    from holdfast.transactions.claim import Claimed

LANE = "1"
"""All items of a request are of one lane, whose name is nobody's business."""
SEND_TIMEOUT_MS = 30_000
SLOWEST_BYTES_PER_MS = 10
"""A connection slower than 10 kB/s is taken for dead; the time-out grows with the body accordingly."""


def request_of(route: Route, claimed: Claimed) -> Request:
    """The request of one job.

    Raises:
        InvalidPayloadError: its address cannot be made from the payload.
    """
    record = claimed.record
    payload = claimed.payload
    headers = {"Idempotency-Key": record["key"], **_account(route, record)}
    parts = tuple(
        Part(described["field"], described["name"], described["type"], described["size"], handle)
        for described, handle in claimed.attachments
    )
    size = len(json.dumps(payload)) + sum(part.size for part in parts)
    url = route.url_for(payload if isinstance(payload, dict) else {})
    return Request(record["id"], route.method, url, headers, payload, parts, _timeout_ms(size))


def request_of_all(jobs: Sequence[tuple[Route, Claimed]]) -> Request:
    """The request of many jobs of one lane, each with its own key."""
    route, first = jobs[0]
    payload = {"items": [_item(route, job) for route, job in jobs]}
    return Request(
        first.record["id"],
        "POST",
        route.origin + ADDRESS,
        _account(route, first.record),
        payload,
        (),
        _timeout_ms(len(json.dumps(payload))),
        answer_limit=ANSWER_LIMIT * len(jobs),
    )


def _item(route: Route, job: Claimed) -> dict[str, Any]:
    return {
        "key": job.record["key"],
        "method": route.method,
        "path": route.url.removeprefix(route.origin),
        "lane": LANE,
        "halts": job.record["halt"],
        "body": job.payload,
    }


def _account(route: Route, record: Record) -> dict[str, str]:
    # To our own server nobody's job says so too: it must not be taken for one of whoever is signed in when it arrives.
    return {"Holdfast-Account": record["account"]} if record["account"] or not route.origin else {}


def _timeout_ms(size: int) -> Millis:
    return SEND_TIMEOUT_MS + size // SLOWEST_BYTES_PER_MS
