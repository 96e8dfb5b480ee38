"""The middleware around an app that is not ours, over every store: what its endpoints are promised."""

import asyncio
import gc
import threading
import weakref
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from holdfast_server.digest import PARTS_LIMIT, BodyDigest
from holdfast_server.errors import NotBehindMiddlewareError, NoTransactionError
from holdfast_server.exchange import current_exchange, transaction
from holdfast_server.idempotency import KeyedRequest, StoredResponse
from holdfast_server.limits import MIB
from holdfast_server.marking import idempotent, paths
from holdfast_server.middleware import IdempotencyMiddleware, wall_clock_ms
from holdfast_server.refusal import LET_PASS
from holdfast_server.stores.port import Claim
from holdfast_server.stores.postgres import PostgresDatabase
from holdfast_server.stores.redis import RedisKeyStore
from holdfast_server.stores.sql_keys import POSTGRES_KEYS, SQLITE_KEYS, SqlKeyStore
from holdfast_server.stores.sqlite import SqliteDatabase
from holdfast_server.stores.statements import Statement

INSERT = "INSERT INTO effects VALUES (1)"
RESPONSE = StoredResponse(201, (), b"the other's")
EFFECTS = {"effects": [["CREATE TABLE effects (n INTEGER)"]]}


class Hinted(PlainTextResponse):
    """Names a link first."""

    async def __call__(self, scope, receive, send):
        """Both."""
        await send({"type": "http.response.early_hint", "links": [b"</order.css>; rel=preload"]})
        await super().__call__(scope, receive, send)


def user_of(request):
    """Whose request it is."""
    user = request.headers.get("x-user", "")
    if user == "nobody":
        raise HTTPException(401, "Sign in.", {"WWW-Authenticate": "Bearer"})
    return user


class Shop:
    """Endpoints whose work can be held up, made to fail and counted."""

    def __init__(self, store) -> None:
        self.store = store
        self.calls = 0
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()
        self.status = 201
        self.fails = False

    def app(self):
        """The app, as one of its processes would make it."""
        routes = [
            Route("/orders", self.order, methods=["POST"]),
            Route("/written", self.written, methods=["POST"]),
            Route("/followed", self.followed, methods=["POST"]),
            Route("/long", self.long, methods=["POST"]),
            Route("/sync", self.sync, methods=["POST"]),
            Route("/hinted", self.hinted, methods=["POST"]),
            Route("/plain", self.plain, methods=["POST"]),
            Route("/unmarked", self.plain, methods=["POST"]),
            Route("/parts/{part}", self.order, methods=["POST"]),
            Mount("/old", routes=[Route("/orders", self.tolerant, methods=["POST"])]),
        ]
        app = Starlette(routes=routes)
        app.add_middleware(
            IdempotencyMiddleware,
            store=self.store,
            account=user_of,
            find=paths("POST /plain"),
            body_limit=500_000,
            answer_limit=10_000,
        )
        return app

    async def _work(self, request):
        self.calls += 1
        body = await request.body()
        self.entered.set()
        await self.go_on.wait()
        if self.fails:
            raise RuntimeError("secret detail")
        return JSONResponse(
            {"call": self.calls, "bytes": len(body)}, self.status, {"Location": "/orders/1", "X-Own": "1"}
        )

    @idempotent()
    async def order(self, request):
        """Marked."""
        return await self._work(request)

    async def plain(self, request):
        """Found by its path, or not."""
        return await self._work(request)

    @idempotent(required=False)
    async def tolerant(self, request):
        """Marked, with old clients about."""
        return await self._work(request)

    @idempotent()
    def sync(self, _):
        """Marked, runs in a thread."""
        self.calls += 1
        return PlainTextResponse(f"call {self.calls}")

    @idempotent()
    async def hinted(self, _):
        """Says something before its answer."""
        self.calls += 1
        return Hinted(f"call {self.calls}", 201)

    @idempotent()
    async def written(self, request):
        """Writes in its key's transaction."""
        connection = await transaction(request)
        await connection.execute(INSERT)
        return await self._work(request)

    @idempotent()
    async def followed(self, request):
        """Writes in its key's transaction, and once more when the answer is out."""
        connection = await transaction(request)
        await connection.execute(INSERT)

        async def write_again():
            async with self.store.transaction() as later:
                await later.connection.execute(INSERT)
                await later.commit()

        return JSONResponse({}, 201, background=BackgroundTask(write_again))

    @idempotent()
    async def long(self, _):
        """An answer over the limit, in pieces."""
        self.calls += 1

        async def pieces():
            for _ in range(5):
                yield b"x" * 4_000

        return StreamingResponse(pieces(), 201, {"Content-Type": "text/plain", "Set-Cookie": "a=b"})


def make_store(request, tmp_path, kind, **options):
    """A key store of a kind, and the database of its effects."""
    if kind == "redis":
        return RedisKeyStore(request.getfixturevalue("redis_server").new_database(), **options), None
    if kind == "postgres":
        url = request.getfixturevalue("postgres").new_database()
        database = PostgresDatabase(url, {"keys": POSTGRES_KEYS, **EFFECTS})
    else:
        database = SqliteDatabase(tmp_path / "x.sqlite3", {"keys": SQLITE_KEYS, **EFFECTS})
    return SqlKeyStore(database, **options), database


@asynccontextmanager
async def open_shop(store):
    """A shop and a client of it that has a key."""
    shop = Shop(store)
    transport = httpx.ASGITransport(shop.app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://shop", headers={"Idempotency-Key": "k"}
    ) as client:
        yield shop, client
    await store.close()


@pytest.fixture(params=["sqlite", "postgres", "redis"])
async def shop_and_client(request, tmp_path):
    """Over every store."""
    store, _ = make_store(request, tmp_path, request.param)
    async with open_shop(store) as opened:
        yield opened


@pytest.fixture
async def sqlite_shop(request, tmp_path):
    """Over one store, where it does not matter which."""
    async with open_shop(make_store(request, tmp_path, "sqlite")[0]) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/orders", "/plain", "/old/orders", "/sync"])
async def test_an_endpoint_runs_once_for_a_key(shop_and_client, path):
    """Marked, found by path, mounted, sync: the second attempt gets the first one's answer, a new key runs."""
    shop, client = shop_and_client
    answers = [await client.post(path, json={"n": 1}, headers={"Idempotency-Key": key}) for key in ("a", "a", "b")]
    assert shop.calls == 2
    assert answers[1].content == answers[0].content != answers[2].content
    assert answers[1].status_code == answers[0].status_code
    assert answers[1].headers["content-type"] == answers[0].headers["content-type"]
    assert answers[1].headers.get("location") == answers[0].headers.get("location")
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", None]
    assert [answer.headers["idempotency-key"] for answer in answers] == ["a", "a", "b"]


async def test_what_a_request_held_goes_with_its_answer(sqlite_shop, monkeypatch):
    """Its body before all: nothing waits for the garbage collector, or for a timer that is of no use any more."""
    shop, client = sqlite_shop
    seen = []

    async def look(_):
        seen.append(weakref.ref(current_exchange()))
        return JSONResponse({}, 201)

    monkeypatch.setattr(shop, "_work", look)
    gc.disable()
    try:
        assert (await client.post("/written", json={})).status_code == 201
        assert [reference() for reference in seen] == [None]
    finally:
        gc.enable()


async def test_accounts_and_paths_keep_their_keys_apart(shop_and_client):
    """The same key of another account, or on another path, is another key."""
    shop, client = shop_and_client
    for path in ("/orders", "/plain"):
        for user in ("mara", "jon", "mara"):
            await client.post(path, json={"user": user}, headers={"X-User": user})
    assert shop.calls == 4
    for part in ("a", "a%3Fb", "a%23b"):
        assert (await client.post(f"/parts/{part}")).status_code == 201
    assert shop.calls == 7


async def test_a_key_names_one_request(shop_and_client):
    """Other JSON, another query: 422. The same value written otherwise, or a form behind another boundary: the same request."""
    shop, client = shop_and_client
    json = {"Content-Type": "application/json"}
    assert (await client.post("/orders", content=b'{"a": 1, "b": 2}', headers=json)).status_code == 201
    assert (await client.post("/orders", content=b'{"b":2,"a":1}', headers=json)).status_code == 201
    for answer in (
        await client.post("/orders", content=b'{"a": 1}', headers=json),
        await client.post("/orders?x=1", content=b'{"a": 1, "b": 2}', headers=json),
        await client.post("/orders", content=b'{"a": 1, "b": 2}'),
    ):
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:holdfast:problem:key-reused")
    assert shop.calls == 1
    for boundary in ("one", "two"):
        headers = {"Idempotency-Key": "form", "Content-Type": f"multipart/form-data; boundary={boundary}"}
        files = [("text", (None, "a")), ("file", ("a.jpg", b"x" * 300_000, "image/jpeg"))]
        assert (await client.post("/orders", files=files, headers=headers)).status_code == 201
    assert shop.calls == 2


async def test_a_missing_malformed_or_too_large_request_is_refused(shop_and_client):
    """400 and 413, before the endpoint; where keys are optional a request without one just runs."""
    shop, client = shop_and_client
    del client.headers["Idempotency-Key"]
    for path, headers, content, status in [
        ("/orders", {}, b"", 400),
        ("/orders", {"Idempotency-Key": "a b"}, b"", 400),
        ("/old/orders", {"Idempotency-Key": ""}, b"", 400),
        ("/orders", {"Idempotency-Key": "k"}, b"x" * 500_001, 413),
    ]:
        assert (await client.post(path, headers=headers, content=content)).status_code == status
    assert shop.calls == 0
    for _ in range(2):
        assert (await client.post("/old/orders")).status_code == 201
    assert shop.calls == 2


def form_of(parts: int) -> dict[str, Any]:
    """A form of tiny parts, as httpx takes it."""
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    return {"content": part * parts + b"--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}


async def test_a_form_of_very_many_parts_is_refused_where_its_key_counts(sqlite_shop):
    """Each part costs; 1,000 are enough for a form. What does not go by its key is the app's business."""
    shop, client = sqlite_shop
    assert (await client.post("/orders", **form_of(PARTS_LIMIT))).status_code == 201
    answer = await client.post("/plain", **form_of(PARTS_LIMIT + 1))
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:holdfast:problem:too-large")
    assert (await client.post("/unmarked", **form_of(PARTS_LIMIT + 1))).status_code == 201
    assert shop.calls == 2


async def test_the_body_of_a_request_without_a_key_is_not_looked_into(sqlite_shop, monkeypatch):
    """Whatever it holds costs what it costs without the middleware."""
    shop, client = sqlite_shop
    pieces = []
    monkeypatch.setattr(BodyDigest, "add", lambda _, chunk: pieces.append(chunk))
    del client.headers["Idempotency-Key"]
    for path in ("/unmarked", "/old/orders"):
        assert (await client.post(path, **form_of(2))).status_code == 201
    assert (await client.post("/orders", **form_of(2))).status_code == 400
    assert (shop.calls, pieces) == (2, [])


@pytest.mark.parametrize("step", ["add", "fingerprint"])
async def test_others_are_served_while_a_long_body_is_looked_into(sqlite_shop, monkeypatch, step):
    """Taking it in and taking it apart happen beside the event loop."""
    shop, client = sqlite_shop
    loop = asyncio.get_running_loop()
    looking, go_on = asyncio.Event(), threading.Event()
    real = getattr(BodyDigest, step)

    def held_up(*arguments):
        loop.call_soon_threadsafe(looking.set)
        assert go_on.wait(30)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(BodyDigest, step, held_up)
        slow = asyncio.create_task(client.post("/orders", json=["x" * 100_000]))
        await looking.wait()
    assert (await client.post("/orders", headers={"Idempotency-Key": "other"})).status_code == 201
    assert not slow.done()
    go_on.set()
    assert (await slow).status_code == 201
    assert shop.calls == 2


@pytest.mark.parametrize(
    ("headers", "most"),
    [
        ({"Content-Length": "3000000000", "Expect": "100-continue"}, 0),
        ({"Content-Length": "3000000000"}, LET_PASS),
        ({}, LET_PASS + MIB),
    ],
)
@pytest.mark.parametrize("path", ["/orders", "/plain"])
async def test_a_body_without_end_is_not_read_to_its_end(sqlite_shop, path, headers, most):
    """What is declared over the limit is refused at once, what turns out so then; who goes on sending is cut off."""
    shop, client = sqlite_shop
    taken = 0

    async def pieces():
        nonlocal taken
        while taken < 2 * LET_PASS:
            taken += MIB
            yield bytes(MIB)

    answer = await client.post(path, content=pieces(), headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:holdfast:problem:too-large")
    assert answer.headers["idempotency-key"] == "k"
    assert taken <= most
    assert shop.calls == 0


async def test_while_it_runs_others_wait_whatever_process_they_asked(shop_and_client):
    """409 with Retry-After, from a second app on the same store too; then all get the first's answer."""
    shop, client = shop_and_client
    shop.go_on.clear()
    first = asyncio.create_task(client.post("/orders", json={}))
    await shop.entered.wait()
    transport = httpx.ASGITransport(shop.app())
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", headers=client.headers) as other:
        for asked in (client, other):
            answer = await asked.post("/orders", json={})
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:holdfast:problem:in-progress")
            assert answer.headers["retry-after"] == "1"
        shop.go_on.set()
        done = await first
        assert (await other.post("/orders", json={})).content == done.content
    assert shop.calls == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis"])
async def test_a_request_keeps_its_key_however_long_it_runs(request, tmp_path, kind):
    """Its claim is renewed in good time; a claim whose holder died is taken over when the lease is over."""
    store, _ = make_store(request, tmp_path, kind, lease_ms=600)
    renewals: asyncio.Queue[bool] = asyncio.Queue()
    renew, begin = store.renew, store.begin
    claims = []

    async def noted_renewal(claim, *, now_ms):
        still_ours = await renew(claim, now_ms=now_ms)
        renewals.put_nowait(still_ours)
        return still_ours

    async def noted_claim(asked, *, now_ms):
        outcome = await begin(asked, now_ms=now_ms)
        claims.append(asked)
        return outcome

    store.renew, store.begin = noted_renewal, noted_claim
    async with open_shop(store) as (shop, client):
        shop.go_on.clear()
        first = asyncio.create_task(client.post("/orders", json={}))
        for _ in range(4):  # three make a lease
            assert await renewals.get()
        assert (await client.post("/orders", json={})).status_code == 409
        shop.go_on.set()
        assert (await first).json()["call"] == 1
        asked = replace(claims[0], key="dead")
        assert isinstance(await begin(asked, now_ms=wall_clock_ms()), Claim)
        headers = {"Idempotency-Key": "dead"}
        assert (await client.post("/orders", json={}, headers=headers)).status_code == 409
        while (answer := await client.post("/orders", json={}, headers=headers)).status_code == 409:
            pass
        assert answer.json()["call"] == 2


@pytest.mark.parametrize("status", [401, 408, 425, 429, 500, 503])
async def test_what_is_not_final_is_not_remembered(shop_and_client, status):
    """A fault, a call to slow down or sign in: the key is free at once."""
    shop, client = shop_and_client
    shop.status = status
    assert (await client.post("/orders", json={})).status_code == status
    shop.status = 201
    assert (await client.post("/orders", json={})).json()["call"] == 2


async def test_a_refusal_is_remembered(shop_and_client):
    """404 or 409 of the app's own is an answer like any other."""
    shop, client = shop_and_client
    shop.status = 409
    answers = [await client.post("/orders", json={}) for _ in range(2)]
    assert [answer.json()["call"] for answer in answers] == [1, 1]


async def test_an_endpoint_that_raises_or_is_cancelled_frees_its_key(shop_and_client):
    """Nobody waits for a lease."""
    shop, client = shop_and_client
    shop.fails = True
    assert (await client.post("/orders", json={})).status_code == 500
    shop.fails = False
    shop.entered.clear()
    shop.go_on.clear()
    running = asyncio.create_task(client.post("/orders", json={}))
    await shop.entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    shop.go_on.set()
    assert (await client.post("/orders", json={})).json()["call"] == 3


async def test_an_answer_over_the_limit_is_remembered_without_its_body(shop_and_client):
    """The first gets all of it; a repeat gets status and headers, and is told so. It does not run again."""
    shop, client = shop_and_client
    first, again = [await client.post("/long") for _ in range(2)]
    assert (first.status_code, len(first.content), first.headers["set-cookie"]) == (201, 20_000, "a=b")
    assert (again.status_code, again.content, again.headers["content-type"]) == (
        201,
        b"",
        first.headers["content-type"],
    )
    assert again.headers["idempotency-body"] == "not-kept"
    assert "set-cookie" not in again.headers
    assert shop.calls == 1


async def test_what_an_app_says_before_its_answer_goes_out_at_once(sqlite_shop):
    """An early hint, a template's name for a test client: no part of what is kept for replays."""
    shop, client = sqlite_shop
    sent = []

    async def noting(scope, receive, send):
        async def note(message):
            sent.append(message["type"])
            await send(message)

        await app(scope, receive, note)

    app = shop.app()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(noting), base_url="http://shop", headers=client.headers
    ) as noted:
        answers = [await noted.post("/hinted") for _ in range(2)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(201, b"call 1")] * 2
    answer = ["http.response.start", "http.response.body"]
    assert sent == ["http.response.early_hint", *answer, *answer]


async def test_what_is_said_before_the_endpoint_begins_lets_no_answer_out_unkept(sqlite_shop):
    """A middleware within ours hints at something: the endpoint's answer is kept with its key all the same."""
    shop, client = sqlite_shop
    shop_app = shop.app()

    async def early(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.early_hint", "links": []})
        await inner(scope, receive, send)

    inner = shop_app.build_middleware_stack()
    while not isinstance(inner, IdempotencyMiddleware):
        inner = inner.app
    outer, inner = inner, inner._app
    outer._app = early
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(outer), base_url="http://shop", headers=client.headers
    ) as hinted:
        answers = [await hinted.post("/sync") for _ in range(2)]
    assert [(answer.status_code, answer.content) for answer in answers] == [
        (answers[0].status_code, answers[0].content)
    ] * 2
    assert shop.calls == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_what_an_endpoint_writes_commits_with_its_key(request, tmp_path, kind):
    """Kept with a success; undone by an answer of 400 or more and by an exception; and by losing the claim."""
    store, database = make_store(request, tmp_path, kind)

    async def effects() -> int:
        def count():
            return (yield Statement("SELECT count(*) FROM effects"))

        ((number,),) = await database.read(count())
        return number

    async with open_shop(store) as (shop, client):
        assert [(await client.post("/written")).json()["call"] for _ in range(2)] == [1, 1]
        assert await effects() == 1
        for key, status in (("refused", 409), ("fault", 500)):
            shop.status = status
            assert (await client.post("/written", headers={"Idempotency-Key": key})).status_code == status
        shop.status, shop.fails = 201, True
        assert (await client.post("/written", headers={"Idempotency-Key": "raises"})).status_code == 500
        shop.fails = False
        assert await effects() == 1
        shop.calls = 0
        assert (await client.post("/written", headers={"Idempotency-Key": "refused"})).status_code == 409
        assert shop.calls == 0

        def forget():
            yield Statement("UPDATE holdfast_keys SET lease_until = 0 WHERE key = 'stopped'")

        # A process that was stopped for longer than its lease: another took over before it went on.
        real = store.begin

        async def late(asked, *, now_ms):
            claim = await real(asked, now_ms=now_ms)
            await database.write(forget())
            await store.finish(await real(asked, now_ms=now_ms), RESPONSE, now_ms=now_ms)
            return claim

        store.begin = late
        answer = await client.post("/written", headers={"Idempotency-Key": "stopped"})
        assert (answer.status_code, answer.content) == (201, b"the other's")
        assert answer.headers["idempotency-replayed"] == "true"
        assert await effects() == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_request_that_is_cancelled_while_it_claims_leaves_its_key_free(request, tmp_path, kind):
    """Wherever on its way it was: nobody waits for a lease."""
    store, _ = make_store(request, tmp_path, kind)
    await store.open()
    asked = KeyedRequest("POST /orders", "k", "fingerprint")
    for steps in range(12):
        claiming = asyncio.create_task(store.begin(asked, now_ms=0))
        for _ in range(steps):
            await asyncio.sleep(0)
        claiming.cancel()
        (outcome,) = await asyncio.gather(claiming, return_exceptions=True)
        if isinstance(outcome, Claim):
            await store.release(outcome)
        claim = await store.begin(asked, now_ms=0)
        assert isinstance(claim, Claim)
        await store.release(claim)
    await store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_what_follows_the_answer_does_not_hold_its_transaction(request, tmp_path, kind):
    """The transaction ends before the answer goes out: a background task may write."""
    store, database = make_store(request, tmp_path, kind)

    def count():
        return (yield Statement("SELECT count(*) FROM effects"))

    async with open_shop(store) as (_, client), asyncio.timeout(20):
        assert (await client.post("/followed")).status_code == 201
        assert await database.read(count()) == [(2,)]


async def test_who_has_no_account_is_refused_before_the_app(request, tmp_path):
    """What `account` raises is answered: by the framework around a marked endpoint, as a problem where paths are named."""
    store, _ = make_store(request, tmp_path, "sqlite")
    async with open_shop(store) as (shop, client):
        for path, told in (
            ("/orders", b"Sign in."),
            ("/plain", b'{"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "Sign in."}'),
        ):
            answer = await client.post(path, content=b"x" * 100_000, headers={"X-User": "nobody"})
            assert (answer.status_code, answer.content) == (401, told)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["idempotency-key"] == "k"
        assert shop.calls == 0
        assert (await client.post("/plain")).status_code == 201


async def test_mistakes_of_the_app_are_named(request, tmp_path):
    """A transaction that the store cannot give; a marked endpoint without the middleware."""
    store, _ = make_store(request, tmp_path, "redis")
    shop = Shop(store)
    transport = httpx.ASGITransport(shop.app())
    async with httpx.AsyncClient(
        transport=transport, base_url="http://shop", headers={"Idempotency-Key": "k"}
    ) as client:
        with pytest.raises(NoTransactionError, match="write to your own database"):
            await client.post("/written")
    await store.close()
    with pytest.raises(NotBehindMiddlewareError, match="Add IdempotencyMiddleware"):
        await shop.order(None)
