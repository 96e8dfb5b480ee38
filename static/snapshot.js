/**
 * The memory snapshot of this build: where it is kept, and whether it is intact. Used by page and worker. How Python
 * starts from it stands in python.js.
 *
 * Pyodide's snapshot is a head and the machine's memory. Most of the memory is as every machine of this build begins: zeros,
 * and what its WebAssembly holds. Only the pages that are not are stored: [page numbers as Uint32, pages, head]. Pyodide
 * checks a snapshot by its magic number alone, so build, length and SHA-256 of what is stored are checked here.
 */
import config from "./config.js";

const CACHE = `holdfast-${config.build}`;
const PATH = `/runtime/${config.build}/snapshot`;
const PAGE = 4096;
const WORDS = PAGE / 4;
const PIECE = 1 << 18;

const hex = (/** @type {ArrayBuffer} */ digest) =>
  Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Of the digests of its pieces: a browser copies what it digests, and small copies cost the thread less than a large one. */
const sha256 = async (/** @type {Uint8Array<ArrayBuffer>} */ bytes) => {
  const pieces = [];
  for (let at = 0; at < bytes.length; at += PIECE) pieces.push(crypto.subtle.digest("SHA-256", bytes.subarray(at, at + PIECE)));
  const digests = await new Blob(await Promise.all(pieces)).arrayBuffer();
  return hex(await crypto.subtle.digest("SHA-256", digests));
};

const words = (/** @type {Uint8Array} */ bytes) => new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);

const pack = (/** @type {Uint8Array} */ head, /** @type {Uint8Array} */ memory, /** @type {Uint8Array} */ beginning) => {
  const [now, before] = [words(memory), words(beginning)];
  const pages = [];
  for (let page = 0; page * WORDS < now.length; page++) {
    const end = (page + 1) * WORDS;
    let word = page * WORDS;
    while (word < end && now[word] === (before[word] ?? 0)) word++;
    if (word < end) pages.push(page);
  }
  const packed = new Uint8Array(pages.length * (4 + PAGE) + head.byteLength);
  new Uint32Array(packed.buffer, 0, pages.length).set(pages);
  for (const [place, page] of pages.entries())
    packed.set(memory.subarray(page * PAGE, (page + 1) * PAGE), pages.length * 4 + place * PAGE);
  packed.set(head, pages.length * (4 + PAGE));
  return packed;
};

const unpack = (/** @type {ArrayBuffer} */ packed, /** @type {Uint8Array} */ head, /** @type {Uint8Array} */ memory) => {
  const count = (packed.byteLength - head.byteLength) / (4 + PAGE);
  const pages = new Uint32Array(packed, 0, count);
  for (let first = 0; first < count; ) {
    let last = first + 1; // a run of neighbouring pages is copied in one go
    while (last < count && pages[last] === pages[last - 1] + 1) last++;
    memory.set(new Uint8Array(packed, count * 4 + first * PAGE, (last - first) * PAGE), pages[first] * PAGE);
    first = last;
  }
  head.set(new Uint8Array(packed, packed.byteLength - head.byteLength));
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

const fetched = async (/** @type {Response} */ stored) => {
  const packed = await stored.arrayBuffer();
  if (stored.headers.get("X-Build") !== config.build) throw new Error("snapshot of another build");
  if (packed.byteLength !== Number(stored.headers.get("X-Length"))) throw new Error("snapshot cut short");
  const whole = sha256(new Uint8Array(packed)).then((digest) => {
    if (digest !== stored.headers.get("X-SHA-256")) throw new Error("snapshot damaged");
  });
  whole.catch(() => {}); // awaited once the memory is filled, if it comes to that
  return { packed, whole };
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
 * Room for the head, at once, and the `length` of the memory in bytes. When `read` has resolved, the bytes are there and are
 * being checked. `fill` puts both where they belong, in the memory of a machine that has not run yet; it rejects unless all is
 * as it was stored, and what it has filled must then not be used. `drop` forgets it: it is damaged, or of no use.
 * @returns {Promise<{head: Uint8Array, length: number, read: Promise<unknown>, fill: (memory: Uint8Array) => Promise<void>, drop: () => Promise<void>} | null>}
 */
export const read = async () => {
  const stored = await (await open())?.match(PATH);
  if (!stored) return null;
  const name = stored.headers.get("X-Name");
  try {
    const head = new Uint8Array(Number(stored.headers.get("X-Head-Length")));
    const coming = fetched(stored);
    coming.catch(() => {}); // whoever starts Python awaits it, unless something else fails first
    const fill = async (/** @type {Uint8Array} */ memory) => {
      const { packed, whole } = await coming;
      unpack(packed, head, memory);
      await whole;
    };
    return { head, length: Number(stored.headers.get("X-Memory-Length")), read: coming, fill, drop: () => drop(name) };
  } catch {
    await drop(name); // no such room
    return null;
  }
};

/**
 * Keep one of Pyodide's, of a machine whose memory began as `beginning` and zeros; false where there is no room or no storage
 * for it, with nothing else lost.
 */
export const write = async (/** @type {Uint8Array} */ image, /** @type {Uint8Array} */ beginning) => {
  try {
    const cache = await open();
    if (!cache) return false;
    const start = new Uint32Array(image.buffer, image.byteOffset)[1]; // of the memory, says Pyodide
    const head = image.subarray(0, start);
    const memory = image.subarray(start);
    const packed = pack(head, memory, beginning);
    const headers = {
      "X-Build": config.build,
      "X-Name": crypto.randomUUID(),
      "X-SHA-256": await sha256(packed),
      "X-Length": `${packed.byteLength}`,
      "X-Head-Length": `${head.byteLength}`,
      "X-Memory-Length": `${memory.byteLength}`,
    };
    await cache.put(PATH, new Response(packed, { headers }));
    return true;
  } catch {
    return false;
  }
};
