/**
 * The queue's database as JavaScript may look at it: what is unsent, for an export and for a page whose Python did not start.
 * It only reads, makes no database where there is none, and makes way at once for whoever upgrades it. Python alone changes
 * and judges what is in it (holdfast/schema.py).
 */
import "./inbox.js";

const inbox = globalThis.holdfastInbox;
const DATABASE = inbox.channel;
const OPEN_MS = 5000;
/** What was neither received nor cancelled. */
export const UNSENT = ["pending", "processing", "failed", "conflict", "expired"];
const STATES = [...UNSENT, "completed", "cancelled"];

const done = (/** @type {IDBRequest} */ request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** @returns {Promise<IDBDatabase | null>} null where there is none */
const open = () =>
  new Promise((resolve, reject) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      reject(new inbox.StorageError("The queue on this device does not open."));
    }, OPEN_MS);
    const request = indexedDB.open(DATABASE);
    request.onupgradeneeded = () => request.transaction?.abort();
    request.onerror = (event) => {
      event.preventDefault();
      clearTimeout(timer);
      if (request.error?.name === "AbortError") resolve(null);
      else reject(request.error);
    };
    request.onsuccess = () => {
      clearTimeout(timer);
      if (late) return request.result.close();
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
  });

/** Look once; `nothing` where there is no queue. @returns {Promise<any>} */
const look = async (/** @type {string[]} */ stores, /** @type {any} */ nothing, /** @type {(tx: IDBTransaction) => Promise<any>} */ read) => {
  const database = await open();
  if (!database) return nothing;
  try {
    return await read(database.transaction(stores));
  } finally {
    database.close();
  }
};

/** An account's jobs in one state, or with one reason, by when they changed. */
const all = (/** @type {string} */ account, /** @type {string} */ which) => IDBKeyRange.bound([account, which], [account, which, []]);

/** The last records of a range, `limit` at most. @returns {Promise<any[]>} */
const last = (/** @type {IDBIndex} */ index, /** @type {IDBKeyRange} */ range, /** @type {number} */ limit) =>
  new Promise((resolve, reject) => {
    /** @type {any[]} */
    const found = [];
    const request = index.openCursor(range, "prev");
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      if (request.result) found.push(request.result.value);
      if (request.result && found.length < limit) request.result.continue();
      else resolve(found);
    };
  });

/**
 * An account's jobs as they are stored, the last changed ones: `limit` of each state, or of one `reason`.
 * @param {{state?: string, reason?: string, limit?: number}} filter as Python's @returns {Promise<any[]>}
 */
export const list = (/** @type {string} */ account, { state, reason, limit = 100 }) =>
  look(["jobs"], [], async (tx) => {
    const store = tx.objectStore("jobs");
    const states = state ? [state] : STATES;
    if (reason) return (await last(store.index("reasons"), all(account, reason), limit)).filter((job) => states.includes(job.state));
    return (await Promise.all(states.map((each) => last(store.index("list"), all(account, each), limit)))).flat();
  });

/** How many of an account's jobs are in each unsent state. @returns {Promise<Record<string, number>>} */
export const count = (/** @type {string} */ account) =>
  look(["jobs"], {}, async (tx) => {
    const index = tx.objectStore("jobs").index("list");
    const counts = await Promise.all(UNSENT.map((state) => done(index.count(all(account, state)))));
    return Object.fromEntries(UNSENT.map((state, place) => [state, counts[place]]));
  });

/** The ids of an account's unsent jobs. @returns {Promise<string[]>} */
export const ids = (/** @type {string} */ account) =>
  look(["jobs"], [], async (tx) => {
    const index = tx.objectStore("jobs").index("list");
    return (await Promise.all(UNSENT.map((state) => done(index.getAllKeys(all(account, state)))))).flat();
  });

/** A job as it is stored, with `payload` and `attachments` as `Outbox.job` gives them; null if it is gone. */
export const job = (/** @type {string} */ id) =>
  look(["jobs", "bodies"], null, async (tx) => {
    const [record, body] = await Promise.all(["jobs", "bodies"].map((store) => done(tx.objectStore(store).get(id))));
    return record ? { ...record, payload: body?.payload ?? null, attachments: body?.attachments ?? [] } : null;
  });

/** The files of a job by their number. @returns {Promise<Map<number, Blob>>} */
export const files = (/** @type {string} */ id) =>
  look(["attachments"], new Map(), async (tx) => {
    const range = IDBKeyRange.bound([id, 0], [id, []]);
    const store = tx.objectStore("attachments");
    const [places, blobs] = await Promise.all([done(store.getAllKeys(range)), done(store.getAll(range))]);
    return new Map(places.map((/** @type {[string, number]} */ [, number], /** @type {number} */ place) => [number, blobs[place]]));
  });
