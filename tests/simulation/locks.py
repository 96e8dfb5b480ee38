"""Locks with the semantics of `navigator.locks`: holders die, freeze and are robbed; a waiting context looks and steals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.held import HeldLock

if TYPE_CHECKING:
    from tests.simulation.device import Context, Device

LOOK_MS = 20_000
EXCUSE_MS = 300_000
"""How long after a freeze, a jump of the clock or failing storage a living holder may lose its lock."""


class Held(HeldLock):
    """A lock while it is held, by whom and since when."""

    def __init__(self, context: Context, since: int, *, stolen: bool) -> None:
        super().__init__(stolen=stolen)
        self.context = context
        self.since = since


@dataclass
class Ask:
    """One request for a lock."""

    context: Context
    name: str
    granted: asyncio.Future[Held]


@dataclass
class LockService:
    """The browser's side: who holds what, who waits for it."""

    device: Device
    held: dict[str, Held] = field(default_factory=dict)
    waiting: dict[str, list[Ask]] = field(default_factory=dict)

    def ask(self, context: Context, name: str) -> Ask:
        ask = Ask(context, name, self.device.loop.create_future())
        self.waiting.setdefault(name, []).append(ask)
        self._grant(name)
        return ask

    def steal(self, context: Context | None, name: str) -> Held | None:
        """Take it from its holder, who hears of it when it runs."""
        robbed = self.held.pop(name, None)
        if robbed is not None:
            self.device.note(robbed.context.name, f"is robbed of {name}" + (f" by {context.name}" if context else ""))
            self.device.loop.after(0, self._tell, robbed, name, owner=robbed.context)
            if robbed.context.frozen:  # it comes back at the worst of moments
                self.device.comebacks.append(robbed.context)
        if context is None:
            self._grant(name)
            return None
        held = self.held[name] = Held(context, self.device.loop.now, stolen=True)
        context.inside.add(name)
        return held

    def rob(self, context: Context) -> None:
        """Somebody steals all its locks."""
        self.device.trouble()
        for name in sorted(name for name, held in self.held.items() if held.context is context):
            self.steal(None, name)
        self.device.robbed()

    def give_up(self, ask: Ask) -> None:
        if ask in self.waiting.get(ask.name, ()):
            self.waiting[ask.name].remove(ask)
        elif ask.granted.done() and not ask.granted.cancelled():
            self.release(ask.name, ask.granted.result())

    def release(self, name: str, held: Held) -> None:
        if self.held.get(name) is held:
            del self.held[name]
            self._grant(name)
        self._outside(held.context, name)

    def forget(self, context: Context) -> None:
        """A context is gone: its locks are free and its requests void."""
        for name, asks in self.waiting.items():
            self.waiting[name] = [ask for ask in asks if ask.context is not context]
        for name, held in list(self.held.items()):
            if held.context is context:
                del self.held[name]
                self._grant(name)

    def _tell(self, robbed: Held, name: str) -> None:
        """It hears of it: what it has begun to store may still be committed, and nothing after that."""
        self._outside(robbed.context, name)
        robbed.context.lost[name] = self.device.loop.now
        robbed.lose()

    def _outside(self, context: Context, name: str) -> None:
        holder = self.held.get(name)
        if holder is None or holder.context is not context:
            context.inside.discard(name)

    def _grant(self, name: str) -> None:
        if name not in self.held and self.waiting.get(name):
            ask = self.waiting[name].pop(0)
            held = self.held[name] = Held(ask.context, self.device.loop.now, stolen=False)
            ask.context.inside.add(name)
            if not ask.granted.done():
                ask.granted.set_result(held)


@dataclass
class SimLocks:
    """The locks as one context sees them; waits, looks and steals as the browser's adapter does."""

    device: Device
    context: Context

    @asynccontextmanager
    async def hold(self, name: str, stale: Callable[[], Awaitable[bool]]) -> AsyncIterator[Held]:
        service = self.device.locks
        ask = service.ask(self.context, name)
        try:
            held = await self._until_granted(ask, stale)
        except BaseException:
            service.give_up(ask)
            raise
        try:
            yield held
        finally:
            service.release(name, held)

    async def _until_granted(self, ask: Ask, stale: Callable[[], Awaitable[bool]]) -> Held:
        looks = 0
        while True:
            timer = self.device.loop.sleep(LOOK_MS, self.context)
            await asyncio.wait((ask.granted, timer), return_when=asyncio.FIRST_COMPLETED)
            if ask.granted.done():
                return ask.granted.result()
            looks = looks + 1 if await stale() else 0
            if looks >= 2 and not ask.granted.done():
                self._check_robbery(ask.name)
                self.device.locks.give_up(ask)
                stolen = self.device.locks.steal(self.context, ask.name)
                assert stolen is not None
                return stolen

    def _check_robbery(self, name: str) -> None:
        holder = self.device.locks.held.get(name)
        if holder is None or holder.context.dead or holder.context.frozen:
            return
        now = self.device.loop.now
        # Two that wait for a frozen holder may find it gone at once: the second robs the first.
        if now - holder.context.troubled_at > EXCUSE_MS and now - holder.since > LOOK_MS:
            self.device.fault(f"{self.context.name} robs {holder.context.name} of {name}, which was alive and well")
