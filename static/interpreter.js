/**
 * PyScript's `interpreter`: how this page gets its Python. It restores the snapshot that the service worker made. On a
 * first visit it waits for it a while, so that no long start blocks typing; the submit listener and the inbox serve meanwhile.
 */
import config from "./config.js";
import { activeOf, holdfast } from "./holdfast.js";
import * as snapshot from "./snapshot.js";

const SNAPSHOT_MS = 20_000;
const IDLE_MS = 5000;

/** PyScript asks for a version to name a store of its own; a build is what changes. */
export const version = config.build;

const idle = () =>
  new Promise((resolve) =>
    // Safari has no requestIdleCallback.
    globalThis.requestIdleCallback ? requestIdleCallback(() => resolve(null), { timeout: IDLE_MS }) : setTimeout(resolve, 200));

const made = async () => {
  const registration = await holdfast.registration;
  const worker = registration && (await activeOf(registration));
  if (worker) await holdfast.ask(worker, "prepare", { build: config.build });
};

/** Resolves once the worker has made a snapshot, or after `SNAPSHOT_MS`: an installation may stall on a bad network. */
const prepared = () => Promise.race([made(), new Promise((resolve) => setTimeout(resolve, SNAPSHOT_MS))]);

/** Pyodide for PyScript. Where Python cannot start at all it never settles, and the client says so. */
export const loadPyodide = async (/** @type {object} */ options) => {
  try {
    if (!(await snapshot.exists())) {
      await prepared();
      if (!(await snapshot.exists())) await idle();
    }
    const { start } = await import("./python.js");
    const { python, how } = await start(options);
    python._api.on_fatal = (/** @type {unknown} */ error) => holdfast.pythonFailed(error);
    // For the next start, where its snapshot is missing; and the worker lets go of builds that no page uses any more.
    made().catch(() => {});
    return python;
  } catch (reason) {
    holdfast.pythonFailed(reason);
    return new Promise(() => {});
  }
};
