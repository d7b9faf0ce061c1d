/**
 * One ranked item as a list entry.
 *
 * @module
 */

/** @import { ItemDetails, RankedItem } from "./api.js" */

import { element, spoken } from "./dom.js";
import {
  asWords,
  brandName,
  calm,
  capitalized,
  showFine,
  showMoney,
  showShare,
  sourceName,
} from "./words.js";

/**
 * Return the entry of an item.
 *
 * @param {RankedItem} ranked
 * @returns {HTMLLIElement}
 */
export function itemEntry({ item_id, position, score, source, reason, item, label, explain }) {
  const moved = explain?.moved_by ?? [];
  const sort = [item.category && calm(item.category), item.brand && brandName(item.brand)];
  return element(
    "li",
    { class: "item", "data-item": item_id, "data-source": source },
    element("span", { class: "position" }, spoken("Position "), String(position)),
    element(
      "div",
      { class: "what" },
      element("h4", { tabindex: "-1" }, item.title || item_id),
      element(
        "p",
        { class: "sort" },
        label !== undefined && element("span", { class: "label" }, label),
        sort.filter(Boolean).join(" · "),
      ),
    ),
    moneyOf(item),
    element(
      "p",
      { class: "why" },
      sourceMark(source),
      element("span", { class: "reason" }, capitalized(asWords(reason))),
      moved.length > 0 && element("span", { class: "moved" }, `moved by ${moved.join(", ")}`),
      element("span", { class: "shared", hidden: true }),
    ),
    element("span", { class: "score" }, spoken("score "), showFine(score)),
  );
}

/**
 * Return the mark of what proposed an item, with how many where that is given.
 *
 * @param {string} source
 * @param {number} [count]
 */
export function sourceMark(source, count) {
  const words = count === undefined ? sourceName(source) : `${count} ${sourceName(source)}`;
  return element("span", { class: "source", "data-source": source }, words);
}

/**
 * Say on an entry where else the item stands; with nothing to say, say nothing.
 *
 * @param {HTMLLIElement} entry
 * @param {string} where
 */
export function markShared(entry, where) {
  const mark = entry.querySelector(".shared");
  if (!(mark instanceof HTMLElement)) throw new TypeError("expected an entry of itemEntry");
  mark.hidden = where === "";
  mark.textContent = where;
}

/** @param {ItemDetails} details */
function moneyOf({ price, base_price, discount, coupon_id }) {
  const reduced = price !== null && base_price !== null && base_price > price;
  return element(
    "p",
    { class: "money" },
    element(
      "span",
      {},
      reduced && element("s", {}, spoken("before "), showMoney(base_price)),
      price === null
        ? element("span", { class: "unpriced" }, "no price yet")
        : element("span", { class: "price" }, spoken("price "), showMoney(price)),
    ),
    element(
      "span",
      {},
      coupon_id && element("span", { class: "coupon" }, spoken("with "), "coupon"),
      reduced && discount >= 0.005 && element("span", { class: "off" }, `−${showShare(discount)}`),
    ),
  );
}
