/**
 * The inspection's form as the browser holds it: filling and clearing it, the checklist's own items, the draft that is
 * kept while someone types. Rules are in `app/forms.py`; saving is done by the submit listener in `shim.js`.
 */
const TYPE = "inspection.create";
const DRAFTS = `draft:${TYPE}:`;
const TAB = "holdfast-draft";
const PAUSE_MS = 400;
const RELEASE_MS = 1000;

const inbox = globalThis.holdfastInbox;
const photos = globalThis.holdfastPhotos;
export const form = /** @type {HTMLFormElement} */ (document.getElementById("inspection"));
const checks = /** @type {HTMLElement} */ (document.getElementById("checks"));
const checkTemplate = /** @type {HTMLTemplateElement} */ (document.getElementById("check-template"));
const editing = /** @type {HTMLElement} */ (document.getElementById("editing"));
const draftLine = /** @type {HTMLElement} */ (document.getElementById("draft"));
const checksAtFirst = checks.innerHTML;

/** @typedef {{fields: [string, string][], files: [string, File][], kept_at: number, edits?: string, title?: string}} Draft */

const pad = (/** @type {number} */ number) => String(number).padStart(2, "0");

const today = () => {
  const now = new Date();
  return `${now.getFullYear()}-${pad(now.getMonth() + 1)}-${pad(now.getDate())}`;
};

const clock = (/** @type {number} */ at) => {
  const when = new Date(at);
  const time = `${pad(when.getHours())}:${pad(when.getMinutes())}`;
  if (when.toDateString() === new Date().toDateString()) return time;
  return `${when.getDate()} ${when.toLocaleString("en", { month: "short" })} ${time}`;
};

const control = (/** @type {string} */ name) => /** @type {HTMLInputElement | RadioNodeList} */ (form.elements.namedItem(name));

// ── the checklist ────────────────────────────────────────────────────────────────────────────────────────────────────

const addCheck = (label = "", ok = false) => {
  const row = /** @type {HTMLElement} */ (/** @type {DocumentFragment} */ (checkTemplate.content.cloneNode(true)).firstElementChild);
  const [name, box] = row.querySelectorAll("input");
  name.value = label;
  box.value = label;
  box.checked = ok;
  checks.append(row);
  return name;
};

checks.addEventListener("input", ({ target }) => {
  // A box is sent under its label, and here the label is typed.
  if (!(target instanceof HTMLInputElement) || target.type !== "text") return;
  const box = /** @type {HTMLInputElement} */ (target.closest("li")?.querySelector('[type="checkbox"]'));
  box.value = target.value;
});

checks.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || /** @type {HTMLInputElement} */ (event.target).type !== "text") return;
  event.preventDefault(); // Enter in a text field would save the whole inspection
  addCheck().focus();
});

checks.addEventListener("click", ({ target }) => {
  const button = /** @type {HTMLElement} */ (target).closest('[data-do="remove-item"]');
  if (!button) return;
  button.closest("li")?.remove();
  /** @type {HTMLElement} */ (form.querySelector('[data-do="add-item"]')).focus();
  keepSoon();
});

form.querySelector('[data-do="add-item"]')?.addEventListener("click", () => addCheck().focus());

const fillChecklist = (/** @type {string[]} */ labels, /** @type {string[]} */ ticked) => {
  const known = new Map(Array.from(checks.children, (row) => [/** @type {HTMLInputElement} */ (row.querySelector("[name=checklist_items]")).value, row]));
  checks.replaceChildren();
  for (const label of labels) {
    const row = known.get(label);
    if (!row) {
      addCheck(label, ticked.includes(label));
      continue;
    }
    /** @type {HTMLInputElement} */ (row.querySelector('[type="checkbox"]')).checked = ticked.includes(label);
    checks.append(row);
  }
};

// ── filling and clearing ─────────────────────────────────────────────────────────────────────────────────────────────

/** What the form holds now. The listener drops secrets before storing, and so does the draft. */
const content = () => {
  /** @type {Pick<Draft, "fields" | "files">} */
  const held = { fields: [], files: [] };
  for (const [name, value] of new FormData(form)) {
    if (typeof value !== "string") value.name && held.files.push([name, value]);
    else if (/** @type {HTMLInputElement} */ (control(name)).type !== "password") held.fields.push([name, value]);
  }
  return held;
};

/** A fresh form: today's date, new ids, nothing being edited. */
export const clear = () => form.reset();

form.addEventListener("reset", () => {
  checks.innerHTML = checksAtFirst;
  delete form.dataset.edits;
  editing.hidden = true;
  // The controls have their first values only after this event.
  queueMicrotask(setToday);
});

const setToday = () => {
  const day = /** @type {HTMLInputElement} */ (control("inspected_on"));
  if (!day.value) day.value = today();
};

/** Put fields and files into the form; `edits` names the job which this version is to replace. */
export const fill = async (/** @type {Partial<Draft>} */ { fields = [], files = [], edits, title }) => {
  clear();
  await Promise.resolve();
  const all = (/** @type {string} */ wanted) => fields.filter(([name]) => name === wanted).map(([, value]) => value);
  for (const name of ["site", "inspected_on", "severity", "notes"]) {
    const field = control(name);
    field.value = all(name)[0] ?? "";
  }
  if (fields.some(([name]) => name === "checklist_items")) fillChecklist(all("checklist_items"), all("checklist"));
  await photos.set(files.map(([, file]) => file));
  if (!edits) return;
  form.dataset.edits = edits;
  /** @type {HTMLElement} */ (editing.querySelector("[data-part=title]")).textContent = `“${title || "this inspection"}”`;
  editing.hidden = false;
};

editing.querySelector("button")?.addEventListener("click", () => {
  clear();
  forget();
  document.getElementById("new-title")?.focus();
});

// Somebody else works on this device from now on.
form.addEventListener("app:wipe", () => {
  clear();
  forget();
});

// Python hands a job over for editing in this way.
form.addEventListener("app:fill", (event) => fill(/** @type {CustomEvent} */ (event).detail).then(keepSoon));

// ── the draft ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Where this tab keeps its draft; empty until that is settled. Each tab has a draft of its own: two never write over each other. */
let draft = "";
const submitting = () => `draft:ids:${draft}`;
/** The worker has just taken the form's own POST and brought us back: the draft is what it took. */
const taken = new URLSearchParams(location.search).has("saved");
let touched = false;
let timer = 0;

const keep = async () => {
  clearTimeout(timer);
  timer = 0;
  if (!draft) return;
  const kept_at = Date.now();
  const title = editing.hidden ? undefined : editing.querySelector("[data-part=title]")?.textContent?.slice(1, -1);
  try {
    await inbox.set(draft, { ...content(), kept_at, edits: form.dataset.edits, title });
    if (touched) draftLine.textContent = `Draft kept ${clock(kept_at)}.`;
  } catch {
    draftLine.textContent = "The draft could not be kept: save before you close this tab.";
  }
};

const keepSoon = () => {
  touched = true;
  clearTimeout(timer);
  timer = setTimeout(keep, PAUSE_MS);
};

/** The draft is saved or given up. */
export const forget = () => {
  clearTimeout(timer);
  timer = 0;
  touched = false;
  draftLine.textContent = "";
  if (!draft) return;
  inbox.set(draft, undefined).catch(() => {});
  inbox.set(submitting(), undefined).catch(() => {});
};

/** Whether this tab has the draft of that name to itself, from here on until it is closed. */
const hold = (/** @type {string} */ name, /** @type {LockOptions} */ options) =>
  new Promise((resolve) => {
    if (!navigator.locks) return resolve(true);
    const held = (/** @type {Lock | null} */ lock) => (resolve(lock !== null), lock && new Promise(() => {}));
    navigator.locks.request(name, options, held).catch(() => resolve(false));
  });

/** Drafts of tabs that are gone, as after a crash; the last one first. */
const left = async () => {
  const drafts = (await inbox.keys()).filter((key) => key.startsWith(DRAFTS));
  const kept_at = new Map(await Promise.all(drafts.map(async (key) => [key, (await inbox.get(key))?.kept_at ?? 0])));
  return drafts.sort((one, other) => kept_at.get(other) - kept_at.get(one));
};

/** This tab's own name, as before it was loaded anew; else that of a draft left behind, else a new one. */
const named = async () => {
  const before = sessionStorage.getItem(TAB);
  // The page that was here lets go in its own time; in the copy of a tab that is still open the wait is in vain.
  if (before && (await hold(before, { signal: AbortSignal.timeout(RELEASE_MS) }))) return before;
  for (const name of await left()) if (await hold(name, { ifAvailable: true })) return name;
  const fresh = `${DRAFTS}${inbox.uuid()}`;
  await hold(fresh, {});
  return fresh;
};

const restore = async (/** @type {string} */ name) => {
  const [kept, ids] = await Promise.all([inbox.get(name), inbox.get(`draft:ids:${name}`)]);
  if (!kept || touched) return;
  await fill(kept);
  draftLine.textContent = `Draft kept ${clock(kept.kept_at)}.`;
  if (!ids) return;
  // The tab ended in the middle of saving. Sent again as it is, it is the same job; changed, it is another.
  form.dataset.jobId = ids.id;
  form.dataset.jobKey = ids.key;
  form.addEventListener("input", () => form.dispatchEvent(new Event("holdfast:new-ids", { bubbles: true })), { once: true });
};

const begin = async () => {
  form.dataset.account = (await inbox.get("account")) ?? "";
  const name = await named();
  sessionStorage.setItem(TAB, name);
  if (!taken) await restore(name);
  draft = name;
  if (taken && !touched) forget();
  if (touched) keepSoon();
};

form.addEventListener("input", keepSoon);
form.addEventListener("change", keepSoon);
document.addEventListener("visibilitychange", () => timer && document.hidden && keep());
addEventListener("pagehide", () => timer && keep());
addEventListener("submit", ({ target }) => {
  if (target !== form || !draft || !form.dataset.jobId) return;
  inbox.set(submitting(), { id: form.dataset.jobId, key: form.dataset.jobKey }).catch(() => {});
}, { capture: true });
for (const name of ["holdfast:refused", "holdfast:unsaved"])
  form.addEventListener(name, () => draft && inbox.set(submitting(), undefined).catch(() => {}));

setToday();
begin().catch(() => {}); // nothing can be kept here, which the page says
