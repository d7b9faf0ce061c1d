/**
 * Client of the qianmian HTTP interface: what a venue page needs, with no other dependency.
 *
 *     const client = new VenueClient();
 *     const answer = await client.recommend("18", { user: { id: "2375" } });
 *
 * Types follow `qianmian/contracts/api.py`; `/openapi.json` is their full description.
 *
 * @module
 */

/**
 * @typedef {{ id: string } | { visitor_id: string } | {}} User  Who asks; {} is somebody unknown.
 *
 * @typedef {object} BlockQuery
 * @property {string} [block_id]
 * @property {number} [page_size]
 * @property {string} [page_token]  `next_page_token` of the page before.
 * @property {string[]} [exclude_item_ids]
 *
 * @typedef {object} RecommendRequest
 * @property {User} [user]
 * @property {string} [session_id]
 * @property {string} [page_view_id]
 * @property {Record<string, string | number | boolean | null>} [context]
 * @property {BlockQuery[]} [blocks]
 * @property {{ explain?: boolean }} [params]
 *
 * @typedef {object} ItemDetails
 * @property {string} title
 * @property {string} category
 * @property {string} brand
 * @property {number | null} price  In the currency of the data set.
 * @property {number | null} base_price  Price before discount.
 * @property {number} discount  Share of the base price that is taken off, 0 to 1.
 * @property {string | null} [coupon_id]  A coupon of this venue that the item can be bought with.
 *
 * @typedef {object} RankedItem
 * @property {string} item_id
 * @property {number} position  Place in the block over all its pages, from 1.
 * @property {number} score
 * @property {string} source  What proposed the item.
 * @property {"organic" | "pinned" | "sponsored"} slot
 * @property {string} reason
 * @property {number} propensity
 * @property {ItemDetails} item
 * @property {string} [label]  What a sponsored item must be marked with.
 * @property {string} [campaign_id]
 * @property {{ moved_by: string[] }} [explain]  With `params.explain` only.
 *
 * @typedef {object} RankedBlock
 * @property {string} block_id
 * @property {string} title
 * @property {RankedItem[]} items
 * @property {string} [creative]  The face to show, where creatives race for it.
 * @property {string | null} next_page_token  Null when nothing is left to show.
 * @property {BlockExplanation} [explain]  With `params.explain` only.
 *
 * @typedef {object} BlockExplanation
 * @property {Record<string, number>} candidates  By source.
 * @property {Record<string, number>} removed  Items that were taken out, by reason.
 * @property {Record<string, string[]>} examples  Some of them, by reason.
 *
 * @typedef {object} Venue
 * @property {string} id
 * @property {string} name
 * @property {string} kind
 * @property {string} phase
 * @property {string | null} starts_at
 * @property {string | null} ends_at
 *
 * @typedef {object} RecommendResponse
 * @property {string} recommendation_id
 * @property {string} attribution_token  Send it back with the events of this page.
 * @property {Venue} venue
 * @property {{ layer: string, experiment: string, arm: string }[]} experiments
 * @property {string} release
 * @property {string[]} degraded  Every fallback that this answer needed.
 * @property {{ race: string, order: string[], propensity: number, state_version: number }[]} racing
 * @property {RankedBlock[]} blocks
 * @property {Record<string, number>} timing_ms
 *
 * @typedef {"impression" | "click" | "favorite" | "cart" | "order" | "share" | "coupon" | "dislike"} EventType
 *
 * @typedef {object} ShopEvent  What somebody did, or was shown.
 * @property {string} event_id  New for each event; sent again it has the effect of once.
 * @property {EventType} event_type
 * @property {string} timestamp  ISO 8601 with the UTC offset.
 * @property {string} item_id
 * @property {string} [user_id]
 * @property {string} [visitor_id]
 * @property {string} [session_id]
 * @property {string} [page_view_id]
 * @property {string} [order_id]
 * @property {string} [venue_id]
 * @property {string} [block_id]
 * @property {number} [position]
 * @property {number} [quantity]
 * @property {number} [value]
 * @property {number} [list_value]
 * @property {string} [currency]
 * @property {string} [coupon_id]
 * @property {string} [shared_by]
 * @property {string} [attribution_token]  Of the answer that showed the item, unchanged.
 *
 * @typedef {object} EventsResponse
 * @property {number} accepted
 * @property {number} duplicates
 * @property {{ index: number, event_id: string | null, error: string }[]} rejected
 *
 * @typedef {{ id: string, events: number }} KnownUser
 *
 * @typedef {object} Readiness
 * @property {boolean} ready
 * @property {string | null} release
 * @property {string} dataset
 * @property {string} now  The moment the service believes it is.
 * @property {string | null} [refused]
 * @property {string} [facts]  What changed elsewhere: `current`, `old`, `awaited` or `unfollowed`.
 *
 * @typedef {{ field: string, value: unknown, expected: string, remedy: string }} Fault
 *
 * @typedef {object} Problem  A problem document (RFC 9457).
 * @property {string} type
 * @property {string} title
 * @property {number} status
 * @property {string} detail
 * @property {Fault[]} [errors]
 *
 * @typedef {{ signal?: AbortSignal }} CallOptions
 */

const EVENTS = "v1/events";

/** The service refused: `problem` says what and how to mend it. */
export class ProblemError extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.detail || problem.title);
    this.name = "ProblemError";
    this.problem = problem;
  }
}

/** No answer came: the network failed or it took too long. */
export class UnreachableError extends Error {
  /** @param {string} message @param {unknown} cause */
  constructor(message, cause) {
    super(message, { cause });
    this.name = "UnreachableError";
  }
}

/** Asks one service. */
export class VenueClient {
  #base;
  #timeout;

  /**
   * @param {object} [options]
   * @param {string} [options.base]  Address that `v1/...` is appended to.
   * @param {number} [options.timeout]  Milliseconds after which a call is given up.
   */
  constructor({ base = document.baseURI, timeout = 10_000 } = {}) {
    this.#base = base;
    this.#timeout = timeout;
  }

  /**
   * Rank a venue's items for a shopper.
   *
   * @param {string} venueId
   * @param {RecommendRequest} request
   * @param {CallOptions} [options]
   * @returns {Promise<RecommendResponse>}
   * @throws {ProblemError | UnreachableError}
   */
  async recommend(venueId, request, options) {
    const path = `v1/venues/${encodeURIComponent(venueId)}:recommend`;
    return this.#ask(path, { ...options, body: request });
  }

  /**
   * Tell what was shown and done; up to 500 events, each judged on its own.
   *
   * @param {ShopEvent[]} events
   * @param {CallOptions} [options]
   * @returns {Promise<EventsResponse>}
   * @throws {ProblemError | UnreachableError}
   */
  async sendEvents(events, options) {
    return this.#ask(EVENTS, { ...options, body: { events } });
  }

  /**
   * Tell it while the page is being left: nothing is answered.
   *
   * @param {ShopEvent[]} events  Few: browsers take 64 KiB.
   * @returns {boolean} Whether the browser will send them.
   */
  beaconEvents(events) {
    const body = new Blob([JSON.stringify({ events })], { type: "application/json" });
    return navigator.sendBeacon(new URL(EVENTS, this.#base), body);
  }

  /**
   * Every venue with its phase at this moment.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Venue[]>}
   * @throws {ProblemError | UnreachableError}
   */
  async venues(options) {
    return (await this.#ask("v1/venues", options)).venues;
  }

  /**
   * Some shoppers with a history, those with the most events first.
   *
   * @param {number} limit
   * @param {CallOptions} [options]
   * @returns {Promise<KnownUser[]>}
   * @throws {ProblemError | UnreachableError}
   */
  async users(limit, options) {
    return (await this.#ask(`v1/users?limit=${limit}`, options)).users;
  }

  /**
   * Which release answers, and at what moment; also told while none is loaded.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Readiness>}
   * @throws {ProblemError | UnreachableError}
   */
  async readiness(options) {
    return this.#ask("readyz", { ...options, alsoGood: 503 });
  }

  /**
   * @param {string} path
   * @param {CallOptions & { body?: object, alsoGood?: number }} [options]
   * @returns {Promise<any>}
   */
  async #ask(path, { signal, body, alsoGood } = {}) {
    const patience = AbortSignal.timeout(this.#timeout);
    const init = {
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
      ...(body && {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      }),
    };
    let response, text;
    try {
      response = await fetch(new URL(path, this.#base), init);
      text = await response.text();
    } catch (error) {
      if (signal?.aborted) throw error;
      const why = patience.aborted
        ? `no answer within ${this.#timeout / 1000} s`
        : "the service could not be reached";
      throw new UnreachableError(`${why}; is it running?`, error);
    }
    const answer = parse(text);
    if (answer && (response.ok || response.status === alsoGood)) return answer;
    throw new ProblemError(isProblem(answer) ? answer : plainProblem(response));
  }
}

/** @param {string} text @returns {unknown} */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a proxy's own page, for example
  }
}

/** @param {unknown} answer @returns {answer is Problem} */
function isProblem(answer) {
  return typeof answer === "object" && answer !== null && "title" in answer && "status" in answer;
}

/** @param {Response} response @returns {Problem} */
function plainProblem({ status, statusText }) {
  const detail = "The answer was not what this page understands.";
  return { type: "about:blank", title: `HTTP ${status} ${statusText}`.trim(), status, detail };
}
