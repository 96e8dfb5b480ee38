"""Keys in a table of SQLite or PostgreSQL, beside the effects of their requests, so that both can commit together.

A claim is a row without an answer: committed at once and seen by every process, but not waited for on disk, since a claim
that a power cut takes with it has had no effect either. Its token fences it: whoever finishes must still hold it.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from holdfast_server.errors import StoreUnavailableError
from holdfast_server.idempotency import (
    Entry,
    Expired,
    InFlight,
    KeyedRequest,
    Mismatch,
    Replay,
    Start,
    StoredResponse,
    decide,
)
from holdfast_server.stores.port import BatchItem, Claim, Database, Done, Effect, Migration, Outcome, Transaction
from holdfast_server.stores.statements import Rows, Statement, Steps, savepoint

# A row without an answer is running. What the index holds is written with the claim and stays, so that the answer costs one
# page and, in PostgreSQL, no index at all.
_AGE_FROM_CLAIM: Final = (
    "DROP INDEX holdfast_keys_age",
    "ALTER TABLE holdfast_keys RENAME COLUMN stored_at TO begun_at",
    "UPDATE holdfast_keys SET begun_at = lease_until WHERE begun_at IS NULL",
    "CREATE INDEX holdfast_keys_age ON holdfast_keys (begun_at)",
)

SQLITE_KEYS: Final[Sequence[Migration]] = (
    (
        """
        CREATE TABLE idempotency_keys (
            scope TEXT NOT NULL,
            key TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            stored_at INTEGER NOT NULL,
            status INTEGER NOT NULL,
            headers TEXT NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (scope, key)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    (
        """
        CREATE TABLE holdfast_keys (
            scope TEXT NOT NULL,
            key TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            token TEXT NOT NULL,
            lease_until INTEGER NOT NULL,
            stored_at INTEGER,
            status INTEGER,
            headers TEXT,
            body BLOB,
            PRIMARY KEY (scope, key)
        ) STRICT, WITHOUT ROWID
        """,
        """
        INSERT INTO holdfast_keys
        SELECT scope, key, fingerprint, '', 0, stored_at, status, headers, body FROM idempotency_keys
        """,
        "DROP TABLE idempotency_keys",
        "CREATE INDEX holdfast_keys_age ON holdfast_keys (stored_at)",
    ),
    _AGE_FROM_CLAIM,
)
"""The part `keys` of a SQLite schema."""

POSTGRES_KEYS: Final[Sequence[Migration]] = (
    (
        """
        CREATE TABLE holdfast_keys (
            scope TEXT NOT NULL,
            key TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            token TEXT NOT NULL,
            lease_until BIGINT NOT NULL,
            stored_at BIGINT,
            status INTEGER,
            headers TEXT,
            body BYTEA,
            PRIMARY KEY (scope, key)
        )
        """,
        "CREATE INDEX holdfast_keys_age ON holdfast_keys (stored_at)",
    ),
    _AGE_FROM_CLAIM,
)
"""The part `keys` of a PostgreSQL schema."""

LEASE_MS: Final = 30_000
KEY_LIFETIME_MS: Final = 30 * 86_400_000
CLEANED_AT_ONCE: Final = 500
_NEVER: Final = -1
_ENCODER: Final = json.JSONEncoder()

_CLAIM: Final = """
    INSERT INTO holdfast_keys (scope, key, fingerprint, token, begun_at, lease_until) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (scope, key) DO UPDATE SET
        fingerprint = excluded.fingerprint, token = excluded.token, begun_at = excluded.begun_at,
        lease_until = excluded.lease_until, status = NULL, headers = NULL, body = NULL
    WHERE CASE WHEN holdfast_keys.status IS NULL THEN holdfast_keys.lease_until <= ? ELSE holdfast_keys.begun_at <= ? END
"""
_FIND: Final = """
    SELECT fingerprint, begun_at, lease_until, status, headers, body FROM holdfast_keys WHERE scope = ? AND key = ?
"""
_REMEMBER: Final = """
    UPDATE holdfast_keys SET status = ?, headers = ?, body = ?
    WHERE scope = ? AND key = ? AND token = ? AND status IS NULL
"""
_RENEW: Final = """
    UPDATE holdfast_keys SET lease_until = ?
    WHERE scope = ? AND key = ? AND token = ? AND status IS NULL
"""
_RELEASE: Final = "DELETE FROM holdfast_keys WHERE scope = ? AND key = ? AND token = ? AND status IS NULL"
_CLEAN: Final = """
    DELETE FROM holdfast_keys WHERE (scope, key) IN (
        SELECT scope, key FROM holdfast_keys WHERE begun_at <= ? AND (status IS NOT NULL OR lease_until <= ?) LIMIT ?
    )
"""


class _TakenOver(Exception):  # noqa: N818  (no error: it undoes a transaction)
    """The claim is another's now."""


class _Undone(Exception):  # noqa: N818  (no error: it undoes a transaction)
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class SqlKeyStore:
    """See `port.TransactionalKeyStore` and `port.EffectStore`.

    Args:
        database: its schema has the part `keys` (SQLITE_KEYS or POSTGRES_KEYS).
        key_lifetime_ms: how long a finished key is kept; None is for ever.
        lease_ms: how long a claim holds unless renewed.
    """

    def __init__(
        self, database: Database, *, key_lifetime_ms: int | None = KEY_LIFETIME_MS, lease_ms: int = LEASE_MS
    ) -> None:
        self.key_lifetime_ms = key_lifetime_ms
        self.lease_ms = lease_ms
        self._database = database

    async def open(self) -> None:
        """Open the database."""
        await self._database.open()

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()

    async def ready(self) -> None:
        """See that the database answers."""
        await self._database.read(_alive())

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction for a handler's own writes."""
        return self._database.transaction()

    async def begin(self, request: KeyedRequest, *, now_ms: int) -> Claim | Replay | InFlight | Mismatch:
        """Look the request up; if nobody runs it or has run it, claim it."""
        claim = self._new_claim(request, now_ms)
        try:
            return await self._database.write_relaxed(
                self._claim(claim, now_ms), meanwhile=lambda: self._look_up(request, now_ms)
            )
        except asyncio.CancelledError:
            await self.release(claim)  # it may have been made
            raise

    def _new_claim(self, request: KeyedRequest, now_ms: int) -> Claim:
        token = f"{random.getrandbits(128):032x}"
        return Claim(request, token, now_ms + self.lease_ms)

    def _claim(self, claim: Claim, now_ms: int) -> Steps[Claim | Replay | InFlight | Mismatch]:
        request = claim.request
        row = (request.scope, request.key, request.fingerprint, claim.token, now_ms, claim.lease_until)
        known = None
        while known is None:  # once more where a row went between the two statements
            if (yield from _change(_CLAIM, (*row, now_ms, self._expired_at(now_ms)))):
                return claim
            known = yield from self._look_up(request, now_ms)
        return known

    def _look_up(self, request: KeyedRequest, now_ms: int) -> Steps[Replay | InFlight | Mismatch | None]:
        """What is known of a request; None if it is free."""
        rows = yield Statement(_FIND, (request.scope, request.key))
        entry = _entry(rows[0]) if rows else None
        decision = decide(entry, request.fingerprint, now_ms=now_ms, key_lifetime_ms=self.key_lifetime_ms)
        return None if isinstance(decision, Start | Expired) else decision

    def _expired_at(self, now_ms: int) -> int:
        return _NEVER if self.key_lifetime_ms is None else now_ms - self.key_lifetime_ms

    async def finish(
        self, claim: Claim, response: StoredResponse, *, now_ms: int, transaction: Transaction | None = None
    ) -> Outcome:
        """Remember the answer, together with what a transaction has written."""
        try:
            if transaction is None:
                await self._database.write(_remember(claim, response))
            else:
                await transaction.commit_after(_remember(claim, response))
        except _TakenOver:
            if transaction is not None:
                await transaction.rollback()
            return await self._after_take_over(claim, now_ms)
        return Done(response)

    async def run(self, claim: Claim, effect: Effect, *, now_ms: int) -> Outcome:
        """Run the effect and remember its answer, in one transaction."""
        try:
            return await self._database.write_in_turn(_effect_and_key(claim, effect))
        except _Undone as undone:
            return undone.outcome
        except _TakenOver:
            return await self._after_take_over(claim, now_ms)

    async def _after_take_over(self, claim: Claim, now_ms: int) -> Outcome:
        known = await self._database.read(self._look_up(claim.request, now_ms))
        return known or InFlight(min(self.lease_ms, 1_000))  # nobody has it now: the caller is asked to come again

    async def run_lanes(
        self, lanes: Sequence[Sequence[BatchItem]], *, now_ms: int
    ) -> list[list[Outcome | Exception | None]]:
        """Run many requests in one transaction, each in a savepoint of its own."""
        return await self._database.write_in_turn(self._lanes(lanes, now_ms))

    def _lanes(
        self, lanes: Sequence[Sequence[BatchItem]], now_ms: int
    ) -> Steps[list[list[Outcome | Exception | None]]]:
        results: list[list[Outcome | Exception | None]] = []
        for lane in lanes:
            outcomes: list[Outcome | Exception | None] = []
            for item in lane:
                outcome = yield from savepoint(self._item(item, now_ms), _failed)
                outcomes.append(outcome)
                if item.stops(outcome):
                    break
            results.append([*outcomes, *[None] * (len(lane) - len(outcomes))])
        return results

    def _item(self, item: BatchItem, now_ms: int) -> Steps[Outcome | Exception]:
        """Nobody sees this claim before it is finished, so that it costs no commit of its own."""
        claim = yield from self._claim(self._new_claim(item.request, now_ms), now_ms)
        if not isinstance(claim, Claim):
            return claim
        return (yield from _effect_and_key(claim, item.effect))

    async def renew(self, claim: Claim, *, now_ms: int) -> bool:
        """Let the claim hold for another lease."""
        return bool(await self._database.write_relaxed(_change(_RENEW, (now_ms + self.lease_ms, *_named(claim)))))

    async def release(self, claim: Claim) -> None:
        """Give the claim back."""
        await self._database.write_relaxed(_change(_RELEASE, _named(claim)))

    async def clean(self, *, now_ms: int) -> int:
        """Forget some of the keys that are past their life, with or without an answer."""
        return await self._database.write_relaxed(_change(_CLEAN, (self._expired_at(now_ms), now_ms, CLEANED_AT_ONCE)))

    async def release_all(self) -> None:
        """Give every claim back: for a process that knows that no other runs."""
        await self._database.write_relaxed(_change("DELETE FROM holdfast_keys WHERE status IS NULL"))


def _effect_and_key(claim: Claim, effect: Effect) -> Steps[Outcome]:
    result = yield from effect()
    if isinstance(result, Mismatch):
        raise _Undone(result)
    response = result.response if isinstance(result, Replay) else result
    yield from _remember(claim, response)
    return result if isinstance(result, Replay) else Done(response)


def _remember(claim: Claim, response: StoredResponse) -> Steps[None]:
    answer = (response.status, _ENCODER.encode(response.headers), response.body)
    if not (yield from _change(_REMEMBER, (*answer, *_named(claim)))):
        raise _TakenOver


def _alive() -> Steps[Rows]:
    return (yield Statement("SELECT 1"))


def _change(sql: str, values: tuple[Any, ...] = ()) -> Steps[int]:
    """Run one statement; say how many rows it has changed."""
    ((number,),) = yield Statement(sql, values, counts=True)
    return int(number)


def _named(claim: Claim) -> tuple[str, str, str]:
    return claim.request.scope, claim.request.key, claim.token


def _failed(error: Exception) -> Outcome | Exception:
    """What a failed item of a batch comes to. A database that is gone fails all of it."""
    if isinstance(error, StoreUnavailableError):
        raise error
    return error.outcome if isinstance(error, _Undone) else error


def _entry(row: tuple[Any, ...]) -> Entry:
    fingerprint, begun_at, lease_until, status, headers, body = row
    if status is None:
        return Entry(fingerprint, begun_at, lease_until=lease_until)
    pairs = tuple((name, value) for name, value in json.loads(headers))
    return Entry(fingerprint, begun_at, StoredResponse(status, pairs, bytes(body)))
