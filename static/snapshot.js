/**
 * The memory snapshot of this build: where it is kept, and whether it is intact. Used by page and worker. How Python
 * starts from it stands in python.js.
 *
 * Half of a heap is zeros, so only the pages that are not are stored: [page numbers as Uint32, pages]. Pyodide checks a
 * snapshot by its magic number alone, so build, length and SHA-256 of what is stored are checked here.
 */
import config from "./config.js";

const CACHE = `holdfast-${config.build}`;
const PATH = `/runtime/${config.build}/snapshot`;
const PAGE = 4096;
const WORDS = PAGE / 4;

const hex = (/** @type {ArrayBuffer} */ digest) =>
  Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");

const sha256 = async (/** @type {BufferSource} */ bytes) => hex(await crypto.subtle.digest("SHA-256", bytes));

const pack = (/** @type {Uint8Array} */ heap) => {
  const words = new Int32Array(heap.buffer, heap.byteOffset, heap.byteLength >> 2);
  const pages = [];
  for (let page = 0; page * WORDS < words.length; page++) {
    const end = Math.min((page + 1) * WORDS, words.length);
    let word = page * WORDS;
    while (word < end && words[word] === 0) word++;
    if (word < end) pages.push(page);
  }
  const packed = new Uint8Array(pages.length * (4 + PAGE));
  new Uint32Array(packed.buffer, 0, pages.length).set(pages);
  for (const [place, page] of pages.entries())
    packed.set(heap.subarray(page * PAGE, (page + 1) * PAGE), pages.length * 4 + place * PAGE);
  return packed;
};

const unpack = (/** @type {ArrayBuffer} */ packed, /** @type {Uint8Array} */ heap) => {
  const count = packed.byteLength / (4 + PAGE);
  const pages = new Uint32Array(packed, 0, count);
  for (let first = 0; first < count; ) {
    let last = first + 1; // a run of neighbouring pages is copied in one go
    while (last < count && pages[last] === pages[last - 1] + 1) last++;
    const run = new Uint8Array(packed, count * 4 + first * PAGE, (last - first) * PAGE);
    heap.set(run.subarray(0, heap.byteLength - pages[first] * PAGE), pages[first] * PAGE);
    first = last;
  }
};

const open = async () => (globalThis.caches ? caches.open(CACHE) : null);

/** Whether there is one to start from; false wherever that cannot be told. */
export const exists = async () => {
  try {
    return Boolean(await (await open())?.match(PATH));
  } catch {
    return false;
  }
};

const fill = async (/** @type {Uint8Array} */ heap, /** @type {Response} */ stored) => {
  const packed = await stored.arrayBuffer();
  if (stored.headers.get("X-Build") !== config.build) throw new Error("snapshot of another build");
  if (packed.byteLength !== Number(stored.headers.get("X-Length"))) throw new Error("snapshot cut short");
  const digest = sha256(packed);
  unpack(packed, heap);
  if ((await digest) !== stored.headers.get("X-SHA-256")) throw new Error("snapshot damaged");
};

/** Forget the snapshot that was written under this name; another one may have taken its place meanwhile. */
const drop = async (/** @type {string | null} */ name) => {
  try {
    const cache = await open();
    const stored = await cache?.match(PATH);
    if (stored?.headers.get("X-Name") === name) await cache.delete(PATH);
  } catch {
    // No storage, no snapshot.
  }
};

/**
 * Room for the stored heap, at once, and a promise that resolves when the heap is in it as it was stored. Only its
 * length may be used before that. `drop` forgets it: it is damaged, or of no use.
 * @returns {Promise<{heap: Uint8Array, intact: Promise<void>, drop: () => Promise<void>} | null>}
 */
export const read = async () => {
  const stored = await (await open())?.match(PATH);
  if (!stored) return null;
  const name = stored.headers.get("X-Name");
  try {
    const heap = new Uint8Array(Number(stored.headers.get("X-Heap-Length")));
    const intact = fill(heap, stored);
    intact.catch(() => {}); // whoever starts Python awaits it, unless something else fails first
    return { heap, intact, drop: () => drop(name) };
  } catch {
    await drop(name); // no such room
    return null;
  }
};

/** Keep a heap; false where there is no room or no storage for it, with nothing else lost. */
export const write = async (/** @type {Uint8Array} */ heap) => {
  try {
    const cache = await open();
    if (!cache) return false;
    const packed = pack(heap);
    const headers = {
      "X-Build": config.build,
      "X-Name": crypto.randomUUID(),
      "X-SHA-256": await sha256(packed),
      "X-Length": `${packed.byteLength}`,
      "X-Heap-Length": `${heap.byteLength}`,
    };
    await cache.put(PATH, new Response(packed, { headers }));
    return true;
  } catch {
    return false;
  }
};
