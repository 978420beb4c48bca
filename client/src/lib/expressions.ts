/**
 * The list of expressions as far as it was loaded: keyset pages below each other, kept up to date by a live
 * window that follows what is on the screen.
 *
 * Ids are time-ordered, so the list's order (newest first) is the ids' own, descending. Three edges matter:
 *
 *   - the top: while one looks at the newest, new rows come in; while one reads further down (`hold`), they
 *     wait and are only counted, so that nothing moves under the eyes;
 *   - the end: `next` is the cursor of the page below the last row;
 *   - the live window's end: a row that leaves the window because others came in above stays in the list,
 *     one that leaves from its midst does not fit the filter any more and goes.
 *
 * Plain data without a clock or a socket: `expressions.svelte.ts` brings both.
 */
import type { components } from './protocol';

export type Expression = components['schemas']['Expression'];
export type Status = Expression['status'];

export const STATUSES: readonly Status[] = ['queued', 'running', 'done', 'failed', 'cancelled'];

/** Rows fetched at once when one scrolls on. */
export const PAGE = 200;
/** Rows that are kept up to date: a page, and what more of the next one may be on the screen. */
export const LIVE_WINDOW = 300;
/** Who watches for long at the top keeps so many rows, not all that ever came. */
const KEPT_AT_TOP = 3_000;

export interface Page {
  items: Expression[];
  next: string | null;
}

/** The rows after the cursor; from the newest where it is null. */
export interface LiveWindow {
  cursor: string | null;
  /** The row that the cursor stands for. */
  after: string | null;
}

const NEWEST: LiveWindow = { cursor: null, after: null };

export class Listing {
  readonly #rows = new Map<string, Expression>();
  /** Ids, newest first. */
  #order: string[] = [];
  /** Known cursors by the row they follow, newest first: where a page or a live window may begin. */
  #anchors: { id: string; cursor: string }[] = [];
  /** The cursor of what is below the last row; null where nothing is, undefined where it is not known. */
  #next: string | null | undefined = undefined;
  /** While held, rows above this one wait. */
  #ceiling: string | null = null;
  readonly #waiting = new Set<string>();
  #isMoreWaiting = false;
  /** The live window: where it begins, and which rows are in it. */
  #window: LiveWindow = NEWEST;
  #inWindow = new Set<string>();

  get size(): number {
    return this.#order.length;
  }

  get isHeld(): boolean {
    return this.#ceiling !== null;
  }

  /** The cursor of the page below; null at the list's end, undefined before anything is known. */
  get next(): string | null | undefined {
    return this.#next;
  }

  /** How many new rows wait above; there may be `isMoreWaiting`. */
  get waiting(): number {
    return this.#waiting.size;
  }

  get isMoreWaiting(): boolean {
    return this.#isMoreWaiting;
  }

  at(index: number): Expression | undefined {
    const id = this.#order[index];
    return id === undefined ? undefined : this.#rows.get(id);
  }

  slice(from: number, to: number): Expression[] {
    return this.#order.slice(from, to).flatMap((id) => this.#rows.get(id) ?? []);
  }

  /** Where a row is, or would be. */
  indexOf(id: string): number {
    return firstIndex(this.#order.length, (index) => (this.#order[index] ?? '') <= id);
  }

  has(id: string): boolean {
    return this.#rows.has(id);
  }

  // --- pages ---------------------------------------------------------------------------------------------

  /** The page below the last row. One that was asked for at another end is not taken. */
  append(cursor: string, page: Page): void {
    if (cursor !== this.#next) return;
    // What is known already came live, after this page was read.
    for (const row of page.items) if (!this.#rows.has(row.id)) this.#put(row);
    this.#remember(page);
    this.#next = page.next;
  }

  // --- live ----------------------------------------------------------------------------------------------

  /** Where a live window should begin so that rows `from` to `to` are in it; the one there is, if it will do. */
  windowFor(from: number, to: number): LiveWindow {
    if (!this.isHeld) return NEWEST;
    const first = this.#order[from];
    if (first === undefined) return this.#window;
    const covers = (window: LiveWindow) => {
      if (window.after === null || window.after <= first) return false;
      return to - this.indexOf(window.after) < LIVE_WINDOW;
    };
    if (covers(this.#window)) return this.#window;
    const best = this.#anchors[firstIndex(this.#anchors.length, (index) => !this.#isAbove(index, first)) - 1];
    return best === undefined ? NEWEST : { cursor: best.cursor, after: best.id };
  }

  /** A live window's snapshot, or the same page by GET: what is in it is all there is there. */
  snapshot(window: LiveWindow, page: Page): void {
    const ids = new Set(page.items.map((row) => row.id));
    const last = page.next === null ? '' : (page.items.at(-1)?.id ?? '');
    const isNewest = window.after === null;
    const from = window.after === null ? 0 : this.#after(window.after);
    this.#window = window;
    this.#inWindow = ids;
    const isGap = this.#after(last) < this.#order.length && !page.items.some((row) => this.#rows.has(row.id));
    if (isGap && isNewest && this.isHeld) {
      for (const row of page.items) this.#waiting.add(row.id);
      this.#isMoreWaiting = true;
      return;
    }
    // Between these and ours below there are rows that nobody showed us.
    if (isGap) this.#cut(from);
    const gone = this.#order.slice(from, this.#after(last)).filter((id) => !ids.has(id));
    for (const id of gone) this.#rows.delete(id);
    if (gone.length > 0) this.#order = this.#order.filter((id) => this.#rows.has(id));
    const end = this.#order.at(-1) ?? '';
    for (const row of page.items) this.#take(row);
    this.#remember(page);
    // It reaches further than the pages do, or it is the first that is known at all.
    if (this.#next === undefined || last === '' || last < end) this.#next = page.next;
    if (isNewest && !this.isHeld) this.#trim(page.next);
  }

  /** What changed in the live window; false where so much did that rows may have been missed: a snapshot is
   * needed. */
  delta(items: Expression[], removed: string[]): boolean {
    for (const id of removed) this.#inWindow.delete(id);
    if (this.#inWindow.size === 0 && items.length >= LIVE_WINDOW) return false;
    for (const row of items) this.#inWindow.add(row.id);
    const isFull = this.#inWindow.size >= LIVE_WINDOW;
    let end = '';
    if (isFull && removed.length > 0) {
      end = '~';
      for (const id of this.#inWindow) if (id < end) end = id;
    }
    const gone = removed.filter((id) => id > end);
    for (const id of gone) {
      this.#rows.delete(id);
      this.#waiting.delete(id);
    }
    if (gone.length > 0) this.#order = this.#order.filter((id) => this.#rows.has(id));
    for (const row of items) this.#take(row);
    return true;
  }

  /** A row that is known better now: the answer to an action on it. */
  update(row: Expression): void {
    if (this.#rows.has(row.id)) this.#rows.set(row.id, row);
  }

  // --- the top -------------------------------------------------------------------------------------------

  /** From now on new rows wait. `newest`: the page with the newest row alone, so that there is a cursor above
   * everything that is shown. */
  hold(newest: Page): void {
    const row = newest.items[0];
    if (row === undefined) return;
    const isGap = this.#order.length > 0 && !this.#rows.has(row.id) && row.id < (this.#order[0] ?? '');
    if (isGap) return;
    this.#ceiling = row.id;
    this.#put(row);
    this.#remember(newest);
  }

  /** New rows are shown again. */
  release(): void {
    this.#ceiling = null;
    this.#waiting.clear();
    this.#isMoreWaiting = false;
  }

  /** Counts what waits above, by the newest page. */
  count(page: Page): void {
    const { items } = page;
    if (this.#ceiling === null) return;
    const ceiling = this.#ceiling;
    this.#waiting.clear();
    for (const row of items) if (row.id > ceiling) this.#waiting.add(row.id);
    this.#isMoreWaiting = page.next !== null && this.#waiting.size === items.length;
  }

  /** Whether keeping all rows has become too much, so that the newest are to be asked for again. */
  get isOvergrown(): boolean {
    return !this.isHeld && this.#window.after === null && this.#order.length > KEPT_AT_TOP;
  }

  #trim(next: string | null): void {
    if (this.#order.length <= KEPT_AT_TOP) return;
    for (const id of this.#order) if (!this.#inWindow.has(id)) this.#rows.delete(id);
    this.#order = this.#order.filter((id) => this.#inWindow.has(id));
    this.#anchors = [];
    this.#next = next;
    const last = this.#order.at(-1);
    if (next !== null && last !== undefined) this.#anchors = [{ id: last, cursor: next }];
  }

  /** Lets go of all rows from `index` on. */
  #cut(index: number): void {
    const above = this.#order[index - 1];
    for (const id of this.#order.splice(index)) this.#rows.delete(id);
    this.#anchors = above === undefined ? [] : this.#anchors.filter((anchor) => anchor.id >= above);
    this.#next = undefined;
  }

  // --- rows ----------------------------------------------------------------------------------------------

  /** A row of the live window: shown, or waiting above. */
  #take(row: Expression): void {
    if (this.#ceiling !== null && row.id > this.#ceiling && !this.#rows.has(row.id)) {
      this.#waiting.add(row.id);
    } else {
      this.#put(row);
    }
  }

  #put(row: Expression): void {
    if (!this.#rows.has(row.id)) {
      const last = this.#order.at(-1);
      if (last === undefined || row.id < last) this.#order.push(row.id);
      else this.#order.splice(this.indexOf(row.id), 0, row.id);
    }
    this.#rows.set(row.id, row);
  }

  /** The index of the first row below `id`. */
  #after(id: string): number {
    return firstIndex(this.#order.length, (index) => (this.#order[index] ?? '') < id);
  }

  #isAbove(anchor: number, id: string): boolean {
    return (this.#anchors[anchor]?.id ?? '') > id;
  }

  #remember(page: Page): void {
    const id = page.items.at(-1)?.id;
    if (page.next === null || id === undefined) return;
    const index = firstIndex(this.#anchors.length, (other) => !this.#isAbove(other, id));
    if (this.#anchors[index]?.id === id) return;
    this.#anchors.splice(index, 0, { id, cursor: page.next });
  }
}

/** The first index of which `is` holds, which it does from there on; `length` where there is none. */
function firstIndex(length: number, is: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (is(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
