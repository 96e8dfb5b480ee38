"""An app whose effect is outside every database: it sends letters, lines in a file. It kills itself where a test wants it to.

The environment says how: MAILER_FOLDER (for `letters` and `dies`), MAILER_KEYS (a file's path, `postgresql://…` or `redis://…`),
MAILER_LEASE_MS.
"""

import json
import os
import signal
import time
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast_server.marking import idempotent
from holdfast_server.middleware import IdempotencyMiddleware
from holdfast_server.stores.port import KeyStore
from holdfast_server.stores.postgres import PostgresDatabase
from holdfast_server.stores.redis import RedisKeyStore
from holdfast_server.stores.sql_keys import POSTGRES_KEYS, SQLITE_KEYS, SqlKeyStore
from holdfast_server.stores.sqlite import SqliteDatabase
from tests.support.server import Program, free_port


class Moment(StrEnum):
    """Where on a request's way the process dies."""

    BEFORE_EFFECT = "claimed, not sent"
    BEFORE_REMEMBERED = "sent, not remembered"
    BEFORE_ANSWERED = "remembered, not answered"


class Mailer(Program):
    """The app as a process of its own; nothing is started yet.

    Args:
        folder: for its letters and its log.
        keys: see the module.
        lease_ms: how long a dead holder blocks its key.
    """

    def __init__(self, folder: Path, keys: str, *, lease_ms: int) -> None:
        port = free_port()
        super().__init__(
            ["-m", "uvicorn", "tests.support.mailer:create", "--factory", "--port", str(port), "--no-access-log"],
            log=folder / f"mailer-{port}.log",
            port=port,
            environment={"MAILER_FOLDER": str(folder), "MAILER_KEYS": keys, "MAILER_LEASE_MS": str(lease_ms)},
        )
        self._folder = folder

    def die(self, moment: Moment) -> None:
        """Let it die there, once."""
        (self._folder / "dies").write_text(moment)

    def letters_to(self, name: str) -> list[tuple[str, int]]:
        """Id and time of each letter that was sent to somebody."""
        path = self._folder / "letters"
        letters = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [(letter["id"], letter["sent_at"]) for letter in letters if letter["to"] == name]


def create() -> ASGIApp:
    """The app that the environment asks for."""
    folder = Path(os.environ["MAILER_FOLDER"])

    def perhaps_die(moment: Moment) -> None:
        dies = folder / "dies"
        if dies.exists() and dies.read_text() == moment:
            dies.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    @idempotent()
    async def send_letter(request: Request) -> JSONResponse:
        letter = {"id": uuid4().hex, "to": (await request.json())["to"], "sent_at": time.time_ns() // 1_000_000}
        perhaps_die(Moment.BEFORE_EFFECT)
        with (folder / "letters").open("a") as letters:
            letters.write(json.dumps(letter) + "\n")
        perhaps_die(Moment.BEFORE_REMEMBERED)
        return JSONResponse({"id": letter["id"]}, 201)

    async def alive(_: Request) -> JSONResponse:
        return JSONResponse("ok")

    app = Starlette(routes=[Route("/letters", send_letter, methods=["POST"]), Route("/healthz", alive)])
    keyed = IdempotencyMiddleware(app, store=_store(os.environ["MAILER_KEYS"], int(os.environ["MAILER_LEASE_MS"])))

    async def mailer(scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message.get("status") == 201:
                perhaps_die(Moment.BEFORE_ANSWERED)
            await send(message)

        await keyed(scope, receive, answer)

    return mailer


def _store(keys: str, lease_ms: int) -> KeyStore:
    if keys.startswith("redis://"):
        return RedisKeyStore(keys, lease_ms=lease_ms)
    if keys.startswith("postgresql://"):
        return SqlKeyStore(PostgresDatabase(keys, {"keys": POSTGRES_KEYS}), lease_ms=lease_ms)
    return SqlKeyStore(SqliteDatabase(Path(keys), {"keys": SQLITE_KEYS}), lease_ms=lease_ms)
