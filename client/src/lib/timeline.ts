// Who computed what when: the rows, lanes and bars of the timeline, and its axis.
//
// Pure; the timeline on the page of one expression draws what this says.
import type { PlanTask } from './graph';
import { numberOf } from './graph';
import { momentOf } from './progress';

export interface Bar {
  task: number;
  /** The lane within the agent's row. */
  lane: number;
  start: number;
  /** Null while it runs. */
  end: number | null;
}

/** An agent with a lane for each slot that was ever busy at the same time. */
export interface Row {
  id: string;
  name: string;
  lanes: number;
  bars: Bar[];
}

/**
 * A slot is free when its result arrives, and the bar ends when that is durable: a little after the next one has
 * begun. So much at most, or of long bars a tenth.
 */
const LATE_MS = 250;

/** By the agents' names. A task lies in the first lane that is free when it starts, as slots are taken. */
export function rowsOf(tasks: Iterable<PlanTask>): Row[] {
  const found = new Map<string, Row>();
  for (const task of tasks) {
    if (!task.agent || !task.started_at || (task.state === 'running' && task.finished_at)) continue;
    if (!task.finished_at && task.state !== 'running') continue;
    let row = found.get(task.agent.id);
    if (!row) {
      row = { id: task.agent.id, name: task.agent.name, lanes: 0, bars: [] };
      found.set(task.agent.id, row);
    }
    const start = momentOf(task.started_at);
    const end = task.finished_at ? Math.max(start, momentOf(task.finished_at)) : null;
    row.bars.push({ task: numberOf(task.task), lane: 0, start, end });
  }
  for (const row of found.values()) fill(row);
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id));
}

function fill(row: Row): void {
  row.bars.sort((a, b) => a.start - b.start || a.task - b.task);
  const last: Bar[] = [];
  for (const bar of row.bars) {
    let lane = last.findIndex((before) => overlapOf(before, bar) <= 0);
    if (lane < 0) lane = last.findIndex((before) => overlapOf(before, bar) <= lateness(before, bar));
    bar.lane = lane < 0 ? last.length : lane;
    last[bar.lane] = bar;
  }
  row.lanes = last.length;
}

const lengthOf = (bar: Bar) => (bar.end ?? Infinity) - bar.start;
const overlapOf = (before: Bar, bar: Bar) => (before.end ?? Infinity) - bar.start;

/** How far two bars in one lane may overlap: never so far that they rather ran side by side. */
function lateness(before: Bar, bar: Bar): number {
  const shorter = Math.min(lengthOf(before), lengthOf(bar));
  return Math.min(shorter / 3, Math.max(LATE_MS, shorter / 10));
}

/** The first start and the last end; null where nothing has started. `now` stands for the end of what runs. */
export function spanOf(rows: readonly Row[], now: number): { start: number; end: number } | null {
  let [start, end] = [Infinity, -Infinity];
  for (const row of rows) {
    for (const bar of row.bars) {
      start = Math.min(start, bar.start);
      end = Math.max(end, bar.end ?? now);
    }
  }
  return start === Infinity ? null : { start, end: Math.max(start, end) };
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500].concat(
  [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800].map((seconds) => seconds * 1000),
  [1, 2, 3, 6, 12, 24, 48, 168].map((hours) => hours * 3_600_000),
);

/** The distance between two marks so that at most `most` of them divide the span. */
export function stepOf(spanMs: number, most: number): number {
  return STEPS.find((step) => spanMs / step <= most) ?? Math.ceil(spanMs / most / 604_800_000) * 604_800_000;
}

/** Marks from 0 to the span's end. */
export function marksOf(spanMs: number, most: number): number[] {
  const step = stepOf(spanMs, most);
  return Array.from({ length: Math.floor(spanMs / step) + 1 }, (_, index) => index * step);
}

/**
 * How much the axis shows while something runs: a little more than has passed, in steps, so that finished bars
 * rest while running ones grow.
 */
export function roomFor(elapsedMs: number): number {
  let room = 1000;
  while (room < elapsedMs * 1.05) room *= 1.25;
  return room;
}
