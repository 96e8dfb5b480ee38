/**
 * The limits that the browser itself sets: loops without any queue around them. The writes are those of Holdfast, record
 * for record: a template is read from its database, and its copy here has the same stores, keys and indexes.
 */
import { connected, contentOf, DATABASE, done } from "./database.js";
import * as holdfast from "./holdfast.js";
import { post } from "./payload.js";

const COPY = "bench-bare";
const WRITTEN = ["jobs", "bodies", "queues"];

/** @type {IDBDatabase} */
let db;
/** @type {Record<string, any>} */
let template;

/** Copy the shape of Holdfast's database, and keep one job of it as a template. */
export const open = async () => {
  await holdfast.empty();
  await holdfast.enqueue(1);
  const held = await contentOf(DATABASE, WRITTEN);
  template = Object.fromEntries(WRITTEN.map((name) => [name, held[name][0]]));
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

const write = (/** @type {number} */ number, /** @type {IDBTransactionDurability} */ durability) => {
  const tx = db.transaction(WRITTEN, "readwrite", { durability });
  const id = crypto.randomUUID();
  tx.objectStore("jobs").put({ ...template.jobs, id, key: crypto.randomUUID(), seq: number, place: number });
  tx.objectStore("bodies").put({ ...template.bodies, id });
  tx.objectStore("queues").put({ ...template.queues, last_place: number });
  return done(tx);
};

/** Write the records of `count` jobs, one transaction a job, each awaited. */
export const writes = async (/** @type {number} */ count, /** @type {IDBTransactionDurability} */ durability = "strict") => {
  for (let number = 0; number < count; number++) await write(number, durability);
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
