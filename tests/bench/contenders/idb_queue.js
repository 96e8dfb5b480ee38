/**
 * A plain queue as people write it by hand over `idb`: put with a due time, walk due ones by a cursor, fetch, delete, all
 * under one Web Lock. It deletes only after a good answer and puts failures off, as a careful author would.
 */
import { openDB } from "./idb.js";
import { payload } from "./payload.js";

const WAIT_MS = 5000;

const db = await openDB("bench-idb", 1, {
  upgrade(made) {
    made.createObjectStore("jobs", { keyPath: "id", autoIncrement: true }).createIndex("due", "due");
  },
});

/** Store `count` jobs, each awaited before the next. @param {"strict" | "relaxed"} durability */
export const enqueue = async (/** @type {number} */ count, durability = "strict") => {
  for (let number = 0; number < count; number++) {
    const tx = db.transaction("jobs", "readwrite", { durability });
    tx.store.add({ due: Date.now(), key: `${number}`, payload: payload(number) });
    await tx.done;
  }
};

const first = async () => {
  const cursor = await db.transaction("jobs").store.index("due").openCursor(IDBKeyRange.upperBound(Date.now()));
  return cursor?.value;
};

/** Send what is due, one at a time. */
export const drain = () =>
  navigator.locks.request("bench-idb", async () => {
    for (let job = await first(); job; job = await first()) {
      const headers = { "Content-Type": "application/json", "Idempotency-Key": job.key };
      const answer = await fetch("/sink", { method: "POST", headers, body: JSON.stringify(job.payload) });
      await answer.text();
      if (answer.ok) await db.delete("jobs", job.id);
      else await db.put("jobs", { ...job, due: Date.now() + WAIT_MS });
    }
  });

/** Forget what was not sent. */
export const empty = () => db.clear("jobs");
