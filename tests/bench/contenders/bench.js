/**
 * The page in which the contenders run, all in the same one: the same event loop, the same service worker before their
 * requests, the same disk. `bench(contender, method, …)` runs one method and resolves to what it resolves to;
 * `timed(…)` to the milliseconds it took.
 */
import * as bare from "./bare.js";
import * as holdfast from "./holdfast.js";
import * as idb from "./idb_queue.js";
import * as workbox from "./workbox.js";

const contenders = /** @type {Record<string, Record<string, Function>>} */ ({ bare, holdfast, idb, workbox });

globalThis.bench = (/** @type {[string, string, ...any]} */ [who, what, ...given]) => contenders[who][what](...given);

globalThis.timed = async (/** @type {[string, string, ...any]} */ asked) => {
  const begun = performance.now();
  await globalThis.bench(asked);
  return performance.now() - begun;
};

/** What a store, an index or a cursor is asked for goes through these. */
const ASKS = [
  [IDBObjectStore, ["add", "clear", "count", "delete", "get", "getAll", "getAllKeys", "getKey", "openCursor", "openKeyCursor", "put"]],
  [IDBIndex, ["count", "get", "getAll", "getAllKeys", "getKey", "openCursor", "openKeyCursor"]],
  [IDBCursor, ["advance", "continue", "continuePrimaryKey", "delete", "update"]],
];

/** How many requests to IndexedDB one method makes. */
globalThis.counted = async (/** @type {[string, string, ...any]} */ asked) => {
  let requests = 0;
  const restore = [];
  for (const [{ prototype }, names] of /** @type {[any, string[]][]} */ (ASKS))
    for (const name of names.filter((candidate) => candidate in prototype)) {
      const own = prototype[name];
      restore.push(() => (prototype[name] = own));
      prototype[name] = function (/** @type {any[]} */ ...given) {
        requests++;
        return own.apply(this, given);
      };
    }
  try {
    await globalThis.bench(asked);
  } finally {
    for (const put of restore) put();
  }
  return requests;
};

await holdfast.open();
await bare.open();
globalThis.isReady = true;
