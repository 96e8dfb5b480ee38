"""Keys in Redis. Each step is one script, which Redis runs as a whole; keys and abandoned claims expire by themselves.

Two-phase only: an effect in another database cannot commit together with a key here. Nothing is promised about fail-over:
a replica that takes over may lack the newest keys.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from uuid import uuid4

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

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
from holdfast_server.stores.port import Claim, Done, Outcome, Transaction

LEASE_MS: Final = 60_000
KEY_LIFETIME_MS: Final = 86_400_000
CONNECTIONS: Final = 32
WAIT_SECONDS: Final = 5

# A script may be sent again when its answer was lost on the way, so each of them comes to the same when it runs twice.
_CLAIM: Final = """
local token, lease_until, stored_at = unpack(redis.call('HMGET', KEYS[1], 'token', 'lease_until', 'stored_at'))
local now, lifetime = tonumber(ARGV[4]), tonumber(ARGV[6])
if stored_at then
    if lifetime < 0 or now < tonumber(stored_at) + lifetime then
        return redis.call('HMGET', KEYS[1], 'fingerprint', 'lease_until', 'stored_at', 'status', 'headers', 'body')
    end
elseif token and token ~= ARGV[1] and now < tonumber(lease_until) then
    return redis.call('HMGET', KEYS[1], 'fingerprint', 'lease_until')
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'fingerprint', ARGV[2], 'lease_until', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return false
"""
_FINISH: Final = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'stored_at', ARGV[2], 'status', ARGV[3], 'headers', ARGV[4], 'body', ARGV[5])
if tonumber(ARGV[6]) < 0 then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
return 1
"""
_RENEW: Final = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] or redis.call('HEXISTS', KEYS[1], 'stored_at') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'lease_until', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
_RELEASE: Final = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] or redis.call('HEXISTS', KEYS[1], 'stored_at') == 1 then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisKeyStore:
    """See `port.KeyStore`.

    Args:
        url: `redis://host:port/number`, `rediss://…` or `unix://…`.
        prefix: of all its keys.
        key_lifetime_ms: how long a finished key is kept; None is for ever.
        lease_ms: how long a claim holds unless renewed.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "holdfast",
        key_lifetime_ms: int | None = KEY_LIFETIME_MS,
        lease_ms: int = LEASE_MS,
    ) -> None:
        self.key_lifetime_ms = key_lifetime_ms
        self.lease_ms = lease_ms
        self._prefix = prefix
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=WAIT_SECONDS,
            socket_timeout=WAIT_SECONDS,
            socket_connect_timeout=WAIT_SECONDS,
        )
        self._redis: Redis = Redis(connection_pool=pool)
        self._scripts = {text: self._redis.register_script(text) for text in (_CLAIM, _FINISH, _RENEW, _RELEASE)}

    async def open(self) -> None:
        """See that it answers."""
        await self.ready()

    async def ready(self) -> None:
        """See that it answers."""
        with _faults():
            await _answer(self._redis.ping())

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose(close_connection_pool=True)

    async def begin(self, request: KeyedRequest, *, now_ms: int) -> Claim | Replay | InFlight | Mismatch:
        """Look the request up; if nobody runs it or has run it, claim it."""
        claim = Claim(request, uuid4().hex, now_ms + self.lease_ms)
        claiming = asyncio.ensure_future(
            self._run(_CLAIM, claim, request.fingerprint, claim.lease_until, now_ms, self.lease_ms, self._lifetime())
        )
        try:
            found = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # Seen to its end first: a release on another connection could overtake it.
            await asyncio.gather(claiming, return_exceptions=True)
            with suppress(StoreUnavailableError):
                await self.release(claim)
            raise
        if found is None:
            return claim
        decision = decide(_entry(found), request.fingerprint, now_ms=now_ms, key_lifetime_ms=self.key_lifetime_ms)
        assert not isinstance(decision, Start | Expired)  # noqa: S101  (the script has looked at that)
        return decision

    async def finish(
        self, claim: Claim, response: StoredResponse, *, now_ms: int, transaction: Transaction | None = None
    ) -> Outcome:
        """Remember the answer. There is no transaction to commit it with."""
        assert transaction is None  # noqa: S101  (it offers none)
        headers = json.dumps(response.headers)
        if await self._run(_FINISH, claim, now_ms, response.status, headers, response.body, self._lifetime()):
            return Done(response)
        known = await self.begin(claim.request, now_ms=now_ms)
        if isinstance(known, Claim):  # who took it over has given it back
            return await self.finish(known, response, now_ms=now_ms)
        return known

    async def renew(self, claim: Claim, *, now_ms: int) -> bool:
        """Let the claim hold for another lease."""
        return bool(await self._run(_RENEW, claim, now_ms + self.lease_ms, self.lease_ms))

    async def release(self, claim: Claim) -> None:
        """Give the claim back."""
        await self._run(_RELEASE, claim)

    async def clean(self, *, now_ms: int) -> int:  # noqa: ARG002  (the port's)
        """Nothing to do: Redis forgets by itself."""
        return 0

    async def _run(self, script: str, claim: Claim, *arguments: Any) -> Any:
        place = f"{claim.request.scope}\n{claim.request.key}".encode()
        name = f"{self._prefix}:{hashlib.sha256(place).hexdigest()}"
        with _faults():
            return await self._scripts[script](keys=[name], args=[claim.token, *arguments])

    def _lifetime(self) -> int:
        return -1 if self.key_lifetime_ms is None else self.key_lifetime_ms


async def _answer(answer: Awaitable[Any] | Any) -> Any:
    """The client's types leave open whether it is the asynchronous one."""
    return await answer


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailableError(f"Redis cannot do this now: {type(error).__name__}") from error


def _entry(found: list[bytes | None]) -> Entry:
    fingerprint, lease_until, *finished = found
    known = (fingerprint or b"").decode()
    if not finished or finished[0] is None:
        return Entry(known, since=0, lease_until=int(lease_until or 0))
    stored_at, status, headers, body = finished
    pairs = tuple((name, value) for name, value in json.loads(headers or b"[]"))
    return Entry(known, int(stored_at or 0), StoredResponse(int(status or 0), pairs, body or b""))
