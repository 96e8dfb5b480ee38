/**
 * What someone types, kept while they type: the draft of this tab, what is put aside for an edit and comes back after it,
 * and what was typed between the tap on "Save" and the commit. Nothing that was typed goes unless it was saved, or given
 * up by whoever typed it.
 *
 * @typedef {import("./form.js").Content & {
 *   kept_at?: number, edits?: string, title?: string, typed?: boolean, aside?: Draft[],
 * }} Draft `edits` and `title` are of the job that it replaces; `typed`: it is more than that job as it was; `aside`: the
 *   drafts that come back after it, the next one last.
 */
import { arrival, isOf } from "./arrival.js";
import { blank, clear, content, edited, form, isEmpty, minus, put } from "./form.js";

const TYPE = "inspection.create";
const DRAFTS = `draft:${TYPE}:`;
const TAB = "holdfast-draft";
const PAUSE_MS = 400;
const RELEASE_MS = 1000;

const inbox = globalThis.holdfastInbox;
const photos = globalThis.holdfastPhotos;
const draftLine = /** @type {HTMLElement} */ (document.getElementById("draft"));
const asideLine = /** @type {HTMLElement} */ (document.getElementById("aside"));

/** Where this tab keeps its draft; empty until that is settled. Each tab has a draft of its own: two never write over each other. */
let name = "";
const submitting = () => `draft:ids:${name}`;
/** Someone has typed in this form. */
let typed = false;
/** Drafts that wait for this form to be saved or given up. @type {Draft[]} */
let aside = [];
/** Whose turn at this device it is: what was read for somebody else is not shown any more. */
let turn = 0;
let timer = 0;

// ── keeping ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const clock = (/** @type {number} */ at) => {
  const when = new Date(at);
  const time = [when.getHours(), when.getMinutes()].map((part) => String(part).padStart(2, "0")).join(":");
  if (when.toDateString() === new Date().toDateString()) return time;
  return `${when.getDate()} ${when.toLocaleString("en", { month: "short" })} ${time}`;
};

/** @returns {Draft} */
const now = () => ({ ...content(), kept_at: Date.now(), edits: form.dataset.edits, title: edited(), typed });

const keep = async () => {
  clearTimeout(timer);
  timer = 0;
  if (!name) return;
  const draft = now();
  try {
    await inbox.set(name, { ...draft, aside });
    if (draft.typed) draftLine.textContent = `Draft kept ${clock(/** @type {number} */ (draft.kept_at))}.`;
  } catch {
    draftLine.textContent = "The draft could not be kept: save before you close this tab.";
  }
};

const keepSoon = () => {
  typed = true;
  clearTimeout(timer);
  timer = setTimeout(keep, PAUSE_MS);
};

/** The form is fresh, and nothing is kept for this tab. */
const forget = () => {
  clearTimeout(timer);
  timer = 0;
  typed = false;
  draftLine.textContent = "";
  clear();
  if (name) inbox.set(name, undefined).catch(() => {});
};

form.addEventListener("input", keepSoon);
form.addEventListener("change", keepSoon);
document.addEventListener("visibilitychange", () => timer && document.hidden && keep());
addEventListener("pagehide", () => timer && keep());

// ── one after the other in one form ──────────────────────────────────────────────────────────────────────────────────

/** @type {Promise<any>} */
let last = Promise.resolve();

/** Works that change the form go one after the other, each once all photos are there; none for somebody who has left. */
const inTurn = (/** @type {() => any} */ work, theirs = turn) => {
  last = last.catch(() => {}).then(photos.settled).then(() => (theirs === turn ? work() : undefined));
  return last;
};

const showAside = () => (asideLine.hidden = aside.length === 0);

/** Let the form hold this draft. */
const open = async (/** @type {Draft} */ draft) => {
  clear();
  await Promise.resolve();
  typed = draft.typed ?? false;
  draftLine.textContent = "";
  showAside();
  await put(draft);
  await keep();
};

/** This form is done with: what was put aside for it comes back, else it is a fresh one. Says whether something came back. */
const next = async () => {
  if (name) inbox.set(submitting(), undefined).catch(() => {});
  const back = aside.pop();
  showAside();
  if (back) await open(back);
  else forget();
  return back !== undefined;
};

const isWorthKeeping = () => typed && (form.dataset.edits !== undefined || !isEmpty(minus(content(), blank())));

const isSame = (/** @type {Draft} */ one, /** @type {Draft} */ other) => isEmpty(minus(one, other)) && isEmpty(minus(other, one));

/**
 * This was saved: take it out of the form, and nothing else. Resolves to what the form holds now: "since", what was typed
 * after the tap; "before", what had been put aside; or "".
 * @param {{submission?: string} & Draft} saved the form's job id at the tap, and what it held
 */
export const settle = ({ submission, ...saved }) =>
  inTurn(async () => {
    aside = aside.filter((draft) => !isSame(draft, saved));
    if ((form.dataset.jobId ?? "") !== (submission ?? "")) return ""; // the form is another one by now
    const since = minus(content(), saved);
    if (isEmpty(since)) return (await next()) ? "before" : "";
    if (name) inbox.set(submitting(), undefined).catch(() => {});
    const items = blank().fields.filter(([field]) => field === "checklist_items");
    await open({ fields: [...items, ...since.fields], files: since.files, typed: true });
    return "since";
  });

// Python hands a job over for editing in this way; what is in the form waits until that is done.
form.addEventListener("app:fill", (event) => {
  const job = /** @type {Draft} */ (/** @type {CustomEvent} */ (event).detail);
  inTurn(async () => {
    if (form.dataset.edits === job.edits) return;
    if (isWorthKeeping()) aside.push(now());
    const begun = aside.findIndex(({ edits }) => edits === job.edits);
    await open(begun < 0 ? job : aside.splice(begun, 1)[0]);
  });
});

document.querySelector('[data-do="stop-editing"]')?.addEventListener("click", () => {
  inTurn(next);
  document.getElementById("new-title")?.focus();
});

// Somebody else works on this device from now on.
form.addEventListener("app:wipe", () => {
  turn += 1;
  aside = [];
  showAside();
  forget();
});

// ── a draft of before ────────────────────────────────────────────────────────────────────────────────────────────────

/** Whether this tab has the draft of that name to itself, from here on until it is closed. */
const hold = (/** @type {string} */ draft, /** @type {LockOptions} */ options) =>
  new Promise((resolve) => {
    if (!navigator.locks) return resolve(true);
    const held = (/** @type {Lock | null} */ lock) => (resolve(lock !== null), lock && new Promise(() => {}));
    navigator.locks.request(draft, options, held).catch(() => resolve(false));
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
  for (const draft of await left()) if (await hold(draft, { ifAvailable: true })) return draft;
  const fresh = `${DRAFTS}${inbox.uuid()}`;
  await hold(fresh, {});
  return fresh;
};

/** What was typed early and the draft are two answers to one question. */
const clash = (/** @type {Draft} */ early, /** @type {Draft} */ kept) => {
  const written = new Map(early.fields.filter(([field]) => field === "site" || field === "notes"));
  return kept.fields.some(([field, value]) => written.has(field) && !written.get(field)?.includes(value));
};

/** Bring a draft back into a form in which someone may have typed already: theirs stays, and where both cannot, the draft waits. */
const restore = async (/** @type {Draft} */ kept, /** @type {import("./form.js").Content} */ early) => {
  aside.unshift(...(kept.aside ?? []));
  if (form.dataset.edits !== undefined || clash(early, kept)) aside.push(kept);
  showAside();
  if (aside.includes(kept)) return;
  const isItem = (/** @type {[string, any]} */ [field]) => field.startsWith("checklist");
  const answered = new Set(early.fields.map(([field]) => field));
  const answers = kept.fields.filter((pair) => !isItem(pair) && !answered.has(pair[0]));
  const items = [...kept.fields, ...early.fields].filter(isItem);
  typed ||= kept.typed ?? true;
  await put({ ...kept, fields: [...answers, ...items], files: [...kept.files, ...minus(early, kept).files] });
  if (typed) draftLine.textContent = `Draft kept ${clock(kept.kept_at ?? 0)}.`;
};

/** What comes back after a draft. @returns {Draft | undefined} */
const afterIt = (/** @type {Draft} */ { aside: waiting = [] }) => {
  const back = waiting.at(-1);
  return back && { ...back, aside: waiting.slice(0, -1) };
};

const newIds = () => form.dispatchEvent(new Event("holdfast:new-ids", { bubbles: true }));

const begin = async () => {
  const theirs = turn;
  form.dataset.account = (await inbox.get("account")) ?? "";
  const draft = await named();
  sessionStorage.setItem(TAB, draft);
  const [before, ids, came] = await Promise.all([inbox.get(draft), inbox.get(`draft:ids:${draft}`), arrival]);
  // A form's own POST was taken and brought us back here: that draft is done with, and what waited for it is next.
  const kept = came && before && isOf(came, before) ? afterIt(before) : before;
  await inTurn(async () => {
    const early = minus(content(), blank());
    typed ||= !isEmpty(early);
    if (!kept) return;
    const isChanged = !isEmpty(minus(early, kept));
    await restore(kept, early);
    if (!ids || isChanged || kept !== before) return;
    // The tab ended in the middle of saving. Sent again as it is, it is the same job; changed, it is another.
    form.dataset.jobId = ids.id;
    form.dataset.jobKey = ids.key;
    form.addEventListener("input", newIds, { once: true });
  }, theirs);
  name = draft;
  if (typed) await keep();
  else if (before && !kept) forget();
};

addEventListener("submit", ({ target }) => {
  if (target !== form || !name || form.dataset.edits) return;
  if (!form.dataset.jobId) return void keep(); // the listener is missing: the browser posts the form and leaves
  form.removeEventListener("input", newIds); // what is typed from here on comes after this job
  inbox.set(submitting(), { id: form.dataset.jobId, key: form.dataset.jobKey }).catch(() => {});
}, { capture: true });
for (const event of ["holdfast:refused", "holdfast:unsaved"])
  form.addEventListener(event, () => name && inbox.set(submitting(), undefined).catch(() => {}));

begin().catch(() => {}); // nothing can be kept here, which the page says
