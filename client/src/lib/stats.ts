// The last minutes as the Monitoring page draws them: points by the second, and columns for a chart.
import type { components } from './protocol';

export type Point = components['schemas']['Point'];
export type Orchestrator = components['schemas']['Orchestrator'];

/** How many seconds are kept: as many as the server does. */
export const KEPT = 600;
/** Between points farther apart than this nobody led, or nobody told: a line across would be invented. */
const GAP_S = 2.5;

export type Figure = Exclude<keyof Point, 'at'>;

/** Seconds since 1970, and one column for each figure; null where there is none. */
export type Columns = { times: number[]; figures: (number | null)[][] };

/** Points and orchestrators as the topic sends them, in one list of items with keys of their own. */
export class Series {
  private points = new Map<string, Point>();
  private members = new Map<string, Orchestrator>();

  /** Everything there is; what was before is no more. */
  replace(items: readonly (Point | Orchestrator)[]): void {
    this.points.clear();
    this.members.clear();
    this.take(items, []);
  }

  /** What is new, and the keys of what has gone. */
  take(items: readonly (Point | Orchestrator)[], removed: readonly string[]): void {
    for (const key of removed) {
      this.points.delete(key);
      this.members.delete(key);
    }
    for (const item of items) {
      if ('at' in item) this.points.set(item.at, item);
      else this.members.set(item.id, item);
    }
    if (this.points.size > KEPT) {
      const old = [...this.points.keys()].sort().slice(0, this.points.size - KEPT);
      for (const key of old) this.points.delete(key);
    }
  }

  /** The newest point. */
  get last(): Point | undefined {
    let last: Point | undefined;
    for (const point of this.points.values()) if (!last || point.at > last.at) last = point;
    return last;
  }

  /** The one that leads first, then by address. */
  get orchestrators(): Orchestrator[] {
    return [...this.members.values()].sort(
      (one, other) => Number(other.leads) - Number(one.leads) || (one.url < other.url ? -1 : 1),
    );
  }

  /** The columns of these figures over the last `seconds`, with a break where points are missing. */
  columns(figures: readonly Figure[], seconds: number): Columns {
    const points = [...this.points.values()]
      .map((point) => ({ point, at: Date.parse(point.at) / 1000 }))
      .sort((one, other) => one.at - other.at);
    const end = points.at(-1)?.at ?? 0;
    const columns: Columns = { times: [], figures: figures.map(() => []) };
    let before = Number.POSITIVE_INFINITY;
    for (const { point, at } of points) {
      if (at <= end - seconds) continue;
      if (at - before > GAP_S) {
        columns.times.push(before + 1);
        for (const column of columns.figures) column.push(null);
      }
      columns.times.push(at);
      for (const [index, figure] of figures.entries()) columns.figures[index]?.push(point[figure]);
      before = at;
    }
    return columns;
  }
}
