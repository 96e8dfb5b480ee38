"""A device: contexts that share a store, an inbox, locks, a channel and a network, each of them as unreliable as it gets."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from holdfast import Outbox
from holdfast.errors import StorageClosedError, StorageFullError
from holdfast.leases import LeaseLocks
from holdfast.memory import MemoryStore
from holdfast.ports import Answer, Event, InboxEntry, Locks, Ports, Request
from holdfast.storage import Delete, Put, Transaction
from tests.simulation.laws import Change, Laws, Sent
from tests.simulation.loop import Owner, SimLoop
from tests.simulation.server import Server

T = TypeVar("T")
START = 1_800_000_000_000
LOOK_MS = 20_000
DAY_MS = 86_400_000
EXCUSE_MS = 300_000
"""How long after a freeze, a jump of the clock or failing storage a living holder may lose its lock."""
ASKED_MS = 15_000
"""How long after somebody asked for a look at the server its probes are not counted."""


@dataclass
class Weather:
    """How a device's network, storage and contexts behave just now."""

    network: str = "good"
    """good, dead, refused, portal, gateway."""
    slow_ms: int = 100
    lose_request: float = 0.0
    lose_answer: float = 0.0
    crash: float = 0.0
    """At each await of a port."""
    full: float = 0.0
    closed: float = 0.0
    drop_event: float = 0.0


class Context(Owner):
    """A tab or a worker."""

    def __init__(self, name: str, *, page: bool) -> None:
        super().__init__(name)
        self.page = page
        self.listeners: list[Callable[[Event], None]] = []
        self.inside: set[str] = set()
        """Locks granted to it and not given back, whether stolen meanwhile or not."""
        self.outbox: Outbox
        self.main: asyncio.Task[Any] | None = None
        self.troubled_at = -EXCUSE_MS

    @property
    def runs(self) -> bool:
        return not self.dead and not self.frozen


class WatchedStore(MemoryStore):
    """Remembers what each transaction wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[Change] = []

    def _serve(self, request: Any, undo: Any) -> Any:
        if isinstance(request, Put):
            self.changes.append((request.store, "put", request.value))
        elif isinstance(request, Delete):
            self.changes.append((request.store, "delete", request.query))
        return super()._serve(request, undo)

    def commit(self, transaction: Transaction[T]) -> tuple[T, list[Change]]:
        """Run it; what it wrote is told as it was at that moment."""
        self.changes = []
        try:
            self.run(transaction).send(None)
        except StopIteration as end:
            return end.value, self.changes
        raise RuntimeError("A store in memory never waits.")


class Device:
    """Everything that the contexts of one device share."""

    def __init__(
        self,
        number: int,
        *,
        loop: SimLoop,
        chance: random.Random,
        server: Server,
        fault: Callable[[str], None],
        note: Callable[[str, str], None],
        describe: Callable[[], Outbox],
        leases: bool,
        inserted: Callable[[dict[str, Any], Any, list[str]], None],
    ) -> None:
        self.number = number
        self.loop = loop
        self.chance = chance
        self.server = server
        self.note = note
        self.fault = fault
        self.describe = describe
        self.leases = leases
        self.weather = Weather()
        self.contexts: list[Context] = []
        self.opened = 0
        self.store = WatchedStore()
        self.inbox: list[InboxEntry] = []
        self.entries = 0
        self.account = "ann"
        self.session: str | None = "ann"
        self.offset_ms = 0
        self.jumped = False
        self.outages = 0
        self.outage_at: int | None = None
        self.asked_at = -DAY_MS
        self.probes: list[int] = []
        self.sync_wanted = False
        self.locks = LockService(self)
        queues = describe().queues()
        self.laws = Laws(
            loop=loop,
            fault=fault,
            note=note,
            concurrency={name: queue.concurrency for name, queue in queues.items()},
            outage=lambda: self.outages if self.outage_at is not None else 0,
            may_claim=lambda owner, queue: leases or f"sim:queue:{queue}" in getattr(owner, "inside", ()),
            steady=lambda: not self.jumped,
            now=self.now,
            inserted=inserted,
        )

    def now(self) -> int:
        return START + self.loop.now + self.offset_ms

    # Contexts

    def living(self) -> list[Context]:
        return [context for context in self.contexts if not context.dead]

    def running(self, *, page: bool | None = None) -> list[Context]:
        return [c for c in self.contexts if c.runs and (page is None or c.page is page)]

    def open(self, *, page: bool) -> Context:
        self.opened += 1
        name = f"d{self.number}.{'tab' if page else 'worker'}{self.opened}"
        context = Context(name, page=page)
        self.contexts.append(context)
        context.outbox = self.describe()
        self.note(name, "opens")
        return context

    def kill(self, context: Context) -> None:
        """It is gone in the middle of what it was doing."""
        if context.dead:
            return
        self.note(context.name, "dies")
        self.loop.kill(context)
        self.loop.after(self.chance.randrange(50), self.locks.forget, context)

    def freeze(self, context: Context) -> None:
        self.note(context.name, "freezes")
        self.loop.freeze(context)

    def thaw(self, context: Context) -> None:
        self.note(context.name, "thaws")
        context.troubled_at = self.loop.now
        self.asked_at = self.loop.now
        self.loop.thaw(context)

    def trouble(self) -> None:
        for context in self.contexts:
            context.troubled_at = self.loop.now

    def jump(self, span_ms: int) -> None:
        self.note(f"d{self.number}", f"the clock jumps by {span_ms} ms")
        self.offset_ms += span_ms
        self.jumped = True
        self.asked_at = self.loop.now
        self.trouble()

    def set_network(self, network: str) -> None:
        self.note(f"d{self.number}", f"the network is {network}")
        self.weather.network = network
        if network == "good":
            self.outage_at = None
        elif self.outage_at is None:
            self.outages += 1
            self.outage_at = self.loop.now
            self.probes.clear()

    def probed_in_outage(self) -> None:
        """A look at a server that is not there: two a minute, unless somebody has asked for one."""
        now = self.loop.now
        if self.outage_at is None or now - self.outage_at < 60_000 or now - self.asked_at < ASKED_MS:
            return
        self.probes.append(now)
        recent = [at for at in self.probes if now - at < 60_000]
        if len(recent) > 2:
            self.fault(f"{len(recent)} probes within a minute of an outage")

    def ports(self, context: Context) -> Ports:
        store = SimStore(self, context)
        clock = SimClock(self, context)
        entropy = SimEntropy(self.chance)
        locks: Locks = LeaseLocks(store, clock, entropy) if self.leases else SimLocks(self, context)
        return Ports(
            store=store,
            inbox=SimInbox(self, context),
            transport=SimTransport(self, context),
            locks=locks,
            clock=clock,
            entropy=entropy,
            channel=SimChannel(self, context),
            wakeup=SimWakeup(self),
            read_bytes=_read_bytes,
            storage_estimate=_no_estimate,
            offline=lambda: self.weather.network == "dead",
        )

    async def pause(self, context: Context) -> None:
        """An await of a port: some time passes, and the context may die in it."""
        if self.weather.crash and self.chance.random() < self.weather.crash:
            self.kill(context)
        await self.loop.sleep(self.chance.choice((0, 0, 1, 5, 30)), context)

    def storage_fails(self, *, writes: bool) -> None:
        weather = self.weather
        if writes and weather.full and self.chance.random() < weather.full:
            self.trouble()
            raise StorageFullError
        if weather.closed and self.chance.random() < weather.closed:
            self.trouble()
            raise StorageClosedError("The connection was lost.")


async def _read_bytes(handle: Any) -> bytes:
    return bytes(handle)


async def _no_estimate() -> None:
    return None


@dataclass
class SimStore:
    """The store as one context sees it."""

    device: Device
    context: Context

    async def run(self, transaction: Transaction[T]) -> T:
        device = self.device
        await device.pause(self.context)
        device.storage_fails(writes=transaction.durability is not None)
        result, changes = device.store.commit(transaction)
        if changes:
            device.laws.committed(transaction.name, self.context, changes)
        await device.pause(self.context)
        return result

    def close(self) -> None:
        """Nothing to let go."""


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
        self.device.account = account

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
        for other in device.living():
            if other is not self.context and device.chance.random() >= device.weather.drop_event:
                device.loop.after(device.chance.choice((0, 1, 20)), _hear, other, dict(event), owner=other)

    def listen(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        self.context.listeners.append(callback)
        return lambda: self.context.listeners.remove(callback)


def _hear(context: Context, event: Event) -> None:
    for listener in list(context.listeners):
        listener(event)


# Locks, with the semantics of navigator.locks


class Held:
    """A lock while it is held."""

    def __init__(self, context: Context, *, stolen: bool) -> None:
        self.context = context
        self.stolen = stolen
        self.lost = False
        self._callbacks: list[Callable[[], object]] = []

    def on_lost(self, callback: Callable[[], object]) -> None:
        self._callbacks.append(callback)
        if self.lost:
            callback()

    def lose(self) -> None:
        for callback in self._callbacks:
            callback()


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
            robbed.lost = True
            self.device.loop.after(0, robbed.lose, owner=robbed.context)
        if context is None:
            self._grant(name)
            return None
        held = self.held[name] = Held(context, stolen=True)
        context.inside.add(name)
        return held

    def give_up(self, ask: Ask) -> None:
        if ask in self.waiting.get(ask.name, ()):
            self.waiting[ask.name].remove(ask)
        elif ask.granted.done() and not ask.granted.cancelled():
            self.release(ask.name, ask.granted.result())

    def release(self, name: str, held: Held) -> None:
        if self.held.get(name) is held:
            del self.held[name]
            self._grant(name)

    def forget(self, context: Context) -> None:
        """A context is gone: its locks are free and its requests void."""
        for name, asks in self.waiting.items():
            self.waiting[name] = [ask for ask in asks if ask.context is not context]
        for name, held in list(self.held.items()):
            if held.context is context:
                del self.held[name]
                self._grant(name)

    def _grant(self, name: str) -> None:
        if name not in self.held and self.waiting.get(name):
            ask = self.waiting[name].pop(0)
            held = self.held[name] = Held(ask.context, stolen=False)
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
            holder = service.held.get(name)
            if holder is None or holder.context is not self.context:
                self.context.inside.discard(name)

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
        if self.device.loop.now - holder.context.troubled_at > EXCUSE_MS:
            self.device.fault(f"{self.context.name} robs {holder.context.name} of {name}, which was alive and well")


# The network


@dataclass
class SimTransport:
    """The network as one context sees it. A request that has left arrives whatever becomes of its sender."""

    device: Device
    context: Context

    async def send(self, request: Request, progress: Callable[[int, int], None]) -> Answer:
        device, weather, chance = self.device, self.device.weather, self.device.chance
        claims = device.laws.claims
        claim = max((key for key, owner in claims.items() if key[0] == request.job_id and owner is self.context), default=None)
        await device.pause(self.context)
        answered: asyncio.Future[Answer] = device.loop.create_future()
        size = sum(part.size for part in request.parts)
        progress(0, size)
        device.note(self.context.name, f"sends {request.job_id}")
        uplink = chance.randrange(1, weather.slow_ms + 2) + size // 12
        if weather.network == "good":
            if chance.random() < weather.lose_request:
                device.loop.after(uplink, self._answer, answered, Answer(failure="network"))
            else:
                device.loop.after(uplink, self._arrive, request, answered)
        else:
            device.loop.after(chance.choice((1, 100, 60_000)), self._answer, answered, self._nobodys_answer())
        timer = device.loop.sleep(request.timeout_ms, self.context)
        await asyncio.wait((answered, timer), return_when=asyncio.FIRST_COMPLETED)
        await device.pause(self.context)
        answer = answered.result() if answered.done() else Answer(failure="timeout")
        if claim is not None:
            device.laws.sent[claim] = _said(answer)
        return answer

    async def fetch_json(self, url: str, timeout_ms: int) -> Any:
        device = self.device
        device.probed_in_outage()
        await device.pause(self.context)
        await device.loop.sleep(device.chance.randrange(1, device.weather.slow_ms + 2), self.context)
        if device.weather.network == "dead":
            await device.loop.sleep(timeout_ms, self.context)
        lost = device.chance.random() < device.weather.lose_request
        found = device.server.flags() if device.weather.network == "good" and not lost else None
        device.note(self.context.name, f"looks at the server: {'there' if found else 'nobody'}")
        return found

    def _nobodys_answer(self) -> Answer:
        match self.device.weather.network:
            case "portal":
                return Answer(200, {"content-type": "text/html"}, "<h1>Welcome</h1>")
            case "gateway":
                return Answer(503, {"content-type": "text/html", "retry-after": "1"}, "Bad gateway")
            case _:
                return Answer(failure="network")

    def _arrive(self, request: Request, answered: "asyncio.Future[Answer]") -> None:
        """In the world outside: the request has come through, unless the network went down meanwhile."""
        if self.device.weather.network != "good":
            self._answer(answered, self._nobodys_answer())
            return

        def reply(answer: Answer) -> None:
            device = self.device
            lost = device.weather.network != "good" or device.chance.random() < device.weather.lose_answer
            if lost and device.chance.random() < 0.5:
                return  # the sender waits until its time is over
            shown = Answer(failure="network") if lost else answer
            device.loop.after(device.chance.randrange(1, device.weather.slow_ms + 2), self._answer, answered, shown)

        self.device.server.arrive(request, self.device.session, reply)

    def _answer(self, answered: "asyncio.Future[Answer]", answer: Answer) -> None:
        if not answered.done():
            answered.set_result(answer)


def _said(answer: Answer) -> Sent:
    named = "idempotency-key" in answer.headers
    retry_after_ms = int(answer.headers.get("retry-after", "0")) * 1_000 if named else 0
    return Sent(answer.status, receipt=named and 200 <= answer.status < 300, retry_after_ms=retry_after_ms)
