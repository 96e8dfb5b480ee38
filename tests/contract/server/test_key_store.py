"""What every key store promises, whichever database it stands on. A new store joins by one line in `STORES`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast_server.idempotency import InFlight, KeyedRequest, Mismatch, Replay, StoredResponse
from holdfast_server.stores.port import Claim, Done, KeyStore
from holdfast_server.stores.sqlite import KEYS_SCHEMA, LEASE_MS, SqliteDatabase, SqliteKeyStore

RESPONSE = StoredResponse(201, (("Content-Type", "application/json"), ("Location", "/1")), b'{"id": 1}\x00\xff')
REQUEST = KeyedRequest("POST /things", "key", "fingerprint")


@dataclass
class Subject:
    """A store under test, an effect that can be counted, and a way to count what was committed."""

    keys: KeyStore[Any]
    effect: Callable[[Any], StoredResponse]
    effects: Callable[[], Any]


@asynccontextmanager
async def sqlite(folder: Path, *, key_lifetime_ms: int | None = None) -> AsyncIterator[Subject]:
    """SQLite in a file."""
    database = SqliteDatabase(folder / "keys.sqlite3", (KEYS_SCHEMA, ("CREATE TABLE effects (n INTEGER)",)))
    await database.open()

    def effect(connection) -> StoredResponse:
        connection.execute("INSERT INTO effects VALUES (1)")
        return RESPONSE

    async def effects() -> int:
        count: int = await database.read(lambda c: c.execute("SELECT count(*) FROM effects").fetchone()[0])
        return count

    try:
        yield Subject(SqliteKeyStore(database, key_lifetime_ms=key_lifetime_ms), effect, effects)
    finally:
        await database.close()


STORES = [sqlite]


@pytest.fixture(params=STORES, ids=lambda store: store.__name__)
def opened(request, tmp_path):
    """Opens the store under test; twice means two processes on one database."""

    def opened(**options: Any):
        return request.param(tmp_path, **options)

    return opened


async def run(subject: Subject, request: KeyedRequest = REQUEST, *, now_ms: int = 0) -> Any:
    """begin, effect, finish."""
    outcome = await subject.keys.begin(request, now_ms=now_ms)
    if isinstance(outcome, Claim):
        return await subject.keys.finish(outcome, subject.effect, now_ms=now_ms)
    return outcome


async def test_the_first_request_runs_and_the_second_replays(opened):
    """The answer comes back byte for byte, headers included, and the effect has happened once."""
    async with opened() as subject:
        assert await run(subject) == Done(RESPONSE)
        assert await run(subject) == Replay(RESPONSE)
        assert await subject.effects() == 1


async def test_a_key_survives_a_restart(opened):
    """What was finished is on disk."""
    async with opened() as subject:
        await run(subject)
    async with opened() as subject:
        assert await run(subject) == Replay(RESPONSE)
        assert await subject.effects() == 1


async def test_another_request_under_the_key_is_a_mismatch(opened):
    """Running or finished, the key names one content."""
    other = KeyedRequest(REQUEST.scope, REQUEST.key, "another")
    async with opened() as subject:
        claim = await subject.keys.begin(REQUEST, now_ms=0)
        assert await run(subject, other) == Mismatch()
        await subject.keys.finish(claim, subject.effect, now_ms=0)
        assert await run(subject, other) == Mismatch()
        assert await subject.effects() == 1


async def test_a_key_counts_in_its_scope_only(opened):
    """The same key on another route is another key."""
    async with opened() as subject:
        await run(subject)
        assert await run(subject, KeyedRequest("POST /others", REQUEST.key, "another")) == Done(RESPONSE)


async def test_while_it_runs_it_is_in_flight(opened):
    """A second attempt is told to wait, and gets the answer once there is one."""
    async with opened() as subject:
        claim = await subject.keys.begin(REQUEST, now_ms=0)
        assert isinstance(await run(subject), InFlight)
        await subject.keys.finish(claim, subject.effect, now_ms=0)
        assert await run(subject) == Replay(RESPONSE)


async def test_a_released_claim_leaves_the_key_free(opened):
    """A request that was refused before its effect remembers nothing; another content may use the key."""
    async with opened() as subject:
        await subject.keys.release(await subject.keys.begin(REQUEST, now_ms=0))
        assert await run(subject, KeyedRequest(REQUEST.scope, REQUEST.key, "another")) == Done(RESPONSE)


async def test_an_effect_that_raises_leaves_nothing(opened):
    """Neither effect nor key: the error reaches the caller and the next attempt starts afresh."""

    def fails(unit) -> StoredResponse:
        subject.effect(unit)
        raise LookupError("no such thing")

    async with opened() as subject:
        claim = await subject.keys.begin(REQUEST, now_ms=0)
        with pytest.raises(LookupError, match="no such thing"):
            await subject.keys.finish(claim, fails, now_ms=0)
        assert await subject.effects() == 0
        assert await run(subject) == Done(RESPONSE)


async def test_a_claim_whose_lease_is_over_is_taken_over(opened):
    """The one who took over finishes; the old holder, should it still live, is answered with the other's result."""
    async with opened() as subject:
        old = await subject.keys.begin(REQUEST, now_ms=0)
        new = await subject.keys.begin(REQUEST, now_ms=LEASE_MS)
        assert isinstance(new, Claim)
        await subject.keys.release(old)
        assert isinstance(await run(subject, now_ms=LEASE_MS), InFlight)
        assert await subject.keys.finish(new, subject.effect, now_ms=LEASE_MS) == Done(RESPONSE)
        assert await subject.keys.finish(old, subject.effect, now_ms=LEASE_MS) == Replay(RESPONSE)
        assert await subject.effects() == 1


async def test_two_processes_that_run_the_same_request_have_one_effect(opened):
    """The key is looked up again inside the transaction: the later one is rolled back."""
    async with opened() as one, opened() as other:
        claims = [await subject.keys.begin(REQUEST, now_ms=0) for subject in (one, other)]
        outcomes = [
            await subject.keys.finish(claim, subject.effect, now_ms=0)
            for subject, claim in zip((one, other), claims, strict=True)
            if isinstance(claim, Claim)
        ]
        assert outcomes[0] == Done(RESPONSE)
        assert outcomes[1:] in ([], [Replay(RESPONSE)])
        assert await one.effects() == 1


async def test_of_64_at_once_one_has_an_effect(opened):
    """All others replay or are told to wait, over two processes."""
    async with opened() as one, opened() as other:
        outcomes = await asyncio.gather(*(run(subject) for subject in (one, other) for _ in range(32)))
        assert outcomes.count(Done(RESPONSE)) == 1
        assert all(isinstance(outcome, Done | Replay | InFlight) for outcome in outcomes)
        assert await one.effects() == 1


async def test_a_key_lives_as_long_as_it_is_said_to(opened):
    """Until then it replays; after that the request is a new one, under the same key."""
    async with opened(key_lifetime_ms=1_000) as subject:
        assert subject.keys.key_lifetime_ms == 1_000
        assert await run(subject, now_ms=0) == Done(RESPONSE)
        assert await run(subject, now_ms=999) == Replay(RESPONSE)
        assert await run(subject, now_ms=1_000) == Done(RESPONSE)
        assert await run(subject, now_ms=1_999) == Replay(RESPONSE)
        assert await subject.effects() == 2
