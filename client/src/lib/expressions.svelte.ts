/**
 * The list of expressions of one filter, on the screen: loads pages as one scrolls, lets the live window follow
 * what is in view, holds new rows back while one reads further down.
 */
import { api, ask } from './api';
import {
  type Expression,
  LIVE_WINDOW,
  Listing,
  type LiveWindow,
  PAGE,
  type Page,
  STATUSES,
  type Status,
} from './expressions';
import { live, subscribe, type Window } from './live.svelte';
import { Version } from './rows.svelte';

export interface Filter {
  status: Status[];
  q: string;
}

/** Rows below the screen that are fetched before one comes there. */
const AHEAD = 2 * PAGE;
/** How long the view rests before the live window follows it. */
const SETTLE_MS = 150;
/** How often what waits above is counted while the live window is elsewhere. */
const COUNT_MS = 3_000;
const COUNT_LIMIT = 100;
/** After a page did not come. */
const AGAIN_MS = 2_000;
const Q_MAX = 200;

/** The filter in the page's address: `?status=running&status=queued&q=2%2B2`. */
export function filterOf(search: string): Filter {
  const query = new URLSearchParams(search);
  const wanted = query.getAll('status');
  return {
    status: STATUSES.filter((status) => wanted.includes(status)),
    q: (query.get('q') ?? '').slice(0, Q_MAX),
  };
}

export function searchOf(filter: Filter): string {
  const query = new URLSearchParams(filter.status.map((status) => ['status', status]));
  if (filter.q !== '') query.set('q', filter.q);
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

export class ExpressionFeed {
  readonly filter: Filter;
  readonly #list = new Listing();
  readonly #version = new Version();
  #isKnown = $state(false);
  #error = $state.raw<unknown>(null);
  #from = 0;
  #to = 0;
  #isAtTop = true;
  #isLoading = false;
  #isOpen = false;
  /** The live window that is subscribed to, and how to leave it. */
  #window: LiveWindow | null = null;
  #leave: () => void = () => {};
  /** Counts what came live, so that a slower answer by GET does not overwrite it. */
  #heard = 0;
  #settling: ReturnType<typeof setTimeout> | undefined;
  #counting: ReturnType<typeof setInterval> | undefined;

  constructor(filter: Filter) {
    this.filter = filter;
  }

  /** Whether there is an answer yet, be it an empty one. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** Why nothing could be loaded at all. */
  get error(): unknown {
    return this.#error;
  }

  get version(): number {
    return this.#version.now;
  }

  get size(): number {
    void this.#version.now;
    return this.#list.size;
  }

  /** Whether the last row is the list's last. */
  get isWhole(): boolean {
    void this.#version.now;
    return this.#list.next === null && !this.#list.isHeld;
  }

  /** New rows that wait above, as far as they are counted. */
  get waiting(): { count: number; isMore: boolean } {
    void this.#version.now;
    return { count: this.#list.waiting, isMore: this.#list.isMoreWaiting };
  }

  readonly slice = (from: number, to: number): Expression[] => this.#list.slice(from, to);
  readonly indexOf = (id: string): number => this.#list.indexOf(id);

  /** Loads and stays current until the answer is called. */
  open(): () => void {
    this.#isOpen = true;
    this.load();
    this.#follow();
    this.#counting = setInterval(() => void this.#count(), COUNT_MS);
    return () => {
      this.#isOpen = false;
      this.#leave();
      this.#leave = () => {};
      this.#window = null;
      clearTimeout(this.#settling);
      clearInterval(this.#counting);
    };
  }

  /** The first page; again after an error. */
  load(): void {
    this.#error = null;
    void this.#first();
  }

  /** What is on the screen now: rows `from` to `to`. */
  view(from: number, to: number, isAtTop: boolean): void {
    this.#from = from;
    this.#to = to;
    if (isAtTop !== this.#isAtTop) {
      this.#isAtTop = isAtTop;
      if (isAtTop) this.#release();
      else void this.#hold();
    }
    void this.#more();
    this.#settle();
  }

  /** A row as an action's answer has it. */
  update(row: Expression): void {
    this.#list.update(row);
    this.#version.changed();
  }

  #settle(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#follow(), SETTLE_MS);
  }

  #follow(): void {
    if (!this.#isOpen) return;
    const window = this.#list.windowFor(this.#from, this.#to);
    if (this.#window !== null && window.cursor === this.#window.cursor) return;
    this.#subscribe(window);
  }

  #subscribe(window: LiveWindow): void {
    this.#leave();
    this.#window = window;
    const question: Window = { limit: LIVE_WINDOW };
    if (this.filter.status.length > 0) question.status = this.filter.status;
    if (this.filter.q !== '') question.q = this.filter.q;
    if (window.cursor !== null) question.cursor = window.cursor;
    this.#leave = subscribe<Expression>('expressions', question, {
      snapshot: (items, message) => this.#snapshot(window, { items, next: message.next }),
      delta: (items, removed) => {
        this.#heard += 1;
        const isWhole = this.#list.delta(items, removed);
        // All that ever came is too much, too; a fresh snapshot lets go of it.
        if (!isWhole || this.#list.isOvergrown) this.#subscribe(window);
        this.#version.changed();
      },
      poll: async () => {
        const heard = this.#heard;
        const page = await this.#fetch(LIVE_WINDOW, window.cursor);
        if (heard === this.#heard && this.#window === window) this.#snapshot(window, page);
      },
    });
  }

  #snapshot(window: LiveWindow, page: Page): void {
    this.#heard += 1;
    this.#list.snapshot(window, page);
    this.#known();
    // Its end may be where a window that fits the view better can begin.
    this.#settle();
    void this.#more();
  }

  #known(): void {
    if (this.#isKnown) {
      this.#version.changed();
      return;
    }
    this.#isKnown = true;
    this.#error = null;
    this.#version.changedNow();
  }

  async #first(): Promise<void> {
    try {
      const page = await this.#fetch(PAGE, null);
      if (!this.#isOpen || this.#heard > 0) return;
      this.#list.snapshot({ cursor: null, after: null }, page);
      this.#known();
    } catch (error) {
      if (!this.#isKnown) this.#error = error;
    }
  }

  async #more(): Promise<void> {
    const cursor = this.#list.next;
    if (this.#isLoading || !cursor || this.#to + AHEAD < this.#list.size) return;
    this.#isLoading = true;
    try {
      const page = await this.#fetch(PAGE, cursor);
      this.#isLoading = false;
      if (!this.#isOpen) return;
      this.#list.append(cursor, page);
      this.#version.changed();
      void this.#more();
    } catch {
      // The connection's state says so; what is there stays.
      setTimeout(() => {
        this.#isLoading = false;
        if (this.#isOpen) void this.#more();
      }, AGAIN_MS);
    }
  }

  async #hold(): Promise<void> {
    try {
      const newest = await this.#fetch(1, null);
      if (this.#isAtTop || !this.#isOpen) return;
      this.#list.hold(newest);
      this.#version.changed();
      this.#settle();
    } catch {
      // Then new rows go on coming in above the view.
    }
  }

  #release(): void {
    this.#list.release();
    this.#version.changed();
    this.#follow();
  }

  async #count(): Promise<void> {
    const isElsewhere = this.#list.isHeld && this.#window !== null && this.#window.cursor !== null;
    const isReached = live.state === 'live' || live.state === 'polling';
    if (!isElsewhere || !isReached || document.visibilityState === 'hidden') return;
    try {
      this.#list.count(await this.#fetch(COUNT_LIMIT, null));
      this.#version.changed();
    } catch {
      // Counted again soon.
    }
  }

  #fetch(limit: number, cursor: string | null): Promise<Page> {
    const { status, q } = this.filter;
    const query = {
      limit,
      ...(status.length > 0 ? { status } : {}),
      ...(q !== '' ? { q } : {}),
      ...(cursor !== null ? { cursor } : {}),
    };
    return ask(api.GET('/expressions', { params: { query } }));
  }
}
