/**
 * What pages have in common: the point of showing them side by side.
 *
 * @module
 */

/** @import { ShopperPage } from "./page.js" */

import { markShared } from "./item.js";

/**
 * Mark each item that stands on other pages too, and return how much the pages share, in words.
 *
 * @param {readonly ShopperPage[]} pages  In the order of columns.
 * @returns {string}
 */
export function compare(pages) {
  for (const page of pages) {
    for (const [id, entry] of page.entries) {
      const names = pages
        .filter((other) => other !== page && other.entries.has(id))
        .map((other) => `#${placeOf(other, id)} for ${other.shopper.id}`);
      markShared(entry, names.length ? `also ${names.join(", ")}` : "");
    }
  }
  const filled = pages.filter(({ entries }) => entries.size);
  if (!filled.length) return "";
  const shortest = Math.min(...filled.map(({ entries }) => entries.size));
  if (filled.length === 1) return `1 page of ${shortest} items.`;
  const common = [...filled[0].entries.keys()].filter((id) =>
    filled.every(({ entries }) => entries.has(id)),
  ).length;
  const all = filled.length === 2 ? "both" : "all";
  const share = common ? `${common} of ${shortest} items stand on ${all}` : `no item stands on ${all}`;
  return `${filled.length} pages; ${share}.`;
}

/** @param {ShopperPage} page @param {string} id */
function placeOf({ entries }, id) {
  return [...entries.keys()].indexOf(id) + 1;
}
