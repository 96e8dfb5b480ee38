/**
 * The inbox: raw submissions on this device, held until Python takes them in. One frozen schema, so that every build of
 * the app reads every other's entries. Scripts only add; Python alone reads for good and deletes. No decision is made
 * here, and nothing here may need Python, a module loader or a service worker: the file works as a blocking classic
 * script in a page and as a side-effect import in a module or a worker. It sets `globalThis.holdfastInbox`.
 *
 * @typedef {object} Entry
 * @property {number} position its place in the order of arrival; given by the database
 * @property {string} id
 * @property {string} key
 * @property {string} type
 * @property {string} account
 * @property {number} taken_at
 * @property {[string, string][] | null} fields raw fields of a form, in order
 * @property {object | null} payload what a caller of the client enqueued
 * @property {[string, Blob][]} files
 * @property {object} options
 * @property {"form" | "client" | "worker" | "python"} source
 */
globalThis.holdfastInbox ??= (() => {
  "use strict";

  const DATABASE = "holdfast-inbox";
  const VERSION = 1;
  const CHANNEL = "holdfast:reference";
  /** A page gives Python 5 s to save, then the inbox: with both a person knows within 10 s. */
  const OPEN_MS = 4000;
  /** How long a write of many photos may take on a slow device. */
  const WRITE_MS = 30_000;

  class StorageError extends Error {
    code = "storage";
    name = "StorageError";
  }

  /** Nobody knows whether it will still be done: not to be tried again at once. */
  class SilentStorageError extends StorageError {}

  class StorageFullError extends StorageError {
    code = "storage_full";
    name = "StorageFullError";
  }

  /** @type {Promise<IDBDatabase> | null} */
  let connection = null;
  /** The same once it is there. @type {IDBDatabase | null} */
  let connected = null;

  const named = (/** @type {any} */ cause) => {
    if (cause instanceof StorageError) return cause;
    if (cause?.name === "QuotaExceededError")
      return new StorageFullError("This device is out of space: nothing was saved. Free some space, then save again.", { cause });
    return new StorageError(`This browser would not store or read: ${cause?.message || cause?.name || cause}`, { cause });
  };

  const open = () =>
    new Promise((resolve, reject) => {
      // Safari can leave an open request without any event (https://bugs.webkit.org/show_bug.cgi?id=226547).
      let isLate = false;
      const timer = setTimeout(() => {
        isLate = true;
        reject(new SilentStorageError("This browser's storage did not open."));
      }, OPEN_MS);
      const settle = (/** @type {() => void} */ act) => (clearTimeout(timer), act());
      const request = indexedDB.open(DATABASE, VERSION);
      request.onupgradeneeded = () => {
        const entries = request.result.createObjectStore("entries", { keyPath: "position", autoIncrement: true });
        entries.createIndex("id", "id", { unique: true }); // ids are random; positions keep the order of arrival
        request.result.createObjectStore("session");
      };
      request.onerror = () => settle(() => reject(request.error));
      request.onsuccess = () => {
        const db = request.result;
        if (isLate) return db.close(); // whoever wants it has asked anew
        const forget = () => (connection = connected = null);
        db.onclose = forget;
        db.onversionchange = () => {
          forget();
          db.close();
        };
        settle(() => resolve((connected = db)));
      };
    });

  const connect = () => {
    connection ??= open().catch((error) => {
      connection = null;
      throw error;
    });
    return connection;
  };

  /** One transaction; resolves to what `work` put into `box.value`, after `complete`. */
  const transact = async (
    /** @type {IDBTransactionMode} */ mode,
    /** @type {IDBTransactionDurability} */ durability,
    /** @type {(tx: IDBTransaction, box: {value?: any}) => void} */ work,
  ) => {
    const db = connected ?? (await connect()); // where there is a connection, begun at once
    return new Promise((resolve, reject) => {
      const box = {};
      const tx = db.transaction(["entries", "session"], mode, { durability });
      const timer = setTimeout(() => reject(new SilentStorageError("This browser's storage does not answer.")), WRITE_MS);
      tx.oncomplete = () => (clearTimeout(timer), resolve(box.value));
      tx.onabort = () => (clearTimeout(timer), reject(tx.error ?? new StorageError("The browser gave the write up.")));
      work(tx, box);
    });
  };

  /** Drop what can be made anew, the memory snapshots; true if there was one. */
  const freeSpace = async () => {
    let freed = false;
    for (const name of (await globalThis.caches?.keys()) ?? []) {
      if (!name.startsWith("holdfast-")) continue;
      const cache = await caches.open(name);
      freed = (await cache.delete(`/runtime/${name.slice("holdfast-".length)}/snapshot`)) || freed;
    }
    return freed;
  };

  /** Once more where the first try met a dead connection or a full disk. */
  const run = async (
    /** @type {IDBTransactionMode} */ mode,
    /** @type {IDBTransactionDurability} */ durability,
    /** @type {(tx: IDBTransaction, box: {value?: any}) => void} */ work,
  ) => {
    try {
      return await transact(mode, durability, work);
    } catch (error) {
      const cause = named(error);
      if (cause instanceof SilentStorageError || error?.name === "DataCloneError") throw cause;
      if (cause instanceof StorageFullError) {
        if (!(await freeSpace().catch(() => false))) throw cause;
      } else {
        // A cached connection may be dead without having said so (a background tab in Safari, a lost backing store).
        const dead = connection;
        connection = connected = null;
        dead?.then((db) => db.close(), () => {});
      }
      return transact(mode, durability, work).catch((second) => Promise.reject(named(second)));
    }
  };

  const read = (/** @type {(tx: IDBTransaction) => IDBRequest} */ ask) =>
    run("readonly", "relaxed", (tx, box) => {
      ask(tx).onsuccess = (event) => (box.value = /** @type {IDBRequest} */ (event.target).result);
    });

  /**
   * One look, for Python: whose account it is, and how many entries wait. It is told once, as JSON: both, or an error's
   * `name` and `message`.
   */
  const look = (/** @type {(found: string) => void} */ told) => {
    let isTold = false;
    const tell = (/** @type {any} */ found) => {
      if (!isTold) told(JSON.stringify(found));
      isTold = true;
    };
    const read = (/** @type {IDBTransaction} */ tx) => {
      const account = tx.objectStore("session").get("account");
      const count = tx.objectStore("entries").count();
      count.onsuccess = () => tell([account.result ?? "", count.result]); // the later one of both
    };
    // Out of Python's call: below its many frames a request costs several times as much.
    queueMicrotask(() => run("readonly", "relaxed", read).catch(({ name, message }) => tell({ name, message })));
  };

  const hex = (/** @type {number} */ byte) => byte.toString(16).padStart(2, "0");

  /** A UUIDv4; plain http to another host name has no `randomUUID`. */
  const uuid = () => {
    if (crypto.randomUUID) return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return Array.from(bytes, hex).join("").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  };

  const contentOf = (/** @type {Partial<Entry>} */ { type, fields, payload, files = [] }) =>
    JSON.stringify([type, fields, payload, files.map(([name, file]) => [name, file.name, file.type, file.size])]);

  /** Whether this is the write that is there: the same content, or what another part of the app made of the same submission. */
  const isKnown = (/** @type {Entry} */ held, /** @type {Partial<Entry>} */ entry) =>
    contentOf(held) === contentOf(entry) || (held.key === entry.key && held.source !== entry.source);

  const add = (/** @type {Partial<Entry>} */ entry) =>
    run("readwrite", "strict", (tx, box) => {
      const entries = tx.objectStore("entries");
      const insert = (/** @type {string} */ account) => {
        entries.index("id").get(/** @type {string} */ (entry.id)).onsuccess = (event) => {
          const held = /** @type {IDBRequest} */ (event.target).result;
          const known = held && isKnown(held, entry);
          // Other content under a known id is a job of its own: nothing that was typed may be dropped for its number.
          const added = held ? { ...entry, id: uuid(), key: uuid() } : entry;
          box.value = known ? { id: held.id, key: held.key } : { id: added.id, key: added.key };
          if (!known) entries.add({ ...added, account });
        };
      };
      if (typeof entry.account === "string") return insert(entry.account);
      tx.objectStore("session").get("account").onsuccess = (event) =>
        insert(/** @type {IDBRequest} */ (event.target).result ?? "");
    });

  const announce = (/** @type {string} */ id) => {
    if (!globalThis.BroadcastChannel) return; // what is saved is saved
    const channel = new BroadcastChannel(CHANNEL);
    channel.postMessage({ kind: "inbox", id });
    channel.close();
  };

  let asked = false;

  /** Ask the browser once not to clear this storage. Not awaited: it may ask the person, or never answer. */
  const askToKeep = () => {
    if (asked) return;
    asked = true;
    navigator.storage?.persist?.().catch(() => {}); // a worker may not ask, plain http has nobody to ask
  };

  return {
    channel: CHANNEL,
    StorageError,
    StorageFullError,
    SilentStorageError,
    uuid,
    freeSpace,
    /** Names of secret fields by job type, from the build's config; `append` drops them. @type {Record<string, string[]>} */
    secrets: {},

    /**
     * Names of a form's fields that are never stored: passwords, what is marked `data-secret`, the secrets of its type.
     * @param {HTMLFormElement} form @returns {Set<string>}
     */
    secretsOf(form) {
      const marked = Array.from(form.elements).filter((field) => field.type === "password" || "secret" in field.dataset);
      return new Set([...marked.map(({ name }) => name), ...(this.secrets[form.dataset.holdfast] ?? [])]);
    },

    /**
     * Save one submission; resolves once it is on disk, rejects with `StorageFullError` or `StorageError`. An id that is
     * already there is already saved. The account is that of the session unless the entry names one.
     * @param {Partial<Entry>} entry
     * @returns {Promise<{id: string, key: string}>}
     */
    async append(entry) {
      const whole = {
        fields: null, payload: null, files: [], options: {}, source: "client", taken_at: Date.now(),
        ...entry, id: entry.id || uuid(), key: entry.key || uuid(),
      };
      const secrets = this.secrets[whole.type] ?? [];
      whole.fields = whole.fields?.filter(([name]) => !secrets.includes(name)) ?? null;
      const saved = await add(whole);
      announce(saved.id);
      askToKeep();
      return saved;
    },

    /** All entries not yet taken in, oldest first. @returns {Promise<Entry[]>} */
    list: (/** @type {number | undefined} */ limit) => read((tx) => tx.objectStore("entries").getAll(undefined, limit)),

    /** For Python, once their jobs are committed. @param {number[]} positions */
    remove: (positions) =>
      run("readwrite", "relaxed", (tx) => {
        for (const position of positions) tx.objectStore("entries").delete(position);
      }),

    look,

    /** @returns {Promise<number>} */
    count: () => read((tx) => tx.objectStore("entries").count()),

    /** The keys of all values of the session. @returns {Promise<string[]>} */
    keys: () => read((tx) => tx.objectStore("session").getAllKeys()),

    /** A value of the session: `account`, or a draft, `draft:<form type>:<tab>`. @param {string} key */
    get: (key) => read((tx) => tx.objectStore("session").get(key)),

    /** Forget what was typed and never submitted. @returns {Promise<void>} */
    wipeDrafts: () =>
      run("readwrite", "relaxed", (tx) => tx.objectStore("session").delete(IDBKeyRange.bound("draft:", "draft:\uffff"))),

    /** @param {string} key @param {any} value `undefined` removes it @returns {Promise<void>} */
    set: (key, value) =>
      run("readwrite", "relaxed", (tx) => {
        const session = tx.objectStore("session");
        if (value === undefined) session.delete(key);
        else session.put(value, key);
      }),
  };
})();
