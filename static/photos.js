/**
 * Photos: scaled when they are taken, shown, and removable. What is shown is what the form's own file control holds, so
 * that every way of submitting carries the same bytes. Whether they may be sent is for `app/forms.py` to say.
 *
 * A blocking classic script between the photos and the form's button: whenever a photo was chosen, and whenever the form
 * is sent, it has run. It sets `globalThis.holdfastPhotos`.
 */
globalThis.holdfastPhotos = (() => {
  "use strict";

  const LONGEST_SIDE = 2000;
  const QUALITY = 0.85;
  /** A slow phone takes 3 s over its largest photo; a codec that hangs never ends. */
  const PREPARE_MS = 15_000;
  const AS_IT_IS = "Kept as it is.";
  const SCALED = "Scaled to 2,000 px; place and camera data removed.";

  /** @typedef {{file: File, note: string, url: string | null}} Held */

  const input = /** @type {HTMLInputElement} */ (document.getElementById("photos"));
  const form = /** @type {HTMLFormElement} */ (input.form);
  const originals = /** @type {HTMLInputElement} */ (document.getElementById("originals"));
  const previews = /** @type {HTMLElement} */ (document.getElementById("previews"));
  const hint = /** @type {HTMLElement} */ (document.getElementById("photos-hint"));
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById("photo-template"));

  /** The photos of this form. A form that was cleared has a list of its own: what comes late for the one before goes nowhere. @type {Held[]} */
  let held = [];
  /** How many are being prepared for this form. */
  let awaited = 0;
  /** @type {Promise<void>} */
  let preparing = Promise.resolve();

  const megabytes = (/** @type {number} */ bytes) => `${Math.max(0.1, bytes / 1e6).toFixed(1)} MB`;

  /** The picture drawn anew: no longer side than allowed, nothing in it but pixels. Rejects if it cannot be decoded. */
  const scaled = async (/** @type {File} */ file) => {
    const image = await createImageBitmap(file, { imageOrientation: "from-image" });
    try {
      const factor = Math.min(1, LONGEST_SIDE / Math.max(image.width, image.height));
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(image.width * factor));
      canvas.height = Math.max(1, Math.round(image.height * factor));
      const drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      drawing.fillStyle = "#fff"; // JPEG has no transparency, and unpainted would turn black
      drawing.fillRect(0, 0, canvas.width, canvas.height);
      drawing.imageSmoothingQuality = "high";
      drawing.drawImage(image, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
      if (!blob) throw new Error("The picture could not be drawn anew.");
      const name = `${file.name.replace(/\.[^.]*$/, "") || "photo"}.jpg`;
      return new File([blob], name, { type: "image/jpeg", lastModified: Date.now() });
    } finally {
      image.close();
    }
  };

  /** @returns {Promise<Held>} */
  const prepared = async (/** @type {File} */ file) => {
    if (originals.checked) return hold(file, AS_IT_IS);
    let timer = 0;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, PREPARE_MS)));
    try {
      const ready = await Promise.race([scaled(file), late]);
      if (ready) return hold(ready, "");
      return hold(file, "Kept as it is: preparing it took too long, so nothing was scaled or removed.");
    } catch {
      return hold(file, "Kept as it is: this browser cannot open it, so nothing was scaled or removed.");
    } finally {
      clearTimeout(timer);
    }
  };

  /** @returns {Held} */
  const hold = (/** @type {File} */ file, /** @type {string} */ note) => ({ file, note, url: URL.createObjectURL(file) });

  const show = () => {
    const transfer = new DataTransfer();
    for (const { file } of held) transfer.items.add(file);
    input.files = transfer.files;
    const rows = held.map(({ file, note, url }, index) => {
      const row = /** @type {HTMLElement} */ (/** @type {DocumentFragment} */ (template.content.cloneNode(true)).firstElementChild);
      const image = /** @type {HTMLImageElement} */ (row.querySelector("img"));
      image.alt = `Photo ${index + 1}: ${file.name}`;
      image.src = url ?? "";
      image.addEventListener("error", () => (row.dataset.unseen = ""));
      /** @type {HTMLElement} */ (row.querySelector(".photo-note")).textContent = [megabytes(file.size), note].filter(Boolean).join(". ");
      /** @type {HTMLElement} */ (row.querySelector("button .out-of-sight")).textContent = ` photo ${index + 1}`;
      /** @type {HTMLElement} */ (row.querySelector("button")).dataset.index = String(index);
      return row;
    });
    previews.replaceChildren(...rows);
    previews.hidden = rows.length === 0;
    const bytes = held.reduce((sum, { file }) => sum + file.size, 0);
    const count = `${held.length} ${held.length === 1 ? "photo" : "photos"}, ${megabytes(bytes)}. `;
    const facts = held.some(({ note }) => note) ? `Unless a photo says otherwise: ${SCALED.charAt(0).toLowerCase()}${SCALED.slice(1)}` : SCALED;
    const coming = awaited ? `Preparing ${awaited === 1 ? "1 photo" : `${awaited} photos`}… ` : "";
    hint.textContent = coming + (held.length ? count : "") + facts;
  };

  const release = (/** @type {Held[]} */ gone) => gone.forEach(({ url }) => url && URL.revokeObjectURL(url));

  /** What was scaled here has pixels only; a camera's own file says so near its start, and what cannot be read may be one. */
  const isOriginal = async (/** @type {File} */ file) => {
    if (file.type !== "image/jpeg") return true;
    const start = await file.slice(0, 512).text().catch(() => "Exif");
    return start.includes("Exif");
  };

  /** Empty the list, at once; `files` come into it as they are, in place of what it held, and are awaited until then. */
  const set = (/** @type {File[]} */ files) => {
    release(held);
    const ours = (held = []);
    awaited = files.length;
    show();
    preparing = preparing.then(async () => {
      const notes = await Promise.all(files.map(async (file) => ((await isOriginal(file)) ? AS_IT_IS : "")));
      if (ours !== held) return;
      held.unshift(...files.map((file, index) => hold(file, notes[index])));
      awaited -= files.length;
      show();
    });
    return preparing;
  };

  const changed = () => form.dispatchEvent(new Event("change", { bubbles: true }));

  /** Prepare what the control was given; until then it holds what is ready, so that nothing goes out as it was taken. */
  const take = () => {
    const taken = Array.from(input.files ?? []);
    const ours = held;
    awaited += taken.length;
    show();
    preparing = preparing.then(async () => {
      // One after the other: a phone has little memory, and a decoded photo takes 50 MB of it.
      for (const file of taken) {
        if (ours !== held) return;
        const photo = await prepared(file);
        if (ours !== held) return release([photo]);
        held.push(photo);
        awaited -= 1;
        show();
        changed(); // each for itself: what is ready is kept, though the tab dies before the next one is
      }
    });
  };

  input.addEventListener("change", (event) => {
    event.stopPropagation(); // told once the photos are as they will be sent
    take(); // nothing, if the dialog was left: what was there stays
  });

  previews.addEventListener("click", (event) => {
    const button = /** @type {HTMLElement} */ (event.target).closest("button");
    if (!button) return;
    const index = Number(button.dataset.index);
    release(held.splice(index, 1));
    show();
    const next = /** @type {HTMLElement | null} */ (previews.querySelectorAll("button")[Math.min(index, held.length - 1)]);
    (next ?? input).focus();
    changed();
  });

  form.addEventListener("reset", () => {
    release(held);
    held = [];
    awaited = 0;
    queueMicrotask(show);
  });

  // A submit that comes while photos are being scaled waits for them: no photo is left out, and none goes unscaled.
  addEventListener("submit", (event) => {
    if (!awaited || event.target !== form) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const submitter = /** @type {HTMLElement | null} */ (/** @type {SubmitEvent} */ (event).submitter);
    const ours = held;
    preparing.then(() => ours === held && form.requestSubmit(submitter));
  }, { capture: true });

  take(); // chosen before this script was there

  return {
    /** Put these files into the form as they are, in place of what it holds. @type {(files: File[]) => Promise<void>} */
    set,
    /** Resolves once nothing is being prepared any more. */
    settled: async () => {
      for (let last; last !== preparing; ) await (last = preparing);
    },
  };
})();
