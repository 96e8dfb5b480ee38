/**
 * Which tab has which draft: each has its own, and two never write over each other. A lock says so, which goes with its tab;
 * where browsers have no locks all tabs are asked.
 */
import "./inbox.js";

/** Another tab may be busy with the start of its Python. */
const ANSWER_MS = 1000;

/** What this tab has, where there are no locks. @type {Set<string>} */
const ours = new Set();
const tabs = navigator.locks ? null : new BroadcastChannel(`${globalThis.holdfastInbox.channel}:drafts`);
tabs?.addEventListener("message", ({ data: { asked } }) => ours.has(asked) && tabs.postMessage({ held: asked }));

/** Two that ask at once both hear of the other, and neither gets it. */
const askAll = (/** @type {BroadcastChannel} */ channel, /** @type {string} */ draft) =>
  new Promise((resolve) => {
    const answered = (/** @type {boolean} */ isFree) => {
      clearTimeout(timer);
      channel.removeEventListener("message", heard);
      if (!isFree) ours.delete(draft);
      resolve(isFree);
    };
    const heard = (/** @type {MessageEvent} */ { data }) => data.held === draft && answered(false);
    const timer = setTimeout(() => answered(true), ANSWER_MS);
    ours.add(draft);
    channel.addEventListener("message", heard);
    channel.postMessage({ asked: draft });
  });

/** Whether this tab has the draft of that name to itself, from here on until it is closed. @returns {Promise<boolean>} */
export const hold = (/** @type {string} */ draft, /** @type {LockOptions} */ options) =>
  new Promise((resolve) => {
    if (tabs) return resolve(askAll(tabs, draft));
    const held = (/** @type {Lock | null} */ lock) => (resolve(lock !== null), lock && new Promise(() => {}));
    navigator.locks.request(draft, options, held).catch(() => resolve(false));
  });
