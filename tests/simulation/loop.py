"""An event loop in which time passes only when nothing is left to do, and chance decides which context runs next.

Every callback belongs to the context (tab, worker) in which it was made, or to the world outside. Inside a context they
run in order, as in a browser; between contexts in any order. A context that is killed never runs again, not even its
`finally` blocks; one that is frozen runs nothing until it thaws, and then all that has come up meanwhile.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

OWNER: ContextVar["Owner | None"] = ContextVar("owner", default=None)
"""The context that the running callback belongs to; None for the world outside."""

STEPS_LIMIT = 2_000_000
"""More callbacks than any run needs: a loop that never lets time pass."""


class Owner:
    """One browser context as the loop sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self.queue: deque[asyncio.Handle] = deque()
        self.context = copy_context()
        self.context.run(OWNER.set, self)


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address, so that a run can be repeated."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class SimLoop(asyncio.AbstractEventLoop):
    """Time in whole milliseconds since the start of the run."""

    def __init__(self, chance: random.Random) -> None:
        self.now = 0
        self.steps = 0
        self.tasks: list[SimTask] = []
        """Every task of the run: a dropped coroutine that is collected would run its `finally` blocks."""
        self.errors: list[str] = []
        """What callbacks raised."""
        self._chance = chance
        self._world = Owner("world")
        self._world.context = Context()
        self._waiting: list[Owner] = []
        """Those that have callbacks to run and may run."""
        self._timers: list[tuple[int, int, asyncio.Handle, Owner]] = []
        self._count = 0

    # What asyncio asks for

    def time(self) -> float:
        return self.now / 1_000

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, work: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None) -> SimTask:
        task: SimTask = SimTask.__new__(SimTask)
        task.number = len(self.tasks)
        task.__init__(work, loop=self, name=name or "task", context=context)  # type: ignore[misc]
        self.tasks.append(task)
        return task

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        context = context if context is not None else copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._ready(handle, context.get(OWNER) or self._world)
        return handle

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if "exception" in context:
            self.errors.append(f"{context['message']}: {context['exception']!r}")

    # What the simulation asks for

    def after(
        self, span_ms: int, callback: Callable[..., object], *args: Any, owner: Owner | None = None
    ) -> asyncio.Handle:
        """Call back when the time has passed, in a context or in the world outside."""
        owner = owner or self._world
        handle = asyncio.Handle(callback, args, self, owner.context.copy())
        self._count += 1
        heapq.heappush(self._timers, (self.now + max(0, span_ms), self._count, handle, owner))
        return handle

    def sleep(self, span_ms: int, owner: Owner | None) -> asyncio.Future[None]:
        """A future that is done when the time has passed for this context."""
        future: asyncio.Future[None] = self.create_future()
        self.after(span_ms, _finish, future, owner=owner)
        return future

    def start(self, owner: Owner, work: Coroutine[Any, Any, Any]) -> SimTask:
        """Run a coroutine inside a context."""
        return self.create_task(work, context=owner.context.copy())

    def kill(self, owner: Owner) -> None:
        owner.dead = True
        owner.queue.clear()
        if owner in self._waiting:
            self._waiting.remove(owner)

    def freeze(self, owner: Owner) -> None:
        owner.frozen = True
        if owner in self._waiting:
            self._waiting.remove(owner)

    def thaw(self, owner: Owner) -> None:
        owner.frozen = False
        if owner.queue and not owner.dead:
            self._waiting.append(owner)

    def run(self, until: Callable[[], bool]) -> None:
        """Run until it is so, or nothing is left that could happen."""
        asyncio._set_running_loop(self)
        try:
            while not until():
                if self._waiting:
                    self._step()
                elif not self._pass_time():
                    return
        finally:
            asyncio._set_running_loop(None)

    def _step(self) -> None:
        waiting = self._waiting
        place = int(self._chance.random() * len(waiting)) if len(waiting) > 1 else 0
        owner = waiting[place]
        handle = owner.queue.popleft()
        if not owner.queue:
            waiting[place] = waiting[-1]
            waiting.pop()
        self.steps += 1
        if self.steps > STEPS_LIMIT:
            raise RuntimeError("Time no longer passes: something turns in circles.")
        if not handle.cancelled():
            handle._run()

    def _pass_time(self) -> bool:
        if not self._timers:
            return False
        self.now = max(self.now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self.now:
            _, _, handle, owner = heapq.heappop(self._timers)
            self._ready(handle, owner)
        return True

    def _ready(self, handle: asyncio.Handle, owner: Owner) -> None:
        if owner.dead:
            return
        owner.queue.append(handle)
        if len(owner.queue) == 1 and not owner.frozen:
            self._waiting.append(owner)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
