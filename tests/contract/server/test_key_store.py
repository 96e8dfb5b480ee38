"""What every key store promises, whichever database it stands on. A new store joins by one entry in `STORES`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from holdfast_server.idempotency import InFlight, KeyedRequest, Mismatch, Replay, StoredResponse
from holdfast_server.stores.port import BatchItem, Claim, Database, Done, Effect, EffectStore
from holdfast_server.stores.postgres import PostgresDatabase
from holdfast_server.stores.redis import RedisKeyStore
from holdfast_server.stores.sql_keys import POSTGRES_KEYS, SQLITE_KEYS, SqlKeyStore
from holdfast_server.stores.sqlite import SqliteDatabase
from holdfast_server.stores.statements import Statement
from holdfast_server.stores.two_phase import TwoPhaseStore

RESPONSE = StoredResponse(201, (("Content-Type", "application/json"), ("Location", "/1")), b'{"id": 1}\x00\xff')
REQUEST = KeyedRequest("POST /things", "key", "fingerprint")
LEASE_MS = 60_000
EFFECTS = {"effects": [["CREATE TABLE effects (n INTEGER)"]]}


def effect():
    """Something that can be counted."""
    yield Statement("INSERT INTO effects VALUES (1)")
    return RESPONSE


def count():
    """How many effects were committed."""
    ((number,),) = yield Statement("SELECT count(*) FROM effects")
    return number


@dataclass
class Subject:
    """A store under test, and the database of its effects."""

    keys: EffectStore
    database: Database
    transactional: bool
    effect: Effect = effect

    def effects(self) -> Awaitable[int]:
        """How many effects were committed."""
        return self.database.read(count())


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def opened(request, tmp_path) -> Callable[..., Any]:
    """Opens the store under test; twice means two processes on one database."""
    url = ""
    if request.param != "sqlite":
        url = request.getfixturevalue({"postgres": "postgres", "redis": "redis_server"}[request.param]).new_database()
    path = tmp_path / "keys.sqlite3"

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Subject]:
        options = {"lease_ms": LEASE_MS, **options}
        database: Database
        if request.param == "postgres":
            database = PostgresDatabase(url, {"keys": POSTGRES_KEYS, **EFFECTS})
        else:
            database = SqliteDatabase(path, {"keys": SQLITE_KEYS, **EFFECTS})
        keys: EffectStore = SqlKeyStore(database, **options)
        if request.param == "redis":
            keys = TwoPhaseStore(RedisKeyStore(url, **options), database)
        await keys.open()
        try:
            yield Subject(keys, database, transactional=request.param != "redis")
        finally:
            await keys.close()

    return opened


async def run(subject: Subject, request: KeyedRequest = REQUEST, *, now_ms: int = 0) -> Any:
    """begin, effect, finish."""
    outcome = await subject.keys.begin(request, now_ms=now_ms)
    if isinstance(outcome, Claim):
        return await subject.keys.run(outcome, subject.effect, now_ms=now_ms)
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
        await subject.keys.run(claim, subject.effect, now_ms=0)
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
        await subject.keys.run(claim, subject.effect, now_ms=0)
        assert await run(subject) == Replay(RESPONSE)


async def test_a_released_claim_leaves_the_key_free(opened):
    """A request that was refused before its effect remembers nothing; another content may use the key."""
    async with opened() as subject:
        await subject.keys.release(await subject.keys.begin(REQUEST, now_ms=0))
        assert await run(subject, KeyedRequest(REQUEST.scope, REQUEST.key, "another")) == Done(RESPONSE)


async def test_an_effect_that_raises_leaves_nothing(opened):
    """Neither effect nor key: the error reaches the caller, and once the claim is given back the next attempt starts afresh."""

    def fails():
        yield from effect()
        raise LookupError("no such thing")

    async with opened() as subject:
        claim = await subject.keys.begin(REQUEST, now_ms=0)
        with pytest.raises(LookupError, match="no such thing"):
            await subject.keys.run(claim, fails, now_ms=0)
        assert await subject.effects() == 0
        await subject.keys.release(claim)
        assert await run(subject) == Done(RESPONSE)


@pytest.mark.parametrize(("found", "effects"), [(Replay(RESPONSE), 1), (Mismatch(), 0)])
async def test_an_effect_may_know_that_it_was_done_before(opened, found, effects):
    """Its database tells more than the keys: the same request is replayed and remembered, another is refused."""

    def knows():
        yield from effect()
        return found

    async with opened() as subject:
        claim = await subject.keys.begin(REQUEST, now_ms=0)
        assert await subject.keys.run(claim, knows, now_ms=0) == found
        if subject.transactional:
            assert await subject.effects() == effects
        await subject.keys.release(claim)
        assert await run(subject) == (Replay(RESPONSE) if effects else Done(RESPONSE))


async def test_a_claim_whose_lease_is_over_is_taken_over(opened):
    """The one who took over finishes; the old holder, should it still live, is answered with the other's result.

    Where effect and key commit together the old holder's effect is undone; elsewhere this is the gap that has a name.
    """
    async with opened() as subject:
        old = await subject.keys.begin(REQUEST, now_ms=0)
        assert isinstance(await run(subject, now_ms=LEASE_MS - 1), InFlight)
        new = await subject.keys.begin(REQUEST, now_ms=LEASE_MS)
        assert isinstance(new, Claim)
        assert not await subject.keys.renew(old, now_ms=LEASE_MS)
        await subject.keys.release(old)
        assert isinstance(await run(subject, now_ms=LEASE_MS), InFlight)
        assert await subject.keys.run(new, subject.effect, now_ms=LEASE_MS) == Done(RESPONSE)
        assert await subject.keys.run(old, subject.effect, now_ms=LEASE_MS) == Replay(RESPONSE)
        assert await subject.effects() == (1 if subject.transactional else 2)


async def cancelled_after(turns: int, work: Awaitable[Any]) -> bool:
    """Cancel it after so many turns of the event loop; whether it had not ended by then."""
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    ended = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return not ended


async def test_a_request_that_is_cancelled_while_it_claims_leaves_its_key_free(opened):
    """Whenever that is: nobody has to wait for the lease of a claim that nobody holds."""
    async with opened() as subject:
        turns = 0
        while True:
            request = replace(REQUEST, key=f"key-{turns}")
            if not await cancelled_after(turns, subject.keys.begin(request, now_ms=0)):
                return
            assert await run(subject, request) == Done(RESPONSE), turns
            turns += 1 + turns // 4


async def test_a_batch_that_is_cancelled_leaves_its_keys_free(opened):
    """Whenever that is, each of its requests can be sent again at once, and is done or known."""
    async with opened() as subject:
        turns = 0
        while True:
            requests = [replace(REQUEST, key=f"key-{turns}-{number}") for number in range(3)]
            lanes = [[BatchItem(request, subject.effect, lambda _outcome: False)] for request in requests]
            if not await cancelled_after(turns, subject.keys.run_lanes(lanes, now_ms=0)):
                return
            for request in requests:
                assert isinstance(await run(subject, request), Done | Replay), turns
            turns += 1 + turns // 4


async def test_a_claim_that_is_renewed_holds_for_another_lease(opened):
    """Who still works on a request keeps it, however long it takes; what is finished is not renewed."""
    async with opened() as subject:
        claim = await subject.keys.begin(REQUEST, now_ms=0)
        assert await subject.keys.renew(claim, now_ms=LEASE_MS - 1)
        assert isinstance(await run(subject, now_ms=2 * LEASE_MS - 2), InFlight)
        assert await subject.keys.finish(claim, RESPONSE, now_ms=LEASE_MS) == Done(RESPONSE)
        assert not await subject.keys.renew(claim, now_ms=LEASE_MS)
        await subject.keys.release(claim)
        assert await run(subject) == Replay(RESPONSE)


async def test_a_process_sees_what_runs_in_another(opened):
    """In flight there as here, and a mismatch as well; the answer reaches both."""
    async with opened() as one, opened() as other:
        claim = await one.keys.begin(REQUEST, now_ms=0)
        assert isinstance(await run(other), InFlight)
        assert await run(other, KeyedRequest(REQUEST.scope, REQUEST.key, "another")) == Mismatch()
        assert await one.keys.run(claim, one.effect, now_ms=0) == Done(RESPONSE)
        assert await run(other) == Replay(RESPONSE)
        assert await other.effects() == 1


async def test_of_64_at_once_one_has_an_effect(opened):
    """All others replay or are told to wait, over two processes."""
    async with opened() as one, opened() as other:
        outcomes = await asyncio.gather(*(run(subject) for subject in (one, other) for _ in range(32)))
        assert outcomes.count(Done(RESPONSE)) == 1
        assert all(isinstance(outcome, Done | Replay | InFlight) for outcome in outcomes)
        assert await one.effects() == 1


async def test_many_at_once_are_one_transaction_with_an_end_for_each(opened):
    """In order inside a lane, up to the first that stops it; a failure undoes its own effect and no other's."""

    def fails():
        yield from effect()
        raise LookupError("no such thing")

    def item(key: str, run: Effect = effect) -> BatchItem:
        request = KeyedRequest("POST /things", key, "fingerprint")
        return BatchItem(request, run, lambda outcome: not isinstance(outcome, Done | Replay))

    async with opened() as subject:
        await subject.keys.begin(KeyedRequest("POST /things", "running", "fingerprint"), now_ms=0)
        await run(subject, KeyedRequest("POST /things", "done", "fingerprint"))
        lanes = [
            [item("a"), item("b"), item("a")],
            [item("c"), item("bad", fails), item("d")],
            [item("running"), item("e")],
            [item("done"), item("f")],
        ]
        one, two, three, four = await subject.keys.run_lanes(lanes, now_ms=0)
        assert one[:2] == [Done(RESPONSE), Done(RESPONSE)]
        assert isinstance(one[2], Replay | InFlight)
        assert two[0] == Done(RESPONSE)
        assert isinstance(two[1], LookupError)
        assert two[2] is None
        assert isinstance(three[0], InFlight)
        assert three[1] is None
        assert four == [Replay(RESPONSE), Done(RESPONSE)]
        assert await subject.effects() == 5
        for key in ("bad", "d", "e"):
            assert await run(subject, KeyedRequest("POST /things", key, "fingerprint")) == Done(RESPONSE)


@pytest.mark.parametrize("key", ["x" * 255, "!~:;'%s?", "dD3sq-m_TzMC8XxJnpcwAbx7wmextl9pk_xkRYR5kcEyqMltTkQPGw"])
async def test_any_key_and_any_account_can_be_kept(opened, key):
    """Quotes, placeholders and letters of any script are just text."""
    async with opened() as subject:
        request = KeyedRequest("POST /things\nJosé '%s' ?", key, "fingerprint")
        assert await run(subject, request) == Done(RESPONSE)
        assert await run(subject, request) == Replay(RESPONSE)


async def test_old_keys_are_cleaned_and_others_stay(opened):
    """Whether they have an answer or their holder has died."""
    day = 86_400_000
    async with opened(key_lifetime_ms=2 * day) as subject:
        await run(subject, now_ms=0)
        await subject.keys.begin(KeyedRequest("POST /things", "dead", "fingerprint"), now_ms=0)
        young = KeyedRequest("POST /things", "young", "fingerprint")
        await run(subject, young, now_ms=2 * day)
        cleaned = await subject.keys.clean(now_ms=2 * day)
        assert cleaned == (2 if subject.transactional else 0)  # Redis does it by itself
        assert await subject.keys.clean(now_ms=2 * day) == 0
        assert await run(subject, young, now_ms=2 * day) == Replay(RESPONSE)
        assert await run(subject, now_ms=2 * day) == Done(RESPONSE)


async def test_a_key_lives_as_long_as_it_is_said_to(opened):
    """Until then it replays; after that the request is a new one, under the same key."""
    async with opened(key_lifetime_ms=1_000) as subject:
        assert subject.keys.key_lifetime_ms == 1_000
        assert await run(subject, now_ms=0) == Done(RESPONSE)
        assert await run(subject, now_ms=999) == Replay(RESPONSE)
        assert await run(subject, now_ms=1_000) == Done(RESPONSE)
        assert await run(subject, now_ms=1_999) == Replay(RESPONSE)
        assert await subject.effects() == 2


OLD_KEYS = """
    INSERT INTO holdfast_keys (scope, key, fingerprint, token, lease_until, stored_at, status, headers, body) VALUES
    ('POST /things', 'key', 'fingerprint', 't', 60000, 1000, 201, '[["ETag", "1"]]', ?),
    ('POST /things', 'running', 'fingerprint', 't', 60000, NULL, NULL, NULL, NULL)
"""


@pytest.mark.parametrize("name", ["sqlite", "postgres"])
async def test_what_was_known_before_keys_had_a_beginning_is_known_after(request, tmp_path, name):
    """An answer lives as long as it would have, a claim holds until its lease ends."""

    def open_with(keys: Any) -> Database:
        if name == "sqlite":
            return SqliteDatabase(tmp_path / "keys.sqlite3", {"keys": keys})
        return PostgresDatabase(url, {"keys": keys})

    def fill():
        yield Statement(OLD_KEYS, (b"one",))

    url = request.getfixturevalue("postgres").new_database() if name == "postgres" else ""
    newest = SQLITE_KEYS if name == "sqlite" else POSTGRES_KEYS
    old = open_with(newest[:-1])
    await old.open()
    await old.write(fill())
    await old.close()
    keys = SqlKeyStore(open_with(newest), key_lifetime_ms=100_000)
    await keys.open()
    running = replace(REQUEST, key="running")
    assert await keys.begin(REQUEST, now_ms=100_999) == Replay(StoredResponse(201, (("ETag", "1"),), b"one"))
    assert await keys.begin(running, now_ms=59_500) == InFlight(500)
    assert isinstance(await keys.begin(running, now_ms=60_000), Claim)
    assert await keys.clean(now_ms=101_000) == 1
    assert isinstance(await keys.begin(REQUEST, now_ms=101_000), Claim)
    await keys.close()
