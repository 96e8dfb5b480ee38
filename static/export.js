/**
 * An export as a file that is written piece by piece: neither a photo nor the whole is ever in memory at once, the browser
 * keeps pieces where it likes. Shape: `{"holdfast": 1, "exported_at", "jobs": […]}`, where no Python answers with `"inbox"`
 * beside it; a file of a job has its bytes as base64 in `data`, null where the browser has lost them.
 */

/** Bytes encoded at once; a multiple of three, so that the pieces of base64 are one whole. */
const PIECE = 3 * 262_144;

const base64 = (/** @type {Blob} */ bytes) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(/** @type {string} */ (reader.result).slice(/** @type {string} */ (reader.result).indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(bytes);
  });

/** The bytes of a file as pieces of base64 in quotes; `null` if it cannot be read. @returns {Promise<(Blob | string)[]>} */
const encoded = async (/** @type {Blob | null | undefined} */ file) => {
  if (!file) return ["null"];
  const pieces = [];
  try {
    for (let start = 0; start < file.size; start += PIECE)
      pieces.push(new Blob([await base64(file.slice(start, start + PIECE))]));
  } catch {
    return ["null"];
  }
  return ['"', ...pieces, '"'];
};

/** JSON of an object, open at its end for one more member. */
const opened = (/** @type {object} */ value) => JSON.stringify(value).slice(0, -1);

export class ExportFile {
  /** @type {Blob[]} */
  #pieces = [new Blob([`{"holdfast":1,"exported_at":${Date.now()}`])];
  #listing = false;
  #before = "";
  /** How many jobs and entries it holds. */
  count = 0;

  /** Begin a list; what is added goes into the last one. */
  list(/** @type {"jobs" | "inbox"} */ name) {
    this.#write([this.#listing ? "]" : "", `,"${name}":[`]);
    this.#listing = true;
    this.#before = "\n";
  }

  /** Add a job or an entry whose `attachments` say what its files are; `blobs` are the files. */
  async add(/** @type {any} */ { attachments, ...rest }, /** @type {(Blob | null | undefined)[]} */ blobs) {
    const pieces = [this.#before, opened(rest), ',"attachments":['];
    for (const [place, described] of attachments.entries())
      pieces.push(place ? "," : "", opened(described), ',"data":', ...(await encoded(blobs[place])), "}");
    this.#write([...pieces, "]}"]);
    this.#before = ",\n";
    this.count += 1;
  }

  /** @returns {Blob} the whole */
  end() {
    return new Blob([...this.#pieces, "]}\n"], { type: "application/json" });
  }

  #write(/** @type {(Blob | string)[]} */ pieces) {
    this.#pieces.push(new Blob(pieces));
  }
}
