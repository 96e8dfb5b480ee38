/**
 * Requests for Python: all that one has to say goes over in one call, all there is to know of its answer comes back in
 * another. It sets `globalThis.holdfastSending`.
 */
globalThis.holdfastSending ??= (() => {
  "use strict";

  const LATE = "late";
  const [KEY, ECHO] = ["Idempotency-Key", "idempotency-key"];

  /** @typedef {{number: number, asked: string, body: string, from: number, until: number}} Next */

  /** @param {(number: number, text: string) => void} answered Python: `{status, headers, body}` or `{failure}` as JSON */
  const sender = (answered) => {
    /** @type {Map<number, AbortController>} */
    const underWay = new Map();
    /** What goes next, by the number of the request that it goes behind. @type {Map<number, Next>} */
    const nexts = new Map();

    const send = (/** @type {number} */ number, /** @type {string} */ asked, /** @type {string | FormData} */ body) => {
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
        const found = { status: response.status, headers, body: (await response.text()).slice(0, limit) };
        if (response.ok && headers[ECHO] === options.headers[KEY]) goOn(number);
        return found;
      };
      void exchange()
        .catch(() => ({ failure: signal.reason === LATE ? "timeout" : "network" }))
        .then((found) => {
          clearTimeout(timer);
          underWay.delete(number);
          nexts.delete(number);
          answered(number, JSON.stringify(found));
        });
    };

    /** This one came to a receipt. */
    const goOn = (/** @type {number} */ number) => {
      const next = nexts.get(number);
      nexts.delete(number);
      const now = Date.now();
      if (next && next.from <= now && now < next.until) send(next.number, next.asked, next.body);
    };

    return {
      /**
       * Send one. It is answered once, whatever happens.
       * @param {number} number of the request
       * @param {string} asked JSON: `url`, `timeout_ms`, `limit` of the answer in characters, `told` headers, and options of `fetch`
       * @param {string | FormData} body
       */
      send,

      /** Send this one as soon as the one before it has come to a receipt, if that is between two instants. */
      sendBehind(/** @type {number} */ before, /** @type {number} */ number, /** @type {string} */ asked, /** @type {string} */ body, /** @type {number} */ from, /** @type {number} */ until) {
        nexts.set(before, { number, asked, body, from, until });
      },

      /** It is not to go by itself any more. @returns {boolean} whether it is under way already */
      withdraw(/** @type {number} */ before, /** @type {number} */ number) {
        return !nexts.delete(before) && underWay.has(number);
      },

      /** Nobody waits for the answer of this one any more. */
      stop(/** @type {number} */ number) {
        underWay.get(number)?.abort();
      },
    };
  };

  return { sender };
})();
