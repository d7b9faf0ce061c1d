/**
 * Words and numbers for people: what the service says in names and plain numbers.
 *
 * @module
 */

/** @import { Venue } from "./api.js" */
/** @import { Shopper } from "./state.js" */

const LANGUAGE = "en";
const money = new Intl.NumberFormat(LANGUAGE, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat(LANGUAGE);
const percent = new Intl.NumberFormat(LANGUAGE, { style: "percent" });
const fine = new Intl.NumberFormat(LANGUAGE, {
  minimumSignificantDigits: 3,
  maximumSignificantDigits: 3,
});
const day = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeZone: "UTC" });
const minute = new Intl.DateTimeFormat(LANGUAGE, {
  dateStyle: "medium",
  timeStyle: "short",
  timeZone: "UTC",
});

/** Phases that the field has a Chinese word for. */
const PHASES = new Map([
  ["warm_up", "蓄势"],
  ["opening", "开门红"],
  ["peak", "爆发"],
  ["sprint", "冲刺"],
  ["encore", "返场"],
]);

/** @param {number} amount */
export const showMoney = (amount) => money.format(amount);

/** @param {number} count */
export const showCount = (count) => whole.format(count);

/** @param {number} share  0 to 1 */
export const showShare = (share) => percent.format(share);

/** @param {number} value */
export const showFine = (value) => fine.format(value);

/** @param {number} milliseconds */
export const showTime = (milliseconds) => `${fine.format(milliseconds)} ms`;

/** @param {string} moment  ISO 8601 */
export const showMoment = (moment) => `${minute.format(new Date(moment))} UTC`;

/**
 * Return a name of the service as words: `fits_your_taste` is "fits your taste".
 *
 * @param {string} name
 */
export const asWords = (name) => name.replaceAll("_", " ");

/** @param {string} source  Sources are named like the field does: `two_tower` is "two-tower". */
export const sourceName = (source) => source.replaceAll("_", "-");

/** @param {string} text */
export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/**
 * Return a heading that shouts (`FRZN ICE`) in sentence case, any other as it is.
 *
 * @param {string} text
 */
export function calm(text) {
  const shouts = text === text.toUpperCase() && text !== text.toLowerCase();
  return shouts ? capitalized(text.toLowerCase()) : text;
}

/**
 * Return a brand; one that is only a number is said to be one.
 *
 * @param {string} brand
 */
export const brandName = (brand) => (/^\d+$/.test(brand) ? `brand ${brand}` : brand);

/** @param {Shopper} shopper */
export function shopperName({ kind, id }) {
  return kind === "visitor" ? `Visitor ${id}` : `Shopper ${id}`;
}

/** @param {string} phase */
export function phaseName(phase) {
  const chinese = PHASES.get(phase);
  return chinese ? `${asWords(phase)} ${chinese}` : asWords(phase);
}

/**
 * Return the period of a venue, in days of UTC.
 *
 * @param {Venue} venue
 */
export function period({ starts_at, ends_at }) {
  if (starts_at && ends_at) return day.formatRange(new Date(starts_at), new Date(ends_at));
  if (starts_at) return `from ${day.format(new Date(starts_at))}`;
  if (ends_at) return `until ${day.format(new Date(ends_at))}`;
  return "always open";
}
