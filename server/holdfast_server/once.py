"""A keyed request from claim to answer, over any store. Nothing here knows how the request came in or what its effect is."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from types import TracebackType
from typing import Final, Self

from starlette.responses import Response

from holdfast_server.errors import StoreUnavailableError
from holdfast_server.idempotency import InFlight, KeyedRequest, Mismatch, Replay, StoredResponse
from holdfast_server.metrics import Metrics
from holdfast_server.problems import IN_PROGRESS, KEY_REUSED, Problem
from holdfast_server.stores.port import Claim, Done, Effect, EffectStore, KeyStore, Outcome

REPLAYED: Final = "Idempotency-Replayed"

Clock = Callable[[], int]


class Held:
    """Keeps a claim while its request runs: renewed in good time, given back at the end unless `finished` says otherwise."""

    def __init__(self, store: KeyStore, claim: Claim, now_ms: Clock) -> None:
        self._store = store
        self._claim = claim
        self._now_ms = now_ms
        self._finished = False
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None

    def finished(self, outcome: Outcome) -> Outcome:
        """Take note of the end: what is remembered needs no release."""
        self._finished = isinstance(outcome, Done | Replay)
        return outcome

    async def __aenter__(self) -> Self:
        self._arm()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
        if not self._finished:
            try:
                await self._store.release(self._claim)
            except StoreUnavailableError:
                if error is None:
                    raise

    def _arm(self) -> None:
        # The loop keeps a cancelled timer until its time, and a timer keeps the context it was made in: not the request's.
        seconds = self._store.lease_ms / 3_000
        self._timer = asyncio.get_running_loop().call_later(seconds, self._start, context=Context())

    def _start(self) -> None:
        self._renewal = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        try:
            still_ours = await self._store.renew(self._claim, now_ms=self._now_ms())
        except StoreUnavailableError:
            still_ours = True  # perhaps: the next renewal tells, and the end does in any case
        if still_ours:
            self._arm()


async def answer_once(
    store: EffectStore,
    request: KeyedRequest,
    prepare: Callable[[], Awaitable[Effect]],
    *,
    now_ms: Clock,
    metrics: Metrics,
) -> Response:
    """Run the request unless its key says otherwise.

    Args:
        store: remembers keys and runs effects.
        request: scope, key and fingerprint.
        prepare: checks the request and gets everything ready that needs no transaction; gives the effect, which runs
            inside the transaction. What either raises reaches the caller, and the key stays free.
        now_ms: the clock.
        metrics: counts replays, conflicts and mismatches.

    Raises:
        Problem: 409 while another attempt runs, 422 where the key belongs to another request.
    """
    outcome: Claim | Outcome = await store.begin(request, now_ms=now_ms())
    if isinstance(outcome, Claim):
        claim = outcome
        async with Held(store, claim, now_ms) as held:
            effect = await prepare()
            outcome = held.finished(await store.run(claim, effect, now_ms=now_ms()))
    return answer(outcome, metrics)


def answer(outcome: Outcome, metrics: Metrics) -> Response:
    """The answer for an outcome.

    Raises:
        Problem: 409 or 422.
    """
    match outcome:
        case Done(response):
            return stored_answer(response, replayed=False)
        case Replay(response):
            metrics.replays.inc()
            return stored_answer(response, replayed=True)
        case InFlight(retry_after_ms):
            metrics.conflicts.inc()
            raise in_progress(retry_after_ms)
        case Mismatch():
            metrics.mismatches.inc()
            raise key_reused()


def in_progress(retry_after_ms: int) -> Problem:
    """Another attempt with this key still runs."""
    detail = "An earlier attempt with this Idempotency-Key is still running. Send it again later."
    seconds = max(1, -(-retry_after_ms // 1_000))
    return Problem(409, IN_PROGRESS, title="Still running", detail=detail, headers={"Retry-After": str(seconds)})


def key_reused() -> Problem:
    """The key belongs to another content."""
    detail = "This Idempotency-Key belongs to a request with another content. Send this one under a key of its own."
    return Problem(422, KEY_REUSED, title="Idempotency-Key reused", detail=detail)


def stored_answer(stored: StoredResponse, *, replayed: bool) -> Response:
    """A stored answer as it goes out."""
    answer = Response(stored.body, stored.status, {"Cache-Control": "no-store"})
    for name, value in stored.headers:
        answer.headers[name] = value
    if replayed:
        answer.headers[REPLAYED] = "true"
    return answer
