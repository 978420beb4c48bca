// Plans for tests, written as they read: `plan({ 0: '1+2', 1: '#0*#0', 2: '#1--#0' })` (`-#0` is negated).
import type { Plan, PlanTask } from './graph';

export const EXPRESSION = '01961f0a-6b7c-7d4e-8f12-3456789abcde';

const OPERATIONS: Record<string, PlanTask['operation']> = {
  '+': 'addition',
  '-': 'subtraction',
  '*': 'multiplication',
  '/': 'division',
};

export function planTask(number: number, written: string, more: Partial<PlanTask> = {}): PlanTask {
  const found = /^(-?#?[\d]+)([-+*/])(-?#?[\d]+)$/.exec(written);
  if (!found) throw new Error(`not a task: ${written}`);
  const operand = (text: string): PlanTask['operands'][number] =>
    text.includes('#')
      ? { task: `${EXPRESSION}.${text.replace(/^-?#/, '')}`, negated: text.startsWith('-') }
      : text;
  return {
    task: `${EXPRESSION}.${number}`,
    operation: OPERATIONS[found[2] as string] as PlanTask['operation'],
    operands: [operand(found[1] as string), operand(found[3] as string)],
    state: 'waiting',
    value: null,
    agent: null,
    attempt: null,
    started_at: null,
    finished_at: null,
    below: 0,
    truncated: [],
    ...more,
  };
}

export function plan(written: Record<number, string>, more: Record<number, Partial<PlanTask>> = {}): Plan {
  return new Map(
    Object.entries(written).map(([number, text]) => [
      Number(number),
      planTask(Number(number), text, more[Number(number)]),
    ]),
  );
}

/** 1+1, that doubled, and so on: a chain of so many tasks. */
export function chain(length: number): Plan {
  return plan(Object.fromEntries(Array.from({ length }, (_, at) => [at, at ? `#${at - 1}+1` : '1+1'])));
}

/** A full binary tree with so many levels; the root is its last task. */
export function balanced(levels: number): { plan: Plan; root: number } {
  const written: Record<number, string> = {};
  let next = 0;
  const grow = (level: number): number => {
    if (level === 1) {
      written[next] = '1+2';
      return next++;
    }
    const left = grow(level - 1);
    const right = grow(level - 1);
    written[next] = `#${left}*#${right}`;
    return next++;
  };
  const root = grow(levels);
  return { plan: plan(written), root };
}

/** The time so many milliseconds after the tests' beginning. */
export function at(ms: number): string {
  return new Date(Date.UTC(2026, 0, 1) + ms).toISOString();
}
