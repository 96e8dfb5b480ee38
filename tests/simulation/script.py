"""What people, pages, the platform and the weather do in a run, in any order."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast import Outbox
from holdfast.job import File
from holdfast.ports import InboxEntry
from tests.simulation.device import DAY_MS, Context, Device
from tests.simulation.features import QUEUES, Features
from tests.simulation.loop import SimLoop
from tests.simulation.ports import add_entry
from tests.simulation.server import Known, Server

DAMAGED = ("run_at", "attempts", "wait_ms", "expires_at", "fence", "app_version", "said", "halt", "unknown_since")
"""Fields that no law holds a job to for life, and no index but that of the heads."""
DAMAGED_OF_QUEUE = ("last_place", "states", "retries", "failures", "latency", "last_received_at")
DAMAGED_OF_GATE = {"breaker": "open_until", "flags": "flags", "hold": "since", "pause": "since", "one by one": "since"}
"""A field of each kind of gate."""


class Script:
    """The actions; `World` carries them out."""

    loop: SimLoop
    chance: random.Random
    server: Server
    features: Features
    devices: list[Device]
    known: dict[str, Known]
    by_id: dict[str, Known]
    edits: dict[int, Known]
    note: Callable[[str, str], None]
    fault: Callable[[str], None]
    ask: Callable[[Context, str, Callable[[], Awaitable[Any]]], None]
    open_page: Callable[[Device], Context]
    returns: Callable[[Device], None]
    sync: Callable[[Device], None]
    calm: bool
    made: int
    overloads: int
    pause_ms: int

    def _actions(self) -> list[Callable[[Device], None]]:
        features = self.features
        chosen: list[Callable[[Device], None]] = [self._enqueue] * 8
        chosen += [self._open, self._kill, self._sync, self._look, self._read]
        sometimes: list[tuple[bool, list[Callable[[Device], None]]]] = [
            (features.inbox, [self._submit] * 4),
            (
                features.people,
                [self._cancel, self._retry, self._edit, self._retry_all, self._cancel, self._edit],
            ),
            (features.freezing, [self._freeze, self._freeze, self._doze]),
            (features.outages, [self._outage, self._outage]),
            (
                features.gates,
                [self._pause, self._resume, self._switch_off, self._overload, self._expire_session],
            ),
            (features.two_accounts, [self._change_account, self._change_account]),
            (features.clocks, [self._jump, self._jump]),
            (features.robbers, [self._rob, self._lay_ambush, self._lay_ambush]),
            (features.damage, [self._damage, self._damage, self._damage_queue, self._damage_gate]),
            (features.prunes or features.keys_expire, [self._wait_long]),
        ]
        for has, actions in sometimes:
            chosen += actions if has else []
        return chosen

    def _act(self, left: int, actions: list[Callable[[Device], None]]) -> None:
        """One thing happens; the next one in a while."""
        if left == 0:
            self._calm_down()
            return
        self.pause_ms = self.chance.choice((0, 10, 300, 3_000, 20_000, 120_000))
        self.chance.choice(actions)(self.chance.choice(self.devices))
        self.loop.after(self.pause_ms, self._act, left - 1, actions)

    def _make(self, device: Device, account: str, type_: str = "", kind: str = "") -> Known:
        self.made += 1
        type_ = type_ or self.chance.choice(self.features.types)
        kind = kind or self.chance.choice(self.features.kinds)
        job_id = f"j{self.made}"
        known = Known(
            job_id, f"key-{job_id}", type_, QUEUES[type_], account, {"n": self.made, "kind": kind}, kind, device.number
        )
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
        known.accepted = known.stored = True
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
        device.asked()
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
            self.ask(page, "retries all", page.outbox.retry_all)

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
            if payload["n"] not in self.edits:
                self.fault(f"{record['id']} was stored, and nobody made it")
                return
            known = self.edits[payload["n"]]
            known.id, known.key = record["id"], record["key"]
            self.known[known.key] = self.by_id[known.id] = known
            for old in replaced:
                if self.server.runs(self.by_id[old].key):
                    self.fault(f"{old} was replaced though the server has it")
        elif not known.stored:
            known.account = record["account"]  # whoever was signed in at that moment
        known.stored = True
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
            self.ask(page, "lists jobs", page.outbox.jobs)
            self.ask(page, "asks for figures", page.outbox.stats)

    def _freeze(self, device: Device) -> None:
        if running := device.running():
            context = self.chance.choice(running)
            device.freeze(context)
            after = self.chance.choice((5_000, 90_000, 200_000, 7_200_000))
            self.loop.after(after, device.thaw, context)

    def _doze(self, device: Device) -> None:
        """The whole device sleeps, and wakes."""
        after = self.chance.choice((30_000, 600_000, 10_000_000))
        for context in device.running():
            device.freeze(context)
            self.loop.after(after, device.thaw, context)

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
        if self.calm or not (pages := device.running(page=True)):
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

    def _lay_ambush(self, device: Device) -> None:
        device.ambushes += 1

    def others_go_on(self, device: Device) -> None:
        """A tab was frozen and lost its locks; a person turns to another one."""
        if not device.running(page=True):
            self.open_page(device)
        for page in device.running(page=True):
            self.ask(page, "wakes", lambda page=page: page.outbox.drain(wake="timer"))

    def _damage(self, device: Device) -> None:
        """A job that waits can no longer be read."""
        if waiting := [job_id for job_id, record in device.laws.jobs.items() if record["state"] == "pending"]:
            device.damage(self.chance.choice(waiting), self.chance.choice(DAMAGED))

    def _damage_queue(self, device: Device) -> None:
        if queues := device.store.records("queues"):
            device.spoil("queues", self.chance.choice(queues), self.chance.choice(DAMAGED_OF_QUEUE))

    def _damage_gate(self, device: Device) -> None:
        """Any but the count of sign-ins: who has lost that may ask for one too many."""
        kinds = {gate["name"]: gate["name"].partition(":")[0] for gate in device.store.records("gates")}
        gates = [gate for gate in device.store.records("gates") if kinds[gate["name"]] in DAMAGED_OF_GATE]
        if gates:
            gate = self.chance.choice(gates)
            device.asked()  # the server is looked at anew
            device.spoil("gates", gate, DAMAGED_OF_GATE[kinds[gate["name"]]])

    def _wait_long(self, _device: Device) -> None:
        self.pause_ms = self.chance.choice((4_000_000, 9_000_000))
