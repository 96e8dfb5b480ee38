"""Keys in one store, effects in a database: two steps, and a gap between them.

If the process dies after the effect has committed and before the key remembers it, the next attempt runs the effect again.
So an effect run from here should know by itself what it has done before, as the reference app's does by a unique column.
"""

import asyncio
from collections.abc import Iterable, Sequence

from holdfast_server.idempotency import InFlight, KeyedRequest, Mismatch, Replay, StoredResponse
from holdfast_server.stores.port import BatchItem, Claim, Database, Done, Effect, KeyStore, Outcome, Transaction
from holdfast_server.stores.statements import Statement, Steps, savepoint

_Begun = Claim | Replay | InFlight | Mismatch


class TwoPhaseStore:
    """See `port.EffectStore`. `keys` and `database` are opened and closed with it."""

    def __init__(self, keys: KeyStore, database: Database) -> None:
        self.key_lifetime_ms = keys.key_lifetime_ms
        self.lease_ms = keys.lease_ms
        self._keys = keys
        self._database = database

    async def open(self) -> None:
        """Open both."""
        await self._keys.open()
        await self._database.open()

    async def close(self) -> None:
        """Close both."""
        await self._keys.close()
        await self._database.close()

    async def ready(self) -> None:
        """See that both answer."""
        await self._keys.ready()
        await self._database.read(_ping())

    async def begin(self, request: KeyedRequest, *, now_ms: int) -> _Begun:
        """Look the request up; if nobody runs it or has run it, claim it."""
        return await self._keys.begin(request, now_ms=now_ms)

    async def finish(
        self, claim: Claim, response: StoredResponse, *, now_ms: int, transaction: Transaction | None = None
    ) -> Outcome:
        """Remember the answer."""
        return await self._keys.finish(claim, response, now_ms=now_ms, transaction=transaction)

    async def renew(self, claim: Claim, *, now_ms: int) -> bool:
        """Let the claim hold for another lease."""
        return await self._keys.renew(claim, now_ms=now_ms)

    async def release(self, claim: Claim) -> None:
        """Give the claim back."""
        await self._keys.release(claim)

    async def clean(self, *, now_ms: int) -> int:
        """Forget some of the keys that are past their life."""
        return await self._keys.clean(now_ms=now_ms)

    async def run(self, claim: Claim, effect: Effect, *, now_ms: int) -> Outcome:
        """Run the effect, then remember its answer."""
        result = await self._database.write_in_turn(effect())
        if isinstance(result, Mismatch):
            return result
        return await self._remember(claim, result, now_ms)

    async def _remember(self, claim: Claim, result: StoredResponse | Replay, now_ms: int) -> Outcome:
        response = result.response if isinstance(result, Replay) else result
        outcome = await self._keys.finish(claim, response, now_ms=now_ms)
        return Replay(response) if isinstance(result, Replay) and isinstance(outcome, Done) else outcome

    async def run_lanes(
        self, lanes: Sequence[Sequence[BatchItem]], *, now_ms: int
    ) -> list[list[Outcome | Exception | None]]:
        """Claim all, run the effects in one transaction, remember all."""
        items = [item for lane in lanes for item in lane]
        begun = await self._begin_all([item.request for item in items], now_ms)
        finished: set[int] = set()
        try:
            found = iter(begun)
            work = [[(item, next(found)) for item in lane] for lane in lanes]
            ran = await self._database.write_in_turn(_lanes(work))
            ends: list[list[Outcome | Exception | None]] = []
            number = 0
            for lane in ran:
                ends.append([])
                for result in lane:
                    claim = begun[number]
                    if isinstance(claim, Claim) and isinstance(result, StoredResponse | Replay):
                        ends[-1].append(await self._remember(claim, result, now_ms))
                        finished.add(number)
                    else:
                        assert not isinstance(result, StoredResponse)  # noqa: S101  (only a claimed item runs)
                        ends[-1].append(result)
                    number += 1
            return ends
        finally:
            await self._release_all(claim for number, claim in enumerate(begun) if number not in finished)

    async def _begin_all(self, requests: Iterable[KeyedRequest], now_ms: int) -> list[_Begun]:
        asked = [asyncio.ensure_future(self.begin(request, now_ms=now_ms)) for request in requests]
        try:
            begun = await asyncio.gather(*asked, return_exceptions=True)
        except asyncio.CancelledError:  # each has ended by now; one that was cut short has given its key back itself
            ended = [task for task in asked if not task.cancelled() and task.exception() is None]
            await self._release_all(task.result() for task in ended)
            raise
        for outcome in begun:
            if isinstance(outcome, BaseException):
                await self._release_all(begun)
                raise outcome
        return [outcome for outcome in begun if not isinstance(outcome, BaseException)]

    async def _release_all(self, begun: Iterable[object]) -> None:
        await asyncio.gather(*(self.release(claim) for claim in begun if isinstance(claim, Claim)))


def _lanes(
    lanes: Sequence[Sequence[tuple[BatchItem, _Begun]]],
) -> Steps[list[list[StoredResponse | Outcome | Exception | None]]]:
    results: list[list[StoredResponse | Outcome | Exception | None]] = []
    for lane in lanes:
        ran: list[StoredResponse | Outcome | Exception | None] = []
        for item, begun in lane:
            result: StoredResponse | Outcome | Exception
            result = (yield from savepoint(item.effect(), _failed)) if isinstance(begun, Claim) else begun
            ran.append(result)
            if item.stops(Done(result) if isinstance(result, StoredResponse) else result):
                break
        results.append([*ran, *[None] * (len(lane) - len(ran))])
    return results


def _ping() -> Steps[None]:
    yield Statement("SELECT 1")


def _failed(error: Exception) -> Exception:
    return error
