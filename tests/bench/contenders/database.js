/** IndexedDB by promises, no more of it than the bench needs. */

/** The database of Holdfast as a contender; its outbox is described in holdfast.py. */
export const DATABASE = "holdfast:bench";

/** @returns {Promise<any>} the result of a request */
export const ask = (/** @type {IDBRequest} */ request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** A connection; `make` fills a new database. @returns {Promise<IDBDatabase>} */
export const connected = (/** @type {string} */ name, /** @type {((db: IDBDatabase) => void) | undefined} */ make) => {
  const request = indexedDB.open(name);
  request.onupgradeneeded = () => make?.(request.result);
  return ask(request);
};

/** Resolves when a transaction is complete. */
export const done = (/** @type {IDBTransaction} */ tx) =>
  new Promise((resolve, reject) => {
    tx.oncomplete = () => resolve(null);
    tx.onabort = () => reject(tx.error);
  });

/** All records of some stores of a database. @returns {Promise<Record<string, any[]>>} */
export const contentOf = async (/** @type {string} */ name, /** @type {string[]} */ stores) => {
  const db = await connected(name);
  const tx = db.transaction(stores);
  const records = await Promise.all(stores.map((store) => ask(tx.objectStore(store).getAll())));
  db.close();
  return Object.fromEntries(stores.map((store, at) => [store, records[at]]));
};
