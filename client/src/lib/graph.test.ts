import { describe, expect, it } from 'vitest';
import { foldToFit, isWhole, numberOf, operandsOf, show } from './graph';
import { balanced, chain, EXPRESSION, plan, planTask } from './graphPlans';

const NONE: ReadonlySet<number> = new Set();

describe('show', () => {
  it('knows a task by the number behind the point of its name', () => {
    expect(numberOf(`${EXPRESSION}.1234567`)).toBe(1234567);
  });

  it('names the same operand once', () => {
    expect(operandsOf(planTask(1, '#0*#0'))).toEqual([0]);
  });

  it('lists users before their operands, with levels from the root', () => {
    const shown = show(plan({ 0: '1+2', 1: '3*4', 2: '#0-#1' }), 2, NONE);
    expect([...shown.keys()]).toEqual([2, 1, 0]);
    expect([...shown.values()].map((task) => task.level)).toEqual([0, 1, 1]);
    expect(shown.get(0)?.parent).toBe(2);
    expect(shown.get(2)?.parent).toBeNull();
  });

  it('draws a shared task once, under its deepest user', () => {
    // 3 uses 0 itself and by way of 2 and 1.
    const shown = show(plan({ 0: '1+2', 1: '#0*5', 2: '#1*7', 3: '#2+#0' }), 3, NONE);
    expect(shown.get(0)).toMatchObject({ parent: 1, level: 3, users: [3, 1] });
  });

  it('marks negated operands and tells numbers from tasks', () => {
    const shown = show(plan({ 0: '1+2', 1: '-#0-4' }), 1, NONE);
    expect(shown.get(1)?.operands).toEqual([
      { kind: 'task', task: 0, negated: true, isShown: true },
      { kind: 'number', text: '4' },
    ]);
  });

  it('says how much hangs under a task that is cut off, and that it is not here', () => {
    const cut = plan({ 8: '#7+#6', 7: '#5*2', 6: '1+2' }, { 7: { below: 6 } });
    expect(show(cut, 8, NONE).get(7)?.fold).toEqual({ count: 6, isAtLeast: false, isAway: true });
    const much = plan({ 8: '#7+1' }, { 8: { below: 10_000 } });
    expect(show(much, 8, NONE).get(8)?.fold).toEqual({ count: 10_000, isAtLeast: true, isAway: true });
    const unknown = plan({ 8: '#7+1' }, { 8: { below: null } });
    expect(show(unknown, 8, NONE).get(8)?.fold?.count).toBeNull();
  });

  it('hides what is under a folded task, and counts it with what is not here', () => {
    const cut = plan({ 9: '#8+1', 8: '#7*2', 7: '#6+1' }, { 7: { below: 6 } });
    const shown = show(cut, 9, new Set([9]));
    expect([...shown.keys()]).toEqual([9]);
    expect(shown.get(9)?.fold).toEqual({ count: 8, isAtLeast: false, isAway: false });
  });

  it('still shows a task under a folded one that somebody else uses too', () => {
    const shared = plan({ 0: '1+2', 1: '#0*5', 2: '#0*7', 3: '#2+#1' });
    const shown = show(shared, 3, new Set([2]));
    expect([...shown.keys()]).toEqual([3, 2, 1, 0]);
    expect(shown.get(2)?.fold).toBeNull();
  });

  it('is empty without a root', () => {
    expect(show(new Map(), 0, NONE).size).toBe(0);
  });

  it('walks a chain of 2,000 tasks without recursion', () => {
    expect(show(chain(2000), 1999, NONE).get(0)?.level).toBe(1999);
  });
});

describe('foldToFit', () => {
  it('leaves a small plan as it is', () => {
    const { plan: tree, root } = balanced(6);
    expect(foldToFit(tree, root, NONE, 63).size).toBe(0);
  });

  it('folds whole levels until so many tasks are left', () => {
    const { plan: tree, root } = balanced(8);
    const shown = show(tree, root, foldToFit(tree, root, NONE, 100));
    expect(shown.size).toBe(63);
    expect([...shown.values()].filter((task) => task.fold).every((task) => task.fold?.count === 6)).toBe(
      true,
    );
  });

  it('folds a long chain', () => {
    const line = chain(2000);
    expect(show(line, 1999, foldToFit(line, 1999, NONE, 1500)).size).toBe(1500);
  });

  it('closes what was opened before the last rather than that', () => {
    const { plan: tree, root } = balanced(7);
    const [left, right] = operandsOf(tree.get(root) as never) as [number, number];
    const folded = foldToFit(tree, root, NONE, 70, [left, right]);
    expect(folded.has(left)).toBe(true);
    expect(folded.has(right)).toBe(false);
    expect(show(tree, root, folded).size).toBe(65);
  });
});

describe('isWhole', () => {
  it('is true only with every task of the plan', () => {
    const line = chain(5);
    expect(isWhole(line, 4, 5)).toBe(true);
    expect(isWhole(line, 4, 6)).toBe(false);
  });
});
