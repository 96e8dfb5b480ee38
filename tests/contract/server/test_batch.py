"""Many requests in one: one result for each, lanes kept apart and in order."""

import json
from uuid import uuid4

import httpx
import pytest

from tests.contract.server.conftest import INSPECTION, STORES


@pytest.fixture(params=STORES)
def server(request, launch):
    """A server on each store."""
    if request.param == "sqlite":
        return launch()
    store = request.getfixturevalue({"postgres": "postgres", "redis": "redis_server"}[request.param])
    return launch("--store", store.new_database())


def item(site: str = "Lock 7", *, key: str = "", lane: str | None = "a", **more) -> dict:
    """An item."""
    body = {**INSPECTION, "site": site}
    return {
        "key": key or str(uuid4()),
        "method": "POST",
        "path": "/api/inspections",
        "lane": lane,
        "body": body,
        **more,
    }


def send(server, items) -> list[dict]:
    """The results of a batch."""
    answer = httpx.post(f"{server.url}/api/batch", json={"items": items}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    results = answer.json()["results"]
    assert len(results) == len(items)
    return results


def sites(server) -> list[str]:
    """What was received, in order."""
    return [row["site"] for row in httpx.get(f"{server.url}/api/inspections").json()["items"]]


def test_each_item_gets_the_answer_it_would_get_alone(server):
    """Receipts that name their keys; alone or in a batch, the same request again is replayed."""
    items = [item(f"Site {number}") for number in range(20)]
    results = send(server, items)
    assert [result["status"] for result in results] == [201] * 20
    assert [result["headers"]["idempotency-key"] for result in results] == [entry["key"] for entry in items]
    assert [result["body"]["site"] for result in results] == [entry["body"]["site"] for entry in items]
    assert sites(server) == [entry["body"]["site"] for entry in items]
    again = send(server, items[:2])
    assert [result["headers"]["idempotency-replayed"] for result in again] == ["true", "true"]
    assert again[0]["body"] == results[0]["body"]
    alone = httpx.post(
        f"{server.url}/api/inspections", json=items[3]["body"], headers={"Idempotency-Key": items[3]["key"]}
    )
    assert (alone.status_code, alone.json()) == (201, results[3]["body"])
    assert alone.headers["idempotency-replayed"] == "true"
    assert len(sites(server)) == 20


def test_a_request_is_the_same_in_both_directions(server):
    """First alone, then in a batch: whatever its text, its numbers and the order of its members, it is known by its key."""
    body = {**INSPECTION, "notes": 'Tür \u2028 "5 €" \\ 😀', "checklist": [{"label": "a", "ok": True}]}
    entry = item(body=body)
    headers = {"Idempotency-Key": entry["key"], "Content-Type": "application/json"}
    alone = httpx.post(f"{server.url}/api/inspections", content=json.dumps(body), headers=headers)
    assert alone.status_code == 201
    turned = dict(reversed(body.items()))
    (again,) = send(server, [{**entry, "body": turned}])
    assert (again["status"], again["body"]) == (201, alone.json())
    assert again["headers"]["idempotency-replayed"] == "true"
    (other,) = send(server, [{**entry, "body": {**body, "notes": "another"}}])
    assert (other["status"], other["body"]["type"]) == (422, "urn:holdfast:problem:key-reused")


def test_a_refused_item_harms_no_other(server):
    """Rules, keys, paths: its own answer; its lane goes on, unless its route halts it."""
    used = item("used")
    send(server, [used])
    items = [
        item("a1"),
        item(" "),
        item("a2"),
        item("b1", lane="b", key=used["key"]),
        item("b2", lane="b"),
        item(" ", lane="c", halts=True),
        item("c2", lane="c", halts=True),
        item("d", key="a b"),
        item("e", path="/elsewhere", lane="e"),
        item("behind e", lane="e"),
        item("f", method="PUT", lane=None),
        item("k", key="a b", lane="k", halts=True),
        item("behind k", lane="k", halts=True),
        item("g\u0000", lane=None),
        7,
        item("h", lane=None),
    ]
    results = send(server, items)
    assert [result["status"] for result in results] == [
        *(201, 422, 201, 422, 201, 422, 424, 400, 404, 424, 405, 400, 424, 400, 400, 201)
    ]
    assert results[1]["body"]["errors"][0]["pointer"] == "/site"
    assert results[3]["body"]["type"] == "urn:holdfast:problem:key-reused"
    assert results[6]["body"]["type"] == "urn:holdfast:problem:not-run"
    assert {results[number]["body"]["type"] for number in (8, 10)} == {"urn:holdfast:problem:not-batched"}
    for number in (1, 3, 6, 8, 9, 10):
        assert results[number]["headers"]["idempotency-key"] == items[number]["key"]
        assert results[number]["headers"]["content-type"] == "application/problem+json"
    assert sorted(sites(server)) == ["a1", "a2", "b2", "h", "used"]
    (corrected,) = send(server, [{**items[1], "body": INSPECTION}])
    assert corrected["status"] == 201


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"[]", 400),
        (b'{"items": 1}', 400),
        (b"{", 400),
        (b'{"items": [' + b"1," * 1_000 + b"1]}", 422),
        (b" " * 9_000_000, 413),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(client, content, status):
    """One problem, and nothing has run."""
    answer = client.post("/api/batch", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_empty_batch_has_no_results(client):
    """Nothing to do is no error."""
    assert client.post("/api/batch", json={"items": []}).json() == {"results": []}


def test_a_thousand_items_are_one_batch(server):
    """The most there may be; each once, in order."""
    results = send(server, [item(f"Site {number}") for number in range(1_000)])
    assert [result["body"]["site"] for result in results] == [f"Site {number}" for number in range(1_000)]
    assert httpx.get(f"{server.url}/api/inspections?limit=1").json()["total"] == 1_000
