/**
 * Requests for Python: all that one has to say goes over in one call, all there is to know of its answer comes back in
 * another. It sets `globalThis.holdfastSending`.
 */
globalThis.holdfastSending ??= (() => {
  "use strict";

  const LATE = "late";

  /** @param {(number: number, text: string) => void} answered Python: `{status, headers, body}` or `{failure}` as JSON */
  const sender = (answered) => {
    /** @type {Map<number, AbortController>} */
    const underWay = new Map();
    return {
      /**
       * Send one. It is answered once, whatever happens.
       * @param {number} number of the request
       * @param {string} asked JSON: `url`, `timeout_ms`, `limit` of the answer in characters, `told` headers, and options of `fetch`
       * @param {string | FormData} body
       */
      send(number, asked, body) {
        const { url, timeout_ms, limit, told, ...options } = JSON.parse(asked);
        const controller = new AbortController();
        underWay.set(number, controller);
        const timer = setTimeout(() => controller.abort(LATE), timeout_ms);
        const { signal } = controller;
        const exchange = async () => {
          await null; // out of Python's call: a request is made at three times the price below its many frames
          const response = await fetch(url, { ...options, body, signal });
          const named = told.map((/** @type {string} */ name) => [name, response.headers.get(name)]);
          const headers = Object.fromEntries(named.filter((/** @type {[string, string | null]} */ [, value]) => value));
          return { status: response.status, headers, body: (await response.text()).slice(0, limit) };
        };
        void exchange()
          .catch(() => ({ failure: signal.reason === LATE ? "timeout" : "network" }))
          .then((found) => {
            clearTimeout(timer);
            underWay.delete(number);
            answered(number, JSON.stringify(found));
          });
      },

      /** Nobody waits for the answer of this one any more. */
      stop(/** @type {number} */ number) {
        underWay.get(number)?.abort();
      },
    };
  };

  return { sender };
})();
