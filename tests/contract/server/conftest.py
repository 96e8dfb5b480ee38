"""Real servers on real databases, and what a client says to them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.databases import running_postgres, running_redis
from tests.support.server import Server

INSPECTION: dict[str, Any] = {
    "site": "Lock 7, pump house",
    "inspected_on": "2026-11-20",
    "severity": "medium",
    "notes": "Ankle-deep water at the sluice.",
    "checklist": [{"label": "Access is safe", "ok": True}, {"label": "Pumps run", "ok": False}],
}


def make_dist(folder: Path) -> Path:
    """The least a build can be."""
    runtime = folder / "runtime" / "0123456789abcdef"
    runtime.mkdir(parents=True)
    (folder / "index.html").write_text(
        '<!doctype html><title>Holdfast</title><link rel="stylesheet" href="/runtime/0123456789abcdef/app.css">'
    )
    (runtime / "app.css").write_text("body {}")
    return folder


@pytest.fixture(scope="session")
def dist(tmp_path_factory) -> Path:
    """A small build."""
    return make_dist(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server():
    """A Redis server."""
    with running_redis() as server:
        yield server


STORES = ("sqlite", "postgres", "redis")
QUICK_LEASE = ("--lease", "1")


@pytest.fixture
def store_options(request) -> tuple[str, ...]:
    """What `holdfast serve` is told for the store that the test names (indirectly); the database is empty."""
    if request.param == "sqlite":
        return ()
    server = request.getfixturevalue({"postgres": "postgres", "redis": "redis_server"}[request.param])
    return ("--store", server.new_database())


@pytest.fixture
def launch(tmp_path, dist):
    """Starts servers; all of them share one data folder unless told otherwise, and none outlives the test."""
    servers: list[Server] = []

    def launch(*options: str, data: Path = tmp_path / "data") -> Server:
        server = Server(data, dist, options=options)
        servers.append(server)
        return server.start()

    yield launch
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory, dist):
    """One server for all tests that do not mind what others stored."""
    with Server(tmp_path_factory.mktemp("shared") / "data", dist, options=SMALL_CAPS) as server:
        yield server


SMALL_CAPS = ("--max-body", "3000000", "--max-file", "1000000")


@pytest.fixture
def client(shared_server):
    """A client of the shared server."""
    with httpx.Client(base_url=shared_server.url) as client:
        yield client


@pytest.fixture
def post(client) -> Callable[..., httpx.Response]:
    """Posts an inspection under a key, as JSON unless files are given."""

    def post(key: str, payload: Any = INSPECTION, **more: Any) -> httpx.Response:
        return client.post("/api/inspections", json=payload, headers={"Idempotency-Key": key}, **more)

    return post
