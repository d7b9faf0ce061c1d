/**
 * Errors as text that a person can act on.
 *
 * @module
 */

import { ProblemError, UnreachableError } from "./api.js";
import { button, element } from "./dom.js";

/**
 * Return what went wrong, what to mend and a button to try again. Errors that are no answer of the
 * service are faults of this page: they are thrown on.
 *
 * @param {unknown} error
 * @param {() => void} again
 * @returns {HTMLElement}
 */
export function trouble(error, again) {
  const retry = button("Try again", again);
  if (error instanceof UnreachableError) {
    return box(element("strong", {}, "No answer"), element("p", {}, error.message), retry);
  }
  if (!(error instanceof ProblemError)) throw error;
  const { title, detail, errors = [] } = error.problem;
  const faults = errors.map(({ field, expected, remedy }) =>
    element("li", {}, element("code", {}, field), ` expected ${expected}; ${remedy}`),
  );
  return box(
    element("strong", {}, title),
    element("p", {}, detail),
    faults.length > 0 && element("ul", {}, ...faults),
    retry,
  );
}

/** @param {...import("./dom.js").Child} children */
function box(...children) {
  return element("div", { class: "trouble", role: "alert" }, ...children);
}
