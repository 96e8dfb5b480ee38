"""Real PostgreSQL and Redis servers, each on a free port in a temporary folder, gone with the test session."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import redis

from tests.support.server import free_port
from tests.support.waiting import until

_NUMBERS = count()


def _postgres_program(name: str) -> str:
    """Debian keeps them off the path."""
    found = shutil.which(name)
    if found:
        return found
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    if not installed:
        raise RuntimeError(f"{name} is not installed: run .ci/databases.sh")
    return str(installed[-1])


class Postgres:
    """A running PostgreSQL server."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._log = folder / "log"
        self._port = free_port()

    def _run(self, program: str, *arguments: str) -> None:
        """PostgreSQL refuses to run as root."""
        who = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*who, _postgres_program(program), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, cwd="/")
        if done.returncode:
            log = self._log.read_text(errors="replace") if self._log.exists() else ""
            raise RuntimeError(f"{program} failed:\n{done.stdout.decode(errors='replace')}\n{log}")

    def create(self) -> None:
        """Make its files."""
        self._run("initdb", "--username=holdfast", "--auth=trust", "--no-sync", "--pgdata", str(self._data))

    def start(self) -> None:
        """Start it. Its folder is its socket's, so that nothing outside is touched."""
        options = f"-p {self._port} -k {self._data} -c listen_addresses=127.0.0.1 -c max_connections=200"
        self._run("pg_ctl", "start", "--wait", "-D", str(self._data), "-l", str(self._log), "-o", options)

    def stop(self) -> None:
        """Stop it as a crash of its machine would stop its clients."""
        self._run("pg_ctl", "stop", "--wait", "-m", "immediate", "-D", str(self._data))

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"holdfast_{next(_NUMBERS)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://holdfast@127.0.0.1:{self._port}/{database}"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server for the length of the block."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    server = Postgres(folder)
    try:
        server.create()
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class RedisServer:
    """A running Redis server; a fresh database is a number and a flush."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its only database."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers, "an answer of Redis")

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def new_database(self) -> str:
        """The URL of a database, emptied."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()
        return self.url


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """A server for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="holdfast-redis-") as folder:
        server = RedisServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
