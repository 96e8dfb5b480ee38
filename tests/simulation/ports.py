"""The rest of the outside of one context: clock, chance, inbox, channel, wakes; and all of it put together."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.leases import LeaseLocks
from holdfast.ports import Event, InboxEntry, Locks, Ports
from tests.simulation.locks import SimLocks
from tests.simulation.network import SimTransport
from tests.simulation.store import SimStore

if TYPE_CHECKING:
    from tests.simulation.device import Context, Device


def ports_of(device: Device, context: Context) -> Ports:
    """The whole outside of one context."""
    store = SimStore(device, context)
    clock = SimClock(device, context)
    entropy = SimEntropy(device.chance)
    locks: Locks = LeaseLocks(store, clock, entropy) if device.leases else SimLocks(device, context)
    return Ports(
        store=store,
        inbox=SimInbox(device, context),
        transport=SimTransport(device, context),
        locks=locks,
        clock=clock,
        entropy=entropy,
        channel=SimChannel(device, context),
        wakeup=SimWakeup(device),
        read_bytes=_read_bytes,
        storage_estimate=_no_estimate,
        offline=lambda: device.weather.network == "dead",
    )


async def _read_bytes(handle: Any) -> bytes:
    return bytes(handle)


async def _no_estimate() -> None:
    return None


@dataclass
class SimClock:
    device: Device
    context: Context

    def now(self) -> int:
        return self.device.now()

    async def sleep(self, span_ms: int) -> None:
        await self.device.loop.sleep(span_ms, self.context)


@dataclass
class SimEntropy:
    chance: random.Random

    def random(self) -> float:
        return self.chance.random()

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))


@dataclass
class SimInbox:
    """The inbox as one context sees it; `Device.inbox` is what JavaScript adds to."""

    device: Device
    context: Context

    async def count(self) -> int:
        await self.device.pause(self.context)
        self.device.storage_fails(writes=False)
        return len(self.device.inbox)

    async def look(self) -> tuple[str, int]:
        await self.device.pause(self.context)
        self.device.storage_fails(writes=False)
        return self.device.account, len(self.device.inbox)

    async def entries(self, limit: int) -> list[InboxEntry]:
        await self.device.pause(self.context)
        found = self.device.inbox[:limit]
        await self.device.pause(self.context)
        return found

    async def remove(self, positions: Sequence[int]) -> None:
        device = self.device
        await device.pause(self.context)
        device.storage_fails(writes=False)
        for entry in device.inbox:
            if entry.position in positions and entry.id not in device.laws.jobs and entry.id not in device.laws.pruned:
                device.fault(f"the entry {entry.id} was removed before its job was stored")
        device.inbox = [entry for entry in device.inbox if entry.position not in positions]
        await device.pause(self.context)

    async def append(self, entry: InboxEntry) -> None:
        await self.device.pause(self.context)
        add_entry(self.device, entry)
        await self.device.pause(self.context)

    async def account(self) -> str:
        await self.device.pause(self.context)
        return self.device.account

    async def set_account(self, account: str) -> None:
        await self.device.pause(self.context)
        self.device.set_account(account)

    async def wipe_drafts(self) -> None:
        await self.device.pause(self.context)


def add_entry(device: Device, entry: InboxEntry) -> None:
    """What both JavaScript and Python do: an entry whose id is there already stays as it is."""
    if all(known.id != entry.id for known in device.inbox):
        device.entries += 1
        fields = {name: getattr(entry, name) for name in InboxEntry.__slots__}
        device.inbox.append(InboxEntry(**(fields | {"position": device.entries})))


@dataclass
class SimWakeup:
    device: Device

    def request(self) -> None:
        self.device.sync_wanted = True


@dataclass
class SimChannel:
    device: Device
    context: Context

    def post(self, event: Event) -> None:
        device = self.device
        device.tell(self.context, event)
        for other in device.living():
            if other is not self.context and device.chance.random() >= device.weather.drop_event:
                device.loop.after(device.chance.choice((0, 1, 20)), _hear, device, other, dict(event), owner=other)

    def listen(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        self.context.listeners.append(callback)
        return lambda: self.context.listeners.remove(callback)


def _hear(device: Device, context: Context, event: Event) -> None:
    device.tell(context, event)
    for listener in list(context.listeners):
        listener(event)
