import { describe, expect, it } from 'vitest';
import type { PlanTask } from './graph';
import { at, planTask } from './graphPlans';
import { marksOf, roomFor, rowsOf, spanOf, stepOf } from './timeline';

const START = Date.parse(at(0));

function ran(number: number, agent: string, from: number, to: number | null): PlanTask {
  return planTask(number, '1+2', {
    state: to === null ? 'running' : 'done',
    agent: { id: `id of ${agent}`, name: agent },
    started_at: at(from),
    finished_at: to === null ? null : at(to),
  });
}

describe('rowsOf', () => {
  it('has a row for each agent, by name, and a lane for each slot that was busy', () => {
    const rows = rowsOf([
      ran(0, 'b', 0, 100),
      ran(1, 'a', 0, 100),
      ran(2, 'a', 50, 150),
      ran(3, 'a', 100, 200),
    ]);
    expect(rows.map((row) => [row.name, row.lanes])).toEqual([
      ['a', 2],
      ['b', 1],
    ]);
    expect(rows[0]?.bars.map((bar) => [bar.task, bar.lane])).toEqual([
      [1, 0],
      [2, 1],
      [3, 0],
    ]);
  });

  it('keeps agents of one name apart', () => {
    const twin = { ...ran(1, 'a', 0, 100), agent: { id: 'another', name: 'a' } };
    expect(rowsOf([ran(0, 'a', 0, 100), twin])).toHaveLength(2);
  });

  it('makes no new lane of a result that became durable a little late', () => {
    const lanes = (...bars: [number, number | null][]) =>
      rowsOf(bars.map(([from, to], at) => ran(at, 'a', from, to)))[0]?.lanes;
    expect(lanes([0, 2_060], [2_000, 4_020], [4_000, null])).toBe(1);
    expect(lanes([0, 66_000], [60_500, 120_000])).toBe(1);
    // But what ran side by side for long did so in two slots.
    expect(lanes([0, 2_600], [2_000, 4_000])).toBe(2);
    expect(lanes([0, 150], [10, 160])).toBe(2);
    expect(lanes([0, 150], [0, 150])).toBe(2);
    // The lane that is free comes before one that is free soon.
    const rows = rowsOf([ran(0, 'a', 0, 1_100), ran(1, 'a', 0, 900), ran(2, 'a', 1_000, 2_000)]);
    expect(rows[0]?.bars.map((bar) => bar.lane)).toEqual([0, 1, 1]);
  });

  it('keeps the lane of a running task taken', () => {
    const rows = rowsOf([ran(0, 'a', 0, null), ran(1, 'a', 500, 600)]);
    expect(rows[0]?.lanes).toBe(2);
    expect(rows[0]?.bars[0]?.end).toBeNull();
  });

  it('leaves out what has not started, and what the journal has forgotten', () => {
    expect(rowsOf([planTask(0, '1+2'), planTask(1, '1+2', { state: 'done' })])).toEqual([]);
  });

  it('orders tasks of one millisecond by their microseconds', () => {
    const [first, second] = ['2026-01-01T00:00:00.000900Z', '2026-01-01T00:00:00.000100Z'];
    const rows = rowsOf([
      { ...ran(0, 'a', 0, 1), started_at: first },
      { ...ran(1, 'a', 0, 1), started_at: second },
    ]);
    expect(rows[0]?.bars.map((bar) => bar.task)).toEqual([1, 0]);
  });
});

describe('the axis', () => {
  it('spans from the first start to the last end, or to now while something runs', () => {
    expect(spanOf(rowsOf([ran(0, 'a', 100, 200), ran(1, 'a', 300, 900)]), START)).toEqual({
      start: START + 100,
      end: START + 900,
    });
    expect(spanOf(rowsOf([ran(0, 'a', 100, null)]), START + 5000)?.end).toBe(START + 5000);
    expect(spanOf([], START)).toBeNull();
  });

  it('has round marks, and not too many', () => {
    expect(marksOf(4500, 6)).toEqual([0, 1000, 2000, 3000, 4000]);
    expect(stepOf(90_000, 6)).toBe(15_000);
    expect(stepOf(3, 6)).toBe(1);
    expect(marksOf(1e12, 6).length).toBeLessThanOrEqual(7);
  });

  it('rests while something runs, and grows in steps', () => {
    expect(roomFor(5000)).toBe(roomFor(5100));
    expect(roomFor(5000)).toBeGreaterThan(5000);
    expect(roomFor(60_000)).toBeGreaterThan(60_000);
  });
});
