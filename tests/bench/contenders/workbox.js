/**
 * workbox-background-sync as published, its production build. Requests are pushed into its queue and replayed by its own
 * `replayRequests`. Workbox belongs into a service worker, which has a `registration`; here it stands in the page beside
 * the others, with a registration that offers no Background Sync, so it saves itself one registration a request. That
 * favours Workbox.
 */
import { post } from "./payload.js";

const load = (/** @type {string} */ source) =>
  new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src: source, onload: resolve, onerror: reject });
    document.head.append(script);
  });

globalThis.registration = { scope: "/" };
await load("/bench/workbox-core.prod.js");
await load("/bench/workbox-background-sync.prod.js");
const queue = new globalThis.workbox.backgroundSync.Queue("bench");

/** Push `count` requests, each awaited before the next. Workbox asks for no durability: it is the browser's default, relaxed. */
export const enqueue = async (/** @type {number} */ count) => {
  for (let number = 0; number < count; number++)
    await queue.pushRequest({ request: new Request("/sink", post(number)) });
};

/** Send all, one at a time. */
export const drain = () => queue.replayRequests();

/** Take back what was not sent. */
export const empty = async () => {
  while (await queue.shiftRequest());
};
