"""The laws that hold on a device whatever happens, checked after every commit on a mirror of its store.

The tables are written down once more here on purpose: laws that read the engine's own tables would change with its bugs.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.simulation.loop import Owner, SimLoop

Record = dict[str, Any]
Claim = tuple[str, int]
"""A job and the fence under which it was claimed."""
Change = tuple[str, str, Any]
"""Object store, `put` or `delete`, and the record or the key."""

LEGAL = {
    "pending": {"processing", "failed", "expired", "cancelled"},
    "processing": {"pending", "completed", "failed", "conflict", "cancelled"},
    "failed": {"pending", "cancelled"},
    "expired": {"pending", "cancelled"},
    "conflict": {"pending", "cancelled"},
    "cancelled": {"completed"},
    "completed": set(),
}
WAITS = {"pending", "processing"}
DEAD_REASONS = {
    "failed": {
        "no_receipt",
        "exhausted",
        "refused",
        "invalid",
        "unknown_type",
        "undecodable",
        "outcome_unknown",
        "crashed",
        "task_error",
    },
    "expired": {"ttl"},
    "conflict": {"server_conflict"},
    "cancelled": {"by_person", "in_flight", "replaced"},
    "completed": {None},
    "processing": {None},
}
SETTLES = {"settle", "settle_and_claim", "settle_and_claim_behind"}
FRESH_MS = 250
"""How long after their claim jobs that were claimed with others of their lane may be sent."""
KEPT_MS = 3_600_000
TOGETHER = {None, "unreachable", "signed_out"}
"""What may have held a job back that goes with others."""


@dataclass
class Sent:
    """What the network said last about one claim."""

    status: int = 0
    receipt: bool = False
    retry_after_ms: int = 0
    named: bool = False
    """The answer named the job's key."""
    together: bool = False
    """It went with others."""


class Laws:
    """One device's laws."""

    def __init__(
        self,
        *,
        loop: SimLoop,
        fault: Callable[[str], None],
        note: Callable[[str, str], None],
        outage: Callable[[], int],
        may_claim: Callable[[Owner, str], bool],
        has_left: Callable[[Owner, str], bool],
        steady: Callable[[Owner], bool],
        now: Callable[[], int],
        inserted: Callable[[Record, Any, list[str]], None],
        batches: dict[str, int],
    ) -> None:
        self.jobs: dict[str, Record] = {}
        self.gates: dict[str, Record] = {}
        self.bodies: set[str] = set()
        self.queues: dict[tuple[str, str], Record] = {}
        self.unread: set[tuple[str, str]] = set()
        """Queues whose record was spoilt: whoever reads it next counts anew."""
        self.counts: dict[tuple[str, str], Counter[str]] = {}
        self.pruned: set[str] = set()
        self.claims: dict[tuple[str, int], Owner] = {}
        self.sent: dict[tuple[str, int], Sent] = {}
        self.moved: dict[str, set[str]] = {}
        """The states each job has been in."""
        self._outage_at_claim: dict[tuple[str, int], int] = {}
        """0, or the number of the outage in which it was claimed."""
        self._together: dict[Claim, list[Claim]] = {}
        """With which others each claim went in one request."""
        self._left: set[Claim] = set()
        """What has left in a request of its own."""
        self._batches = batches
        self._loop = loop
        self._fault = fault
        self._note = note
        self._outage = outage
        self._may_claim = may_claim
        self._has_left = has_left
        self._steady = steady
        self._now = now
        self._inserted = inserted

    def went_together(self, claims: list[Claim]) -> None:
        """These have left in one request."""
        self._together |= dict.fromkeys(claims, claims)
        records = [self.jobs[job] for job, _ in claims if job in self.jobs]
        types = {record["type"] for record in records}
        if len(claims) > min(self._batches.get(type_, 1) for type_ in types):
            self._fault(f"{len(claims)} jobs of {sorted(types)} went together")
        if len({record["account"] for record in records}) > 1:
            self._fault("jobs of two accounts went together")
        for record in records:
            if record["files"]:
                self._fault(f"{record['id']} has attachments and went with others")

    def went_alone(self, owner: Owner, claim: Claim) -> None:
        """This has left in a request of its own. What was claimed together goes in its order, and soon."""
        self._left.add(claim)
        job, fence = claim
        record = self.jobs.get(job)
        if record is None or (record["state"], record["fence"]) != ("processing", fence):
            return
        before = [
            other
            for other in self.jobs.values()
            if other["state"] == "processing" and lane_of(other) == lane_of(record) and other["place"] < record["place"]
        ]
        for other in before:
            if not self.sent.get((other["id"], other["fence"]), Sent()).receipt:
                self._fault(f"{job} was sent before {other['id']} was delivered")
        if before and self._steady(owner) and self._now() - record["updated_at"] > FRESH_MS:
            self._fault(f"{job} was sent {self._now() - record['updated_at']} ms after its claim, behind others")

    def committed(self, name: str, owner: Owner, changes: list[Change]) -> None:
        """One transaction has been committed by a context."""
        touched: dict[str, Record | None] = {}
        for store, verb, value in changes:
            if store == "jobs":
                job_id = value["id"] if verb == "put" else value
                touched.setdefault(job_id, self.jobs.get(job_id))
                self._mirror(name, owner, job_id, value if verb == "put" else None)
            else:
                self._mirror_other(store, verb, value)
        self._tell_new(touched, changes)
        claimed = [
            after for job_id, before in touched.items() if (after := self._claimed_by(name, owner, job_id, before))
        ]
        if claimed:
            self._claimed(name, owner, claimed, touched)
        if name in SETTLES:
            self._settled_together(name, touched)
        for lane in {lane_of(record) for record in self._both(touched)}:
            self._lane(name, lane)
        for queue in {(record["account"], record["queue"]) for record in self._both(touched)} - self.unread:
            self._counters(name, queue)
        self._left_nothing(name)

    def _mirror(self, name: str, owner: Owner, job_id: str, value: Record | None) -> None:
        before = self.jobs.pop(job_id, None)
        if before is not None:
            self._counted(before, -1)
        if value is not None:
            self._counted(value, +1)
            self.jobs[job_id] = dict(value)
            if before is not None:
                self._moves(name, owner, before, value)

    def _mirror_other(self, store: str, verb: str, value: Any) -> None:
        match store, verb:
            case "gates", "put":
                self.gates[value["name"]] = value
            case "gates", "delete":
                self.gates.pop(value, None)
            case "bodies", "put":
                self.bodies.add(value["id"])
            case "bodies", "delete":
                self.bodies.discard(value)
            case "queues", _:
                self.queues[value["account"], value["queue"]] = value
                self.unread.discard((value["account"], value["queue"]))

    def _tell_new(self, touched: dict[str, Record | None], changes: list[Change]) -> None:
        bodies = {value["id"]: value["payload"] for store, verb, value in changes if (store, verb) == ("bodies", "put")}
        for job_id, before in touched.items():
            if before is None and job_id in self.jobs:
                gone = [old for old in touched if touched[old] is not None and self.jobs[old]["state"] == "cancelled"]
                self._inserted(self.jobs[job_id], bodies.get(job_id), gone)

    def _claimed_by(self, name: str, owner: Owner, job_id: str, before: Record | None) -> Record | None:
        """Check a job that a transaction has touched; the job if it was claimed."""
        after = self.jobs.get(job_id)
        if after is None:
            self._deleted(name, owner, before)
            return None
        return after if self._changed(name, owner, before, after) else None

    # One job

    def _changed(self, name: str, owner: Owner, before: Record | None, after: Record) -> bool:
        """Check a job that was written; says whether it was claimed."""
        job = after["id"]
        state = after["state"]
        self._shape(name, after)
        if before is None:
            self.moved.setdefault(job, set()).add(state)
            self._note(owner.name, f"{name}: {job} is {state}" + (f" ({after['reason']})" if after["reason"] else ""))
            if job in self.pruned:
                self._fault(f"{name}: {job} came back after it was pruned")
            return False
        was = before["state"]
        if state != was or after["fence"] != before["fence"] or after["reason"] != before["reason"]:
            said = f" ({after['reason']})" if after["reason"] else ""
            self._note(
                owner.name, f"{name}: {job} {was} -> {state}{said} fence {after['fence']} attempts {after['attempts']}"
            )
        self._unchanged(name, before, after)
        claimed = state == "processing" and after["fence"] != before["fence"]
        if claimed:
            if (job, after["fence"]) in self.claims:
                self._fault(f"{name}: {job} was claimed twice under fence {after['fence']}")
            self.claims[job, after["fence"]] = owner
            self._outage_at_claim[job, after["fence"]] = self._outage()
        elif state == "processing" and was != "processing":
            self._fault(f"{name}: {job} was claimed without a new fence")
        if state == "completed" and was != "completed" and not self.is_task(after):
            sent = self.sent.get((job, after["fence"]))
            if sent is None or not sent.receipt:
                self._fault(f"{name}: {job} completed without a receipt")
        return claimed

    def _unchanged(self, name: str, before: Record, after: Record) -> None:
        """What a job keeps for life."""
        job = before["id"]
        for field in ("key", "type", "account", "seq", "created_at", "max_attempts"):
            if before[field] != after[field]:
                self._fault(f"{name}: the {field} of {job} changed")
        if "place" in before and "place" in after and before["place"] != after["place"]:
            self._fault(f"{name}: {job} changed its place")
        if after["fence"] < before["fence"]:
            self._fault(f"{name}: the fence of {job} sank")

    def _moves(self, name: str, owner: Owner, before: Record, after: Record) -> None:
        """One step of a transaction; there may be several with one job."""
        job, was, state = before["id"], before["state"], after["state"]
        self.moved.setdefault(job, set()).add(state)
        if state != was and state not in LEGAL[was]:
            self._fault(f"{name}: {job} went from {was} to {state}")
        if name in SETTLES and was == "processing" and state != "processing":
            self._settled(name, owner, before, after)
        elif after["attempts"] != before["attempts"] and after["attempts"] != 0:
            self._fault(f"{name}: the attempts of {job} went from {before['attempts']} to {after['attempts']}")

    def _settled(self, name: str, owner: Owner, before: Record, after: Record) -> None:
        job, fence = before["id"], before["fence"]
        if self.claims.get((job, fence)) is not owner:
            self._fault(f"{name}: {job} was settled by {owner.name}, which had not claimed it")
        sent = self.sent.get((job, fence), Sent())
        if (
            after["state"] == "pending"
            and (job, fence) in self._left
            and not sent.named
            and after["unknown_since"] is None
        ):
            self._fault(f"{name}: {job} may have arrived, and went back as if it had never been sent")
        burnt = after["attempts"] - before["attempts"]
        if burnt not in {0, 1}:
            self._fault(f"{name}: {burnt} attempts of {job} were used at once")
        outage = self._outage()
        if burnt and outage and self._outage_at_claim.get((job, fence)) == outage and not self.is_task(after):
            self._fault(f"{name}: an attempt of {job} was used though nobody was there")
        if burnt and sent.together and not sent.named:
            self._fault(f"{name}: an attempt of {job} was used though nobody answered it among many")
        if burnt and sent.status in {401, 409, 424}:
            self._fault(f"{name}: an attempt of {job} was used by a {sent.status}")
        if (
            after["state"] == "pending"
            and sent.retry_after_ms
            and after["run_at"] < self._now() + sent.retry_after_ms - 1_000
            and after["reason"] in {"server_error", "throttled"}
            and self._steady(owner)
        ):
            self._fault(f"{name}: {job} goes before the {sent.retry_after_ms} ms the server asked for")
        if sent.status == 401 and after["state"] == "pending" and f"hold:{after['account']}" not in self.gates:
            self._note(owner.name, f"401 of {job} holds nobody")

    def _settled_together(self, name: str, touched: dict[str, Record | None]) -> None:
        """What went in one request is settled in one commit."""
        for job, before in touched.items():
            if before is None or before["state"] != "processing":
                continue
            for other, fence in self._together.get((job, before["fence"]), []):
                record = self.jobs.get(other)
                if record is not None and (record["state"], record["fence"]) == ("processing", fence):
                    self._fault(f"{name}: {other} went with {job}, and only that was settled")
            self._in_order(name, before)

    def _in_order(self, name: str, before: Record) -> None:
        """What has just been delivered has nobody before it in its lane who waits, is being sent or halts it."""
        if self.jobs[before["id"]]["state"] != "completed":
            return
        for other in self.jobs.values():
            if "place" in other and lane_of(other) == lane_of(before) and other["place"] < before["place"]:
                self._fault(f"{name}: {before['id']} is delivered before {other['id']}, which is {other['state']}")

    def _shape(self, name: str, record: Record) -> None:
        state, job = record["state"], record["id"]
        if state != "pending" and record["reason"] not in DEAD_REASONS[state]:
            self._fault(f"{name}: {job} is {state} for {record['reason']!r}")
        if state in WAITS and "place" not in record:
            self._fault(f"{name}: {job} is {state} without a place")
        if state not in WAITS and "place" in record and not record["halt"]:
            self._fault(f"{name}: {job} is {state} and keeps its place")
        if ("lease_until" in record) != (state == "processing"):
            self._fault(f"{name}: {job} is {state}, lease {record.get('lease_until')}")
        if ("expire_by" in record) != (state == "pending" and record["expires_at"] is not None):
            self._fault(f"{name}: {job} is {state}, expire_by {record.get('expire_by')}")
        if "ready_at" in record and state != "pending":
            self._fault(f"{name}: {job} is {state} and ready")
        if record["attempts"] > record["max_attempts"]:
            self._fault(f"{name}: {job} has used {record['attempts']} of {record['max_attempts']} attempts")

    def _deleted(self, name: str, owner: Owner, before: Record | None) -> None:
        if before is None:
            return
        self.pruned.add(before["id"])
        if before["state"] not in {"completed", "cancelled"}:
            self._fault(f"{name}: {before['id']} was deleted while {before['state']}")
        elif self._steady(owner) and self._now() - before["updated_at"] < KEPT_MS:
            self._fault(f"{name}: {before['id']} was pruned within the hour")

    # What was claimed

    def _claimed(
        self,
        name: str,
        owner: Owner,
        claimed: list[Record],
        touched: dict[str, Record | None],
    ) -> None:
        # A settle that shares the commit writes its gates before anything is claimed.
        gates, now = self.gates, claimed[0]["updated_at"]
        queue, account = claimed[0]["queue"], claimed[0]["account"]
        self._claims_for(name, owner, queue, account)
        for record in claimed:
            job = record["id"]
            before = touched[job] or record
            for gate in (
                f"hold:{account}",
                "breaker:",
                "pause:all",
                f"pause:queue:{queue}",
                f"pause:type:{record['type']}",
            ):
                if gate in gates and not (gate == "breaker:" and self.is_task(record)):
                    self._fault(f"{name}: {job} was claimed past {gate}")
            off = gates.get("flags:", {"flags": {"disabled": {}}})["flags"]["disabled"]
            if off.get("all") or queue in off.get("queues", ()) or record["type"] in off.get("types", ()):
                self._fault(f"{name}: {job} was claimed though the server has switched it off")
            if before["run_at"] > now and self._steady(owner):
                self._fault(f"{name}: {job} was claimed {before['run_at'] - now} ms too early")
            if record["expires_at"] is not None and record["expires_at"] <= now:
                self._fault(f"{name}: {job} was claimed after its time")
            alone = [other for other in claimed if lane_of(other) == lane_of(record)] == [record]
            if not alone and (before["reason"] not in TOGETHER or record["files"]):
                self._fault(f"{name}: {job} ({before['reason']}) was claimed with others of its lane")
        if len(claimed) == len([job for job in touched if self._touched_by_tidy(touched[job], self.jobs.get(job))]):
            self._urgent(name, claimed, now, gates)

    def _claims_for(self, name: str, owner: Owner, queue: str, account: str) -> None:
        if not self._may_claim(owner, queue):
            self._fault(f"{name}: {owner.name} claims in {queue} without its lock")
        if self._has_left(owner, account):
            self._fault(f"{name}: {owner.name} claims for {account}, and has heard of its sign-out")

    def _touched_by_tidy(self, before: Record | None, after: Record | None) -> bool:
        return before is None or after is None or before["state"] != after["state"]

    def _urgent(self, name: str, claimed: list[Record], now: int, gates: dict[str, Record]) -> None:
        """Nothing more urgent was left behind."""
        account, queue = claimed[0]["account"], claimed[0]["queue"]
        last = max(record["rank"] for record in claimed)
        for record in self.jobs.values():
            if record["account"] != account or record["queue"] != queue or "ready_at" not in record:
                continue
            if record["rank"] >= last or record["ready_at"] > now or f"pause:type:{record['type']}" in gates:
                continue
            off = gates.get("flags:", {"flags": {"disabled": {}}})["flags"]["disabled"]
            if record["type"] not in off.get("types", ()) and record["app_version"] == claimed[0]["app_version"]:
                self._fault(f"{name}: {record['id']} (rank {record['rank']}) was left behind")

    # Lanes and counters

    def _lane(self, name: str, lane: tuple[str, str, str]) -> None:
        members = [record for record in self.jobs.values() if "place" in record and lane_of(record) == lane]
        members.sort(key=lambda record: int(record["place"]))
        for first, second in pairwise(members):
            if first["place"] == second["place"]:
                self._fault(f"{name}: {first['id']} and {second['id']} have one place")
        for behind in members[1:]:
            if "ready_at" in behind:
                self._fault(f"{name}: {behind['id']} is ready though {members[0]['id']} is first in its lane")
        for first, behind in pairwise(members):
            if behind["state"] == "processing" and not self._goes_behind(first, behind):
                self._fault(f"{name}: {behind['id']} is being sent though {first['id']} is before it in its lane")
        if members and members[0]["state"] == "pending" and members[0].get("ready_at") != members[0]["run_at"]:
            self._fault(f"{name}: {members[0]['id']} is free and first, but it is not ready at its time")

    def _goes_behind(self, first: Record, behind: Record) -> bool:
        """Whether both may be under way at once: claimed by the same context, and if they go in one request, in one commit."""
        holders = [self.claims.get((record["id"], record["fence"])) for record in (first, behind)]
        types = {first["type"], behind["type"]}
        in_one = types <= self._batches.keys() and first["updated_at"] == behind["updated_at"]
        in_turn = not (types & self._batches.keys() or "tidy" in types)
        return bool(first["state"] == "processing" and holders[0] is holders[1] and (in_one or in_turn))

    def _left_nothing(self, name: str) -> None:
        """Of whoever has signed out and not in again, nothing that is finished holds content."""
        left = {gate.removeprefix("left:") for gate in self.gates if gate.startswith("left:")}
        for job, record in self.jobs.items() if left else ():
            finished = record["account"] in left and record["state"] in {"completed", "cancelled"}
            if finished and (record["summary"] or record["said"] or job in self.bodies):
                self._fault(
                    f"{name}: {job} is {record['state']} and holds content of {record['account']}, who has left"
                )

    def _counted(self, record: Record, number: int) -> None:
        counts = self.counts.setdefault((record["account"], record["queue"]), Counter())
        counts[record["state"]] += number

    def _counters(self, name: str, queue: tuple[str, str]) -> None:
        counted = {state: number for state, number in self.counts[queue].items() if number}
        stored = {state: number for state, number in self.queues[queue]["states"].items() if number}
        if counted != stored:
            self._fault(f"{name}: the queue {queue} counts {stored}, there are {counted}")

    def _both(self, touched: dict[str, Record | None]) -> Iterable[Record]:
        for job_id, before in touched.items():
            if before is not None:
                yield before
            if job_id in self.jobs:
                yield self.jobs[job_id]

    @staticmethod
    def is_task(record: Record) -> bool:
        return bool(record["type"] == "tidy")


def lane_of(record: Record) -> tuple[str, str, str]:
    return record["account"], record["queue"], record["lane_key"]
