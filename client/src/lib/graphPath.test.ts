import { describe, expect, it } from 'vitest';
import type { PlanTask } from './graph';
import { costOf, criticalPath } from './graphPath';
import { at, plan } from './graphPlans';

const DURATIONS = { addition: 1000, subtraction: 1000, multiplication: 2000, division: 2000 };
const START = Date.parse(at(0));

function done(from: number, to: number): Partial<PlanTask> {
  return { state: 'done', value: '1', started_at: at(from), finished_at: at(to) };
}

describe('costOf', () => {
  it('adds the operations up, and takes the longest chain', () => {
    const cost = costOf(plan({ 0: '1*2', 1: '3+4', 2: '#0+#1' }), DURATIONS);
    expect(cost).toEqual({ sequentialMs: 4000, idealMs: 3000 });
  });

  it('takes the time that a task took where it is known', () => {
    const cost = costOf(plan({ 0: '1*2', 1: '3+4', 2: '#0+#1' }, { 1: done(0, 5000) }), DURATIONS);
    expect(cost).toEqual({ sequentialMs: 8000, idealMs: 6000 });
  });

  it('counts a shared task once', () => {
    expect(costOf(plan({ 0: '1+2', 1: '#0*#0' }), DURATIONS)).toEqual({ sequentialMs: 3000, idealMs: 3000 });
  });

  it('says nothing where a duration is not known', () => {
    expect(costOf(plan({ 0: '1+2' }), {})).toBeNull();
  });
});

describe('criticalPath', () => {
  const written = { 0: '1+2', 1: '3+4', 2: '#0*#1', 3: '#2+5' };

  it('goes back from the root through the operand that finished last', () => {
    const tasks = plan(written, {
      0: done(0, 1000),
      1: done(500, 1500),
      2: done(1500, 3500),
      3: done(3500, 4500),
    });
    expect(criticalPath(tasks, 3, DURATIONS, START + 9000)).toEqual([1, 2, 3]);
  });

  it('goes through what is expected last while it runs', () => {
    const tasks = plan(written, {
      0: { state: 'running', started_at: at(900) },
      1: done(0, 1000),
    });
    expect(criticalPath(tasks, 3, DURATIONS, START + 1200)).toEqual([0, 2, 3]);
  });

  it('ends at the task that failed', () => {
    const tasks = plan(written, {
      0: done(0, 1000),
      1: { state: 'cancelled' },
      2: { state: 'failed', started_at: at(1000), finished_at: at(3000) },
      3: { state: 'cancelled' },
    });
    expect(criticalPath(tasks, 3, DURATIONS, START)).toEqual([0, 2]);
  });

  it('is empty for a cancelled plan and where the journal has been pruned', () => {
    const cancelled = plan({ 0: '1+2' }, { 0: { state: 'cancelled' } });
    expect(criticalPath(cancelled, 0, DURATIONS, START)).toEqual([]);
    const pruned = plan({ 0: '1+2', 1: '#0*3' }, { 0: { state: 'done' }, 1: { state: 'done' } });
    expect(criticalPath(pruned, 1, DURATIONS, START)).toEqual([]);
  });
});
