/**
 * What the page shows, as its address says it: `?venue=18&user=2375&visitor=cold-1`.
 *
 * Plain values and pure functions; the order of shoppers is the order of columns.
 *
 * @module
 */

/**
 * @typedef {{ kind: "user" | "visitor", id: string }} Shopper
 * @typedef {{ venue: string | null, shoppers: readonly Shopper[] }} State
 */

/** Columns that can stand side by side. */
export const MAX_SHOPPERS = 6;

const VENUE = "venue";
const KINDS = /** @type {const} */ (["user", "visitor"]);

/**
 * Read the state from a query string; what it does not know, it leaves alone.
 *
 * @param {string} search
 * @returns {State}
 */
export function parseState(search) {
  const params = new URLSearchParams(search);
  /** @type {State} */
  let state = { venue: params.get(VENUE) || null, shoppers: [] };
  for (const [name, value] of params) {
    const kind = KINDS.find((known) => known === name);
    if (kind) state = withShopper(state, { kind, id: value.trim() });
  }
  return state;
}

/**
 * Write the state as a query string.
 *
 * @param {State} state
 * @returns {string}
 */
export function formatState({ venue, shoppers }) {
  const params = new URLSearchParams();
  if (venue !== null) params.append(VENUE, venue);
  for (const { kind, id } of shoppers) params.append(kind, id);
  return `?${params}`;
}

/** @param {Shopper} shopper @returns {string} */
export function shopperKey({ kind, id }) {
  return `${kind}:${id}`;
}

/** @param {State} state @param {Shopper} shopper @returns {boolean} */
export function holds(state, shopper) {
  return state.shoppers.some((other) => shopperKey(other) === shopperKey(shopper));
}

/**
 * Add a shopper at the end; nobody stands there twice, and no more than fit.
 *
 * @param {State} state
 * @param {Shopper} shopper
 * @returns {State}
 */
export function withShopper(state, shopper) {
  const full = state.shoppers.length >= MAX_SHOPPERS;
  if (full || !shopper.id || holds(state, shopper)) return state;
  return { ...state, shoppers: [...state.shoppers, shopper] };
}

/** @param {State} state @param {Shopper} shopper @returns {State} */
export function withoutShopper(state, shopper) {
  const left = state.shoppers.filter((other) => shopperKey(other) !== shopperKey(shopper));
  return { ...state, shoppers: left };
}

/**
 * Return a visitor who is not there yet. Names are plain numbers, so a shared link and the same
 * visitor's experiment arms stay the same.
 *
 * @param {State} state
 * @returns {Shopper}
 */
export function coldVisitor(state) {
  for (let number = 1; ; number += 1) {
    const visitor = /** @type {Shopper} */ ({ kind: "visitor", id: `cold-${number}` });
    if (!holds(state, visitor)) return visitor;
  }
}
