"""One run: a hostile script made from a seed, then good weather until everything is at rest, and a last look at it all."""

import gc
import random
import sys
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast import Outbox
from holdfast.errors import HoldfastError, IllegalMoveError, StorageError, UsageError
from holdfast.leader import Leader
from holdfast.soundness import damage_of
from holdfast.transactions.tidy import Retention
from tests.simulation.device import Context, Device
from tests.simulation.features import QUEUES, Features
from tests.simulation.laws import WAITS
from tests.simulation.loop import Owner, SimLoop
from tests.simulation.ports import ports_of
from tests.simulation.script import Script
from tests.simulation.server import Known, Server

ACCOUNTS = ("ann", "bob")
REST_WITHIN_MS = 5_400_000
"""How long after the last storm an account's jobs may take to come to rest."""
PROMPT_MS = 15_000
"""How long a job may take with nothing in the way."""
SLOW_MS = 20_000
"""What a slow job takes longer than that, at most."""
SYNC_RETRIES_MS = (300_000, 900_000)


@dataclass
class Result:
    """How a run went."""

    seed: int
    faults: list[str]
    trace: list[str] = field(default_factory=list)
    simulated_ms: int = 0
    steps: int = 0


class World(Script):
    """Devices and a server for one seed."""

    def __init__(self, seed: int, *, traced: bool) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.loop = SimLoop(self.chance)
        self.faults: list[str] = []
        self.trace: list[str] = []
        self.traced = traced
        self.known: dict[str, Known] = {}
        self.by_id: dict[str, Known] = {}
        self.features = Features.draw(self.chance)
        self.server = Server(self.loop, self.known, self.note, self.fault, takes_batches=self.features.takes_batches)
        self.note("world", str(self.features))
        self.calm = False
        self.over = False
        self.made = 0
        self.pause_ms = 0
        self.overloads = 0
        self.edits: dict[int, Known] = {}
        """Jobs that replace others, by the number in their payload, until the engine has given them an id."""
        self.script = Owner("script")
        if self.features.keys_expire:
            self.server.key_lifetime_ms = self.chance.choice((600_000, 3_600_000))
        self.devices = [
            Device(
                number,
                loop=self.loop,
                chance=self.chance,
                server=self.server,
                fault=self.fault,
                note=self.note,
                describe=self.describe,
                leases=self.features.leases,
                batches=self.features.batches,
                inserted=self.inserted,
                robbed=self.others_go_on,
            )
            for number in range(self.features.devices)
        ]
        for device in self.devices:
            weather = device.weather
            weather.crash, weather.slow_ms = self.features.crash, self.features.slow_ms
            weather.lose_request = weather.lose_answer = self.features.loss
            weather.full = weather.closed = self.features.storage
            weather.drop_event = 0.2

    def note(self, who: str, what: str) -> None:
        if self.traced:
            self.trace.append(f"{self.loop.now / 1000:12.3f} {who:<12} {what}")

    def fault(self, what: str) -> None:
        self.note("LAW", what)
        self.faults.append(what)

    def describe(self) -> Outbox:
        retention = Retention(finished_ms=0, finished_count=3) if self.features.prunes else None
        outbox = Outbox("sim", app_version=1, retention=retention)
        outbox.queue("side", concurrency=3)
        for type_, queue in QUEUES.items():
            if type_ == "tidy":
                outbox.task(type_, queue=queue, attempts=3)(self.run_task)
            else:
                attempts = 4 if type_ == "memo" else 8
                batch = self.features.batches.get(type_, False)
                halt = type_ == "stop"
                outbox.route(type_, "POST", f"/api/{type_}", queue=queue, attempts=attempts, halt=halt, batch=batch)
        return outbox

    async def run_task(self, payload: Any) -> None:
        if payload["kind"] in {"poison", "refuse"}:
            raise ValueError("This chore never works.")

    # Contexts

    def open_page(self, device: Device) -> Context:
        context = device.open(page=True)
        device.asked()
        context.main = self.loop.start(context, self._page(device, context))
        return context

    async def _page(self, device: Device, context: Context) -> None:
        """What `holdfast.browser.host` does in a page."""
        outbox = context.outbox
        await outbox.open(ports_of(device, context))
        while True:
            try:
                await outbox.visit()
                device.asked()
                break
            except StorageError:
                await self.loop.sleep(1_000, context)

        await Leader(outbox.ports, outbox.name, outbox.wake, outbox.listen).run()

    def returns(self, device: Device) -> None:
        """The network is back, or a person looks at the page."""
        device.asked()
        for page in device.running(page=True):
            self.ask(page, "looks again", lambda page=page: page.outbox.drain(wake="person"))

    def sync(self, device: Device, tries: int = 0) -> None:
        """The platform fires its event: a living page is asked, else a worker starts, and may be stopped at any time."""
        device.sync_wanted = False
        pages = device.running(page=True)
        if pages:
            self.ask(pages[0], "is asked to drain", lambda: pages[0].outbox.drain(timeout_ms=30_000, wake="wake"))
            return
        worker = device.open(page=False)
        self.loop.start(worker, self._work(device, worker, tries))
        self.loop.after(self.chance.choice((500, 5_000, 60_000, 180_000)), device.kill, worker)

    async def _work(self, device: Device, worker: Context, tries: int) -> None:
        await worker.outbox.open(ports_of(device, worker))
        try:
            drained = await worker.outbox.drain(timeout_ms=25_000, wake="wake")
        except StorageError:
            drained = {"remaining": True}
        if drained["remaining"] and tries < len(SYNC_RETRIES_MS):
            self.loop.after(SYNC_RETRIES_MS[tries], self.sync, device, tries + 1)

    def ask(self, context: Context, what: str, action: Callable[[], Awaitable[Any]]) -> None:
        """Somebody does something in a context; what the API refuses by name is an answer, not a fault."""
        self.note(context.name, what)

        async def act() -> None:
            try:
                await action()
            except (IllegalMoveError, UsageError) as error:
                self.fault(f"{what}: {error!r}")
            except HoldfastError as error:
                self.note(context.name, f"{what}: {type(error).__name__}: {error}")

        self.loop.start(context, act())

    # The script

    def run(self) -> None:
        for device in self.devices:
            self.open_page(device)
        self._act(self.chance.randrange(15, 35), self._actions())
        self.loop.run(until=lambda: self.over or bool(self.faults))
        self._look_at_errors()
        if not self.over and not self.faults:
            self.fault("nothing is left that could happen, and not everything is at rest")

    # Good weather

    def _calm_down(self) -> None:
        self.note("world", "good weather from now on")
        self.calm = True
        self._switch_on()
        self._relieve()
        for device in self.devices:
            device.weather.crash = device.weather.full = device.weather.closed = device.weather.drop_event = 0.0
            device.weather.lose_request = device.weather.lose_answer = 0.0
            device.weather.slow_ms = min(device.weather.slow_ms, 500)
            device.ambushes = 0
            if device.weather.network != "good":
                device.set_network("good")
            for context in device.living():
                device.thaw(context)
            if not device.running(page=True):
                self.open_page(device)
        self.loop.start(self.script, self._to_rest())

    async def _to_rest(self) -> None:
        """Everybody signs in once more and sees the queue come to rest."""
        try:
            await self.loop.sleep(60_000, self.script)  # what people have begun is done by then
            for device in self.devices:
                for account in (*ACCOUNTS, "") if self.features.two_accounts else ACCOUNTS[:1]:
                    await self._rest(device, account)
                await self._last_look(device)
            self._orders()
            self.over = True
        except Exception as error:  # noqa: BLE001  (a fault of the simulation itself must not look like a pass)
            self.fault(f"the last look failed: {error!r}")

    async def _rest(self, device: Device, account: str) -> None:
        page = device.running(page=True)[0]
        device.session = account
        if device.account != account or f"hold:{account}" in device.laws.gates:
            await self._in(page, lambda: page.outbox.sign_in(account))
        for gate in list(device.laws.gates):
            _, _, what = gate.partition("pause:")
            if what:
                kind, _, name = what.partition(":")
                words = {} if kind == "all" else {"queue" if kind == "queue" else "type_": name}
                await self._in(page, lambda words=words: page.outbox.resume(**words))
        end = self.loop.now + REST_WITHIN_MS
        while moving := self._moving(device, account):
            if self.loop.now > end:
                self.fault(f"not at rest: {', '.join(moving)}; gates {sorted(device.laws.gates)}")
                return
            await self.loop.sleep(2_000, self.script)
        self.note(f"d{device.number}", f"{account} is at rest")
        await self._prompt(device, page, account)

    async def _prompt(self, device: Device, page: Context, account: str) -> None:
        """With nothing in the way, what is enqueued during a long send goes at once in the lanes that are free."""
        busy = any(record["state"] == "processing" for record in device.laws.jobs.values())
        if busy or "breaker:" in device.laws.gates:
            return  # a request of another account is still under way, or nobody has looked at the server yet
        last = [self._make(device, account, "ping", kind) for kind in ("slow", "good", "good")]
        for known in last:

            async def add(known: Known = known) -> None:
                await page.outbox.enqueue("ping", known.payload, id=known.id, key=known.key, lane=known.id)

            await self._in(page, add)
            known.accepted = True
            await self.loop.sleep(self.chance.choice((0, 30, 100, 300)), self.script)
        await self.loop.sleep(PROMPT_MS, self.script)
        for known in last[1:]:
            record = device.laws.jobs.get(known.id)
            if record is not None and record["state"] != "completed":
                self.fault(
                    f"{known.id} is still {record['state']} after {PROMPT_MS} ms; gates {sorted(device.laws.gates)}"
                )
        await self.loop.sleep(SLOW_MS, self.script)

    def _moving(self, device: Device, account: str) -> list[str]:
        laws = device.laws
        halted = {
            (record["account"], record["queue"], record["lane_key"])
            for record in laws.jobs.values()
            if "place" in record and record["state"] not in WAITS
        }
        moving = [entry.id for entry in device.inbox]
        for job_id, record in laws.jobs.items():
            lane = (record["account"], record["queue"], record["lane_key"])
            if record["account"] == account and record["state"] in WAITS and lane not in halted:
                moving.append(job_id)
        return moving

    async def _in(self, context: Context, action: Callable[[], Awaitable[Any]]) -> Any:
        """Do something in a context and wait for it here."""

        async def act() -> Any:
            return await action()

        return await self.loop.start(context, act())

    async def _last_look(self, device: Device) -> None:
        stored = {record["id"]: record for record in device.store.records("jobs")}
        unread = {job_id for job_id in device.damaged & stored.keys() if damage_of(stored[job_id])}
        if stored != device.laws.jobs | {job_id: stored[job_id] for job_id in unread}:
            self.fault("the mirror of the store is not the store")
        self._nothing_lost(device)
        for page in device.running(page=True):
            if page.main is not None and page.main.done():
                self.fault(f"{page.name} has stopped to stand for leader")
        page = device.running(page=True)[0]
        before = None
        while before != device.laws.jobs:  # a drain may prune while we look
            before = dict(device.laws.jobs)
            rows = await self._in(page, lambda: page.outbox.jobs(limit=1_000))
            figures = await self._in(page, page.outbox.stats)
        there = [record for record in device.laws.jobs.values() if record["account"] == device.account]
        public = {(record["id"], record["state"], record["reason"]) for record in there}
        listed = {(row["id"], row["state"], row["reason"]) for row in rows}
        if listed != public:
            self.fault(f"listed are {sorted(listed - public)} too many and {sorted(public - listed)} too few")
        for state, number in figures["states"].items():
            if number != sum(record["state"] == state for record in there):
                self.fault(f"the statistics say {number} {state}")

    def _nothing_lost(self, device: Device) -> None:
        laws = device.laws
        bodies = {body["id"]: body["payload"] for body in device.store.records("bodies")}
        waiting = {entry.id for entry in device.inbox}
        for known in self.by_id.values():
            if known.device != device.number:
                continue
            record = laws.jobs.get(known.id)
            if record is None:
                if known.accepted and known.id not in waiting and known.id not in laws.pruned:
                    self.fault(f"{known.id} was accepted and is lost")
                continue
            if record["state"] not in {"completed", "cancelled"} and bodies.get(known.id) != known.payload:
                self.fault(f"the content of {known.id} is lost")
            times = self.server.done.get(known.key, 0)
            if record["state"] == "completed" and times != 1 and not laws.is_task(record):
                self.fault(f"{known.id} is completed and took effect {times} times")
            if record["state"] == "failed" and not laws.is_task(record):
                self._has_cause(device, known, record)

    def _has_cause(self, device: Device, known: Known, record: dict[str, Any]) -> None:
        """What fails for good has a reason in the script."""
        features = self.features
        if record["reason"] == "undecodable" and known.id in device.damaged:
            return
        if record["reason"] == "outcome_unknown" and features.keys_expire:
            return
        if record["reason"] == "crashed" and any(context.dead for context in device.contexts):
            return
        rough = features.loss or self.overloads or features.slow_ms > 1_000
        if known.kind in {"good", "slow"} and not rough:
            self.fault(f"{known.id} is {known.kind}, and failed as {record['reason']}")

    def _orders(self) -> None:
        """In each lane, what went straight from enqueue to receipt took effect in order."""
        at = {effect.key: number for number, effect in reversed(list(enumerate(self.server.effects)))}
        for device in self.devices:
            lanes: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
            for job_id, record in device.laws.jobs.items():
                straight = device.laws.moved[job_id] <= {"pending", "processing", "completed"}
                if straight and record["key"] in at and self.by_id[job_id].payload["n"] not in self.edits:
                    lane = (record["account"], record["queue"], record["lane_key"])
                    lanes.setdefault(lane, []).append(record)
            for lane, jobs in lanes.items():
                jobs.sort(key=lambda record: int(record["seq"]))
                order = [at[record["key"]] for record in jobs]
                if order != sorted(order):
                    self.fault(f"the lane {lane} took effect as {order}: {[record['id'] for record in jobs]}")

    def _look_at_errors(self) -> None:
        for error in self.loop.errors:
            self.fault(f"a callback raised {error}")
        for task in self.loop.tasks:
            if task.done() and not task.cancelled():
                error = task.exception()
                if (error is not None and not isinstance(error, HoldfastError)) or isinstance(
                    error, IllegalMoveError | UsageError
                ):
                    self.fault(f"a task raised {error!r}")


def simulate(seed: int, *, traced: bool = False) -> Result:
    """One run. What it leaves behind is thrown away in silence: contexts that died in the middle of something."""
    world = World(seed, traced=traced)
    collects = gc.isenabled()
    gc.disable()
    try:
        try:
            world.run()
        except Exception as error:  # noqa: BLE001  (whatever ends a run is a finding)
            world.fault(f"the run ended by {error!r}")
        return Result(seed, world.faults, world.trace, world.loop.now, world.loop.steps)
    finally:
        hook, sys.unraisablehook = sys.unraisablehook, lambda _unraisable: None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            world.loop.tasks.clear()
            del world
            gc.collect()
        sys.unraisablehook = hook
        if collects:
            gc.enable()
