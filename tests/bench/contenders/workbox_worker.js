/** Workbox where it belongs, for its cold start: woken by its own sync event, it sends what is queued. */
importScripts("workbox-core.prod.js", "workbox-background-sync.prod.js");

const queue = new workbox.backgroundSync.Queue("worker");

/** Push one request. Workbox would have it sent by a sync event at once; the bench fires that event when it is ready. */
addEventListener("message", (event) => {
  registration.sync.register = async () => {};
  const pushed = queue.pushRequest({ request: new Request("/sink", { method: "POST", body: "{}" }) });
  event.waitUntil(pushed.then(() => event.ports[0].postMessage("pushed")));
});
