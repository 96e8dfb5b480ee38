"""Inspections as a person makes them, as they wait on the device, and as the server has them."""

import base64
import hashlib
import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.support.server import Server
from tests.support.waiting import until, until_page

READ_DEVICE = """async () => {
    const base64 = (blob) => new Promise((resolve, reject) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
        reader.onerror = () => reject(reader.error);
        reader.readAsDataURL(blob);
    });
    const done = (request) => new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });
    const entries = await holdfastInbox.list();  // first: what is taken in meanwhile is in the queue then
    const waiting = [];
    const names = (await indexedDB.databases()).map(({ name }) => name);
    if (names.includes("holdfast:reference")) {
        const database = await done(indexedDB.open("holdfast:reference"));
        const stores = database.transaction(["jobs", "bodies", "attachments"]);
        const [jobs, bodies, places, blobs] = await Promise.all([
            done(stores.objectStore("jobs").getAll()), done(stores.objectStore("bodies").getAll()),
            done(stores.objectStore("attachments").getAllKeys()), done(stores.objectStore("attachments").getAll()),
        ]);
        database.close();
        const payloads = new Map(bodies.map(({ id, payload }) => [id, payload]));
        for (const { id, key, state, reason, attempts, fence, seq } of jobs.sort((one, other) => one.seq - other.seq)) {
            const own = places.flatMap(([job, number], place) => job === id ? [[number, blobs[place]]] : []);
            const photos = own.sort(([one], [other]) => one - other).map(([, blob]) => base64(blob));
            const site = payloads.get(id)?.site ?? null;
            waiting.push({ id, key, site, state, reason, attempts, fence, where: "queue", photos: await Promise.all(photos) });
        }
    }
    for (const { id, key, fields, payload, files } of entries) {
        if (waiting.some((job) => job.id === id && job.key === key)) continue;  // just being taken in
        const site = payload ? payload.site : Object.fromEntries(fields).site;
        const photos = await Promise.all(files.map(([, file]) => base64(file)));
        waiting.push({ id, key, site, state: "pending", reason: null, attempts: 0, fence: 0, where: "inbox", photos });
    }
    return waiting;
}"""

SECRETS = """() => document.querySelector("#site").insertAdjacentHTML("afterend",
    '<input type="password" name="pin" aria-label="Pin"><input name="token" data-secret aria-label="Token">')"""
"""Give the form two fields whose values are stored nowhere, "Pin" and "Token"."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a person types. `photos` are files, as a camera leaves them."""

    site: str
    severity: str = "low"
    notes: str = ""
    ticked: tuple[str, ...] = ()
    photos: tuple[Path, ...] = ()
    inspected_on: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())


@dataclass(frozen=True, kw_only=True)
class OnDevice:
    """One submission as IndexedDB holds it."""

    id: str
    key: str
    site: str
    state: str
    reason: str | None
    attempts: int
    fence: int
    where: str
    """"queue", or "inbox" as long as Python has not taken it in."""
    photos: tuple[str, ...]
    """SHA-256 of each attachment's bytes."""


def picture(path: Path, seed: int, *, width: int = 320, height: int = 240) -> Path:
    """Write a PNG of noise, so that it is about as large as its pixels; equal seeds give equal bytes."""
    pixels = random.Random(seed)
    rows = b"".join(b"\0" + pixels.randbytes(3 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks))
    return path


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def fill(page: Page, inspection: Inspection, *, originals: bool = False) -> None:
    """Type an inspection into the form and wait until its photos are as they will be sent."""
    form = page.locator('form[data-holdfast="inspection.create"]')
    form.locator("[name=site]").fill(inspection.site)
    form.locator("[name=inspected_on]").fill(inspection.inspected_on)
    form.locator(f"[name=severity][value={inspection.severity}]").check(force=True)
    form.locator("[name=notes]").fill(inspection.notes)
    for label in inspection.ticked:
        form.locator(f'[name=checklist][value="{label}"]').check()
    if not inspection.photos:
        return
    if originals:
        form.locator("#originals").check()
    form.locator("[name=photos]").set_input_files(inspection.photos)
    expect(form.locator("#previews li")).to_have_count(len(inspection.photos), timeout=30_000)


def submit(page: Page) -> None:
    """Press the form's button."""
    save_button(page).click()


def save_button(page: Page) -> Any:
    """The form's button."""
    return page.get_by_role("button", name="Save inspection")


def expect_saved(page: Page, site: str) -> None:
    """Wait for the page to say that this inspection is saved on this device."""
    expect(page.locator("#saved")).to_contain_text(f"Saved on this device: {site}", timeout=30_000)


def save(page: Page, inspection: Inspection, *, originals: bool = False) -> None:
    """Fill in the form, press its button, and wait until the page says that it is saved."""
    fill(page, inspection, originals=originals)
    submit(page)
    expect_saved(page, inspection.site)


def open_screen(page: Page, name: str) -> Any:
    """Turn to "new", "inspections" or "outbox" as its link does; returns the screen."""
    page.locator(f'.nav a[href="#{name}"]').click()
    return page.locator(f"section#{name}")


def send_now(page: Page) -> None:
    """Press "Send now" in the Outbox."""
    open_screen(page, "outbox").get_by_role("button", name="Send now").click()


def on_device(page: Page) -> list[OnDevice]:
    """All that IndexedDB holds, in order: the queue, then what is in the inbox alone."""
    return [OnDevice(**{**row, "photos": tuple(map(_sha256, row["photos"]))}) for row in page.evaluate(READ_DEVICE)]


def _sha256(encoded: str) -> str:
    return hashlib.sha256(base64.b64decode(encoded)).hexdigest()


def received(server: Server) -> list[dict[str, Any]]:
    """The server's inspections in order of receipt."""
    answer = httpx.get(f"{server.url}/api/inspections", params={"limit": 1000}, timeout=10)
    answer.raise_for_status()
    page = answer.json()
    assert page["total"] == len(page["items"])
    items: list[dict[str, Any]] = page["items"]
    return items


def wait_for_received(server: Server, count: int, *, seconds: float = 30) -> list[dict[str, Any]]:
    """The server's inspections once there are `count` of them or more."""
    found: list[dict[str, Any]] = []

    def enough() -> bool:
        found[:] = received(server)
        return len(found) >= count

    until(enough, f"{count} received inspections", seconds=seconds)
    return found


def photos_of(server: Server, item: dict[str, Any]) -> tuple[str, ...]:
    """SHA-256 of each photo's bytes as the server hands them out."""
    found = []
    for photo in item["photos"]:
        answer = httpx.get(f"{server.url}{photo['url']}", timeout=10)
        answer.raise_for_status()
        found.append(hashlib.sha256(answer.content).hexdigest())
    return tuple(found)


def expect_delivered(server: Server, queued: Sequence[OnDevice], *, seconds: float = 30) -> None:
    """Wait until the server has exactly these, in this order, with these bytes, each under its key."""
    items = wait_for_received(server, len(queued), seconds=seconds)
    assert [item["site"] for item in items] == [job.site for job in queued]
    assert [item["idempotency_key"] for item in items] == [job.key for job in queued]
    assert [photos_of(server, item) for item in items] == [job.photos for job in queued]


def wait_until_sent(page: Page, ids: Sequence[str] = (), *, seconds: float = 30) -> None:
    """Wait until this device holds receipts for these jobs, or for all it has."""
    until_page(
        page,
        """async (ids) => {
            const rows = await holdfast.jobs();
            const meant = ids.length ? rows.filter(({ id }) => ids.includes(id)) : rows;
            return meant.length >= Math.max(1, ids.length) && meant.every(({ state }) => state === "completed");
        }""",
        "receipts for all jobs",
        arg=list(ids),
        seconds=seconds,
    )


def wait_for_job(page: Page, job_id: str, **facts: Any) -> dict[str, Any]:
    """Wait until the job's row says all this, for example `state="failed"`; returns the row."""
    row: dict[str, Any] = {}

    def told() -> bool:
        row.clear()
        row.update(page.evaluate("(id) => holdfast.job(id)", job_id) or {})
        return facts.items() <= {name: row.get(name) for name in facts}.items()

    try:
        until(told, f"a job with {facts}")
    except AssertionError as error:
        raise AssertionError(f"{error} It is {row}") from error
    return row
