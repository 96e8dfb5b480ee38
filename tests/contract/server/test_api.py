"""The HTTP contract, over a real connection to a real server."""

import hashlib
import json
import os
import re
from uuid import uuid4

import pytest

from tests.contract.server.conftest import INSPECTION

PROBLEM = "application/problem+json"


def new_key() -> str:
    """A key nobody has used."""
    return str(uuid4())


def problem(answer, status: int, kind: str = "about:blank") -> dict:
    """The problem document of an answer, checked for its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    document = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert document["type"] == (kind if kind == "about:blank" else f"urn:holdfast:problem:{kind}")
    return document


def test_an_inspection_is_received_once(post, client):
    """201 with a receipt that names the key; the same request again is answered the same, and is not stored again."""
    key = new_key()
    first = post(key)
    assert first.status_code == 201
    assert first.headers["idempotency-key"] == key
    assert "idempotency-replayed" not in first.headers
    receipt = first.json()
    assert receipt["idempotency_key"] == key
    again = post(key, dict(reversed(INSPECTION.items())))
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["idempotency-key"] == key
    listed = client.get("/api/inspections", params={"after": receipt["id"] - 1}).json()["items"]
    assert [item for item in listed if item["idempotency_key"] == key] == [receipt]


def test_an_item_carries_its_fields(post):
    """Fields, key, id, time of receipt in UTC; what was left out has its empty value."""
    item = post(new_key()).json()
    assert {name: item[name] for name in INSPECTION} == INSPECTION
    assert isinstance(item["id"], int)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", item["received_at"])
    assert item["photos"] == []
    least = post(new_key(), {"site": "A", "inspected_on": "2026-11-20", "severity": "low"}).json()
    assert (least["notes"], least["checklist"]) == ("", [])


def form(**photos) -> dict:
    """The inspection as form fields."""
    texts = {name: value for name, value in INSPECTION.items() if name != "checklist"}
    return {
        **{name: (None, value) for name, value in texts.items()},
        "checklist": (None, json.dumps(INSPECTION["checklist"])),
    }


def multipart(client, key: str, photos: list[bytes], *, boundary: str = "one"):
    """Posts the inspection as a form with photos."""
    files = [*form().items(), *(("photos", (f"{n}.jpg", photo, "image/jpeg")) for n, photo in enumerate(photos, 1))]
    headers = {"Idempotency-Key": key, "Content-Type": f"multipart/form-data; boundary={boundary}"}
    return client.post("/api/inspections", files=files, headers=headers)


def test_photos_arrive_byte_for_byte(client):
    """Multipart: the same fields as JSON, photos in order, each with name, size, digest, and a URL that gives it back."""
    photos = [os.urandom(200_000), b"", os.urandom(1)]
    item = multipart(client, new_key(), photos).json()
    assert {name: item[name] for name in INSPECTION} == INSPECTION
    assert [photo["name"] for photo in item["photos"]] == ["1.jpg", "2.jpg", "3.jpg"]
    for photo, content in zip(item["photos"], photos, strict=True):
        assert photo["size"] == len(content)
        assert photo["sha256"] == hashlib.sha256(content).hexdigest()
        answer = client.get(photo["url"])
        assert answer.content == content
        assert answer.headers["content-type"] == "image/jpeg"
    assert client.get(photo["url"], headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_another_boundary_is_the_same_request(client):
    """Every attempt of a browser draws a new boundary; other bytes in a photo make it another request."""
    key, photo = new_key(), os.urandom(1_000)
    first = multipart(client, key, [photo], boundary="one")
    assert first.status_code == 201
    again = multipart(client, key, [photo], boundary="two")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    problem(multipart(client, key, [photo[:-1]]), 422, "key-reused")


def test_two_inspections_may_share_a_photo(client):
    """Equal content is kept once on disk and belongs to both."""
    photo = os.urandom(500)
    for _ in range(2):
        item = multipart(client, new_key(), [photo]).json()
        assert client.get(item["photos"][0]["url"]).content == photo


def test_a_form_without_script_may_repeat_its_checklist(client):
    """Labels in hidden fields and ticked boxes, as a browser sends them, are the checklist."""
    fields = [("site", "A"), ("inspected_on", "2026-11-20"), ("severity", "low")]
    items = [("checklist_items", "Dry"), ("checklist_items", "Lit"), ("checklist", "Lit")]
    files = [(name, (None, value)) for name, value in [*fields, *items]]
    answer = client.post("/api/inspections", files=files, headers={"Idempotency-Key": new_key()})
    assert answer.json()["checklist"] == [{"label": "Dry", "ok": False}, {"label": "Lit", "ok": True}]


def test_a_request_needs_a_key(client):
    """400 with a problem of its own, and nothing is stored."""
    total = client.get("/api/inspections").json()["total"]
    problem(client.post("/api/inspections", json=INSPECTION), 400, "missing-key")
    assert client.get("/api/inspections").json()["total"] == total


@pytest.mark.parametrize("key", ["x" * 256, "a b", "a,b", "\u00fc"])
def test_a_malformed_key_is_refused_and_named(post, key):
    """400; the answer names the key all the same, so the client knows that it is meant."""
    answer = post(key.encode("latin-1"))
    problem(answer, 400, "malformed-key")
    assert answer.headers["idempotency-key"].encode("latin-1") == key.encode("latin-1")


def test_a_key_names_one_content(post):
    """Another body under the key: 422, of a type of its own, and what was stored stays."""
    key = new_key()
    first = post(key)
    answer = post(key, {**INSPECTION, "site": "Elsewhere"})
    problem(answer, 422, "key-reused")
    assert answer.headers["idempotency-key"] == key
    assert post(key).content == first.content


def test_every_broken_rule_is_named(post):
    """422 with a JSON pointer and a sentence for each, all at once; the key is free for a corrected request."""
    key = new_key()
    answer = post(key, {"site": " ", "severity": "huge", "checklist": [{"label": "a"}], "extra": 1})
    document = problem(answer, 422, "invalid")
    pointers = [error["pointer"] for error in document["errors"]]
    assert sorted(pointers) == ["/checklist/0/ok", "/extra", "/inspected_on", "/severity", "/site"]
    assert all(error["detail"] for error in document["errors"])
    assert post(key).status_code == 201


@pytest.mark.parametrize("payload", [[], "text", True, 1])
def test_a_body_that_is_no_object_breaks_a_rule(post, payload):
    """422, pointing to the whole."""
    assert [error["pointer"] for error in problem(post(new_key(), payload), 422, "invalid")["errors"]] == [""]


def test_files_under_another_name_are_not_lost_in_silence(client):
    """A file that the form has no place for is a broken rule, not thrown away."""
    files = [*form().items(), ("sketch", ("a.png", b"x", "image/png"))]
    answer = client.post("/api/inspections", files=files, headers={"Idempotency-Key": new_key()})
    assert [error["pointer"] for error in problem(answer, 422, "invalid")["errors"]] == ["/sketch"]


def test_what_is_too_large_is_refused_with_an_answer(client, post):
    """413, after the body was let pass, so that a browser gets to read it: body, file, and text each have a cap."""
    big = multipart(client, new_key(), [b"x" * 900_000] * 4)
    problem(big, 413, "too-large")
    problem(multipart(client, new_key(), [b"x" * 1_000_001]), 413, "too-large")
    problem(post(new_key(), {**INSPECTION, "notes": "x" * 2_000_000}), 413, "too-large")
    headers = {"Idempotency-Key": new_key(), "Content-Type": "application/json"}
    unannounced = client.post("/api/inspections", content=iter([b" " * 500_000] * 8), headers=headers)
    problem(unannounced, 413, "too-large")
    assert unannounced.headers["idempotency-key"] == headers["Idempotency-Key"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "nonsense; ;="])
def test_another_content_type_is_415(client, content_type):
    """Only JSON and forms are read."""
    headers = {"Idempotency-Key": new_key(), "Content-Type": content_type}
    problem(client.post("/api/inspections", content=b"x", headers=headers), 415)


def test_errors_of_routing_are_problems_and_name_the_key(client):
    """404 and 405, in the API and outside, read like every other error."""
    headers = {"Idempotency-Key": "some-key"}
    for method, path, status in [
        ("GET", "/api/nothing", 404),
        ("GET", "/nothing", 404),
        ("POST", "/api/nothing", 404),
        ("PUT", "/api/inspections", 405),
        ("POST", "/api/flags", 405),
        ("DELETE", "/", 405),
        ("GET", "/api/inspections/0/photos/1", 404),
        ("GET", f"/api/inspections/{'9' * 5_000}/photos/1", 404),
        ("GET", "/api/inspections/x/photos/y", 404),
        ("GET", "/api/inspections/1/photos/1/", 404),
    ]:
        answer = client.request(method, path, headers=headers)
        problem(answer, status)
        assert answer.headers["idempotency-key"] == "some-key"
        assert ("allow" in answer.headers) == (status == 405)


def test_the_list_is_in_order_of_receipt_and_can_be_paged(post, client):
    """`after` takes an id, `limit` a number; together they walk over everything once."""
    keys = [new_key() for _ in range(5)]
    ids = [post(key).json()["id"] for key in keys]
    assert ids == sorted(ids)
    seen, after = [], ids[0] - 1
    while items := client.get("/api/inspections", params={"limit": 2, "after": after}).json()["items"]:
        assert len(items) <= 2
        seen += [item["idempotency_key"] for item in items]
        after = items[-1]["id"]
    assert seen == keys
    listed = client.get("/api/inspections", params={"after": after})
    assert listed.json()["items"] == []
    assert listed.json()["total"] >= 5
    assert listed.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=", "after=-1", "after=1.0", "after=" + "9" * 30]
)
def test_a_page_that_makes_no_sense_is_400(client, query):
    """A number out of range or none at all is said to be so."""
    assert "whole number" in problem(client.get(f"/api/inspections?{query}"), 400)["detail"]


def test_a_file_that_is_no_plain_picture_is_only_downloaded(client):
    """SVG can carry script: from our origin it is never shown, only saved. No photo may run anything."""
    files = [*form().items(), ("photos", ("x.svg", b"<svg onload='alert(1)'/>", "image/svg+xml"))]
    item = client.post("/api/inspections", files=files, headers={"Idempotency-Key": new_key()}).json()
    svg = client.get(item["photos"][0]["url"])
    assert svg.headers["content-type"] == "application/octet-stream"
    assert svg.headers["content-disposition"] == "attachment; filename*=UTF-8''x.svg"
    jpeg = client.get(multipart(client, new_key(), [b"x"]).json()["photos"][0]["url"])
    assert jpeg.headers["content-disposition"].startswith("inline;")
    for answer in (svg, jpeg):
        assert answer.headers["content-security-policy"].endswith("; sandbox")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_probe_says_what_is_off_and_how_long_keys_live(client):
    """One small document, never from a cache; null is for ever."""
    answer = client.get("/api/flags")
    assert answer.json() == {"disabled": {"all": False, "queues": [], "types": []}, "key_lifetime_ms": None}
    assert answer.headers["cache-control"] == "no-store"


def test_metrics_count_what_keys_did(post, client):
    """Requests, replays and mismatches go up by what happened; in flight is this one request."""

    def read() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    before, key = read(), new_key()
    post(key)
    post(key)
    post(key, {**INSPECTION, "site": "Elsewhere"})
    after = read()

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown("holdfast_replays_total") == 1
    assert grown("holdfast_mismatches_total") == 1
    assert grown('holdfast_requests_total{method="POST",status="201"}') == 2
    assert after["holdfast_in_flight"] == 1
    assert "holdfast_conflicts_total" in after


def test_an_account_header_changes_nothing_yet(client):
    """It is taken and ignored: there is no sign-in."""
    headers = {"Idempotency-Key": new_key(), "Holdfast-Account": "mara"}
    first = client.post("/api/inspections", json=INSPECTION, headers=headers)
    again = client.post("/api/inspections", json=INSPECTION, headers={**headers, "Holdfast-Account": "jon"})
    assert (first.status_code, again.content) == (201, first.content)
