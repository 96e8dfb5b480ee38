/**
 * One request for Python: all it has to say goes over in one call, all there is to know comes back as one text. It sets
 * `globalThis.holdfastSending`.
 */
globalThis.holdfastSending ??= (() => {
  "use strict";

  const LATE = "late";

  return {
    /**
     * Send it. `answer` resolves to `{status, headers, body}` or `{failure}` as JSON and never rejects; `stop` ends it.
     * @param {string} asked JSON: `url`, `timeout_ms`, `limit` of the answer in characters, `told` headers, and options of `fetch`
     * @param {FormData | undefined} form in place of the options' `body`
     */
    send(asked, form) {
      const { url, timeout_ms, limit, told, ...options } = JSON.parse(asked);
      const controller = new AbortController();
      const timer = setTimeout(() => controller.abort(LATE), timeout_ms);
      const { signal } = controller;
      const exchange = async () => {
        const response = await fetch(url, { ...options, body: form ?? options.body, signal });
        const headers = Object.fromEntries(told.map((/** @type {string} */ name) => [name, response.headers.get(name)]));
        return { status: response.status, headers, body: (await response.text()).slice(0, limit) };
      };
      const answer = exchange()
        .catch(() => ({ failure: signal.reason === LATE ? "timeout" : "network" }))
        .then((found) => (clearTimeout(timer), JSON.stringify(found)));
      return { answer, stop: () => controller.abort() };
    },
  };
})();
