/**
 * What the address says of an inspection that was sent without our listener, believed only once it was found: `?saved=<id>`
 * by the worker is looked up on this device, `?received=<id>` by the server on the server.
 *
 * @typedef {{where: "device" | "server", title: string, payload: any, photos: number}} Arrival
 */
import * as stored from "./stored.js";

const inbox = globalThis.holdfastInbox;
const said = new URLSearchParams(location.search);
const saved = said.get("saved");
const received = Number(said.get("received"));

const payloadOf = (/** @type {[string, string][]} */ fields) => {
  const value = (/** @type {string} */ wanted) => fields.find(([name]) => name === wanted)?.[1] ?? "";
  const ticked = fields.filter(([name]) => name === "checklist").map(([, label]) => ({ label, ok: true }));
  return { site: value("site"), inspected_on: value("inspected_on"), severity: value("severity"), notes: value("notes"), checklist: ticked };
};

/** One submission, however it was brought here: what was typed, without what a form's POST or the rules make of it. */
const gist = (/** @type {any} */ { site, inspected_on, severity, notes, checklist }, /** @type {number} */ photos) => {
  const ticked = (checklist ?? []).filter((/** @type {any} */ item) => item.ok).map((/** @type {any} */ item) => item.label);
  const text = (/** @type {unknown} */ value) => String(value ?? "").replace(/\r\n/g, "\n").trim();
  return JSON.stringify([...[site, inspected_on, severity, notes].map(text), ...ticked.map(text).sort(), photos]);
};

/** What this device has under that id, taken in or not; it needs no Python. @returns {Promise<Arrival | null>} */
export const onDevice = async (/** @type {string} */ id) => {
  const [entries, account = ""] = await Promise.all([inbox.list(), inbox.get("account")]);
  const entry = entries.find((each) => each.id === id && each.account === account);
  if (entry) return arrived("device", entry.payload ?? payloadOf(entry.fields ?? []), entry.files.length);
  const job = await stored.job(id);
  return job?.account === account ? arrived("device", job.payload ?? {}, job.attachments.length) : null;
};

/** @returns {Promise<Arrival | null>} */
const onServer = async (/** @type {number} */ id) => {
  const answer = await fetch(`/api/inspections?after=${id - 1}&limit=1`, { cache: "no-store" });
  const [item] = answer.ok ? (await answer.json()).items : [];
  return item?.id === id ? arrived("server", item, item.photos.length) : null;
};

const arrived = (/** @type {"device" | "server"} */ where, /** @type {any} */ payload, /** @type {number} */ photos) =>
  ({ where, title: payload.site, payload, photos });

const look = async () => {
  if (saved) return onDevice(saved);
  return Number.isInteger(received) && received > 0 ? onServer(received) : null;
};

// The address is no place to keep that.
if (said.has("saved") || said.has("received")) history.replaceState(null, "", location.pathname + location.hash);

/** What has arrived, null if nothing has that can be found. @type {Promise<Arrival | null>} */
export const arrival = look().catch(() => null);

/** Whether a draft is what has arrived. */
export const isOf = (/** @type {Arrival} */ { payload, photos }, /** @type {import("./draft.js").Draft} */ draft) =>
  gist(payload, photos) === gist(payloadOf(draft.fields), draft.photos ?? draft.files.length);
