/**
 * One shopper's page of a venue: a column with heading, ranked items and what made them.
 *
 * @module
 */

/** @import { BlockExplanation, RecommendResponse, User, VenueClient } from "./api.js" */
/** @import { EventTracker } from "./events.js" */
/** @import { Shopper } from "./state.js" */

import { button, element } from "./dom.js";
import { newId } from "./events.js";
import { itemEntry, sourceMark } from "./item.js";
import { trouble } from "./trouble.js";
import { asWords, phaseName, shopperName, showTime } from "./words.js";

/**
 * @typedef {object} PageOptions
 * @property {VenueClient} client
 * @property {EventTracker} tracker
 * @property {Shopper} shopper
 * @property {string} about  What is known of the shopper.
 * @property {() => void} onRemove
 * @property {(answer: RecommendResponse) => void} onAnswer
 */

/** The column of one shopper. */
export class ShopperPage {
  /** @type {Map<string, HTMLLIElement>} Entries by item id, in order. */
  entries = new Map();

  #client;
  #tracker;
  #onAnswer;
  #view = newId();
  #venue = "";
  /** @type {Map<string, number>} */
  #sources = new Map();
  #call = new AbortController();
  #made = element("p", { class: "made" });
  #facts = element("p", { class: "facts" });
  #list = element("ol", { role: "list" });
  #end = element("div", { class: "end" });
  #story = element("div");

  /** @param {PageOptions} options */
  constructor({ client, tracker, shopper, about, onRemove, onAnswer }) {
    this.#client = client;
    this.#tracker = tracker;
    this.shopper = shopper;
    this.#onAnswer = onAnswer;
    this.element = element(
      "article",
      { class: "page", "aria-label": this.name },
      element(
        "header",
        {},
        element("h3", {}, this.name),
        button("×", onRemove, { class: "remove", "aria-label": `Remove ${this.name}` }),
        element("p", { class: "about" }, about),
        this.#facts,
        this.#made,
      ),
      this.#list,
      this.#end,
      this.#story,
    );
  }

  /** @returns {string} */
  get name() {
    return shopperName(this.shopper);
  }

  /**
   * Show the first page of a venue.
   *
   * @param {string} venue
   */
  async load(venue) {
    this.#venue = venue;
    this.#view = newId();
    this.entries.clear();
    this.#sources.clear();
    for (const part of [this.#made, this.#facts, this.#story]) part.replaceChildren();
    this.#list.replaceChildren(...waiting());
    await this.#fetch({}, () => this.load(venue));
  }

  /** Stop what is under way. */
  close() {
    this.#call.abort();
  }

  /** @param {{ block_id: string, page_token: string }} block */
  async #more(block) {
    const before = this.entries.size;
    await this.#fetch({ blocks: [block] }, () => this.#more(block));
    const first = [...this.entries.values()][before];
    first?.querySelector("h4")?.focus({ preventScroll: true });
  }

  /**
   * @param {{ blocks?: { block_id: string, page_token: string }[] }} request
   * @param {() => void} again
   */
  async #fetch(request, again) {
    this.#call.abort();
    this.#call = new AbortController();
    const { signal } = this.#call;
    this.#end.replaceChildren();
    this.element.setAttribute("aria-busy", "true");
    try {
      const params = { explain: true };
      const question = { user: this.#user(), page_view_id: this.#view, params, ...request };
      const answer = await this.#client.recommend(this.#venue, question, { signal });
      this.#show(answer);
    } catch (error) {
      if (signal.aborted) return; // another call took its place
      if (!this.entries.size) this.#list.replaceChildren();
      this.#end.replaceChildren(trouble(error, again));
    }
    this.element.removeAttribute("aria-busy");
  }

  /** @returns {User} */
  #user() {
    const { kind, id } = this.shopper;
    return kind === "visitor" ? { visitor_id: id } : { id };
  }

  /** @param {RecommendResponse} answer */
  #show(answer) {
    const [block] = answer.blocks;
    if (!this.entries.size) this.#list.replaceChildren();
    for (const ranked of block.items) {
      const entry = itemEntry(ranked);
      this.entries.set(ranked.item_id, entry);
      this.#sources.set(ranked.source, (this.#sources.get(ranked.source) ?? 0) + 1);
      this.#list.append(entry);
      this.#tracker.watch(entry, {
        user: this.#user(),
        page_view_id: this.#view,
        answer,
        block_id: block.block_id,
        ranked,
      });
    }
    this.#made.replaceChildren(...[...this.#sources].map(([name, n]) => sourceMark(name, n)));
    this.#facts.replaceChildren(...facts(answer));
    this.#end.replaceChildren(this.#ending(block.block_id, block.next_page_token));
    this.#story.replaceChildren(story(answer));
    this.#onAnswer(answer);
  }

  /** @param {string} block_id @param {string | null} page_token */
  #ending(block_id, page_token) {
    if (page_token === null) {
      const words = this.entries.size ? "That is all there is to show." : "Nothing to show here.";
      return element("p", { class: "all" }, words);
    }
    const label = `Load more for ${this.name}`;
    const action = () => void this.#more({ block_id, page_token });
    return button("Load more", action, { "aria-label": label });
  }
}

/** @param {RecommendResponse} answer */
function facts({ experiments, degraded, timing_ms }) {
  return [
    ...experiments.map(({ experiment, arm }) =>
      element("span", { class: "arm", title: "experiment: arm" }, `${experiment}: ${arm}`),
    ),
    element("span", { class: "time" }, showTime(timing_ms.total)),
    ...degraded.map((why) => element("span", { class: "degraded" }, `fallback: ${asWords(why)}`)),
  ];
}

/**
 * Return what made an answer, folded away.
 *
 * @param {RecommendResponse} answer
 */
function story({ venue, release, experiments, degraded, blocks, recommendation_id, timing_ms }) {
  const arms = experiments.map(({ layer, experiment, arm }) => `${layer} / ${experiment}: ${arm}`);
  const stages = Object.entries(timing_ms).map(([stage, ms]) => `${asWords(stage)} ${showTime(ms)}`);
  const rows = [
    ["release", release],
    ["phase", phaseName(venue.phase)],
    ["arms", arms.join(", ") || "none"],
    ["fallbacks", degraded.map(asWords).join(", ") || "none"],
    ["taken out", takenOut(blocks[0].explain) || "nothing"],
    ["time", stages.join(", ")],
    ["answer", recommendation_id],
  ];
  const lines = rows.flatMap(([term, text]) => [
    element("dt", {}, term),
    element("dd", {}, text),
  ]);
  return element(
    "details",
    {},
    element("summary", {}, "How this page came about"),
    element("dl", {}, ...lines),
  );
}

/**
 * Return what was taken out of a block: how many items for each reason, and some of them.
 *
 * @param {BlockExplanation | undefined} explain
 */
function takenOut(explain) {
  return Object.entries(explain?.removed ?? {})
    .map(([reason, count]) => {
      const some = explain?.examples[reason]?.join(", ");
      return `${asWords(reason)} ${count}${some ? ` (such as ${some})` : ""}`;
    })
    .join("; ");
}

function waiting() {
  return Array.from({ length: 6 }, () =>
    element("li", { class: "item waiting", "aria-hidden": "true" }),
  );
}
