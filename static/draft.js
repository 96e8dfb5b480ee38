/**
 * What someone types, kept while they type: the draft of this tab, what is put aside for an edit and comes back after it,
 * and what was typed between the tap on "Save" and the commit. Nothing that was typed goes unless it was saved, or given
 * up by whoever typed it.
 *
 * @typedef {import("./form.js").Content & {
 *   id?: string, key?: string, sent?: boolean, kept_at?: number, edits?: string, title?: string, typed?: boolean,
 *   account?: string, photos?: number,
 * }} Draft `id` and `key` are of the job that it becomes; `sent`: a tab ended in the middle of saving it; `edits` and
 *   `title` are of the job that it replaces; `typed`: it is more than that job as it was; `photos`: how many it had, where
 *   only those that are stored are in `files`.
 *
 * @typedef {Draft & {aside?: Draft[], sending?: Draft[]}} Kept what is stored for a tab: what is in its form; `aside`: the
 *   drafts that come back after it, the next one last; `sending`: what is being saved, as it was at the tap.
 */
import { arrival, isOf, onDevice } from "./arrival.js";
import { blank, clear, content, edited, form, isEmpty, minus, put } from "./form.js";
import { hold } from "./holding.js";
import { holdfast } from "./holdfast.js";
import * as leaving from "./leaving.js";

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
/** The name of its draft, should this tab get none of before. */
const fresh = `${DRAFTS}${inbox.uuid()}`;
/** What was stored last, as text. */
let stored = "";
/** Someone has typed in this form. */
let typed = false;
/** A tab ended in the middle of saving what is in this form: unchanged it is the same job, changed it is another. */
let sent = false;
/** Drafts that wait for this form to be saved or given up. @type {Draft[]} */
let aside = [];
/** What is being saved, as it was at the tap. @type {Draft[]} */
let sending = [];
/** Drafts of other tabs, on their way into this one's: until they are stored as its own, they are stored as the others'. @type {Draft[]} */
let moving = [];
/** Whose turn at this device it is: what was read for somebody else is not shown any more. */
let turn = 0;
let timer = 0;
let keeping = 0;

// ── keeping ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const clock = (/** @type {number} */ at) => {
  const when = new Date(at);
  const time = [when.getHours(), when.getMinutes()].map((part) => String(part).padStart(2, "0")).join(":");
  if (when.toDateString() === new Date().toDateString()) return time;
  return `${when.getDate()} ${when.toLocaleString("en", { month: "short" })} ${time}`;
};

const newIds = () => form.dispatchEvent(new Event("holdfast:new-ids", { bubbles: true }));

/** @returns {Draft} */
const now = () => ({
  ...content(), id: form.dataset.jobId ?? inbox.uuid(), key: form.dataset.jobKey ?? inbox.uuid(), sent,
  kept_at: Date.now(), edits: form.dataset.edits, title: edited(), typed, account: form.dataset.account,
});

/** All that this tab has, as text, without when that was. */
const words = () => leaving.wordsOf({ ...now(), kept_at: 0, aside, sending });

/** Store all that this tab has. Says whether it is stored. */
const keep = async () => {
  clearTimeout(timer);
  timer = 0;
  if (!name) return false;
  const draft = now();
  const told = words();
  const ours = ++keeping;
  const isNothing = !typed && draft.edits === undefined && aside.length + sending.length === 0;
  try {
    await inbox.set(name, isNothing ? undefined : { ...draft, aside, sending });
    if (ours === keeping) {
      stored = told;
      for (const written of [name, fresh]) leaving.remove(written);
    }
    if (draft.typed && ours === keeping) draftLine.textContent = `Draft kept ${clock(/** @type {number} */ (draft.kept_at))}.`;
    return true;
  } catch {
    if (!isNothing) draftLine.textContent = "The draft could not be kept: save before you close this tab.";
    return false;
  }
};

const keepSoon = () => {
  typed = true;
  if (sent) newIds();
  sent = false;
  clearTimeout(timer);
  timer = setTimeout(keep, PAUSE_MS);
};

/** The form is fresh, and nothing is kept of it. */
const forget = () => {
  typed = false;
  sent = false;
  draftLine.textContent = "";
  clear();
  return keep();
};

form.addEventListener("input", keepSoon);
form.addEventListener("change", ({ target }) => {
  keepSoon();
  if (target === form) keep(); // a photo is ready, or an item gone: unlike words, a photo cannot be written down in a hurry
});

/** What is not stored yet is written down before anything else can happen, then stored if there is time. */
const hurry = () => {
  if (words() === stored) return;
  leaving.write(name, leaving.wordsOf({ ...now(), aside: aside.filter((draft) => !moving.includes(draft)), sending }));
  keep();
};

document.addEventListener("visibilitychange", () => document.hidden && name && hurry());
addEventListener("pagehide", () => {
  if (name) hurry();
  else if (isWorthKeeping()) leaving.write(fresh, leaving.wordsOf(now())); // beside the draft of before, which is not in the form yet
});

// ── one after the other in one form ──────────────────────────────────────────────────────────────────────────────────

/** @type {Promise<any>} */
let last = Promise.resolve();

/** Works that change the form go one after the other, each once all photos are there; none for somebody who has left. */
const inTurn = (/** @type {() => any} */ work, theirs = turn) => {
  last = last.catch(() => {}).then(photos.settled).then(() => (theirs === turn ? work() : undefined));
  return last;
};

const showAside = () => (asideLine.hidden = aside.length === 0);

/** What the form holds is this draft: it becomes the job that the draft was to become. */
const own = (/** @type {Partial<Draft>} */ { id, key, sent: before = false }) => {
  form.dataset.jobId = id ?? form.dataset.jobId ?? inbox.uuid();
  form.dataset.jobKey = key ?? form.dataset.jobKey ?? inbox.uuid();
  sent = before;
};

/** Let the form hold this draft. */
const open = async (/** @type {Draft} */ draft) => {
  clear();
  await Promise.resolve();
  own(draft);
  typed = draft.typed ?? false;
  draftLine.textContent = "";
  showAside();
  await put(draft);
  await keep();
};

/** This form is done with: what was put aside for it comes back, else it is a fresh one. Says whether something came back. */
const next = async () => {
  const back = aside.pop();
  showAside();
  if (back) await open(back);
  else await forget();
  return back !== undefined;
};

const isWorthKeeping = () => typed && (form.dataset.edits !== undefined || !isEmpty(minus(content(), blank())));

/** What of a draft came after it was saved: one draft or none. @returns {Draft[]} */
const since = (/** @type {import("./form.js").Content} */ draft, /** @type {import("./form.js").Content} */ saved) => {
  const rest = minus(draft, saved);
  if (isEmpty(rest)) return [];
  const items = blank().fields.filter(([field]) => field === "checklist_items");
  return [{ fields: [...items, ...rest.fields], files: rest.files, typed: true }];
};

/**
 * This was saved: take it out of the form or of what was put aside, and nothing else. Resolves to what the form holds now:
 * "since", what was typed after the tap; "before", what had been put aside; or "".
 * @param {{submission?: string} & Draft} saved the form's job id at the tap, and what it held
 */
export const settle = ({ submission, ...saved }) =>
  inTurn(async () => {
    sending = sending.filter(({ id }) => id !== submission);
    aside = aside.flatMap((draft) => (draft.id === submission ? since(draft, saved) : [draft]));
    showAside();
    if (form.dataset.jobId !== submission) {
      await keep(); // the form is another one by now
      return "";
    }
    const [rest] = since(content(), saved);
    if (!rest) return (await next()) ? "before" : "";
    await open(rest);
    return "since";
  });

form.addEventListener("holdfast:sending", (event) => {
  const { submission, ...saved } = /** @type {CustomEvent} */ (event).detail;
  typed = true;
  sent = false; // what is typed from here on comes after this job
  const tapped = { ...saved, id: submission, edits: form.dataset.edits, title: edited(), typed: true };
  sending = [...sending.filter(({ id }) => id !== submission), tapped];
  keep();
});
for (const event of ["holdfast:refused", "holdfast:unsaved", "app:not-saved"])
  form.addEventListener(event, (told) => {
    const { submission } = /** @type {CustomEvent} */ (told).detail;
    const isKept = form.dataset.jobId === submission || aside.some(({ id }) => id === submission);
    if (!isKept) aside.push(...sending.filter(({ id }) => id === submission)); // given up before it was refused
    sending = sending.filter(({ id }) => id !== submission);
    showAside();
    keep();
  });
/** The listener is missing: the browser posts the form, and leaves. */
let posts = false;

addEventListener("submit", (event) => {
  if (event.target !== form || event.defaultPrevented || form.dataset.edits) return; // an edit is never posted
  own({});
  const { jobId: id, jobKey: key } = form.dataset;
  sending = [...sending.filter((draft) => draft.id !== id), { ...content(), id, key, typed: true }];
  keep();
  posts = true;
});
form.addEventListener("formdata", ({ formData }) => {
  if (!posts) return; // somebody just looks at what is in it
  posts = false;
  for (const secret of inbox.secretsOf(form)) formData.delete(secret); // who takes the post cannot tell them from the rest
  formData.append("holdfast-id", form.dataset.jobId ?? "");
  formData.append("holdfast-key", form.dataset.jobKey ?? "");
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
  sending = [];
  leaving.wipe();
  showAside();
  forget();
});

// ── a draft of before ────────────────────────────────────────────────────────────────────────────────────────────────

/** What is known under that name. @returns {Promise<Kept | undefined>} */
const keptAs = async (/** @type {string} */ draft) => leaving.newest(await inbox.get(draft), draft, form.dataset.account);

/** Drafts of tabs that are gone, as after a crash; the last one first. */
const left = async () => {
  const drafts = [...new Set([...(await inbox.keys()), ...leaving.names()])].filter((key) => key.startsWith(DRAFTS));
  const kept_at = new Map(await Promise.all(drafts.map(async (key) => [key, (await keptAs(key))?.kept_at ?? 0])));
  return drafts.sort((one, other) => kept_at.get(other) - kept_at.get(one));
};

/** A name for this tab: as before it was loaded anew; else that of a draft left behind, else a new one. */
const named = async (/** @type {string | null} */ before) => {
  // The page that was here lets go in its own time; in the copy of a tab that is still open the wait is in vain.
  if (before && (await hold(before, { signal: AbortSignal.timeout(RELEASE_MS) }))) return before;
  for (const draft of await left()) if (await hold(draft, { ifAvailable: true })) return draft;
  await hold(fresh, {});
  return fresh;
};

const found = (/** @type {Draft} */ { id }) => (id ? onDevice(id).catch(() => null) : null);

/** What was kept for a tab, draft by draft, the next one last; what was saved after all is not among them. */
const apart = async (/** @type {Kept} */ { aside: waiting = [], sending: tapped = [], ...draft }) => {
  const rest = async (/** @type {Draft} */ each) => {
    const saved = tapped.find(({ id }) => id === each.id);
    if (saved) return since(each, saved);
    const here = await found(each);
    return here && isOf(here, each) ? [] : [each];
  };
  const again = async (/** @type {Draft} */ each) => ((await found(each)) ? [] : [{ ...each, sent: true }]);
  const shown = draft.typed !== false || draft.edits !== undefined ? [draft] : [];
  const all = await Promise.all([...[...waiting, ...shown].map(rest), ...tapped.map(again)]);
  return all.flat();
};

/** What was typed early and the draft are two answers to one question. */
const clash = (/** @type {Draft} */ early, /** @type {Draft} */ kept) => {
  const written = new Map(early.fields.filter(([field]) => field === "site" || field === "notes"));
  return kept.fields.some(([field, value]) => written.has(field) && !written.get(field)?.includes(value));
};

/** Bring the next draft back into a form in which someone may have typed already: theirs stays, and where both cannot, the draft waits. */
const restore = async () => {
  const early = minus(content(), blank());
  typed ||= !isEmpty(early);
  const kept = aside.at(-1);
  showAside();
  if (!kept || form.dataset.edits !== undefined || clash(early, kept)) return;
  aside.pop();
  showAside();
  own(isEmpty(minus(early, kept)) && !sending.length ? kept : {});
  kept.id = form.dataset.jobId;
  const isItem = (/** @type {[string, any]} */ [field]) => field.startsWith("checklist");
  const answered = new Set(early.fields.map(([field]) => field));
  const answers = kept.fields.filter((pair) => !isItem(pair) && !answered.has(pair[0]));
  const items = [...kept.fields, ...early.fields].filter(isItem);
  typed ||= kept.typed ?? true;
  await put({ ...kept, fields: [...answers, ...items], files: [...kept.files, ...minus(early, kept).files] });
  if (typed) draftLine.textContent = `Draft kept ${clock(kept.kept_at ?? Date.now())}.`;
};

/** Take in what was kept under another name, which is ours by now: it comes back after what is in the form. */
const takeIn = async (/** @type {string} */ other, /** @type {number} */ theirs) => {
  const kept = await keptAs(other);
  if (!kept) return inbox.set(other, undefined); // nothing, or somebody else's
  const drafts = await apart(kept);
  await inTurn(async () => {
    const known = new Set([form.dataset.jobId, ...aside.map(({ id }) => id)]); // a tab may have ended in the middle of this
    const taken = drafts.filter(({ id }) => !id || !known.has(id));
    moving.push(...taken);
    aside.unshift(...taken);
    showAside();
    if (!(await keep())) return;
    moving = [];
    await inbox.set(other, undefined);
    leaving.remove(other);
    if (typed || form.dataset.edits !== undefined) return;
    await restore();
    await keep();
  }, theirs);
};

const begin = async () => {
  const theirs = turn;
  form.dataset.account = (await inbox.get("account")) ?? "";
  const before = sessionStorage.getItem(TAB);
  const draft = await named(before);
  sessionStorage.setItem(TAB, draft);
  const before_it = await keptAs(draft);
  const drafts = before_it ? await apart(before_it) : [];
  const kept = drafts.at(-1);
  if (theirs === turn) aside.unshift(...drafts);
  name = draft; // from here on all is kept, what has just been read too
  if (timer || sending.length) await keep();
  await inTurn(restore, theirs);
  await keep();
  // A form's own POST was taken and brought us back here: that draft is done with, and what waited for it is next.
  arrival.then((came) => came && kept && isOf(came, kept) && settle({ submission: kept.id, ...kept }));
  // Nobody else brings back what tabs that are gone have left, nor what this one had, should its page of before be slow to go.
  const others = draft === before ? leaving.names() : await left();
  for (const other of others) if (other !== draft && (await hold(other, { ifAvailable: true }))) await takeIn(other, theirs);
  if (draft === before) return;
  const [navigation] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType("navigation"));
  if (before && navigation?.type === "reload" && (await hold(before, {}))) await takeIn(before, theirs);
};

holdfast.ready.then(begin).catch(() => {}); // nothing can be kept here, which the page says
