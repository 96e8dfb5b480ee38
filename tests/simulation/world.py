"""One run: a hostile script made from a seed, then good weather until everything is at rest, and a last look at it all."""

import asyncio
import gc
import random
import sys
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast import Outbox
from holdfast.errors import HoldfastError, IllegalMoveError, StorageError, UsageError
from holdfast.job import File
from holdfast.leader import Leader
from holdfast.ports import InboxEntry
from holdfast.transactions.tidy import Retention
from tests.simulation.device import DAY_MS, Context, Device, add_entry
from tests.simulation.laws import WAITS
from tests.simulation.loop import Owner, SimLoop
from tests.simulation.server import Known, Server

QUEUES = {"note": "notes", "memo": "notes", "stop": "halts", "ping": "side", "photo": "side", "tidy": "chores"}
ACCOUNTS = ("ann", "bob")
REST_WITHIN_MS = 5_400_000
"""How long after the last storm an account's jobs may take to come to rest."""
SYNC_RETRIES_MS = (300_000, 900_000)


@dataclass
class Features:
    """What this run has in it: each run a part only, so that rare mixtures come up."""

    devices: int
    leases: bool
    two_accounts: bool
    keys_expire: bool
    crash: float
    storage: float
    loss: float
    slow_ms: int
    clocks: bool
    freezing: bool
    outages: bool
    gates: bool
    people: bool
    inbox: bool
    robbers: bool
    prunes: bool
    kinds: tuple[str, ...]
    types: tuple[str, ...]

    @classmethod
    def draw(cls, chance: random.Random) -> "Features":
        def maybe(share: float) -> bool:
            return chance.random() < share

        keys_expire = maybe(0.2)
        kinds = ["good"] * 6 + [kind for kind in ("slow", "flaky", "refuse", "conflict", "poison") if maybe(0.5)]
        types = [type_ for type_ in QUEUES if maybe(0.6)] or ["note"]
        return cls(
            devices=2 if maybe(0.1) else 1,
            leases=maybe(0.2),
            two_accounts=maybe(0.35),
            keys_expire=keys_expire,
            crash=chance.choice((0.0, 0.0, 0.002, 0.02)),
            storage=chance.choice((0.0, 0.0, 0.02, 0.2)),
            loss=chance.choice((0.0, 0.05, 0.3)),
            slow_ms=chance.choice((20, 500, 20_000)),
            clocks=maybe(0.3) and not keys_expire,
            freezing=maybe(0.5),
            outages=maybe(0.5),
            gates=maybe(0.4),
            people=maybe(0.6),
            inbox=maybe(0.5),
            robbers=maybe(0.2),
            prunes=maybe(0.2),
            kinds=tuple(kinds),
            types=tuple(types),
        )


@dataclass
class Result:
    """How a run went."""

    seed: int
    faults: list[str]
    trace: list[str] = field(default_factory=list)
    simulated_ms: int = 0
    steps: int = 0


class World:
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
        self.server = Server(self.loop, self.known, self.note, self.fault)
        self.features = Features.draw(self.chance)
        self.note("world", str(self.features))
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
                inserted=self.inserted,
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
                outbox.route(type_, "POST", f"/api/{type_}", queue=queue, attempts=attempts, halt=type_ == "stop")
        return outbox

    async def run_task(self, payload: Any) -> None:
        if payload["kind"] in {"poison", "refuse"}:
            raise ValueError("This chore never works.")

    # Contexts

    def open_page(self, device: Device) -> Context:
        context = device.open(page=True)
        device.asked_at = self.loop.now
        context.main = self.loop.start(context, self._page(device, context))
        return context

    async def _page(self, device: Device, context: Context) -> None:
        """What `holdfast.browser.host` does in a page."""
        outbox = context.outbox
        await outbox.open(device.ports(context))
        while True:
            try:
                await outbox.visit()
                break
            except StorageError:
                await self.loop.sleep(1_000, context)

        async def next_wake() -> int | None:
            wake_at: int | None = (await outbox.drain(wake="timer"))["next_wake_at"]
            return wake_at

        await Leader(outbox.ports, outbox.name, next_wake, outbox.listen).run()

    def returns(self, device: Device) -> None:
        """The network is back, or a person looks at the page."""
        device.asked_at = self.loop.now
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
        await worker.outbox.open(device.ports(worker))
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

    def _actions(self) -> list[Callable[[Device], None]]:
        features = self.features
        chosen: list[Callable[[Device], None]] = [self._enqueue] * 8
        chosen += [self._open, self._kill, self._sync, self._look, self._read]
        if features.inbox:
            chosen += [self._submit] * 4
        if features.people:
            chosen += [self._cancel, self._retry, self._edit, self._retry_all, self._cancel, self._edit]
        if features.freezing:
            chosen += [self._freeze, self._freeze, self._doze]
        if features.outages:
            chosen += [self._outage, self._outage]
        if features.gates:
            chosen += [self._pause, self._resume, self._switch_off, self._overload, self._expire_session]
        if features.two_accounts:
            chosen += [self._change_account, self._change_account]
        if features.clocks:
            chosen += [self._jump, self._jump]
        if features.robbers:
            chosen += [self._rob, self._rob]
        if features.prunes or features.keys_expire:
            chosen += [self._wait_long]
        return chosen

    def _act(self, left: int, actions: list[Callable[[Device], None]]) -> None:
        """One thing happens; the next one in a while."""
        if left == 0:
            self._calm_down()
            return
        self.pause_ms = self.chance.choice((0, 10, 300, 3_000, 20_000, 120_000))
        self.chance.choice(actions)(self.chance.choice(self.devices))
        self.loop.after(self.pause_ms, self._act, left - 1, actions)

    def _make(self, device: Device, account: str) -> Known:
        self.made += 1
        type_ = self.chance.choice(self.features.types)
        kind = self.chance.choice(self.features.kinds)
        job_id = f"j{self.made}"
        known = Known(job_id, f"key-{job_id}", type_, QUEUES[type_], account, {"n": self.made, "kind": kind}, kind, device.number)
        self.known[known.key] = self.by_id[job_id] = known
        return known

    def _options(self) -> dict[str, Any]:
        chance = self.chance
        options: dict[str, Any] = {}
        if chance.random() < 0.4:
            options["lane"] = chance.choice("xy")
        if chance.random() < 0.3:
            options["priority"] = chance.randrange(10)
        if chance.random() < 0.2:
            options["delay_ms"] = chance.choice((50, 5_000, 200_000))
        if chance.random() < 0.15:
            options["ttl_ms"] = chance.choice((100, 30_000, 400_000))
        return options

    def _enqueue(self, device: Device) -> None:
        contexts = device.running()
        if not contexts:
            self._submit(device)
            return
        context = self.chance.choice(contexts)
        for _ in range(self.chance.choice((1, 1, 1, 4))):
            known = self._make(device, device.account)
            size = self.chance.choice((0, 1_000, 1_500_000)) if known.type == "photo" else 0
            files = [File("files", "a.jpg", "image/jpeg", size, b"")] if size else []
            options = self._options()

            async def add(known: Known = known, files: list[File] = files, options: dict[str, Any] = options) -> None:
                await context.outbox.enqueue(
                    known.type, known.payload, id=known.id, key=known.key, attachments=files, **options
                )
                known.accepted = True
                self.note(context.name, f"accepted {known.id}")

            self.ask(context, f"enqueues {known.id} {known.type} {known.kind} {options}", add)

    def _submit(self, device: Device) -> None:
        """JavaScript takes a form before Python can."""
        known = self._make(device, device.account)
        taken_at = device.now()
        options = self._options()
        entry = InboxEntry(
            0, known.id, known.key, known.type, known.account, taken_at, None, known.payload, options, []
        )
        add_entry(device, entry)
        known.accepted = True
        self.note(f"d{device.number}.js", f"takes {known.id} {known.type} {known.kind} {options}")
        for context in device.living():
            self.loop.after(1, self._tell, context, known.id, owner=context)

    @staticmethod
    def _tell(context: Context, job_id: str) -> None:
        for listener in list(context.listeners):
            listener({"kind": "inbox", "id": job_id})

    def _person(self, device: Device) -> tuple[Context, str] | None:
        pages = device.running(page=True)
        ids = [job_id for job_id in device.laws.jobs if device.laws.jobs[job_id]["account"] == device.account]
        if not pages or not ids:
            return None
        device.asked_at = self.loop.now
        return self.chance.choice(pages), self.chance.choice(ids)

    def _cancel(self, device: Device) -> None:
        if found := self._person(device):
            page, job_id = found
            self.ask(page, f"cancels {job_id}", lambda: page.outbox.cancel(job_id))

    def _retry(self, device: Device) -> None:
        if found := self._person(device):
            page, job_id = found
            self.ask(page, f"retries {job_id}", lambda: page.outbox.retry(job_id))

    def _retry_all(self, device: Device) -> None:
        if found := self._person(device):
            page, _ = found
            self.ask(page, "retries all", lambda: page.outbox.retry_all())

    def _edit(self, device: Device) -> None:
        if not (found := self._person(device)):
            return
        page, job_id = found
        old = self.by_id[job_id]
        self.made += 1
        kind = self.chance.choice(self.features.kinds)
        payload = {"n": self.made, "kind": kind}
        fresh = Known("", "", old.type, old.queue, old.account, payload, kind, device.number)
        self.edits[self.made] = fresh

        async def edit() -> None:
            accepted = await page.outbox.edit(job_id, payload)
            if accepted.id != fresh.id:
                self.fault(f"the edit of {job_id} was stored as {fresh.id!r} and told as {accepted.id}")
            fresh.accepted = True
            self.note(page.name, f"{accepted.id} replaces {job_id}")

        self.ask(page, f"edits {job_id}", edit)

    def inserted(self, record: dict[str, Any], payload: Any, replaced: list[str]) -> None:
        """A job is new in the store: who it belongs to is settled, and an edited one has its id."""
        known = self.by_id.get(record["id"])
        if known is None:
            known = self.edits[payload["n"]]
            known.id, known.key = record["id"], record["key"]
            self.known[known.key] = self.by_id[known.id] = known
            for old in replaced:
                if self.server.runs(self.by_id[old].key):
                    self.fault(f"{old} was replaced though the server has it")
        elif not known.accepted:
            known.account = record["account"]  # whoever was signed in as it was stored
        if (record["key"], record["account"], payload) != (known.key, known.account, known.payload):
            self.fault(f"{record['id']} was stored with other content than was handed over")

    def _open(self, device: Device) -> None:
        if len(device.running(page=True)) < 3:
            self.open_page(device)

    def _kill(self, device: Device) -> None:
        if living := device.living():
            device.kill(self.chance.choice(living))
            if self.chance.random() < 0.5:
                self.loop.after(self.chance.choice((100, 5_000)), self._open, device)

    def _sync(self, device: Device) -> None:
        if device.sync_wanted:
            self.sync(device)

    def _look(self, device: Device) -> None:
        self.returns(device)

    def _read(self, device: Device) -> None:
        if pages := device.running(page=True):
            page = self.chance.choice(pages)
            self.ask(page, "lists jobs", lambda: page.outbox.jobs())
            self.ask(page, "asks for figures", lambda: page.outbox.stats())

    def _freeze(self, device: Device) -> None:
        if running := device.running():
            context = self.chance.choice(running)
            device.freeze(context)
            after = self.chance.choice((5_000, 90_000, 200_000, 7_200_000))
            self.loop.after(after, self._thaw, device, context)

    def _thaw(self, device: Device, context: Context) -> None:
        if context.frozen and not context.dead:
            device.thaw(context)

    def _doze(self, device: Device) -> None:
        """The whole device sleeps, and wakes."""
        after = self.chance.choice((30_000, 600_000, 10_000_000))
        for context in device.running():
            device.freeze(context)
            self.loop.after(after, self._thaw, device, context)

    def _outage(self, device: Device) -> None:
        if device.weather.network == "good":
            device.set_network(self.chance.choice(("dead", "refused", "portal", "gateway")))
            self.loop.after(self.chance.choice((5_000, 60_000, 600_000, 3_600_000)), self._clear_up, device)

    def _clear_up(self, device: Device) -> None:
        if device.weather.network != "good":
            device.set_network("good")
            if self.chance.random() < 0.5:
                self.returns(device)

    def _pause(self, device: Device) -> None:
        self._gate(device, "pauses", lambda outbox, what: outbox.pause(**what))

    def _resume(self, device: Device) -> None:
        self._gate(device, "resumes", lambda outbox, what: outbox.resume(**what))

    def _gate(self, device: Device, does: str, verb: Callable[[Outbox, dict[str, str]], Awaitable[Any]]) -> None:
        if pages := device.running(page=True):
            page = self.chance.choice(pages)
            what = self.chance.choice(({}, {"queue": "notes"}, {"queue": "side"}, {"type_": "note"}, {"type_": "ping"}))
            self.ask(page, f"{does} {what or 'all'}", lambda: verb(page.outbox, dict(what)))

    def _switch_off(self, _device: Device) -> None:
        off = self.chance.choice(({"all": True}, {"queues": ["notes"]}, {"types": ["ping", "memo"]}))
        self.note("server", f"switches off {off}")
        self.server.disabled = {"all": False, "queues": [], "types": []} | off
        self.loop.after(self.chance.choice((10_000, 300_000)), self._switch_on)

    def _switch_on(self) -> None:
        self.note("server", "switches everything on")
        self.server.disabled = {"all": False, "queues": [], "types": []}

    def _overload(self, _device: Device) -> None:
        self.note("server", "is overloaded")
        self.overloads += 1
        self.server.overloaded = True
        self.loop.after(self.chance.choice((5_000, 120_000)), self._relieve)

    def _relieve(self) -> None:
        self.server.overloaded = False

    def _expire_session(self, device: Device) -> None:
        self.note("server", f"ends the session of {device.session}")
        device.session = None
        self.loop.after(self.chance.choice((1_000, 120_000)), self._sign_in, device, device.account)

    def _change_account(self, device: Device) -> None:
        self._sign_in(device, "bob" if device.account == "ann" else "ann")

    def _sign_in(self, device: Device, account: str) -> None:
        if not (pages := device.running(page=True)):
            return
        page = self.chance.choice(pages)

        async def sign_in() -> None:
            if device.account not in {"", account}:
                device.session = None
                await page.outbox.sign_out()
            await self.loop.sleep(self.chance.choice((0, 500)), page)
            device.session = account
            await page.outbox.sign_in(account)

        self.ask(page, f"signs in {account}", sign_in)

    def _jump(self, device: Device) -> None:
        device.jump(self.chance.choice((-DAY_MS, DAY_MS, -3_600_000, 3_600_000, -90_000)))

    def _rob(self, device: Device) -> None:
        if held := sorted(device.locks.held):
            device.trouble()
            device.locks.steal(None, self.chance.choice(held))

    def _wait_long(self, _device: Device) -> None:
        self.pause_ms = self.chance.choice((4_000_000, 9_000_000))

    # Good weather

    def _calm_down(self) -> None:
        self.note("world", "good weather from now on")
        self._switch_on()
        self._relieve()
        for device in self.devices:
            device.weather.crash = device.weather.full = device.weather.closed = device.weather.drop_event = 0.0
            device.weather.lose_request = device.weather.lose_answer = 0.0
            device.weather.slow_ms = min(device.weather.slow_ms, 500)
            if device.weather.network != "good":
                device.set_network("good")
            for context in device.living():
                self._thaw(device, context)
            if not device.running(page=True):
                self.open_page(device)
        self.loop.start(self.script, self._to_rest())

    async def _to_rest(self) -> None:
        """Everybody signs in once more and sees the queue come to rest."""
        try:
            for device in self.devices:
                for account in ACCOUNTS[: 2 if self.features.two_accounts else 1]:
                    await self._rest(device, account)
                await self._last_look(device)
            self._orders()
            self.over = True
        except Exception as error:  # noqa: BLE001  (a fault of the simulation itself must not look like a pass)
            self.fault(f"the last look failed: {error!r}")

    async def _rest(self, device: Device, account: str) -> None:
        page = device.running(page=True)[0]
        device.session = account
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
        laws = device.laws
        stored = {record["id"]: record for record in device.store.records("jobs")}
        if stored != laws.jobs:
            self.fault("the mirror of the store is not the store")
        bodies = {body["id"]: body["payload"] for body in device.store.records("bodies")}
        waiting = {entry.id for entry in device.inbox}
        for known in self.by_id.values():
            if known.device != device.number:
                continue
            record = stored.get(known.id)
            if known.accepted and record is None and known.id not in waiting and known.id not in laws.pruned:
                self.fault(f"{known.id} was accepted and is lost")
            if record is None:
                continue
            if record["state"] not in {"completed", "cancelled"} and bodies.get(known.id) != known.payload:
                self.fault(f"the content of {known.id} is lost")
            if not laws.is_task(record):
                times = self.server.done.get(known.key, 0)
                if record["state"] == "completed" and times != 1:
                    self.fault(f"{known.id} is completed and took effect {times} times")
                if record["state"] == "failed":
                    self._has_cause(device, known, record)
        for page in device.running(page=True):
            if page.main is not None and page.main.done():
                self.fault(f"{page.name} has stopped to stand for leader")
        page = device.running(page=True)[0]
        rows = await self._in(page, lambda: page.outbox.jobs(limit=1_000))
        account = device.account
        listed = {(row["id"], row["state"], row["reason"]) for row in rows}
        there = {(job, r["state"], r["reason"]) for job, r in stored.items() if r["account"] == account}
        if listed != there:
            self.fault(f"listed are {sorted(listed - there)} too many and {sorted(there - listed)} too few")
        figures = await self._in(page, lambda: page.outbox.stats())
        for state, number in figures["states"].items():
            if number != sum(r["state"] == state for r in stored.values() if r["account"] == account):
                self.fault(f"the statistics say {number} {state}")

    def _has_cause(self, device: Device, known: Known, record: dict[str, Any]) -> None:
        """What fails for good has a reason in the script."""
        features = self.features
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
                if error is not None and not isinstance(error, HoldfastError):
                    self.fault(f"a task raised {error!r}")
                elif isinstance(error, IllegalMoveError | UsageError):
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
