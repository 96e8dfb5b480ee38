"""Many at once, and a server that dies: one effect for a key, whatever happens. With HOLDFAST_LONG the figures are higher."""

import asyncio
import hashlib
import json
import os
import random
import sqlite3
from uuid import uuid4

import httpx
import pytest

from tests.contract.server.conftest import INSPECTION, QUICK_LEASE, STORES
from tests.support.server import Server
from tests.support.wire import Connection, as_sent

LONG = bool(os.environ.get("HOLDFAST_LONG"))
ROUNDS = 200 if LONG else 20
CRASHES = 100 if LONG else 10
CLIENTS = 8


def stored(server: Server) -> list[str]:
    """The keys of all inspections, in order of receipt."""
    with httpx.Client(base_url=server.url) as client:
        keys, after = [], 0
        while items := client.get("/api/inspections", params={"after": after, "limit": 1_000}).json()["items"]:
            keys += [item["idempotency_key"] for item in items]
            after = items[-1]["id"]
    return keys


def attempt(server: Server, key: str, *, photo: bytes = b"") -> httpx.Request:
    """One attempt, as JSON or with a photo."""
    url, headers = f"{server.url}/api/inspections", {"Idempotency-Key": key}
    if not photo:
        return httpx.Request("POST", url, json=INSPECTION, headers=headers)
    fields = {name: INSPECTION[name] for name in ("site", "inspected_on", "severity")}
    return httpx.Request("POST", url, data=fields, files={"photos": ("a.jpg", photo, "image/jpeg")}, headers=headers)


every_store = pytest.mark.parametrize("store_options", STORES, indirect=True)


@every_store
@pytest.mark.parametrize("processes", [1, 2])
async def test_64_requests_with_one_key_have_one_effect(launch, store_options, processes):
    """Sent at the same moment, to one process or to two on the same data: equal answers or 409, and one inspection."""
    servers = [launch(*store_options) for _ in range(processes)]
    connections = [await Connection.to(servers[number % processes].port) for number in range(64)]
    keys = [str(uuid4()) for _ in range(ROUNDS)]
    for number, key in enumerate(keys):
        photo = os.urandom(1_000) if number % 2 else b""
        sent = [as_sent(attempt(servers[0], key, photo=photo)) for _ in connections]  # each with a boundary of its own
        asked = zip(connections, sent, strict=True)
        answers = await asyncio.gather(*(connection.ask(request) for connection, request in asked))
        made = [answer for answer in answers if answer.status == 201]
        assert len({answer.body for answer in made}) == 1
        assert sum("idempotency-replayed" not in answer.headers for answer in made) == 1
        for answer in answers:
            assert answer.headers["idempotency-key"] == key
            if answer.status != 201:
                assert answer.status == 409, answer
                assert json.loads(answer.body)["type"] == "urn:holdfast:problem:in-progress"
                assert int(answer.headers["retry-after"]) >= 1
    for connection in connections:
        await connection.close()
    assert stored(servers[0]) == keys


async def test_two_contents_under_one_key_at_once_have_one_effect(launch):
    """Whichever comes first has the key; the other is a mismatch, not a second effect."""
    server = launch()
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        for _ in range(ROUNDS):
            headers = {"Idempotency-Key": str(uuid4())}
            payloads = [{**INSPECTION, "site": f"Site {n % 2}"} for n in range(16)]
            answers = await asyncio.gather(
                *(client.post("/api/inspections", json=payload, headers=headers) for payload in payloads)
            )
            sites = {answer.json()["site"] for answer in answers if answer.status_code == 201}
            assert len(sites) == 1
            assert {answer.status_code for answer in answers} <= {201, 409, 422}
    assert len(stored(server)) == ROUNDS


@every_store
async def test_a_server_killed_under_load_has_each_effect_once(launch, store_options):
    """SIGKILL at random moments, clients that retry until they have a receipt: effects equal keys, photos are all there.

    With Redis too: there the inspections' unique keys close the gap between effect and key.
    """
    server = launch(*store_options, *QUICK_LEASE)
    dice = random.Random(20261121)
    receipts: dict[str, dict] = {}
    up, over = asyncio.Event(), asyncio.Event()

    async def keep_sending(client: httpx.AsyncClient) -> None:
        while not over.is_set():
            key, photo = str(uuid4()), os.urandom(2_000)
            while key not in receipts:
                try:
                    answer = await client.send(attempt(server, key, photo=photo))
                except httpx.TransportError:
                    await up.wait()  # knocking all the while would only take the processor from the start
                    continue
                assert answer.status_code in (201, 409), answer.text
                if answer.status_code == 201:
                    receipts[key] = answer.json()
                    assert receipts[key]["photos"][0]["sha256"] == hashlib.sha256(photo).hexdigest()

    up.set()
    clients = [httpx.AsyncClient(timeout=30) for _ in range(CLIENTS)]
    senders = [asyncio.create_task(keep_sending(client)) for client in clients]
    for _ in range(CRASHES):
        enough = len(receipts) + dice.randint(1, 40)
        while len(receipts) < enough:
            await asyncio.wait(senders, timeout=dice.random() / 50)
            assert not any(sender.done() for sender in senders)
        up.clear()
        server.kill()
        acknowledged = set(receipts)
        await asyncio.to_thread(server.start)
        up.set()
        assert acknowledged <= set(await asyncio.to_thread(stored, server))
    over.set()
    await asyncio.gather(*senders)
    for client in clients:
        await client.aclose()
    keys = stored(server)
    assert len(keys) == len(set(keys))
    assert set(keys) == set(receipts)
    with httpx.Client(base_url=server.url) as client:
        for receipt in receipts.values():
            (photo,) = receipt["photos"]
            assert hashlib.sha256(client.get(photo["url"]).content).hexdigest() == photo["sha256"]


def test_what_a_crash_left_is_cleaned_at_the_next_start(launch):
    """Half an upload, and a file whose transaction never came: both go, and what records refer to stays."""
    server = launch()
    files = {"photos": ("a.jpg", b"kept", "image/jpeg")}
    fields = {name: INSPECTION[name] for name in ("site", "inspected_on", "severity")}
    headers = {"Idempotency-Key": "k"}
    photo = httpx.post(f"{server.url}/api/inspections", data=fields, files=files, headers=headers).json()["photos"][0]
    server.kill()
    attachments = server.data / "attachments"
    (attachments / "incoming" / uuid4().hex).write_bytes(b"half")
    orphan = attachments / "kept" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"orphan")
    server.start()
    assert httpx.get(server.url + photo["url"]).content == b"kept"
    assert [path.name for path in attachments.rglob("*") if path.is_file()] in (
        ["lock", photo["sha256"]],
        [photo["sha256"], "lock"],
    )


def test_a_disk_that_takes_no_files_is_503_and_harmless(launch):
    """The folder is gone, as on a disk that went away: nothing is stored, the client is told to come again, and may."""
    server = launch()
    files = {"photos": ("a.jpg", b"x", "image/jpeg")}
    fields = {name: INSPECTION[name] for name in ("site", "inspected_on", "severity")}
    incoming = server.data / "attachments" / "incoming"
    incoming.rmdir()
    headers = {"Idempotency-Key": "k"}
    answer = httpx.post(f"{server.url}/api/inspections", data=fields, files=files, headers=headers)
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:holdfast:problem:unavailable"
    assert (answer.headers["retry-after"], answer.headers["idempotency-key"]) == ("5", "k")
    assert stored(server) == []
    incoming.mkdir()
    assert httpx.post(f"{server.url}/api/inspections", data=fields, files=files, headers=headers).status_code == 201


def test_a_second_process_does_not_clean_what_the_first_receives(launch):
    """It starts while the other has an upload half way in; that file is not a leftover."""
    first = launch()
    half = first.data / "attachments" / "incoming" / uuid4().hex
    half.write_bytes(b"half")
    launch()
    assert half.exists()


def test_a_stopped_server_finishes_and_leaves_one_file(launch):
    """SIGTERM: the answer that is due is given, and the database is closed properly."""
    server = launch()
    answer = httpx.post(f"{server.url}/api/inspections", json=INSPECTION, headers={"Idempotency-Key": "k"})
    server.stop()
    assert answer.status_code == 201
    assert not (server.data / "holdfast.sqlite3-wal").exists()
    with sqlite3.connect(server.data / "holdfast.sqlite3") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@every_store
def test_a_repeat_after_its_key_has_expired_is_told_all_the_same(launch, store_options):
    """The key store has forgotten; the inspection's own key has not: the same receipt, a mismatch for another content."""
    server = launch(*store_options, "--key-lifetime", "0.001")
    headers = {"Idempotency-Key": "k"}
    answers = [httpx.post(f"{server.url}/api/inspections", json=INSPECTION, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.content for answer in answers}) == 1
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", "true"]
    other = httpx.post(f"{server.url}/api/inspections", json={**INSPECTION, "site": "Elsewhere"}, headers=headers)
    assert (other.status_code, other.json()["type"]) == (422, "urn:holdfast:problem:key-reused")
    assert stored(server) == ["k"]
    assert httpx.get(f"{server.url}/api/flags").json()["key_lifetime_ms"] is None
