/**
 * The inspection's form as the browser holds it: what is in it, filling and clearing it, the checklist's own items.
 * Rules are in `app/forms.py`; saving is done by the submit listener in `shim.js`, keeping drafts in `draft.js`.
 *
 * @typedef {object} Content
 * @property {[string, string][]} fields
 * @property {[string, File][]} files
 */
const photos = globalThis.holdfastPhotos;
export const form = /** @type {HTMLFormElement} */ (document.getElementById("inspection"));
const checks = /** @type {HTMLElement} */ (document.getElementById("checks"));
const checkTemplate = /** @type {HTMLTemplateElement} */ (document.getElementById("check-template"));
const editing = /** @type {HTMLElement} */ (document.getElementById("editing"));
const checksAtFirst = checks.innerHTML;
const NAMES = ["site", "inspected_on", "severity", "notes"];

const today = () => {
  const now = new Date();
  return [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
};

const control = (/** @type {string} */ name) => /** @type {HTMLInputElement | RadioNodeList} */ (form.elements.namedItem(name));

// ── the checklist ────────────────────────────────────────────────────────────────────────────────────────────────────

const addCheck = (label = "") => {
  const row = /** @type {HTMLElement} */ (/** @type {DocumentFragment} */ (checkTemplate.content.cloneNode(true)).firstElementChild);
  const [name, box] = row.querySelectorAll("input");
  name.value = label;
  box.value = label;
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
  form.dispatchEvent(new Event("change", { bubbles: true }));
});

form.querySelector('[data-do="add-item"]')?.addEventListener("click", () => addCheck().focus());

/** Let these items be there, in this order; a row that is there already stays the element it is. */
const fillChecklist = (/** @type {string[]} */ labels, /** @type {string[]} */ ticked) => {
  const rows = Array.from(checks.children);
  const left = [...ticked];
  const takeTick = (/** @type {string} */ label) => {
    const place = left.indexOf(label);
    return place >= 0 && left.splice(place, 1).length > 0; // of two items with one label each has a tick of its own
  };
  const labelOf = (/** @type {Element} */ row) => /** @type {HTMLInputElement} */ (row.querySelector("[name=checklist_items]")).value;
  labels.forEach((label, place) => {
    const known = rows.findIndex((row) => labelOf(row) === label);
    const row = known < 0 ? /** @type {Element} */ (addCheck(label).closest("li")) : rows.splice(known, 1)[0];
    /** @type {HTMLInputElement} */ (row.querySelector('[type="checkbox"]')).checked = takeTick(label);
    if (checks.children[place] !== row) checks.insertBefore(row, checks.children[place]);
  });
  for (const row of rows) row.remove();
};

// ── what is in it ────────────────────────────────────────────────────────────────────────────────────────────────────

const contentOf = (/** @type {HTMLFormElement} */ of) => {
  const secrets = globalThis.holdfastInbox.secretsOf(of);
  /** @type {Content} */
  const held = { fields: [], files: [] };
  for (const [name, value] of new FormData(of)) {
    if (secrets.has(name)) continue;
    if (typeof value === "string") held.fields.push([name, value]);
    else if (value.name) held.files.push([name, value]);
  }
  return held;
};

/** What the form holds now, without its secrets: neither the listener nor a draft stores them. */
export const content = () => contentOf(form);

const untouched = /** @type {HTMLFormElement} */ (form.cloneNode(true));
untouched.reset(); // what was typed before this ran is not in it

/** What a form holds in which nobody has typed. */
export const blank = () => {
  /** @type {HTMLInputElement} */ (untouched.elements.namedItem("inspected_on")).value = today();
  return contentOf(untouched);
};

/** What tells a field or a file from another. */
export const print = (/** @type {[string, any]} */ [name, value]) =>
  JSON.stringify(typeof value === "string" ? [name, value] : [name, value.name, value.type, value.size, value.lastModified]);

/** What of `one` is not in `other`. @returns {Content} */
export const minus = (/** @type {Content} */ one, /** @type {Content} */ other) => {
  const known = new Set([...other.fields, ...other.files].map(print));
  const isNew = (/** @type {[string, any]} */ pair) => !known.has(print(pair));
  return { fields: one.fields.filter(isNew), files: one.files.filter(isNew) };
};

export const isEmpty = (/** @type {Content} */ { fields, files }) => fields.length + files.length === 0;

// ── filling and clearing ─────────────────────────────────────────────────────────────────────────────────────────────

/** A fresh form: today's date, new ids, nothing being edited. */
export const clear = () => {
  delete form.dataset.jobId; // the submit listener gives new ones; without it nothing keeps the old
  delete form.dataset.jobKey;
  form.reset();
};

form.addEventListener("reset", () => {
  checks.innerHTML = checksAtFirst;
  delete form.dataset.edits;
  editing.hidden = true;
  // The controls have their first values only after this event.
  queueMicrotask(setToday);
});

const setToday = () => {
  const day = control("inspected_on");
  if (!day.value) day.value = today();
};

/** What is being edited, in words; "" for a new inspection. */
export const edited = () => (form.dataset.edits ? editing.querySelector("[data-part=title]")?.textContent?.slice(1, -1) ?? "" : "");

/**
 * Put fields and files into the form; `edits` names the job which this version is to replace. A field that is not named
 * stays as it is.
 * @param {Partial<Content> & {edits?: string, title?: string}} what
 */
export const put = async ({ fields = [], files = [], edits, title }) => {
  const all = (/** @type {string} */ wanted) => fields.filter(([name]) => name === wanted).map(([, value]) => value);
  for (const name of NAMES) {
    const [value] = all(name);
    const field = control(name);
    if (value !== undefined && field.value !== value) field.value = value;
  }
  const items = all("checklist_items");
  const ticked = all("checklist");
  if (items.length) fillChecklist([...items, ...ticked.filter((label) => !items.includes(label))], ticked);
  if (edits) {
    form.dataset.edits = edits;
    /** @type {HTMLElement} */ (editing.querySelector("[data-part=title]")).textContent = `“${title || "this inspection"}”`;
    editing.hidden = false;
  }
  await photos.set(files.map(([, file]) => file));
};

setToday();
