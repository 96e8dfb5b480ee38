/**
 * The JavaScript client: `window.holdfast`, also an ES module. It forwards calls to this page's Python or, in a page
 * without one, to the service worker; it registers the worker and tells of its updates; it holds the build's lock. It
 * decides nothing: without Python it can save to the inbox, and list, count and export what is stored.
 *
 * Events: `change` {ids} · `progress` {kind: "precache", done, total} or {kind: "progress", id, sent, total} · `python`
 * {state} · `update` {} when a new version waits · `warning` {id, key_lifetime_ms} for a job worth sending for longer than
 * the server keeps its key · `storage` {nearly_full, usage, quota} in bytes, when the next submission may find no room and when it
 * has room again · `stalled` {stalled, since} when nothing known holds back a job that has not moved for ten minutes, and when it
 * moves · `about_to_prune` {ids} a day before failures are deleted, where the app has asked for that; `prunes_at` in their rows.
 */
import config from "./config.js";
import { ExportFile } from "./export.js";
import "./inbox.js";
import * as stored from "./stored.js";

const LIMIT_MS = 10_000;
/** How long Python may take to start, or over an answer, before what is stored is read without it. */
const START_MS = 1000;
const ANSWER_MS = 7000;
/** How long Python may take over a save before the inbox takes it, so that both stay within 10 s. */
const SAVE_MS = 5000;
const SYNC_MS = 1000;
/** Timers of a browser wait no longer: a longer time would end at once. */
const LONGEST_MS = 2 ** 31 - 1;
const NOBODY_ANSWERS = ["UnavailableError", "WaitTimeoutError"];
const UPDATE_LOOK_MS = 3_600_000;
const inbox = globalThis.holdfastInbox;

/** An error with a name of the Python tree (holdfast/errors.py), its `code`, and what came with it. */
export class HoldfastError extends Error {
  /** @param {{name: string, message: string}} answer the `error` of a reply */
  constructor({ name, message, ...detail }, /** @type {ErrorOptions} */ options = {}) {
    super(message, options);
    Object.assign(this, detail, { name, code: name.replace(/Error$/, "").replace(/\B[A-Z]/g, "_$&").toLowerCase() });
  }
}

/** Names of fields that are never stored, whatever the type; `limits.py` has the same. */
const NEVER_STORED = ["authorization", "cookie", "set-cookie", "proxy-authorization"];

/** The name of a secret field, at any depth of a payload. @returns {string | undefined} */
const secretIn = (/** @type {any} */ value, /** @type {string[]} */ secrets) => {
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, inner] of Object.entries(value)) {
    if (!Array.isArray(value) && (NEVER_STORED.includes(name.toLowerCase()) || secrets.includes(name))) return name;
    const deeper = secretIn(inner, secrets);
    if (deeper !== undefined) return deeper;
  }
  return undefined;
};

/** Resolves once the inbox takes a write, however slowly its storage opens, to whether it has room for it. @returns {Promise<boolean>} */
const opened = async () => {
  for (;;)
    try {
      await inbox.set("opened_at", Date.now());
      return true;
    } catch (error) {
      if (error instanceof inbox.StorageFullError) return false; // it still shows, exports and sends what it has
      if (!(error instanceof inbox.SilentStorageError)) throw error;
    }
};

/** What `enqueue` and `edit` take beside attachments; those of `Outbox` have the same. */
const OPTIONS = ["id", "key", "lane", "priority", "delay_ms", "ttl_ms"];
const EDIT_OPTIONS = ["id", "key"];
const JSON_KINDS = ["Object", "Array", "String", "Boolean", "Null", "Undefined"].map((kind) => `[object ${kind}]`);

const wrong = (/** @type {string} */ message) => new HoldfastError({ name: "InvalidOptionError", message });

/** The same value as JSON keeps it. What JSON would change or leave out without a word is refused, as by Python. @returns {any} */
const asJson = (/** @type {string} */ what, /** @type {any} */ value) => {
  const check = (/** @type {string} */ name, /** @type {any} */ inner) => {
    const kind = Object.prototype.toString.call(inner);
    if (typeof inner === "number" ? Number.isFinite(inner) : JSON_KINDS.includes(kind)) return inner;
    const shown = typeof inner === "number" ? inner : kind;
    throw wrong(`${what}: ${name ? `'${name}'` : "it"} is ${shown}, which JSON does not have. Files go into attachments.`);
  };
  let text;
  try {
    text = JSON.stringify(value, check);
  } catch (error) {
    throw error instanceof HoldfastError ? error : wrong(`${what} takes what JSON has: ${error.message}`);
  }
  if (text === undefined) throw wrong(`${what} is missing.`);
  return JSON.parse(text);
};

/** The options as JSON keeps them; a misspelt one must not mean what leaving it out means. @returns {any} */
const asOptions = (/** @type {any} */ options, /** @type {string[]} */ known) => {
  const plain = asJson("options", options);
  const unknown = Object.keys(plain).find((name) => !known.includes(name));
  if (unknown !== undefined) throw wrong(`There is no option '${unknown}'; there are ${known.join(", ")}, attachments.`);
  return plain;
};

/** Files as in the inbox: their field and the blob. @returns {[string, Blob][]} */
const asFiles = (/** @type {any} */ attachments) => {
  const files = Array.isArray(attachments) || attachments instanceof FileList ? [...attachments] : [attachments];
  if (!files.every((file) => file instanceof Blob)) throw wrong("attachments takes a list of File or Blob.");
  return files.map((file) => ["attachments", file]);
};

const unavailable = (/** @type {string} */ message) => new HoldfastError({ name: "UnavailableError", message });

/** Settles as `promise` does, or after `limit` ms with what `late` makes: an error is thrown, anything else returned. */
const within = (/** @type {number} */ limit, /** @type {Promise<any>} */ promise, /** @type {() => any} */ late) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      const value = late();
      if (value instanceof Error) reject(value);
      else resolve(value);
    }, limit);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });

/** An inbox entry as a job row: what is certain before Python has looked at it. */
const asRow = (/** @type {import("./inbox.js").Entry} */ { id, key, type, account, taken_at, options }) => ({
  id, key, type, account, queue: null, lane: options.lane ?? null, priority: options.priority ?? 5, state: "pending",
  reason: null, attempts: 0, run_at: taken_at, created_at: taken_at, updated_at: taken_at, expires_at: null, inbox: true,
});

/** Add a job to an export, with its files: those of its entry where it is still in the inbox. Received or cancelled meanwhile: not. */
const addUnsent = async (/** @type {ExportFile} */ file, /** @type {any} */ job, /** @type {import("./inbox.js").Entry | undefined} */ entry = undefined) => {
  if (!job || !stored.UNSENT.includes(job.state)) return;
  const blobs = await stored.files(job.id);
  await file.add(job, job.attachments.map((/** @type {any} */ _, /** @type {number} */ number) => entry ? entry.files[number]?.[1] : blobs.get(number)));
};

class Holdfast extends EventTarget {
  /** @type {"none" | "starting" | "ready" | "failed"} */
  #state = "none";
  /** @type {((message: string, files: [string, Blob][]) => Promise<string>) | null} */
  #handler = null;
  #decided = Promise.withResolvers();
  #reloads = false;
  #updateReady = false;
  #full = false;
  /** @type {string | null} */
  #reason = null;
  /** @type {Promise<boolean> | null} */
  #sync = null;

  /** Resolves as soon as a submit is durable; rejects where nothing can be saved. @type {Promise<void>} */
  ready;
  /** The service worker's registration, null where there is none. @type {Promise<ServiceWorkerRegistration | null>} */
  registration;

  constructor() {
    super();
    if (document.querySelector('script[type="py"]')) this.#state = "starting";
    else this.#decided.resolve(null);
    this.ready = opened().then((hasRoom) => void (this.#full = !hasRoom));
    this.ready.catch(() => {}); // told to whoever asks for it
    navigator.locks?.request(`holdfast:build:${config.build}`, { mode: "shared" }, () => new Promise(() => {})).catch(() => {});
    this.#hear();
    this.registration = this.#register();
  }

  /** Whether a new version waits; `applyUpdate()` starts it. */
  get updateReady() {
    return this.#updateReady;
  }

  /** Whether this device had no room for anything as the page opened; known once `ready` has resolved. */
  get full() {
    return this.#full;
  }

  get build() {
    return config.build;
  }

  /** Whether this page's Python answers: "none" (the page has none), "starting", "ready" or "failed". */
  get python() {
    return this.#state;
  }

  /** Why Python failed to start, for a person to read; null while it has not. */
  get pythonReason() {
    return this.#reason;
  }

  /** This page's Python hands over its end of the message table; calls go straight to it from here on. */
  connect(/** @type {(message: string, files: [string, Blob][]) => Promise<string>} */ handler) {
    this.#handler = handler;
    this.#become("ready");
  }

  /** Python could not be started in this page, or has stopped. */
  pythonFailed(/** @type {unknown} */ reason) {
    this.#handler = null;
    this.#reason = String(/** @type {any} */ (reason)?.message ?? reason);
    this.#become("failed");
  }

  /**
   * One method of the message table. Rejects with a `HoldfastError`, at the latest after `limit` ms.
   * @param {string} method @param {Record<string, any>} params @param {[string, Blob][]} files field and file, as in the inbox @returns {Promise<any>}
   */
  async call(method, params = {}, files = [], limit = params.timeout_ms ?? LIMIT_MS) {
    if (!(limit >= 0 && limit <= LONGEST_MS)) throw wrong(`${method}: timeout_ms takes 0 to ${LONGEST_MS}; not ${String(limit)}.`);
    const told = "timeout_ms" in params ? { ...params, timeout_ms: Math.floor(Math.max(0, limit - 250)) } : params;
    const message = { holdfast: 1, method, params: asJson(method, told) };
    const reply = await within(limit, this.#send(message, files), () =>
      new HoldfastError({ name: "WaitTimeoutError", message: `${method}: no answer within ${limit} ms; it may still be done.` }));
    if (reply.error) throw new HoldfastError(reply.error);
    return reply.ok;
  }

  /**
   * Save a job; resolves once it is durable. Without Python it waits for nobody: the inbox takes it.
   * @param {string} type @param {object} payload @param {Record<string, any>} options as Python's, plus `attachments`
   * @returns {Promise<{id: string, key: string}>}
   */
  async enqueue(type, payload, { attachments = [], ...options } = {}) {
    const files = asFiles(attachments);
    const { id: givenId, key: givenKey, ...rest } = asOptions(options, OPTIONS);
    const plain = asJson("payload", payload);
    const [id, key] = [givenId ?? inbox.uuid(), givenKey ?? inbox.uuid()];
    if (this.#state === "ready") {
      try {
        return await this.call("enqueue", { type, payload: plain, options: { ...rest, id, key } }, files, SAVE_MS);
      } catch (error) {
        if (!/Storage|Unavailable|Timeout/.test(error.name)) throw error; // refused by its rules, and so by the inbox
      }
    }
    const secret = secretIn(plain, inbox.secrets[type] ?? []);
    if (secret !== undefined)
      throw new HoldfastError({ name: "SecretError", message: `The field '${secret}' is a secret and is never stored. Leave it out.` });
    const append = inbox.append({ id, key, type, payload: plain, files, options: rest });
    const saved = await within(LIMIT_MS - SAVE_MS, append, () =>
      new HoldfastError({ name: "WaitTimeoutError", id, key, message: "enqueue: not stored in time, though it may still be. Once more with this id and key is the same job." }));
    this.wake();
    return saved;
  }

  /**
   * Job rows of this account, newest first. Where no Python answers they are what is stored of each job, and what waits in the inbox.
   * @param {{state?: string, reason?: string, limit?: number}} filter
   */
  jobs(filter = {}) {
    return this.#orStored("jobs", { filter }, async (entries, account) => {
      const records = await stored.list(account, filter);
      const known = new Set(records.map(({ id }) => id));
      const isMeant = !filter.reason && (filter.state ?? "pending") === "pending";
      const waiting = isMeant ? entries.filter(({ id }) => !known.has(id)).map(asRow).reverse() : [];
      const place = (/** @type {any} */ { seq = Number.MAX_SAFE_INTEGER }) => seq;
      return [...waiting, ...records].sort((one, other) => other.created_at - one.created_at || place(other) - place(one));
    });
  }

  /** One job with payload and attachments, or null. */
  job(/** @type {string} */ id) {
    return this.#orStored("job", { id }, async (entries, account) => {
      const job = await stored.job(id);
      if (job) return job.account === account ? job : null;
      const entry = entries.find((/** @type {{id: string}} */ candidate) => candidate.id === id);
      if (!entry) return null;
      const attachments = entry.files.map((/** @type {[string, any]} */ [field, { name, type, size }]) => ({ field, name, type, size }));
      return { ...asRow(entry), payload: entry.payload ?? Object.fromEntries(entry.fields ?? []), attachments };
    });
  }

  /** The job's row once it has ended; rejects with `WaitTimeoutError` if it has not in time. */
  wait(/** @type {string} */ id, { timeout_ms = LIMIT_MS } = {}) {
    return this.call("wait", { id, timeout_ms });
  }

  /** Without Python: what is unsent by state, the inbox's as pending. */
  stats() {
    return this.#orStored("stats", {}, async (entries, account) => {
      const states = await stored.count(account);
      states.pending = (states.pending ?? 0) + entries.length;
      return { inbox: entries.length, unsent: Object.values(states).reduce((sum, number) => sum + number, 0), states };
    });
  }

  retry(/** @type {string} */ id, options = {}) {
    return this.call("retry", { id, ...options });
  }

  cancel(/** @type {string} */ id, options = {}) {
    return this.call("cancel", { id, ...options });
  }

  /**
   * Replace a job by a corrected one in its place; without `attachments` it keeps those it has. With an `id` and a `key` for the
   * new one the same call once more finds it done.
   * @param {string} id @param {object} payload @param {{attachments?: Blob[] | null, id?: string, key?: string}} options
   * @returns {Promise<{id: string, key: string}>}
   */
  async edit(id, payload, { attachments = null, ...options } = {}) {
    const files = asFiles(attachments ?? []);
    const message = { id, payload, keep_attachments: attachments === null, options: asOptions(options, EDIT_OPTIONS) };
    return this.call("edit", message, files);
  }

  /** Send every failed job once more, or those with one `reason`; resolves to their ids. */
  retryAll(/** @type {{reason?: string}} */ which = {}) {
    return this.call("retry_all", which);
  }

  /** Stop sending jobs of a `type`, of a `queue`, or all, in every tab, until `resume`. Saving goes on. */
  pause(/** @type {{queue?: string, type?: string}} */ which = {}) {
    return this.call("pause", which);
  }

  /** End a pause that was made with the same words. */
  resume(/** @type {{queue?: string, type?: string}} */ which = {}) {
    return this.call("resume", which);
  }

  /** From now on jobs are made, listed and sent for this account. */
  signIn(/** @type {string} */ account) {
    return this.call("sign_in", { account });
  }

  /** Nobody is signed in any more; resolves to `{unsent}`, how many jobs wait for the account's return. */
  signOut() {
    return this.call("sign_out");
  }

  drain({ timeout_ms = LIMIT_MS } = {}) {
    return this.call("drain", { timeout_ms, reason: "asked" });
  }

  /** All of this account's unsent work as JSON-safe data, files as base64: what `exportFile` writes, in memory. */
  async export(options = {}) {
    return JSON.parse(await (await this.exportFile(options)).file.text());
  }

  /**
   * All of this account's unsent work as a JSON file (export.js), in little memory however many photos it has.
   * @returns {Promise<{file: Blob, count: number}>} `count`: how many jobs and entries of the inbox are in it
   */
  exportFile({ timeout_ms = LIMIT_MS } = {}) {
    const progress = { over: false };
    const late = () => {
      progress.over = true;
      return new HoldfastError({ name: "WaitTimeoutError", message: `export: not all of it was read within ${timeout_ms} ms.` });
    };
    return within(timeout_ms, this.#export(progress, Math.min(timeout_ms / 2, LIMIT_MS)), late);
  }

  /** Python is waited for `patience` ms and no longer: then all is read without it. @returns {Promise<{file: Blob, count: number}>} */
  async #export(/** @type {{over: boolean}} */ progress, /** @type {number} */ patience) {
    if (this.#state === "starting") return this.#exportStored(progress);
    try {
      return await this.#exportAsked(progress, patience);
    } catch (error) {
      if (!NOBODY_ANSWERS.includes(error.name)) throw error;
      return this.#exportStored(progress);
    }
  }

  async #exportAsked(/** @type {{over: boolean}} */ progress, /** @type {number} */ patience) {
    const file = new ExportFile();
    file.list("jobs");
    for (const id of await this.call("unsent", {}, [], patience)) {
      if (progress.over) break;
      const job = await this.call("job", { id }, [], patience);
      const [entry] = job?.waits === "space" ? (await inbox.list()).filter((one) => one.id === id) : [];
      await addUnsent(file, job, entry);
    }
    return { file: file.end(), count: file.count };
  }

  async #exportStored(/** @type {{over: boolean}} */ progress) {
    const file = new ExportFile();
    const { entries, account } = await this.#inbox(); // first: what is taken in from here on is in the queue
    const ids = await stored.ids(account);
    file.list("jobs");
    for (const id of ids) if (!progress.over) await addUnsent(file, await stored.job(id));
    file.list("inbox");
    for (const { files, ...rest } of entries.filter(({ id }) => !ids.includes(id))) {
      if (progress.over) break;
      const attachments = files.map(([field, { name = "", type, size }]) => ({ field, name, type, size }));
      await file.add({ ...rest, attachments }, files.map(([, blob]) => blob));
    }
    return { file: file.end(), count: file.count };
  }

  /**
   * What this browser can do, here and after the tab closes. Known without Python, within seconds: a registration that is
   * still under way then counts as a worker, which it mostly becomes. `forgets`: WebKit deletes
   * what scripts stored for a site after seven days without a visit, unless it was installed.
   */
  async capabilities() {
    const [registration, persisted, storage] = await Promise.all([
      within(SYNC_MS, this.registration, () => undefined),
      within(SYNC_MS, Promise.resolve(navigator.storage?.persisted?.() ?? false).catch(() => false), () => false),
      within(SAVE_MS, this.ready.then(() => true, () => false), () => false),
    ]);
    const backgroundSync = await this.#canSync(registration);
    const standalone = matchMedia("(display-mode: standalone)").matches || navigator.standalone === true;
    return {
      python: this.#state, storage, persisted, backgroundSync, serviceWorker: registration !== null,
      locks: Boolean(navigator.locks), secure: isSecureContext, standalone,
      forgets: navigator.vendor.startsWith("Apple") && !standalone,
      closes: backgroundSync ? "background-sync" : "next-visit",
    };
  }

  /** Submit a form as its button would; resolves to {saved} or {refused}. */
  submit(/** @type {HTMLFormElement} */ form) {
    const heard = new AbortController();
    const told = new Promise((resolve, reject) => {
      const once = { once: true, signal: heard.signal };
      form.addEventListener("holdfast:saved", ({ detail: { id, key } }) => resolve({ saved: { id, key } }), once);
      form.addEventListener("holdfast:refused", (event) => resolve({ refused: event.detail.violations }), once);
      form.addEventListener("holdfast:unsaved", (event) => reject(event.detail.error), once);
      form.requestSubmit();
    });
    return within(LIMIT_MS, told, () => unavailable("Nobody answered the form: it is incomplete, or the submit listener did not load."))
      .finally(() => heard.abort());
  }

  /** Something is there to send: Background Sync where it works, else the active worker. Never rejects. */
  async wake() {
    if (await this.#registerSync()) return;
    const registration = await this.registration;
    registration?.active?.postMessage({ holdfast: 1, method: "drain", params: { reason: "wake" } });
  }

  /** Start the version that waits. This page loads anew; other tabs go on as they are. */
  async applyUpdate() {
    const registration = await this.registration;
    this.#reloads = true;
    if (registration?.waiting) registration.waiting.postMessage({ holdfast: 1, method: "skip-waiting", params: {} });
    else location.reload(); // another tab has started it already
  }

  /** Ask the active worker for a method of its own or of the message table. @returns {Promise<any>} its reply */
  async ask(/** @type {ServiceWorker} */ worker, /** @type {string} */ method, params = {}, /** @type {[string, Blob][]} */ files = []) {
    const { port1, port2 } = new MessageChannel();
    const reply = new Promise((resolve) => (port1.onmessage = ({ data }) => resolve(data)));
    worker.postMessage({ holdfast: 1, method, params, files }, [port2]);
    return reply.finally(() => port1.close());
  }

  /** Python answers whatever goes wrong in it: where it does not, it has stopped for good. */
  async #ask(/** @type {any} */ message, /** @type {[string, Blob][]} */ files) {
    try {
      return JSON.parse(/** @type {string} */ (await this.#handler?.(JSON.stringify(message), files)));
    } catch (error) {
      this.pythonFailed(error);
      throw unavailable(`Python in this page has stopped: ${this.#reason}`);
    }
  }

  #become(/** @type {"ready" | "failed"} */ state) {
    this.#state = state;
    this.#decided.resolve(null);
    this.#tell("python", { state });
  }

  #tell(/** @type {string} */ name, /** @type {object} */ detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  async #send(/** @type {any} */ message, /** @type {[string, Blob][]} */ files) {
    await this.#decided.promise;
    if (this.#handler) return this.#ask(message, files);
    const registration = await this.registration;
    const worker = registration && (await activeOf(registration));
    if (!worker) throw unavailable(this.#reason ?? "This page has no Python and no service worker to ask.");
    return this.ask(worker, message.method, message.params, files);
  }

  /** Python's answer; where it failed, or takes its time, what `read` makes of what is stored. @returns {Promise<any>} */
  #orStored(/** @type {string} */ method, /** @type {any} */ params, /** @type {(entries: any[], account: string) => Promise<any>} */ read) {
    const late = () => new HoldfastError({ name: "WaitTimeoutError", message: `${method}: what is stored was not read within ${LIMIT_MS} ms.` });
    return within(LIMIT_MS, this.#askedOrStored(method, params, read), late);
  }

  async #askedOrStored(/** @type {string} */ method, /** @type {any} */ params, /** @type {(entries: any[], account: string) => Promise<any>} */ read) {
    try {
      await within(START_MS, this.#decided.promise, () => unavailable("Python is still starting."));
      return await this.call(method, params, [], ANSWER_MS);
    } catch (error) {
      if (!NOBODY_ANSWERS.includes(error.name)) throw error;
    }
    const { entries, account } = await this.#inbox(); // first: what is taken in from here on is in the queue
    return read(entries, account);
  }

  /** The account of this device, and its entries. @returns {Promise<{entries: import("./inbox.js").Entry[], account: string}>} */
  async #inbox() {
    const [entries, account = ""] = await Promise.all([inbox.list(), inbox.get("account")]);
    return { entries: entries.filter((/** @type {any} */ entry) => entry.account === account), account };
  }

  #hear() {
    const channel = new BroadcastChannel(inbox.channel);
    channel.onmessage = ({ data }) => {
      if (data.kind === "change") this.#tell("change", { ids: data.ids });
      else if (data.kind === "inbox") this.#tell("change", { ids: [data.id] });
      else if (data.kind === "outlives_key") this.#warn(data);
      else if (["storage", "stalled", "about_to_prune"].includes(data.kind)) this.#tell(data.kind, data);
      else if (data.kind === "precache" || data.kind === "progress") this.#tell("progress", data);
    };
    navigator.serviceWorker?.addEventListener("message", ({ data, ports: [port] }) => {
      if (data?.holdfast === 1 && data.method === "drain" && port) this.#drainFor(port, data.params);
    });
    navigator.serviceWorker?.startMessages();
    navigator.serviceWorker?.addEventListener("controllerchange", () => this.#reloads && location.reload());
  }

  #warn(/** @type {{id: string, key_lifetime_ms: number}} */ { id, key_lifetime_ms }) {
    console.warn(
      `Job ${id} is worth sending for longer than the server keeps its key (${key_lifetime_ms} ms): if no answer comes for ` +
        "that long, it is put aside for a person instead of being sent again.",
    );
    this.#tell("warning", { id, key_lifetime_ms });
  }

  /** The worker would rather have this page drain than start a Python of its own. */
  async #drainFor(/** @type {MessagePort} */ port, params = {}) {
    const accepted = this.#state === "ready" || this.#state === "starting";
    port.postMessage({ accepted });
    if (!accepted) return;
    const answer = this.call("drain", params).then((ok) => ({ ok }), ({ name, message }) => ({ error: { name, message } }));
    port.postMessage(await answer);
  }

  async #register() {
    if (!navigator.serviceWorker) return null;
    try {
      const registration = await navigator.serviceWorker.register("/sw.js", { type: "module", scope: "/", updateViaCache: "none" });
      this.#watch(registration);
      return registration;
    } catch {
      return null; // forbidden here: the page alone captures and delivers
    }
  }

  #watch(/** @type {ServiceWorkerRegistration} */ registration) {
    const offer = () => {
      if (!registration.waiting || !registration.active) return;
      this.#updateReady = true;
      this.#tell("update", {});
    };
    offer();
    registration.addEventListener("updatefound", () => {
      const installing = registration.installing;
      installing?.addEventListener("statechange", () => installing.state === "installed" && offer());
    });
    let looked_at = Date.now();
    addEventListener("visibilitychange", () => {
      if (document.visibilityState !== "visible" || Date.now() - looked_at < UPDATE_LOOK_MS) return;
      looked_at = Date.now();
      registration.update().catch(() => {}); // offline; the next visit looks again
    });
  }

  /** Background Sync may be missing, refuse, or never answer: true only if it said yes in time. */
  async #registerSync() {
    const registration = await this.registration;
    if (!registration?.active || !("sync" in registration)) return false;
    this.#sync = within(SYNC_MS, registration.sync.register("holdfast").then(() => true, () => false), () => false);
    return this.#sync;
  }

  async #canSync(/** @type {ServiceWorkerRegistration | null | undefined} */ registration) {
    if (this.#sync) return this.#sync;
    if (!registration || !("sync" in registration)) return false;
    if (registration.active) return this.#registerSync();
    // A first visit: nothing to try it on yet, so the permission is all there is to know.
    const permission = navigator.permissions?.query({ name: "background-sync" });
    return permission.then(({ state }) => state === "granted", () => false);
  }
}

/** The active worker, waiting for a first installation; null if that fails. */
export const activeOf = (/** @type {ServiceWorkerRegistration} */ registration) =>
  new Promise((resolve) => {
    const look = () => {
      const { active, waiting, installing } = registration;
      if (active?.state === "activated") resolve(active);
      else if (!active && !waiting && !installing) resolve(null);
    };
    for (const worker of [registration.installing, registration.waiting, registration.active])
      worker?.addEventListener("statechange", look);
    look();
  });

inbox.secrets = Object.fromEntries(Object.entries(config.forms ?? {}).map(([type, form]) => [type, form.secrets ?? []]));

export const holdfast = (globalThis.holdfast ??= new Holdfast());
export default holdfast;
