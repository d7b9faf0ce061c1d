/**
 * The page at `/`: one venue as several shoppers see it, side by side.
 *
 * The address holds the state; every change goes through `go`, which writes the address and lets
 * `render` bring the document in line with it.
 *
 * @module
 */

/** @import { KnownUser, RecommendResponse, Venue } from "./api.js" */
/** @import { Shopper, State } from "./state.js" */

import { VenueClient } from "./api.js";
import { compare } from "./compare.js";
import { button, byId, element } from "./dom.js";
import { EventTracker } from "./events.js";
import { ShopperPage } from "./page.js";
import {
  coldVisitor,
  formatState,
  holds,
  MAX_SHOPPERS,
  parseState,
  shopperKey,
  withoutShopper,
  withShopper,
} from "./state.js";
import { trouble } from "./trouble.js";
import { period, phaseName, showCount, showMoment } from "./words.js";

const KNOWN = 50; // shoppers to choose from
const SUGGESTED = 5; // of these, one click away
const AT_FIRST = 2; // shown when the address names none

const client = new VenueClient();
const tracker = new EventTracker(client);
const parts = {
  service: byId("service", HTMLElement),
  choose: byId("choose", HTMLFormElement),
  venue: byId("venue", HTMLSelectElement),
  shopper: byId("shopper", HTMLInputElement),
  known: byId("known", HTMLDataListElement),
  visitor: byId("visitor", HTMLButtonElement),
  suggested: byId("suggested", HTMLElement),
  trouble: byId("trouble", HTMLElement),
  venueName: byId("venue-name", HTMLElement),
  venueAbout: byId("venue-about", HTMLElement),
  summary: byId("summary", HTMLElement),
  pages: byId("pages", HTMLElement),
};

/** @type {State} */
let state = parseState(location.search);
/** @type {Venue[]} */
let venues = [];
/** @type {KnownUser[]} */
let known = [];
/** @type {string | null} Venue that the open pages show. */
let shown = null;
/** @type {Map<string, ShopperPage>} Open pages by shopper. */
const pages = new Map();

// -- start ----------------------------------------------------------------------------------------

parts.choose.addEventListener("submit", (event) => {
  event.preventDefault();
  const id = parts.shopper.value.trim();
  parts.shopper.value = "";
  if (id) add({ kind: "user", id });
});
parts.visitor.addEventListener("click", () => add(coldVisitor(state)));
parts.venue.addEventListener("change", () => go({ ...state, venue: parts.venue.value }));
window.addEventListener("popstate", () => {
  state = withDefaults(parseState(location.search));
  render();
});
void start();

async function start() {
  parts.trouble.hidden = true;
  try {
    const [service, ...lists] = await Promise.all([
      tracker.sync(),
      client.venues(),
      client.users(KNOWN),
    ]);
    [venues, known] = lists;
    const release = service.release ?? "no release yet";
    parts.service.textContent = `${service.dataset} · ${release} · ${showMoment(service.now)}`;
  } catch (error) {
    parts.trouble.hidden = false;
    parts.trouble.replaceChildren(trouble(error, () => void start()));
    return;
  }
  const options = known.map(({ id, events }) => element("option", { value: id }, told(events)));
  parts.known.replaceChildren(...options);
  state = withDefaults(state);
  history.replaceState(null, "", formatState(state));
  render();
}

/**
 * Complete a state that names no venue (the first that is open) or no shopper.
 *
 * @param {State} given
 * @returns {State}
 */
function withDefaults({ venue, shoppers }) {
  const open = venues.find((one) => one.starts_at && isOpen(one)) ?? venues[0];
  const first = known.slice(0, AT_FIRST).map(({ id }) => /** @type {Shopper} */ ({ kind: "user", id }));
  return { venue: venue ?? open?.id ?? null, shoppers: shoppers.length ? shoppers : first };
}

// -- changes --------------------------------------------------------------------------------------

/** @param {State} next */
function go(next) {
  state = next;
  history.pushState(null, "", formatState(state));
  render();
}

/** @param {Shopper} shopper */
function add(shopper) {
  const next = withShopper(state, shopper);
  if (next !== state) go(next);
  else if (holds(state, shopper)) say("That shopper is already here.");
  else say(`Only ${MAX_SHOPPERS} pages fit side by side: remove one first.`);
  pages.get(shopperKey(shopper))?.element.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** @param {Shopper} shopper */
function remove(shopper) {
  go(withoutShopper(state, shopper));
  parts.shopper.focus();
}

// -- document -------------------------------------------------------------------------------------

function render() {
  renderVenues();
  renderSuggested();
  renderPages();
}

function renderVenues() {
  const groups = [
    { label: "Open now", of: venues.filter(isOpen) },
    { label: "Upcoming", of: venues.filter(({ phase }) => phase === "upcoming") },
    { label: "Ended", of: venues.filter(({ phase }) => phase === "ended") },
  ];
  const named = venues.find(({ id }) => id === state.venue);
  parts.venue.replaceChildren(
    ...(named ? [] : [element("option", { value: state.venue ?? "" }, state.venue ?? "no venue")]),
    ...groups
      .filter(({ of }) => of.length)
      .map(({ label, of }) =>
        element("optgroup", { label }, ...of.map(({ id, name }) => element("option", { value: id }, name || id))),
      ),
  );
  parts.venue.value = state.venue ?? "";
  parts.venue.disabled = !venues.length;
  if (named) renderVenue(named);
  else {
    parts.venueName.textContent = state.venue ?? "No venue";
    parts.venueAbout.replaceChildren();
  }
}

/** @param {Venue} venue */
function renderVenue(venue) {
  const name = venue.name || venue.id;
  document.title = `${name} · qianmian 千面`;
  parts.venueName.textContent = name;
  parts.venueAbout.replaceChildren(
    element("span", { class: "phase", "data-phase": venue.phase }, phaseName(venue.phase)),
    period(venue),
  );
}

function renderSuggested() {
  const free = known.filter(({ id }) => !holds(state, { kind: "user", id })).slice(0, SUGGESTED);
  parts.suggested.replaceChildren(
    ...free.map(({ id, events }) =>
      button(id, () => add({ kind: "user", id }), { title: told(events), "aria-label": `shopper ${id}` }),
    ),
  );
}

function renderPages() {
  const kept = new Set(state.shoppers.map(shopperKey));
  for (const [key, page] of pages) {
    if (kept.has(key)) continue;
    page.close();
    page.element.remove();
    pages.delete(key);
  }
  const moved = state.venue !== shown;
  shown = state.venue;
  for (const [column, shopper] of state.shoppers.entries()) {
    const before = pages.get(shopperKey(shopper));
    const page = before ?? open(shopper);
    pages.set(shopperKey(shopper), page);
    const there = parts.pages.children[column];
    if (there !== page.element) parts.pages.insertBefore(page.element, there ?? null);
    if (shown !== null && (moved || !before)) void page.load(shown);
  }
  summarize();
}

/** @param {Shopper} shopper @returns {ShopperPage} */
function open(shopper) {
  return new ShopperPage({
    client,
    tracker,
    shopper,
    about: about(shopper),
    onRemove: () => remove(shopper),
    onAnswer: answered,
  });
}

/** @param {RecommendResponse} answer */
function answered({ venue }) {
  if (venue.id === state.venue) renderVenue(venue);
  summarize();
}

function summarize() {
  const columns = state.shoppers.flatMap((shopper) => pages.get(shopperKey(shopper)) ?? []);
  say(columns.length ? compare(columns) : "Add a shopper to see their page.");
}

// -- small words ----------------------------------------------------------------------------------

/** @param {string} words  Shown, and read aloud when they change. */
function say(words) {
  if (parts.summary.textContent !== words) parts.summary.textContent = words;
}

/** @param {number} events */
function told(events) {
  return `${showCount(events)} events on record`;
}

/** @param {Shopper} shopper */
function about({ kind, id }) {
  if (kind === "visitor") return "never seen before";
  const user = known.find((one) => one.id === id);
  return user ? told(user.events) : "not among the suggested shoppers";
}

/** @param {Venue} venue */
function isOpen({ phase }) {
  return phase !== "upcoming" && phase !== "ended";
}
