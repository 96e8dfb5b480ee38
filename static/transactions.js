/**
 * Transactions of IndexedDB, stepped by Python: one message there and one back for each step, however many requests it
 * holds. Which requests these are Python decides (browser/steps.py); here they are only made, in the order given. Never
 * with `commit()`: after it Firefox completes a transaction of which a request has failed. It sets
 * `globalThis.holdfastTransactions`.
 *
 * @typedef {[verb: string, ...any]} Request as browser/steps.py writes them: a verb, for all but `more` an object store, and what it takes
 */
globalThis.holdfastTransactions ??= (() => {
  "use strict";

  const query = (/** @type {any[] | null} */ keys) => {
    if (keys === null) return undefined;
    return keys.length === 1 ? keys[0] : IDBKeyRange.bound(keys[0], keys[1]);
  };

  const WRITES = {
    put: (/** @type {IDBObjectStore} */ store, /** @type {any} */ value) => store.put(value),
    keep: (/** @type {IDBObjectStore} */ store, /** @type {IDBValidKey} */ key, /** @type {any} */ handle) => store.put(handle, key),
    delete: (/** @type {IDBObjectStore} */ store, /** @type {any[]} */ keys) => store.delete(query(keys)),
  };

  /** Whether the last records come with one request; elsewhere each is one of its own. */
  const BACKWARDS = "getAllRecords" in IDBObjectStore.prototype;

  /** @typedef {IDBObjectStore | IDBIndex} Source */
  const READS = {
    get: (/** @type {Source} */ source, /** @type {any[]} */ keys) => source.get(query(keys)),
    getAll: (/** @type {Source} */ source, /** @type {any[] | null} */ keys, /** @type {number | null} */ limit) =>
      source.getAll(query(keys), limit ?? undefined),
    count: (/** @type {Source} */ source, /** @type {any[] | null} */ keys) => source.count(query(keys)),
    last: (/** @type {Source} */ source, /** @type {any[] | null} */ keys, /** @type {number | null} */ count) => {
      if (!BACKWARDS) return source.openCursor(query(keys), "prev");
      const options = { query: query(keys), count: count ?? undefined, direction: "prev" };
      return source.getAll(/** @type {any} */ (options)); // newer than its types
    },
  };

  /** Calls back with the result of a read; that of a walk is the records it came by. */
  const listen = (/** @type {IDBRequest} */ request, /** @type {number | null | undefined} */ limit, /** @type {(result: any) => void} */ done) => {
    /** @type {any[]} */
    const walked = [];
    request.onsuccess = () => {
      const { result } = request;
      if (limit === undefined) return done(result);
      if (!result || (limit !== null && walked.length === limit)) return done(walked);
      walked.push(result.value);
      result.continue();
    };
  };

  /**
   * @param {(number: number, event: string, text: string, handles: any[]) => string | undefined} step Python
   * @param {(number: number) => any[]} kept the values that are no JSON of the message just given, one for each `keep`
   */
  const driven = (step, kept) => {
    /** Make these requests; returns whether there are more of them already. */
    const make = (/** @type {IDBTransaction} */ tx, /** @type {number} */ number, /** @type {Request[]} */ requests) => {
      /** @type {string[]} */
      const answers = [];
      /** @type {any[]} */
      const handles = [];
      const held = (/** @type {any} */ handle) => (handle === undefined ? null : handles.push(handle) - 1);
      const given = requests.some(([verb]) => verb === "keep") ? kept(number) : [];
      let waiting = 0;
      for (const [verb, name, keys, index, limit, opaque] of requests) {
        if (verb === "more") return true;
        const store = tx.objectStore(name);
        if (verb in WRITES) {
          WRITES[/** @type {keyof typeof WRITES} */ (verb)](store, keys, verb === "keep" && given.shift());
          continue;
        }
        const place = waiting++;
        const request = READS[/** @type {keyof typeof READS} */ (verb)](index === null ? store : store.index(index), keys, limit);
        listen(request, verb === "last" && !BACKWARDS ? limit : undefined, (result) => {
          const plain = opaque ? (Array.isArray(result) ? result.map(held) : held(result)) : result;
          answers[place] = JSON.stringify(plain ?? null);
          if (--waiting === 0) go(tx, number, () => step(number, "answers", answers.join("\n"), handles));
        });
      }
      return false;
    };

    /** The next requests, by Python; whatever goes wrong, half of a transaction must not be committed. */
    const go = (/** @type {IDBTransaction} */ tx, /** @type {number} */ number, /** @type {() => string | undefined} */ next) => {
      try {
        for (let text = next(); ; text = step(number, "more", "", [])) {
          if (text === undefined) return tx.abort();
          if (!make(tx, number, JSON.parse(text))) return;
        }
      } catch ({ name, message }) {
        try {
          step(number, "refused", JSON.stringify({ name, message }), []);
        } finally {
          tx.abort();
        }
      }
    };

    const begin = (/** @type {IDBTransaction} */ tx, /** @type {number} */ number, /** @type {string | undefined} */ text) => {
      tx.addEventListener("complete", () => void step(number, "completed", "", []));
      tx.addEventListener("abort", () => void step(number, "aborted", JSON.stringify({ name: tx.error?.name, message: tx.error?.message }), []));
      go(tx, number, () => text);
    };

    return {
      /** Begin a transaction, out of Python's call: below its many frames all of this costs several times as much. */
      run(/** @type {IDBDatabase} */ db, /** @type {number} */ number, /** @type {string} */ stores, /** @type {IDBTransactionDurability | undefined} */ durability, /** @type {string} */ text) {
        queueMicrotask(() => {
          let tx;
          try {
            tx = db.transaction(JSON.parse(stores), durability ? "readwrite" : "readonly", { durability: durability ?? "default" });
          } catch ({ name, message }) {
            // The connection is closing, or its database lacks a store: nothing of it was done.
            step(number, "aborted", JSON.stringify({ name, message }), []);
            return;
          }
          begin(tx, number, text);
        });
      },

      /** Go on in a transaction that an upgrade has begun. */
      upgrade(/** @type {IDBTransaction} */ tx, /** @type {number} */ number, /** @type {string | undefined} */ text) {
        begin(tx, number, text);
      },
    };
  };

  return { driven };
})();
