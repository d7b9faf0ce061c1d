/**
 * Elements in one expression. Text is always set as text, so nothing in an answer becomes markup.
 *
 * @module
 */

/**
 * @typedef {Node | string | null | undefined | false} Child  What is empty is left out.
 */

/**
 * Return an element with attributes and children; an attribute of `true` is set without a value,
 * one of null, undefined or false is left out.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | boolean | null | undefined>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (typeof value === "string") made.setAttribute(name, value);
  }
  for (const child of children) if (child) made.append(child);
  return made;
}

/**
 * Return text that is read aloud but not seen.
 *
 * @param {string} text
 */
export function spoken(text) {
  return element("span", { class: "spoken" }, text);
}

/**
 * Return a button that does something.
 *
 * @param {string} label
 * @param {() => void} action
 * @param {Record<string, string>} [attributes]
 */
export function button(label, action, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", action);
  return made;
}

/**
 * Return the element of the document with this id, which must be of this type.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new TypeError(`#${id}: expected ${type.name} in index.html, found ${found?.nodeName}`);
}
