/**
 * Python in the service worker: one instance, started when it is first needed and shared by all who ask. How it starts
 * stands in python.js, what it does in worker.py.
 */
import config from "./config.js";
import { startFresh, startOrMake } from "./python.js";
import * as snapshot from "./snapshot.js";

const RUNTIME = `/runtime/${config.build}/`;
const network = self.fetch.bind(self);

// A worker's own fetches skip its fetch handler: without this Python could not start offline. Only this build's files,
// so that what Python sends to the server takes no detour.
self.fetch = async (input, init) => {
  const { pathname, origin } = new URL(input instanceof Request ? input.url : input, self.location.href);
  if (origin !== self.location.origin || !pathname.startsWith(RUNTIME)) return network(input, init);
  const held = await caches.open(`holdfast-${config.build}`).then((cache) => cache.match(pathname), () => undefined);
  return held ?? network(input, init);
};

/** @type {Promise<(message: string, files: any[]) => Promise<string>> | null} */
let python = null;
/** @type {Promise<boolean> | null} whether the heap of the last start could be kept */
let kept = null;

const unavailable = (/** @type {any} */ cause) =>
  Object.assign(new Error(`Python could not start in the service worker: ${cause?.message ?? cause}`), { name: "UnavailableError" });

const begin = async () => {
  try {
    const started = await startOrMake();
    kept = started.kept;
    kept.then((stored) => stored && announce());
    return started.python.pyimport("sw.worker").handle;
  } catch (cause) {
    python = null; // the next one who asks tries again
    throw unavailable(cause);
  }
};

const announce = () => {
  const channel = new BroadcastChannel(globalThis.holdfastInbox.channel);
  channel.postMessage({ kind: "snapshot" });
  channel.close();
};

/** Have Python answer one message; rejects with `UnavailableError` where it cannot start. */
export const ask = async (/** @type {any} */ { method, params }, /** @type {any[]} */ files = []) => {
  python ??= begin();
  const handle = await python;
  return JSON.parse(await handle(JSON.stringify({ holdfast: 1, method, params }), files));
};

/** What a start still has to put away after it has answered. */
export const stored = () => kept ?? Promise.resolve(false);

/** See to it that later starts can restore; true if they can. */
export const prepare = async () => {
  if (await snapshot.exists()) return true;
  if (!python) {
    python = begin();
    await python;
    return stored();
  }
  await python;
  if (!(await stored())) return false; // no room for it: once tried is enough
  if (await snapshot.exists()) return true;
  // It was lost or damaged while Python ran from it: a second instance makes it anew, and is dropped.
  kept = startFresh().then((fresh) => fresh.kept, () => false);
  return kept;
};
