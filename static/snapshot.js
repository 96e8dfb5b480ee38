/**
 * The memory snapshot of this build: where it is kept, and whether it is intact. Used by page and worker. How Python
 * starts from it stands in python.js.
 *
 * Half of a heap is zeros, so only the pages that are not are stored: [page numbers as Uint32, pages]. Pyodide checks a
 * snapshot by its magic number alone, so length and SHA-256 of what is stored are checked here.
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

const unpack = (/** @type {ArrayBuffer} */ packed, /** @type {number} */ length) => {
  const count = packed.byteLength / (4 + PAGE);
  const pages = new Uint32Array(packed, 0, count);
  const heap = new Uint8Array(Math.ceil(length / PAGE) * PAGE);
  for (let first = 0; first < count; ) {
    let last = first + 1; // a run of neighbouring pages is copied in one go
    while (last < count && pages[last] === pages[last - 1] + 1) last++;
    heap.set(new Uint8Array(packed, count * 4 + first * PAGE, (last - first) * PAGE), pages[first] * PAGE);
    first = last;
  }
  return heap.subarray(0, length);
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

/**
 * The stored heap, and a promise that rejects if it is not what was stored. The heap may be prepared meanwhile, but no
 * instruction may run on it before `intact` has resolved.
 * @returns {Promise<{heap: Uint8Array, intact: Promise<void>} | null>}
 */
export const read = async () => {
  const stored = await (await open())?.match(PATH);
  if (!stored) return null;
  const packed = await stored.arrayBuffer();
  if (packed.byteLength !== Number(stored.headers.get("X-Length"))) throw new Error("snapshot cut short");
  const intact = sha256(packed).then((digest) => {
    if (digest !== stored.headers.get("X-SHA-256")) throw new Error("snapshot damaged");
  });
  intact.catch(() => {}); // whoever starts Python awaits it, unless something else fails first
  return { heap: unpack(packed, Number(stored.headers.get("X-Heap-Length"))), intact };
};

/** Keep a heap; false where there is no room or no storage for it, with nothing else lost. */
export const write = async (/** @type {Uint8Array} */ heap) => {
  try {
    const cache = await open();
    if (!cache) return false;
    const packed = pack(heap);
    const headers = { "X-SHA-256": await sha256(packed), "X-Length": `${packed.byteLength}`, "X-Heap-Length": `${heap.byteLength}` };
    await cache.put(PATH, new Response(packed, { headers }));
    return true;
  } catch {
    return false;
  }
};

/** Forget it: damaged, of no use, or in the way. */
export const drop = async () => {
  try {
    await (await open())?.delete(PATH);
  } catch {
    // No storage, no snapshot.
  }
};
