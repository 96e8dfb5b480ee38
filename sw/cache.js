/**
 * The files of this build, and when those of another may go. A file belongs to one build and is never answered from
 * another's cache.
 */
import config from "./config.js";

export const nameOf = (/** @type {string} */ build) => `holdfast-${build}`;

const OWN = nameOf(config.build);
const AT_ONCE = 4;
const TELL_MS = 100;

const hex = (/** @type {ArrayBuffer} */ digest) =>
  Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Whether `bytes` are what the build listed: their number, and their SHA-256 where it lists one. */
const isWhole = async (/** @type {ArrayBuffer} */ bytes, /** @type {number} */ length, /** @type {string | undefined} */ sha256) =>
  bytes.byteLength === length && (!sha256 || hex(await crypto.subtle.digest("SHA-256", bytes)) === sha256);

/** The same file in another build's cache, if it really is the same: most of an update is not downloaded again. */
const fromOtherBuild = async (/** @type {string} */ url, /** @type {number} */ length, /** @type {string | undefined} */ sha256) => {
  const own = `/runtime/${config.build}/`;
  if (!sha256 || !url.startsWith(own)) return null;
  for (const name of await caches.keys()) {
    if (name === OWN || !name.startsWith(nameOf(""))) continue;
    const cache = await caches.open(name);
    const held = await cache.match(`/runtime/${name.slice(nameOf("").length)}/${url.slice(own.length)}`);
    if (held && (await isWhole(await held.clone().arrayBuffer(), length, sha256))) return held;
  }
  return null;
};

const download = async (/** @type {string} */ url, /** @type {number} */ length, /** @type {string | undefined} */ sha256, /** @type {(bytes: number) => void} */ came) => {
  // What lies under the build's name never changes; the rest is asked for anew.
  const answer = await fetch(url, { cache: url.startsWith("/runtime/") ? "default" : "no-cache" });
  if (!answer.ok || answer.redirected) throw new Error(`${url}: ${answer.status}`);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.byteLength > length) throw new Error(`${url}: longer than the build says`);
    bytes.set(value, at);
    at += value.byteLength;
    came(value.byteLength);
  }
  if (at !== length || !(await isWhole(bytes.buffer, length, sha256))) throw new Error(`${url}: not this build's file`);
  const headers = new Headers(answer.headers);
  headers.delete("Content-Encoding"); // the body is kept as it was read
  headers.set("Content-Length", `${length}`);
  return new Response(bytes, { headers });
};

/** Fetch what is missing of this build, a few files at once; a second try goes on where the first one ended. */
export const precache = async (/** @type {(done: number, total: number) => void} */ tell) => {
  const cache = await caches.open(OWN);
  const total = config.precache.reduce((sum, [, length]) => sum + length, 0);
  const missing = [...config.precache];
  let done = 0;
  let told_at = 0;
  const came = (/** @type {number} */ bytes) => {
    done += bytes;
    if (done < total && performance.now() - told_at < TELL_MS) return;
    told_at = performance.now();
    tell(done, total);
  };
  const work = async () => {
    for (let next = missing.shift(); next; next = missing.shift()) {
      const [url, length, sha256] = next;
      if (await cache.match(url)) {
        came(length);
        continue;
      }
      const held = await fromOtherBuild(url, length, sha256);
      if (held) came(length);
      await cache.put(url, held ?? (await download(url, length, sha256, came)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
};

const paths = new Set(config.precache.map(([url]) => url));

/** Whether this build answers for a path outside `/runtime/`. */
export const isOwn = (/** @type {string} */ path) => paths.has(path);

/** A file of one build, out of its own cache and no other; undefined if it is not there. */
export const held = async (/** @type {string} */ path, /** @type {string} */ build = config.build) => {
  try {
    if (build !== config.build && !(await caches.has(nameOf(build)))) return undefined;
    return await (await caches.open(nameOf(build))).match(path);
  } catch {
    return undefined; // storage is out of order: the network still has it
  }
};

/**
 * Let go of builds that no page uses. A page that has not yet said which it uses keeps all of them; so does an update that
 * is being installed or waits, whose files nobody uses yet and nobody would fetch again.
 */
export const sweep = async () => {
  const others = (await caches.keys()).filter((name) => name.startsWith(nameOf("")) && name !== OWN);
  if (others.length === 0) return;
  const { held: locks = [] } = await navigator.locks.query();
  const prefix = "holdfast:build:";
  const uses = locks.filter(({ name }) => name?.startsWith(prefix));
  const said = new Set(uses.map(({ clientId }) => clientId)); // in Chromium another name than the client's own
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  if (said.size < pages.length) return;
  const { installing, waiting } = self.registration;
  if (installing || waiting || self.serviceWorker?.state === "redundant") return; // the last: it waits no more, we were replaced
  const used = new Set(uses.map(({ name = "" }) => nameOf(name.slice(prefix.length))));
  await Promise.all(others.filter((name) => !used.has(name)).map((name) => caches.delete(name)));
};
