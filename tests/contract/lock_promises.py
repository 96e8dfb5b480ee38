"""What every `Locks` promises, as plain functions: the same file runs on CPython and inside Pyodide on Web Locks.

Each takes a place: `locks()` is a context's way to the locks that all contexts share, `until` lets time pass for as long
as it takes, `rest` until nothing more happens by itself, `steal` takes a lock from whoever holds it.
"""

import asyncio


async def never():
    """Whether the holder is gone: no."""
    return False


async def always():
    """Whether the holder is gone: yes."""
    return True


class Visit:
    """A context that waits for a lock, holds it until it is told to leave, and notes what happened."""

    def __init__(self, locks, name="a", stale=never, error=None):
        self.inside = False
        self.lost = 0
        self.lock = None
        self._locks, self._name, self._stale, self._error = locks, name, stale, error
        self._leave = asyncio.Event()
        self.task = asyncio.ensure_future(self._run())

    async def _run(self):
        async with self._locks.hold(self._name, self._stale) as lock:
            self.lock = lock
            lock.on_lost(self._rob)
            self.inside = True
            await self._leave.wait()
            if self._error:
                raise self._error
        self.inside = False

    def _rob(self):
        self.lost += 1
        self.inside = False

    async def leave(self):
        self._leave.set()
        await asyncio.gather(self.task, return_exceptions=True)
        self.inside = False


async def one_context_holds_a_lock_at_a_time(place):
    """The others wait; each one gets it in the end."""
    visits = [Visit(place.locks()) for _ in range(3)]
    for left in (2, 1, 0):
        await place.until(lambda: any(visit.inside for visit in visits))
        await place.rest()
        [holder] = [visit for visit in visits if visit.inside]
        await holder.leave()
        visits.remove(holder)
        assert len(visits) == left


async def locks_of_other_names_do_not_wait(place):
    """Each queue has its own."""
    first, second = Visit(place.locks(), "a"), Visit(place.locks(), "b")
    await place.until(lambda: first.inside and second.inside)
    await first.leave()
    await second.leave()


async def a_lock_is_free_after_an_error(place):
    """Whatever happens inside the block."""
    first = Visit(place.locks(), error=RuntimeError("inside"))
    await place.until(lambda: first.inside)
    second = Visit(place.locks())
    await first.leave()
    await place.until(lambda: second.inside)
    await second.leave()


async def a_holder_that_is_cancelled_frees_the_lock(place):
    """As a closing page does."""
    first, second = Visit(place.locks()), None
    await place.until(lambda: first.inside)
    second = Visit(place.locks())
    first.task.cancel()
    await place.until(lambda: second.inside)
    await second.leave()


async def who_stops_waiting_never_gets_the_lock(place):
    """A wait that was cancelled leaves nothing behind that would hold it."""
    first = Visit(place.locks())
    await place.until(lambda: first.inside)
    second = Visit(place.locks())
    await place.rest()
    second.task.cancel()
    await asyncio.gather(second.task, return_exceptions=True)
    third = Visit(place.locks())
    await place.rest()
    await first.leave()
    await place.until(lambda: third.inside)
    assert second.lock is None
    await third.leave()


async def a_robbed_holder_hears_of_it_once(place):
    """And leaving afterwards frees nothing that is another's."""
    first = Visit(place.locks())
    await place.until(lambda: first.inside)
    thief = await place.steal("a")
    await place.until(lambda: first.lost)
    await first.leave()
    assert first.lost == 1
    second = Visit(place.locks())
    await place.rest()
    assert not second.inside
    thief()
    await place.until(lambda: second.inside)
    await second.leave()


async def who_asks_too_late_hears_of_it_at_once(place):
    """A tab that thaws may have been robbed before it could say whom to call."""
    first = Visit(place.locks())
    await place.until(lambda: first.inside)
    thief = await place.steal("a")
    await place.until(lambda: first.lost)
    late = []
    first.lock.on_lost(lambda: late.append("heard"))
    assert late == ["heard"]
    await first.leave()
    thief()


async def a_holder_that_leaves_by_itself_was_not_robbed(place):
    """`on_lost` is for theft alone."""
    first = Visit(place.locks())
    await place.until(lambda: first.inside)
    await first.leave()
    await place.rest()
    assert first.lost == 0


async def a_living_holder_is_never_robbed(place):
    """However long it takes."""
    first = Visit(place.locks())
    await place.until(lambda: first.inside)
    second = Visit(place.locks())
    await place.long()
    assert first.inside
    assert not second.inside
    await first.leave()
    await place.until(lambda: second.inside)
    await second.leave()


async def a_holder_that_is_gone_is_robbed(place):
    """A frozen tab keeps its lock, not its lease: who waits takes the lock, and knows that it was taken."""
    frozen = await place.freeze("a")
    second = Visit(place.locks(), stale=always)
    await place.until(lambda: second.inside)
    assert second.lock.stolen
    await second.leave()
    frozen()


PROMISES = [
    one_context_holds_a_lock_at_a_time,
    locks_of_other_names_do_not_wait,
    a_lock_is_free_after_an_error,
    a_holder_that_is_cancelled_frees_the_lock,
    who_stops_waiting_never_gets_the_lock,
    a_robbed_holder_hears_of_it_once,
    who_asks_too_late_hears_of_it_at_once,
    a_holder_that_leaves_by_itself_was_not_robbed,
    a_living_holder_is_never_robbed,
]
FREEZE_PROMISES = [a_holder_that_is_gone_is_robbed]
