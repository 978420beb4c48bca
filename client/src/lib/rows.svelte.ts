/**
 * Rows that change often: a plain Map, and a version that the page reads.
 *
 * Changes go into the Map at once and are told to Svelte once per animation frame: a thousand of them in a
 * frame cost one rendering. Deep `$state` would cost a proxy for every row.
 */

/** Counts renderings: `changed` as often as one likes, and whoever read `now` runs once in the next frame. */
export class Version {
  #count = $state(0);
  #frame = 0;

  get now(): number {
    return this.#count;
  }

  changed(): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#count += 1;
    });
  }

  /** For what was waited for: not put off to the next frame. */
  changedNow(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#count += 1;
  }
}

export interface RowsOptions<T> {
  key(row: T): string;
  /** Where the order is not the server's own. */
  compare?(a: T, b: T): number;
}

export class Rows<T> {
  readonly #options: RowsOptions<T>;
  readonly #rows = new Map<string, T>();
  readonly #version = new Version();
  #isKnown = $state(false);
  #list: T[] | null = [];

  constructor(options: RowsOptions<T>) {
    this.#options = options;
  }

  /** Whether there was anything to show yet, be it nothing: before, a skeleton stands in. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** Grows by one for each rendering that the changes make necessary. */
  get version(): number {
    return this.#version.now;
  }

  get size(): number {
    void this.#version.now;
    return this.#rows.size;
  }

  /** All rows in order; the same array until they change. */
  get all(): readonly T[] {
    void this.#version.now;
    if (this.#list === null) {
      this.#list = [...this.#rows.values()];
      if (this.#options.compare !== undefined) this.#list.sort(this.#options.compare);
    }
    return this.#list;
  }

  get(key: string): T | undefined {
    void this.#version.now;
    return this.#rows.get(key);
  }

  /** A snapshot. */
  replace(rows: Iterable<T>): void {
    this.#rows.clear();
    for (const row of rows) this.#rows.set(this.#options.key(row), row);
    this.#list = null;
    if (this.#isKnown) {
      this.#version.changed();
    } else {
      this.#isKnown = true;
      this.#version.changedNow();
    }
  }

  /** A delta: new and changed rows, and the keys of those that left. */
  apply(rows: Iterable<T>, removed: Iterable<string> = []): void {
    for (const key of removed) this.#rows.delete(key);
    for (const row of rows) this.#rows.set(this.#options.key(row), row);
    this.#list = null;
    this.#version.changed();
  }
}
