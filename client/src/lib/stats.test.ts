import { describe, expect, test } from 'vitest';
import { KEPT, type Orchestrator, type Point, Series } from './stats';

const BEGIN = Date.parse('2031-07-01T12:00:00Z');

function point(second: number, more: Partial<Point> = {}): Point {
  return {
    at: new Date(BEGIN + second * 1000).toISOString(),
    tasks_per_s: second,
    ready: 0,
    running: 0,
    slots_used: 0,
    slots_total: 0,
    agents: 0,
    expressions: 0,
    dispatch_p50_ms: null,
    dispatch_p99_ms: null,
    commits_per_s: 0,
    journal_backlog: 0,
    ...more,
  };
}

const member = (id: string, leads = false): Orchestrator => ({ id, url: `http://${id}`, leads, seen_s: 1 });

describe('the last minutes', () => {
  test('are columns by time, whatever order the points came in', () => {
    const series = new Series();
    series.replace([point(2), point(0), point(1, { dispatch_p50_ms: 0.5 })]);
    const { times, figures } = series.columns(['tasks_per_s', 'dispatch_p50_ms'], 60);
    expect(times).toEqual([0, 1, 2].map((second) => BEGIN / 1000 + second));
    expect(figures).toEqual([
      [0, 1, 2],
      [null, 0.5, null],
    ]);
  });

  test('end at the newest point and go back as far as asked', () => {
    const series = new Series();
    series.replace(Array.from({ length: 100 }, (_, second) => point(second)));
    expect(series.columns(['tasks_per_s'], 10).figures).toEqual([[90, 91, 92, 93, 94, 95, 96, 97, 98, 99]]);
    expect(series.last?.tasks_per_s).toBe(99);
  });

  test('break where points are missing', () => {
    const series = new Series();
    series.replace([point(0), point(1), point(9)]);
    const { times, figures } = series.columns(['tasks_per_s'], 60);
    expect(times.map((time) => time - BEGIN / 1000)).toEqual([0, 1, 2, 9]);
    expect(figures).toEqual([[0, 1, null, 9]]);
  });

  test('take what is new, forget what has gone, and never grow beyond the most', () => {
    const series = new Series();
    series.replace([point(0), point(1)]);
    series.take([point(2)], [point(0).at]);
    expect(series.columns(['tasks_per_s'], 60).figures).toEqual([[1, 2]]);
    series.take(
      Array.from({ length: KEPT + 50 }, (_, second) => point(second + 10)),
      [],
    );
    expect(series.columns(['tasks_per_s'], 10_000).times).toHaveLength(KEPT);
    expect(series.last?.tasks_per_s).toBe(KEPT + 59);
  });

  test('are empty at first', () => {
    const series = new Series();
    expect(series.columns(['ready'], 60)).toEqual({ times: [], figures: [[]] });
    expect(series.last).toBeUndefined();
    expect(series.orchestrators).toEqual([]);
  });
});

test('the orchestrator that leads comes first, and those that left are gone', () => {
  const series = new Series();
  series.replace([member('a'), member('c'), member('b', true), point(0)]);
  expect(series.orchestrators.map(({ id }) => id)).toEqual(['b', 'a', 'c']);
  series.take([member('a', true)], ['b']);
  expect(series.orchestrators.map(({ id }) => id)).toEqual(['a', 'c']);
  expect(series.last).toBeDefined();
});
