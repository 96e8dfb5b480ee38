"""What clients say of their queues: four numbers each and an id they drew themselves; no payload, no account.

`POST /api/metrics` with `{"client": "…", "depth": n, "retries": n, "oldest_pending_age_ms": n, "permanent_failures": n}`: 204.
`depth` is how many jobs are unsent, `retries` how often it has tried again in all, `oldest_pending_age_ms` 0 if none waits.
The latest report of each client counts for a day, of up to 100,000 clients; the reports of further ones are dropped until there
is room. /metrics exports their sums, and the greatest age.
"""

import re
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from holdfast_server.body import JSON, JsonBody, read_body
from holdfast_server.limits import Limits
from holdfast_server.problems import INVALID, Problem
from holdfast_server.stores.port import Database
from holdfast_server.stores.statements import Statement, Steps

NUMBERS: Final = ("depth", "retries", "oldest_pending_age_ms", "permanent_failures")
LARGEST: Final = 2**53 - 1
CLIENT: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
REPORT_LIVES_MS: Final = 86_400_000
CLIENTS_LIMIT: Final = 100_000
_CLEANED_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Totals:
    """All clients together."""

    clients: int = 0
    depth: int = 0
    retries: int = 0
    oldest_pending_age_ms: int = 0
    permanent_failures: int = 0


@dataclass(frozen=True, slots=True)
class Clients:
    """The route, and what it has taken in."""

    database: Database
    now_ms: Callable[[], int]

    async def answer(self, request: Request) -> Response:
        """Take a report in."""
        limits = Limits(body=10_000, text=10_000)
        async with read_body(request, accept=frozenset({JSON}), limits=limits, new_path=_no_files) as body:
            report: Any = body.value if isinstance(body, JsonBody) else None
        broken = _broken(report)
        if broken:
            raise Problem(422, INVALID, title="Not a report", detail="Correct what is listed.", errors=broken)
        values = (report["client"], self.now_ms(), *(report[name] for name in NUMBERS))
        await self.database.write_relaxed(_store(values))
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    async def totals(self) -> Totals:
        """What the clients of the last day have said."""
        return await self.database.read(_totals(self.now_ms() - REPORT_LIVES_MS))

    async def clean(self, *, now_ms: int) -> int:
        """Forget reports that no longer count; says how many."""
        return await self.database.write_relaxed(_clean(now_ms - REPORT_LIVES_MS))


def _no_files() -> Any:
    raise AssertionError("A report has no files.")


def _broken(report: Any) -> list[tuple[str, str]]:
    if not isinstance(report, dict):
        return [("", "A report is an object.")]
    broken = []
    client = report.get("client")
    if not (isinstance(client, str) and CLIENT.fullmatch(client)):
        broken.append(("/client", "Up to 64 letters, digits and hyphens, drawn by the client."))
    for name in NUMBERS:
        number = report.get(name)
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= LARGEST:
            broken.append((f"/{name}", f"A whole number from 0 to {LARGEST}."))
    unknown = sorted(set(report) - {"client", *NUMBERS})
    return broken + [
        (f"/{name.replace('~', '~0').replace('/', '~1')}", "A report has no such member.") for name in unknown
    ]


def _store(values: tuple[Any, ...]) -> Steps[None]:
    """Only a client that is new is counted against the limit: whoever fills the table silences none that is known."""
    names = ("reported_at", *NUMBERS)
    client, *told = values
    known = yield Statement(
        f"UPDATE clients SET {', '.join(f'{name} = ?' for name in names)} WHERE client = ? RETURNING client",  # noqa: S608
        (*told, client),
    )
    if known:
        return
    ((clients,),) = yield Statement("SELECT count(*) FROM clients")
    if clients < CLIENTS_LIMIT:
        updates = ", ".join(f"{name} = excluded.{name}" for name in names)
        yield Statement(
            f"INSERT INTO clients (client, {', '.join(names)}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
            f" ON CONFLICT (client) DO UPDATE SET {updates}",
            values,
        )


def _totals(since: int) -> Steps[Totals]:
    # Not sums of whole numbers: those overflow in SQLite, and what is summed up here are strangers' words.
    depth, retries, failures = (
        f"coalesce(sum({name} * 1.0), 0)" for name in ("depth", "retries", "permanent_failures")
    )
    (row,) = yield Statement(
        f"SELECT count(*), {depth}, {retries}, coalesce(max(oldest_pending_age_ms), 0), {failures}"  # noqa: S608
        " FROM clients WHERE reported_at > ?",
        (since,),
    )
    return Totals(*(int(number) for number in row))


def _clean(until: int) -> Steps[int]:
    rows = yield Statement(
        "DELETE FROM clients WHERE client IN (SELECT client FROM clients WHERE reported_at <= ? LIMIT ?) RETURNING client",
        (until, _CLEANED_AT_ONCE),
    )
    return len(rows)


def as_samples(totals: Totals) -> dict[str, float]:
    """The totals under the names that /metrics gives them."""
    clients, depth, retries, age_ms, failures = astuple(totals)
    return {
        "holdfast_clients": clients,
        "holdfast_client_depth": depth,
        "holdfast_client_retries": retries,
        "holdfast_client_oldest_pending_age_seconds": age_ms / 1_000,
        "holdfast_client_permanent_failures": failures,
    }
