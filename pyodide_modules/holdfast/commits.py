"""Group commit: transactions that ask to write while another of their kind is being committed share the next commit.

What a commit costs is mostly the wait for the disk, and many writers can wait for it together. Each still runs as one
atomic step, in the order in which it came, and hears of its own result or error. Those that say how share their steps too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.storage import Part, Transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.storage import Read, Steps

    Kind = tuple[tuple[str, ...], Callable[[str, Any], None]]
    """Their object stores, and what their records go through."""

T = TypeVar("T")

TOGETHER = 100
"""Transactions that share a commit at most: nobody else can write while they run."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    transaction: Transaction[Any]
    result: asyncio.Future[Any]
    """Cancelled if nobody waits any more; the transaction may be done all the same, as it may alone."""

    def tell(self, result: Any) -> None:
        """Its result, or the error that it is."""
        if self.result.done():
            return
        if isinstance(result, Exception):
            self.result.set_exception(result)
        else:
            self.result.set_result(result)


class GroupCommit:
    """Runs transactions by `run`, those of the same object stores in groups; a group waits for the disk if one of it does."""

    def __init__(self, run: Callable[[Transaction[Any]], Awaitable[Any]]) -> None:
        self._run = run
        self._waiting: dict[Kind, list[_Waiting]] = {}
        """By kind, for those kinds of which one is being committed."""
        self._groups: set[asyncio.Task[None]] = set()

    async def run(self, transaction: Transaction[T]) -> T:
        """Run it, alone or with others, and return its result after the commit. Raises what `run` raises for it."""
        kind = (transaction.stores, transaction.vet)
        waiting = self._waiting.get(kind)
        if waiting is None:
            self._waiting[kind] = []
            try:
                alone: T = await self._run(transaction)
            except Exception:
                transaction.lose()
                raise
            else:
                return alone
            finally:
                self._go_on(kind)
        mine = _Waiting(transaction, asyncio.Future())
        waiting.append(mine)
        shared: T = await mine.result
        return shared

    def _go_on(self, kind: Kind) -> None:
        """The next group of this kind, if somebody waits."""
        waiting = self._waiting[kind]
        if not waiting:
            del self._waiting[kind]
            return
        group, self._waiting[kind] = waiting[:TOGETHER], waiting[TOGETHER:]
        task = asyncio.ensure_future(self._commit(kind, group))
        self._groups.add(task)
        task.add_done_callback(self._groups.discard)

    async def _commit(self, kind: Kind, group: list[_Waiting]) -> None:
        try:
            results = await self._run(_together([waiting.transaction for waiting in group]))
        except Exception:  # noqa: BLE001  (each hears of its own below)
            # Nothing was stored. Alone, each finds out whether it was to blame; those after it hear of that first.
            for waiting in group:
                await self._alone(waiting)
        else:
            for waiting, result in zip(group, results, strict=True):
                waiting.tell(result)
        finally:
            self._go_on(kind)

    async def _alone(self, waiting: _Waiting) -> None:
        try:
            waiting.tell(await self._run(waiting.transaction))
        except Exception as error:  # noqa: BLE001  (it is for who asked)
            waiting.transaction.lose()
            waiting.tell(error)


def _together(transactions: list[Transaction[Any]]) -> Transaction[list[Any]]:
    first = transactions[0]
    parts = [one.start for one in transactions if isinstance(one.start, Part)]
    start: Callable[[], Steps[list[Any]]]
    if len(parts) == len(transactions) and all(part.joint is parts[0].joint for part in parts):
        joint, subjects = parts[0].joint, [part.subject for part in parts]
        start, ahead = partial(joint.steps, subjects), partial(joint.ahead, subjects)
    else:
        start, ahead = partial(_one_by_one, transactions), partial(_reads_of_all, transactions)
    name = " and ".join({one.name: None for one in transactions})
    provided = tuple(proviso for one in transactions for proviso in one.provided)
    durability = "strict" if any(one.durability == "strict" for one in transactions) else first.durability
    return replace(first, name=name, durability=durability, start=start, ahead=ahead, provided=provided)


def _reads_of_all(transactions: list[Transaction[Any]]) -> tuple[Read, ...]:
    return tuple(read for one in transactions for read in one.ahead())


def _one_by_one(transactions: list[Transaction[Any]]) -> Steps[list[Any]]:
    results = []
    for transaction in transactions:
        results.append((yield from transaction))  # noqa: PERF401  (a comprehension cannot yield)
    return results
