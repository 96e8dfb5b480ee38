"""A key store whose every step is timed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import Histogram

from holdfast_server.idempotency import InFlight, KeyedRequest, Mismatch, Replay, StoredResponse
from holdfast_server.stores.port import BatchItem, Claim, Effect, EffectStore, Outcome, Transaction


class MeasuredStore:
    """See `port.EffectStore`; everything is handed on to `store`."""

    def __init__(self, store: EffectStore, seconds: Histogram) -> None:
        self.key_lifetime_ms = store.key_lifetime_ms
        self.lease_ms = store.lease_ms
        self._store = store
        self._seconds = seconds

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self._seconds.labels(step).observe(perf_counter() - start)

    async def open(self) -> None:
        """Open it."""
        await self._store.open()

    async def close(self) -> None:
        """Close it."""
        await self._store.close()

    async def ready(self) -> None:
        """See that it answers."""
        with self._timed("ready"):
            await self._store.ready()

    async def begin(self, request: KeyedRequest, *, now_ms: int) -> Claim | Replay | InFlight | Mismatch:
        """Claim."""
        with self._timed("begin"):
            return await self._store.begin(request, now_ms=now_ms)

    async def finish(
        self, claim: Claim, response: StoredResponse, *, now_ms: int, transaction: Transaction | None = None
    ) -> Outcome:
        """Remember."""
        with self._timed("finish"):
            return await self._store.finish(claim, response, now_ms=now_ms, transaction=transaction)

    async def run(self, claim: Claim, effect: Effect, *, now_ms: int) -> Outcome:
        """Run and remember."""
        with self._timed("run"):
            return await self._store.run(claim, effect, now_ms=now_ms)

    async def run_lanes(
        self, lanes: Sequence[Sequence[BatchItem]], *, now_ms: int
    ) -> list[list[Outcome | Exception | None]]:
        """Run many."""
        with self._timed("run_lanes"):
            return await self._store.run_lanes(lanes, now_ms=now_ms)

    async def renew(self, claim: Claim, *, now_ms: int) -> bool:
        """Hold on."""
        with self._timed("renew"):
            return await self._store.renew(claim, now_ms=now_ms)

    async def release(self, claim: Claim) -> None:
        """Let go."""
        with self._timed("release"):
            await self._store.release(claim)

    async def clean(self, *, now_ms: int) -> int:
        """Forget."""
        with self._timed("clean"):
            return await self._store.clean(now_ms=now_ms)
