/**
 * The service worker's events, and nothing else: each is handed to the module that knows. `install` only fills the
 * cache; Python starts when something needs it.
 */
import config from "./config.js";
import "./inbox.js";
import { afterwards, ask, prepare } from "./boot.js";
import { held, isOwn, precache, sweep } from "./cache.js";
import { drain } from "./drain.js";
import { isOurs, submit } from "./submit.js";

const INDEX = "/";
const SYNC_MS = 1000;
const RUNTIME = /^\/runtime\/([^/]+)\//;
const inbox = globalThis.holdfastInbox;

inbox.secrets = Object.fromEntries(Object.entries(config.forms).map(([type, form]) => [type, form.secrets]));

self.addEventListener("install", (event) => {
  const channel = new BroadcastChannel(inbox.channel);
  const tell = (/** @type {number} */ done, /** @type {number} */ total) => channel.postMessage({ kind: "precache", done, total });
  event.waitUntil(precache(tell).finally(() => channel.close()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(self.clients.claim().then(sweep).catch(() => {})); // what could not go now goes another time
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (origin !== self.location.origin) return;
  if (request.method === "POST" && pathname === "/submit" && isOurs(request)) event.respondWith(submitted(event));
  if (request.method !== "GET") return;
  const build = RUNTIME.exec(pathname)?.[1];
  if (build) event.respondWith(held(pathname, build).then((file) => file ?? fetch(request)));
  else if (pathname === INDEX || pathname === "/index.html") event.respondWith(held(INDEX).then((file) => file ?? fetch(request)));
  else if (isOwn(pathname)) event.respondWith(held(pathname).then((file) => file ?? fetch(request)));
});

self.addEventListener("sync", (event) => {
  if (event.tag === "holdfast") event.waitUntil(synced(event.lastChance));
});

self.addEventListener("message", (event) => {
  const { data, ports: [port] } = event;
  if (data?.holdfast !== 1) return;
  const answer = answered(data).then((ok) => ok, ({ name, message }) => ({ error: { name, message } }));
  event.waitUntil(answer.then((reply) => port?.postMessage(reply)).then(afterwards));
});

const synced = async (/** @type {boolean} */ last_chance) => {
  const { remaining } = await drain({ reason: "sync", last_chance });
  await afterwards();
  // Only an event that failed comes again.
  if (remaining) throw new Error("Something could not be sent yet.");
};

const submitted = async (/** @type {FetchEvent} */ event) => {
  const { response, saved } = await submit(event.request);
  if (saved) event.waitUntil(wake());
  return response;
};

/** After a form's own POST: a sync if the browser has it, else a drain, by the page that opens next if it takes it. */
const wake = async () => {
  const registered = self.registration.sync?.register("holdfast").then(() => true, () => false);
  const late = new Promise((resolve) => setTimeout(() => resolve(false), SYNC_MS));
  if (!(await Promise.race([registered ?? false, late]))) await drain({ reason: "submit" }).catch(() => {});
};

/** The worker's own methods; every other is Python's. @returns {Promise<any>} the reply */
const answered = async (/** @type {any} */ { method, params = {}, files = [] }) => {
  switch (method) {
    case "skip-waiting":
      await self.skipWaiting();
      return { ok: null };
    case "prepare": {
      const swept = sweep().catch(() => {});
      const kept = params.build === config.build && (await prepare());
      await swept;
      return { ok: { build: config.build, kept } };
    }
    case "timings":
      return { ok: { origin: performance.timeOrigin, measures: performance.getEntriesByType("measure").map((entry) => entry.toJSON()) } };
    case "drain":
      return { ok: await drain(params) };
    default:
      return ask({ method, params }, files);
  }
};
