/**
 * What happened on the page, told to the service in batches.
 *
 *     const tracker = new EventTracker(client);
 *     tracker.watch(entry, { user, venue_id: "18", answer, block_id, ranked });
 *
 * An item counts as shown once half of it was in view for a second; a click is a click on it. Each
 * event carries the attribution token of the answer that showed the item. Events wait a moment and
 * go together; those that no answer confirmed are sent again under the same ids, which has the
 * effect of once. When the page is left, what waits goes by `sendBeacon`.
 *
 * @module
 */

/** @import { EventType, RankedItem, RecommendResponse, ShopEvent, User, VenueClient } from "./api.js" */

/**
 * @typedef {object} Showing  An item in its place on somebody's page.
 * @property {User} user
 * @property {string} page_view_id
 * @property {RecommendResponse} answer
 * @property {string} block_id
 * @property {RankedItem} ranked
 */

const WAIT = 2_000; // milliseconds that events wait for more of them
const BATCH = 100; // events of one request
const BEACON = 50; // of one beacon: browsers take 64 KiB
const MOST = 5_000; // that wait while the service cannot be reached; then the oldest go
const IN_VIEW = { share: 0.5, milliseconds: 1_000 };
const SYNC = 60_000; // milliseconds after which the service is asked anew what time it is

/** Collects events and sends them. */
export class EventTracker {
  /** @type {ShopEvent[]} */
  #waiting = [];
  #sending = false;
  #timer = 0;
  #client;
  #ahead = 0; // milliseconds that the service's clock is ahead of this machine's
  #synced = -Infinity;
  /** @type {WeakMap<Element, { showing: Showing, timer: number }>} */
  #watched = new WeakMap();
  #observer = new IntersectionObserver((seen) => seen.forEach((one) => this.#seen(one)), {
    threshold: IN_VIEW.share,
  });

  /** @param {VenueClient} client */
  constructor(client) {
    this.#client = client;
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") this.leave();
    });
    window.addEventListener("pagehide", () => this.leave());
  }

  /**
   * Tell when an item is shown and when it is clicked.
   *
   * @param {Element} entry
   * @param {Showing} showing
   */
  watch(entry, showing) {
    this.#watched.set(entry, { showing, timer: 0 });
    this.#observer.observe(entry);
    entry.addEventListener("click", () => this.add("click", showing));
  }

  /**
   * Tell that something happened to an item.
   *
   * @param {EventType} event_type
   * @param {Showing} showing
   */
  add(event_type, { user, page_view_id, answer, block_id, ranked }) {
    this.#waiting.push({
      event_id: newId(),
      event_type,
      timestamp: new Date(Date.now() + this.#ahead).toISOString(),
      ...whose(user),
      item_id: ranked.item_id,
      page_view_id,
      venue_id: answer.venue.id,
      block_id,
      position: ranked.position,
      attribution_token: answer.attribution_token,
    });
    if (this.#waiting.length > MOST) this.#waiting.splice(0, this.#waiting.length - MOST);
    this.#timer ||= setTimeout(() => void this.flush(), WAIT);
  }

  /** Send what waits; returns when it was confirmed or has to wait on. */
  async flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#sending) return;
    this.#sending = true;
    try {
      if (performance.now() - this.#synced > SYNC) await this.sync();
      while (this.#waiting.length) {
        const batch = this.#waiting.slice(0, BATCH);
        await this.#client.sendEvents(batch);
        const sent = new Set(batch);
        this.#waiting = this.#waiting.filter((event) => !sent.has(event));
      }
    } catch {
      this.#timer = setTimeout(() => void this.flush(), WAIT); // the same ids, so once
    } finally {
      this.#sending = false;
    }
  }

  /** Send what waits in a way that outlives the page. */
  leave() {
    while (this.#waiting.length) {
      if (!this.#client.beaconEvents(this.#waiting.slice(0, BEACON))) return;
      this.#waiting.splice(0, BEACON);
    }
  }

  /** Learn what time the service believes it is: it may be another year there. */
  async sync() {
    const readiness = await this.#client.readiness();
    this.#synced = performance.now();
    this.#ahead = Date.parse(readiness.now) - Date.now();
    return readiness;
  }

  /** @param {IntersectionObserverEntry} entry */
  #seen({ target, isIntersecting }) {
    const watched = this.#watched.get(target);
    if (!watched) return;
    clearTimeout(watched.timer);
    if (!isIntersecting) return;
    watched.timer = setTimeout(() => {
      this.#observer.unobserve(target);
      this.#watched.delete(target);
      this.add("impression", watched.showing);
    }, IN_VIEW.milliseconds);
  }
}

/** @param {User} user @returns {{ user_id?: string, visitor_id?: string }} */
function whose(user) {
  if ("id" in user) return { user_id: user.id };
  return "visitor_id" in user ? { visitor_id: user.visitor_id } : {};
}

/** Return an id that no other event has; `crypto.randomUUID` is missing on plain HTTP. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
