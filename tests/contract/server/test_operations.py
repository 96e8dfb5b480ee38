"""What those who run a server rely on: flags, metrics, logs, readiness, shutdown, several processes."""

import json
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing

import httpx
import psycopg
import pytest
import redis

from tests.contract.server.conftest import INSPECTION, STORES
from tests.support.databases import running_postgres
from tests.support.waiting import until

every_store = pytest.mark.parametrize("store_options", STORES, indirect=True)
REPORT = {"client": "a-1", "depth": 3, "retries": 5, "oldest_pending_age_ms": 90_000, "permanent_failures": 1}


def holdfast(*arguments: str, words: str = "") -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "holdfast_server", *arguments]
    return subprocess.run(command, input=words, capture_output=True, text=True, check=False, timeout=60)


def metrics(server) -> dict[str, float]:
    """All samples."""
    lines = httpx.get(f"{server.url}/metrics", timeout=30).text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def post(server, key: str, **more):
    """An inspection."""
    return httpx.post(f"{server.url}/api/inspections", json=INSPECTION, headers={"Idempotency-Key": key}, **more)


@every_store
def test_what_is_switched_off_is_told_by_every_process(launch, store_options):
    """`holdfast flags` writes to the data store; two servers on it tell the same at once, and after a restart."""
    servers = [launch(*store_options) for _ in range(2)]
    where = ["--data", str(servers[0].data), *store_options]

    def told() -> list[dict]:
        return [httpx.get(f"{server.url}/api/flags").json()["disabled"] for server in servers]

    assert told() == [{"all": False, "queues": [], "types": []}] * 2
    for change in (["disable", "queue", "photos"], ["disable", "type", "inspection.create"], ["disable", "all"]):
        assert holdfast("flags", *change, *where).returncode == 0
    off = {"all": True, "queues": ["photos"], "types": ["inspection.create"]}
    assert told() == [off] * 2
    assert json.loads(holdfast("flags", "show", *where).stdout) == off
    servers[0].stop()
    servers[0].start()
    for change in (["enable", "all"], ["enable", "queue", "photos"]):
        assert holdfast("flags", *change, *where).returncode == 0
    assert told() == [{"all": False, "queues": [], "types": ["inspection.create"]}] * 2


def test_flags_that_make_no_sense_are_refused(tmp_path):
    """A usage message, no traceback."""
    for arguments in (["disable", "queue"], ["enable", "all", "x"], ["disable", "everything"]):
        done = holdfast("flags", *arguments, "--data", str(tmp_path))
        assert done.returncode == 2
        assert done.stderr.startswith("Usage:")


@every_store
def test_several_processes_behind_one_address_are_one_server(launch, store_options):
    """No state in a process: any of them replays what another has stored, and /metrics gives the sums of all."""
    server = launch("--workers", "2", *store_options)
    answers = []

    def both_have_answered() -> bool:
        answers.append(post(server, "k"))  # on a connection of its own, which either may take
        return len({line["process"] for line in log(server) if line["message"] == "request"}) == 2

    until(both_have_answered, "a request that the other process took")
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    samples = metrics(server)
    assert samples['holdfast_requests_total{method="POST",status="201"}'] == len(answers)
    assert samples["holdfast_replays_total"] == len(answers) - 1
    assert samples["holdfast_in_flight"] == 1
    assert samples["holdfast_store_up"] == 1
    assert samples['holdfast_store_seconds_count{step="begin"}'] == len(answers)


def log(server) -> list[dict]:
    """Its lines."""
    return [json.loads(line) for line in server.log.read_text().splitlines()]


@every_store
def test_clients_metrics_are_taken_in_and_exported(launch, store_options):
    """Four numbers of each client, the latest report counts: sums, and the greatest age."""
    server = launch(*store_options)
    reports = [
        {**REPORT, "depth": 100},
        REPORT,
        {"client": "b-2", "depth": 4, "retries": 0, "oldest_pending_age_ms": 1_500, "permanent_failures": 2},
    ]
    for report in reports:
        assert httpx.post(f"{server.url}/api/metrics", json=report).status_code == 204
    samples = metrics(server)
    told = {
        name.removeprefix("holdfast_"): value for name, value in samples.items() if name.startswith("holdfast_client")
    }
    assert told == {
        "clients": 2,
        "client_depth": 7,
        "client_retries": 5,
        "client_oldest_pending_age_seconds": 90,
        "client_permanent_failures": 3,
    }


@pytest.mark.parametrize(
    ("report", "pointers"),
    [
        ([], [""]),
        ({**REPORT, "client": "not an id!"}, ["/client"]),
        ({**REPORT, "depth": -1, "retries": True}, ["/depth", "/retries"]),
        (
            {**REPORT, "oldest_pending_age_ms": 1.5, "permanent_failures": 2**53},
            ["/oldest_pending_age_ms", "/permanent_failures"],
        ),
        ({**REPORT, "payload": "Lock 7"}, ["/payload"]),
    ],
)
def test_a_report_holds_four_numbers_and_nothing_else(client, report, pointers):
    """422 with what is wrong; no payload gets in."""
    answer = client.post("/api/metrics", json=report)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers


def test_readiness_follows_the_store_and_life_does_not(launch):
    """PostgreSQL goes away: /readyz and writes are 503, /healthz stays; it comes back: all as before."""
    with running_postgres() as postgres:
        server = launch("--store", postgres.new_database())
        assert httpx.get(f"{server.url}/readyz").json() == {"status": "ok"}
        assert post(server, "a").status_code == 201
        postgres.stop()
        for answer in (httpx.get(f"{server.url}/readyz", timeout=30), post(server, "b", timeout=30)):
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:holdfast:problem:unavailable")
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert metrics(server)["holdfast_store_up"] == 0
        postgres.start()
        until(lambda: httpx.get(f"{server.url}/readyz", timeout=30).status_code == 200, "readiness")
        assert post(server, "a").headers["idempotency-replayed"] == "true"
        assert until(lambda: post(server, "b").status_code == 201, "a write")
        server.stop()


def test_logs_are_json_lines_with_keys_and_without_secrets(launch):
    """Method, path, status, key, time taken; nothing of body, query, cookie or authorization."""
    server = launch()
    secret = {"Authorization": "Bearer SECRET", "Cookie": "holdfast_session=SECRET"}
    headers = {"Idempotency-Key": "the-key", **secret}
    for _ in range(2):
        httpx.post(f"{server.url}/api/inspections?x=SECRET", json={**INSPECTION, "notes": "SECRET"}, headers=headers)
    httpx.post(f"{server.url}/api/inspections", content=b"SECRET", headers={**headers, "Idempotency-Key": "a\tb"})
    server.stop()
    assert "SECRET" not in server.log.read_text()
    lines = log(server)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    asked = [line for line in lines if line.get("key") == "the-key"]
    assert [(line["method"], line["path"], line["status"]) for line in asked] == [("POST", "/api/inspections", 201)] * 2
    assert [line.get("replayed") for line in asked] == [None, True]
    assert all(line["duration_ms"] > 0 for line in asked)


def stored_keys(server) -> int:
    """How many keys its store has."""
    url = server.options[-1] if "--store" in server.options else ""
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            return client.dbsize()
    if url:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT count(*) FROM holdfast_keys").fetchone()[0]
    with closing(sqlite3.connect(server.data / "holdfast.sqlite3")) as connection:
        return connection.execute("SELECT count(*) FROM holdfast_keys").fetchone()[0]


@every_store
def test_old_keys_go_in_the_background(launch, store_options):
    """A server that starts forgets what is past its life, while it serves; Redis does so by itself."""
    server = launch("--key-lifetime", "0.001", *store_options)
    assert post(server, "k").status_code == 201
    server.stop()
    server.start()
    until(lambda: stored_keys(server) == 0, "the end of the key")


class Upload:
    """An inspection of which the server has got one half."""

    def __init__(self, server, key: str) -> None:
        body = json.dumps(INSPECTION).encode()
        half = len(body) // 2
        head = (
            f"POST /api/inspections HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._rest = body[half:]
        self._connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self._connection.sendall(head.encode() + body[:half])

    def send_the_rest(self) -> None:
        """The other half."""
        self._connection.sendall(self._rest)

    def status(self) -> bytes:
        """The first line of the answer."""
        with self._connection, self._connection.makefile("rb") as answer:
            return answer.readline()


@every_store
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_shutdown_finishes_what_runs(launch, store_options, workers):
    """SIGTERM while eight uploads are half way in: each is received, answered and stored."""
    server = launch("--workers", workers, *store_options)
    uploads = [Upload(server, f"k{number}") for number in range(8)]
    until(lambda: metrics(server)["holdfast_in_flight"] == 9, "eight requests in flight")
    server.terminate()
    for upload in uploads:
        upload.send_the_rest()
    assert [upload.status() for upload in uploads] == [b"HTTP/1.1 201 Created\r\n"] * 8
    server.stop()
    server.start()
    items = httpx.get(f"{server.url}/api/inspections").json()["items"]
    assert sorted(item["idempotency_key"] for item in items) == [f"k{number}" for number in range(8)]


def test_workers_end_with_their_parent(launch):
    """SIGKILL of the parent: its workers finish what runs and go, and the address is free for who comes after them."""
    server = launch("--workers", "2")
    upload = Upload(server, "k")
    until(lambda: metrics(server)["holdfast_in_flight"] == 2, "a request in flight")
    server.kill()
    upload.send_the_rest()
    assert upload.status() == b"HTTP/1.1 201 Created\r\n"

    def refuses() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", server.port)) != 0

    until(refuses, "the end of the workers")
    server.start()
    assert post(server, "k").headers["idempotency-replayed"] == "true"
