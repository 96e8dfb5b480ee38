/**
 * Who drains when the worker is woken: a page with Python if there is one, so that no second Python is started beside
 * it, else the worker itself. What is sent, and in which order, Python decides.
 */
import { ask } from "./boot.js";

const ANSWER_MS = 1000;
const LOOK_MS = 1000;
const DRAIN_MS = 150_000;

/**
 * Hand the drain to one page. Resolves to its reply, or null if it does not take it or goes away before it is done.
 * @param {WindowClient} client
 */
const byPage = (client, /** @type {any} */ params) =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    let accepted = false;
    const over = (/** @type {any} */ reply) => {
      clearTimeout(silence);
      clearInterval(look);
      port1.close();
      resolve(reply);
    };
    // A frozen page hears nothing and says nothing.
    const silence = setTimeout(() => accepted || over(null), ANSWER_MS);
    const look = setInterval(async () => (await self.clients.get(client.id)) || over(null), LOOK_MS);
    port1.onmessage = ({ data }) => {
      if (data.accepted) accepted = true;
      else over("ok" in data ? data : null);
    };
    client.postMessage({ holdfast: 1, method: "drain", params }, [port2]);
  });

/** One drain, by whoever is there. Resolves to Python's `{next_wake_at, remaining}`; rejects if nobody could drain. */
export const drain = async (/** @type {any} */ asked = {}) => {
  const params = { timeout_ms: DRAIN_MS, ...asked };
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  for (const page of pages) {
    const reply = await byPage(/** @type {WindowClient} */ (page), params);
    if (reply) return reply.ok;
  }
  const reply = await ask({ method: "drain", params });
  if (reply.error) throw Object.assign(new Error(reply.error.message), { name: reply.error.name });
  return reply.ok;
};
