/**
 * Python in the service worker: one instance, started when it is first needed and shared by all who ask. How it starts
 * stands in python.js, what it does in worker.py.
 */
import config from "./config.js";
import { makeSnapshot, start } from "./python.js";
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
/** @type {Promise<boolean> | null} */
let making = null;
let lacksSnapshot = false;

const begin = async () => {
  try {
    const { python: started, how } = await start();
    lacksSnapshot = how === "plain";
    return started.pyimport("sw.worker").handle;
  } catch (cause) {
    python = null; // the next one who asks tries again
    const message = `Python could not start in the service worker: ${cause?.message ?? cause}`;
    throw Object.assign(new Error(message, { cause }), { name: "UnavailableError" });
  }
};

const announce = () => {
  const channel = new BroadcastChannel(globalThis.holdfastInbox.channel);
  channel.postMessage({ kind: "snapshot" });
  channel.close();
};

const make = async () => {
  const kept = await makeSnapshot();
  if (!kept) return false; // remembered: a second try of this worker would find no more room
  making = null;
  announce();
  return true;
};

/** Have Python answer one message; rejects with `UnavailableError` where it cannot start. */
export const ask = async (/** @type {any} */ { method, params }, /** @type {any[]} */ files = []) => {
  python ??= begin();
  const handle = await python;
  return JSON.parse(await handle(JSON.stringify({ holdfast: 1, method, params }), files));
};

/** See to it that later starts can restore; true if they can. */
export const prepare = async () => {
  if (await snapshot.exists()) return true;
  making ??= make();
  return making;
};

/** Once all is answered: make what this start was missing. */
export const afterwards = async () => {
  if (!lacksSnapshot) return;
  lacksSnapshot = false;
  await prepare();
};
