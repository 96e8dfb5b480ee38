/**
 * What a page had not stored yet when it went. IndexedDB takes longer than a page that goes has left, so its words are put at
 * once into a store that makes nobody wait, under the draft's name, and whoever reads the draft gets what is newer. Files are
 * named only: their bytes come from the draft that is stored.
 *
 * @typedef {import("./draft.js").Draft} Draft
 * @typedef {import("./draft.js").Kept} Kept
 */
import { print } from "./form.js";

const DRAFTS = "draft:";
/** All tabs share about 5 MB. */
const LONGEST = 500_000;

const described = (/** @type {string} */ _, /** @type {any} */ value) =>
  value instanceof File ? { name: value.name, type: value.type, size: value.size, lastModified: value.lastModified } : value;

/** What there is to write down of a tab, as text. */
export const wordsOf = (/** @type {Kept} */ kept) => JSON.stringify(kept, described);

// A browser may refuse this store altogether; then the draft is what IndexedDB has of it.
const attempt = (/** @type {() => any} */ act, /** @type {any} */ otherwise = undefined) => {
  try {
    return act();
  } catch {
    return otherwise;
  }
};

export const write = (/** @type {string} */ name, /** @type {string} */ words) => {
  if (words.length <= LONGEST) attempt(() => localStorage.setItem(name, words));
};

export const remove = (/** @type {string} */ name) => attempt(() => localStorage.removeItem(name));

/** @returns {string[]} */
export const names = () => attempt(() => Object.keys(localStorage).filter((name) => name.startsWith(DRAFTS)), []);

export const wipe = () => names().forEach(remove);

/**
 * What is known of a draft: what is stored of it, or what was written down later, with the files that are stored. Nobody
 * gets what is another account's: a tab may have kept that after it was wiped.
 * @param {Kept | undefined} kept as it is stored
 * @returns {Kept | undefined}
 */
export const newest = (kept, /** @type {string} */ name, /** @type {string | undefined} */ account) => {
  const stored = kept?.account && kept.account !== account ? undefined : kept;
  /** @type {Kept | null} */
  const written = attempt(() => JSON.parse(localStorage.getItem(name) ?? "null"), null);
  if (written?.account && written.account !== account) remove(name);
  else if (written && (written.kept_at ?? 0) > (stored?.kept_at ?? 0)) return attempt(() => whole(written, stored), stored);
  return stored;
};

/** @returns {Kept} */
const whole = (/** @type {Kept} */ { aside = [], sending = [], ...shown }, /** @type {Kept | undefined} */ stored) => {
  const held = stored ? [stored, ...(stored.aside ?? []), ...(stored.sending ?? [])] : [];
  const files = new Map(held.flatMap((draft) => draft.files).map((pair) => [print(pair), pair]));
  const filled = (/** @type {Draft} */ draft) => {
    const found = draft.files.map((pair) => files.get(print(pair)));
    return { ...draft, files: found.filter((pair) => pair !== undefined), photos: draft.files.length };
  };
  return { ...filled(shown), aside: aside.map(filled), sending: sending.map(filled) };
};
