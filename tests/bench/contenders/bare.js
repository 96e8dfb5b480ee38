/**
 * The limits that the browser itself sets: loops without any queue around them. The writes are those of Holdfast, record
 * for record: templates are read from its database, and its copy here has the same stores, keys and indexes.
 *
 * `drain` and `drainBatch` are the least that any queue has to do which keeps these records: they claim, send and settle what
 * `writes` has stored, in as many transactions as Holdfast, and decide nothing: no locks, gates, priorities, leases to renew
 * or answers that are bad.
 */
import { ask, connected, contentOf, DATABASE, done } from "./database.js";
import * as holdfast from "./holdfast.js";
import { post } from "./payload.js";

const COPY = "bench-bare";
const WRITTEN = ["jobs", "bodies", "queues"];
const LEASE_MS = 60_000;
/** Jobs that one transaction claims while those before them are sent. */
const AHEAD = 8;
const A_BATCH = 1000;

/** @type {IDBDatabase} */
let db;
/** @type {Record<string, any>} the records of a job that was taken in */
let template;
/** @type {Record<string, any>} what a claim changes in the job's */
let claimed;
/** @type {Record<string, any>} the records after it was delivered */
let delivered;

/** The first job of Holdfast's database. */
const templateOf = async () => {
  const held = await contentOf(DATABASE, WRITTEN);
  return Object.fromEntries(WRITTEN.map((name) => [name, held[name][0]]));
};

/** Copy the shape of Holdfast's database, and keep a job of it as a template. */
export const open = async () => {
  await holdfast.empty();
  await holdfast.enqueue(1);
  template = await templateOf();
  await holdfast.drain();
  delivered = await templateOf();
  const { fence, holder, sign_ins, updated_at } = delivered.jobs;
  claimed = { state: "processing", fence, holder, sign_ins, updated_at, unknown_since: updated_at, lease_until: updated_at + LEASE_MS };
  const original = await connected(DATABASE);
  const tx = original.transaction(WRITTEN);
  const shapes = WRITTEN.map((name) => {
    const store = tx.objectStore(name);
    const indexes = Array.from(store.indexNames, (index) => store.index(index));
    return { name, keyPath: store.keyPath, indexes: indexes.map(({ name: index, keyPath, unique }) => ({ index, keyPath, unique })) };
  });
  db = await connected(COPY, (made) => {
    for (const { name, keyPath, indexes } of shapes) {
      const copy = made.createObjectStore(name, { keyPath });
      for (const { index, keyPath: fields, unique } of indexes) copy.createIndex(index, fields, { unique });
    }
  });
  original.close();
  await holdfast.empty();
};

/** Write the records of `count` jobs, one after the other, `together` of them in one transaction. */
export const writes = async (/** @type {number} */ count, /** @type {IDBTransactionDurability} */ durability = "strict", together = 1) => {
  for (let first = 0; first < count; first += together) {
    const tx = db.transaction(WRITTEN, "readwrite", { durability });
    const last = Math.min(first + together, count) - 1;
    for (let number = first; number <= last; number++) {
      const id = crypto.randomUUID();
      tx.objectStore("jobs").put({ ...template.jobs, id, key: crypto.randomUUID(), seq: number, place: number });
      tx.objectStore("bodies").put({ ...template.bodies, id });
    }
    tx.objectStore("queues").put({ ...template.queues, last_place: last });
    await done(tx);
  }
};

/** Settle jobs that were sent and claim the next `count` behind the place `last`. @returns {Promise<any[]>} these, with their bodies */
const exchange = async (/** @type {any[]} */ sent, /** @type {number} */ last, /** @type {number} */ count) => {
  const tx = db.transaction(WRITTEN, "readwrite", { durability: "relaxed" });
  const [jobs, bodies, queues] = WRITTEN.map((name) => tx.objectStore(name));
  const { account, queue, lane_key: lane } = template.jobs;
  const behind = IDBKeyRange.bound([account, queue, lane, last + 1], [account, queue, lane, []]);
  const found = count ? await ask(jobs.index("lanes").getAll(behind, count)) : [];
  const contents = await Promise.all(found.map((/** @type {any} */ { id }) => ask(bodies.get(id))));
  for (const { job } of sent) {
    const { id, key, seq } = job;
    jobs.put({ ...delivered.jobs, id, key, seq });
  }
  for (const { ready_at, ...job } of found) jobs.put({ ...job, ...claimed });
  queues.put({ ...delivered.queues, last_place: last });
  await done(tx);
  return found.map((/** @type {any} */ job, /** @type {number} */ at) => ({ job, body: contents[at] }));
};

/** Send what was written, one request a job. */
export const drain = async () => {
  /** @type {any[]} */
  let sent = [];
  let sending = await exchange(sent, -1, AHEAD);
  while (sending.length) {
    const next = exchange(sent, sending.at(-1).job.seq, AHEAD);
    for (const { job, body } of sending) {
      const request = { ...post(job.seq), body: JSON.stringify(body.payload) };
      await (await fetch("/sink", request)).text();
    }
    [sent, sending] = [sending, await next];
  }
  await exchange(sent, 0, 0);
};

/** Send what was written with one request. */
export const drainBatch = async () => {
  const sending = await exchange([], -1, A_BATCH);
  const items = sending.map(({ job, body }) => ({ key: `${job.seq}`, payload: body.payload }));
  await (await fetch("/api/batch", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ items }) })).json();
  await exchange(sending, 0, 0);
};

/** What was written. */
export const stored = () => contentOf(COPY, WRITTEN);

/** Remove it. */
export const empty = async () => {
  const tx = db.transaction(WRITTEN, "readwrite");
  for (const name of WRITTEN) tx.objectStore(name).clear();
  await done(tx);
};

/** Send `count` requests, `lanes` at a time. */
export const fetches = async (/** @type {number} */ count, lanes = 1) => {
  let next = 0;
  const lane = async () => {
    while (next < count) await (await fetch("/sink", post(next++))).text();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
};
