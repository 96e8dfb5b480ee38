/** The floor of a worker's cold start: no script but this one, no storage, one request. */
addEventListener("sync", (event) => {
  event.waitUntil(fetch("/sink", { method: "POST", body: "{}" }));
});
