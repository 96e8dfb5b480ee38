"""A device: contexts that share a store, an inbox, locks, a channel and a network, each of them as unreliable as it gets."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast import Outbox
from holdfast.errors import StorageClosedError, StorageFullError
from holdfast.ports import Event, InboxEntry
from tests.simulation.laws import Laws
from tests.simulation.locks import EXCUSE_MS, LockService
from tests.simulation.loop import Owner, SimLoop
from tests.simulation.server import Server
from tests.simulation.store import WatchedStore

START = 1_800_000_000_000
DAY_MS = 86_400_000
FRESH_MS = 5_000
"""How long after a thaw a context may still hold a time it took before."""
ASKED_MS = 15_000
"""How long after somebody asked for a look at the server its probes are not counted."""
DECIDED_MS = 1_000
"""How long before a look is made it may have been decided: the waits are measured from there."""


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
        self.sending: Counter[str] = Counter()
        """Requests under way, by queue."""
        self.inside: set[str] = set()
        """Locks granted to it and not given back, whether stolen meanwhile or not."""
        self.lost: dict[str, int] = {}
        """When it gave up a lock that was stolen from it: what it had begun to store may still be committed."""
        self.outbox: Outbox
        self.main: asyncio.Task[Any] | None = None
        self.troubled_at = -EXCUSE_MS
        self.heard_at = -DAY_MS
        """When it was last told who is signed in."""

    @property
    def runs(self) -> bool:
        return not self.dead and not self.frozen


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
        batches: dict[str, int],
        inserted: Callable[[dict[str, Any], Any, list[str]], None],
        robbed: Callable[["Device"], None],
    ) -> None:
        self.number = number
        self.loop = loop
        self.chance = chance
        self.server = server
        self.note = note
        self.fault = fault
        self.describe = describe
        self.leases = leases
        self.robbed = lambda: robbed(self)
        self.weather = Weather()
        self.contexts: list[Context] = []
        self.opened = 0
        self.store = WatchedStore()
        self.inbox: list[InboxEntry] = []
        self.entries = 0
        self.account = "ann"
        self.account_since = 0
        self.session: str | None = "ann"
        self.offset_ms = 0
        self.jumped = False
        self.outages = 0
        self.outage_at: int | None = None
        self.asked_at = -DAY_MS
        self.owed = False
        self.probes: list[int] = []
        self.sync_wanted = False
        self.damaged: set[str] = set()
        self.ambushes = 0
        self.comebacks: list[Context] = []
        self.locks = LockService(self)
        self.concurrency = {name: queue.concurrency for name, queue in describe().queues().items()}
        self.laws = Laws(
            loop=loop,
            fault=fault,
            note=note,
            outage=lambda: self.outages if self.outage_at is not None else 0,
            may_claim=self.may_claim,
            has_left=self.has_left,
            steady=lambda owner: not self.jumped and loop.now - _troubled(owner) > FRESH_MS,
            now=self.now,
            inserted=inserted,
            batches=batches,
        )

    def now(self) -> int:
        return START + self.loop.now + self.offset_ms

    # Contexts

    def may_claim(self, owner: Owner, queue: str) -> bool:
        """Whether it has the queue's lock, or has not heard yet that it was stolen."""
        name = f"sim:queue:{queue}"
        assert isinstance(owner, Context)
        return self.leases or name in owner.inside or self.loop.now - owner.lost.get(name, -DAY_MS) < 1_000

    def has_left(self, owner: Owner, account: str) -> bool:
        """Whether it has heard that the account is no longer signed in; what it had begun to store may still be committed."""
        assert isinstance(owner, Context)
        heard = self.account_since <= owner.heard_at < self.loop.now - 1_000
        return account != self.account and heard and self.loop.now - owner.troubled_at > FRESH_MS

    def tell(self, context: Context, event: Event) -> None:
        """It hears an event, its own or that of another."""
        if event["kind"] == "account":
            context.heard_at = self.loop.now

    def set_account(self, account: str) -> None:
        self.account, self.account_since = account, self.loop.now

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
        if context.dead:
            return
        self.note(context.name, "freezes")
        self.loop.freeze(context)

    def thaw(self, context: Context) -> None:
        if context.dead or not context.frozen:
            return
        self.note(context.name, "thaws")
        context.troubled_at = self.loop.now
        self.asked()
        self.loop.thaw(context)

    def ambush(self, context: Context) -> None:
        """If one was laid: whoever sends is frozen in the act, its locks go to others, and it comes back as they send."""
        while self.comebacks and self.comebacks[0] is not context:
            self.loop.after(self.chance.choice((0, 5, 30)), self.thaw, self.comebacks.pop())
        if not self.ambushes:
            return
        self.ambushes -= 1
        self.comebacks.append(context)
        self.loop.after(self.chance.choice((0, 5, 50)), self.freeze, context)
        self.loop.after(self.chance.choice((60, 1_000)), self.locks.rob, context)
        self.loop.after(20_000, self.thaw, context)

    def trouble(self) -> None:
        for context in self.contexts:
            context.troubled_at = self.loop.now

    def jump(self, span_ms: int) -> None:
        self.note(f"d{self.number}", f"the clock jumps by {span_ms} ms")
        self.offset_ms += span_ms
        self.jumped = True
        self.asked_at = self.loop.now + 60_000  # the leader's next look finds every wait over, once
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

    def asked(self) -> None:
        """Somebody has asked for a look at the server; it may come late, when a lock is free."""
        self.asked_at = self.loop.now
        self.owed = True

    def ended_in_outage(self, begun: int) -> None:
        """A request that had left before the outage has come to nothing: whoever sent it looks at the server."""
        if self.outage_at is not None and begun < self.outage_at:
            self.owed = True

    def probed_in_outage(self) -> None:
        """A look at a server that is not there: two a minute, and one that somebody has asked for or a request has left over."""
        now = self.loop.now
        if self.outage_at is None or now - self.outage_at < 60_000 or now - self.asked_at < ASKED_MS:
            return
        if self.owed:
            self.owed = False
            return
        self.probes.append(now)
        recent = [at for at in self.probes if now - at < 60_000 - DECIDED_MS]
        if len(recent) > 2:
            self.fault(f"{len(recent)} probes within a minute of an outage")

    def damage(self, job_id: str, field: str) -> None:
        """Spoil a stored job behind everybody's back; the mirror keeps it as it was until somebody sets it aside."""
        self.damaged.add(job_id)
        [record] = [record for record in self.store.records("jobs") if record["id"] == job_id]
        self.spoil("jobs", record, field)

    def spoil(self, store: str, record: dict[str, Any], field: str) -> None:
        """The same with any record."""
        named = [record[name] for name in ("id", "name", "queue") if name in record]
        self.note(f"d{self.number}", f"the {field} of {named[0]} is damaged")
        self.store.fill(store, [record | {field: "?"}])
        if store == "queues":
            self.laws.unread.add((record["account"], record["queue"]))

    async def pause(self, context: Context) -> None:
        """An await of a port: some time passes, and the context may die in it."""
        self.dies(context)
        await self.loop.sleep(self.moment(), context)

    def dies(self, context: Context) -> bool:
        """The context may die at any moment of a storm."""
        if self.weather.crash and self.chance.random() < self.weather.crash:
            self.kill(context)
        return context.dead

    def moment(self) -> int:
        return self.chance.choice((0, 0, 1, 5, 30))

    def storage_fails(self, *, writes: bool) -> None:
        weather = self.weather
        if writes and weather.full and self.chance.random() < weather.full:
            self.trouble()
            raise StorageFullError
        if weather.closed and self.chance.random() < weather.closed:
            self.trouble()
            raise StorageClosedError("The connection was lost.")


def _troubled(owner: Owner) -> int:
    return owner.troubled_at if isinstance(owner, Context) else 0
