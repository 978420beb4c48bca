import { describe, expect, it } from 'vitest';
import { show } from './graph';
import { layOut, layOutToFit, neighbour, scaleToFit, TASK } from './graphLayout';
import { balanced, chain, plan } from './graphPlans';

const NONE: ReadonlySet<number> = new Set();

function laidOut(written: Record<number, string>, root: number, direction: 'down' | 'left' = 'down') {
  const shown = show(plan(written), root, NONE);
  return { shown, layout: layOut(shown, root, direction) };
}

describe('layOut', () => {
  it('puts operands under their user, the left one at the left', () => {
    const { layout } = laidOut({ 0: '1+2', 1: '3*4', 2: '#0-#1' }, 2);
    const [left, right, root] = [0, 1, 2].map((task) => layout.tasks.get(task));
    expect(left?.y).toBe(right?.y);
    expect(left?.y).toBeGreaterThan((root?.y ?? 0) + TASK.height);
    expect(left?.x).toBeLessThan(right?.x ?? 0);
    expect(root?.x).toBeCloseTo(((left?.x ?? 0) + (right?.x ?? 0)) / 2);
  });

  it('puts them to the left in the other direction', () => {
    const { layout } = laidOut({ 0: '1+2', 1: '3*4', 2: '#0-#1' }, 2, 'left');
    expect(layout.tasks.get(0)?.x).toBeLessThan((layout.tasks.get(2)?.x ?? 0) - TASK.width);
    expect(layout.tasks.get(0)?.y).toBeLessThan(layout.tasks.get(1)?.y ?? 0);
  });

  it('draws every line of a shared task, all but one as an extra one', () => {
    const { layout } = laidOut({ 0: '1+2', 1: '#0*5', 2: '#0*7', 3: '#2+#1' }, 3);
    const lines = layout.lines.filter((line) => line.operand === 0);
    expect(lines.map((line) => line.isExtra).sort()).toEqual([false, true]);
  });

  it('draws two lines where both operands are the same task', () => {
    const { layout } = laidOut({ 0: '1+2', 1: '#0*#0' }, 1);
    const lines = layout.lines.filter((line) => line.operand === 0);
    expect(lines).toHaveLength(2);
    expect(lines[0]?.path).not.toBe(lines[1]?.path);
    expect(layout.tasks.size).toBe(2);
  });

  it('marks negated operands on their line', () => {
    const { layout } = laidOut({ 0: '1+2', 1: '3-#0', 2: '-#1+#0' }, 2);
    expect(layout.lines.filter((line) => line.minus).map((line) => [line.user, line.operand])).toEqual([
      [2, 1],
    ]);
  });

  it('shows numbers as leaves and what is hidden as one', () => {
    const cut = plan({ 5: '12345678901*#4' }, { 5: { below: 4 } });
    const layout = layOut(show(cut, 5, NONE), 5, 'down');
    expect(layout.leaves.map((leaf) => leaf.text)).toEqual(['12345678901']);
    expect(layout.folds).toMatchObject([{ task: 5, count: 4, isAway: true }]);
  });

  for (const direction of ['down', 'left'] as const) {
    it(`lets nothing overlap within a level (${direction})`, () => {
      const { plan: tree, root } = balanced(6);
      const layout = layOut(show(tree, root, NONE), root, direction);
      const boxes = [
        ...[...layout.tasks.values()].map((task) => ({ ...task, ...TASK })),
        ...layout.leaves,
      ].sort((a, b) => a.x - b.x);
      for (const [index, a] of boxes.entries()) {
        for (const b of boxes.slice(index + 1)) {
          const apart =
            Math.abs(a.x - b.x) * 2 >= a.width + b.width || Math.abs(a.y - b.y) * 2 >= a.height + b.height;
          expect(apart, `${JSON.stringify(a)} ${JSON.stringify(b)}`).toBe(true);
        }
      }
    });
  }

  it('draws a chain as a straight line', () => {
    const layout = layOut(show(chain(60), 59, NONE), 59, 'down');
    expect(new Set([...layout.tasks.values()].map((task) => task.x)).size).toBe(1);
  });

  it('lays 2,000 tasks out, however deep', () => {
    const line = chain(2000);
    const layout = layOut(show(line, 1999, NONE), 1999, 'left');
    expect(layout.tasks.size).toBe(2000);
    expect(layout.lines).toHaveLength(4000);
  });

  it('is empty where nothing is shown', () => {
    expect(layOut(new Map(), 0, 'down')).toMatchObject({ leaves: [], lines: [], folds: [] });
  });
});

describe('layOutToFit', () => {
  it('takes the direction in which more fits', () => {
    const line = show(chain(40), 39, NONE);
    expect(layOutToFit(line, 39, 1200, 500).direction).toBe('left');
    expect(layOutToFit(line, 39, 360, 700).direction).toBe('down');
  });

  it('scales to the tighter side', () => {
    expect(scaleToFit({ x: 0, y: 0, width: 200, height: 50 }, 100, 100)).toBe(0.5);
  });
});

describe('neighbour', () => {
  it('walks to operands, users and along the level', () => {
    const { shown, layout } = laidOut({ 0: '1+2', 1: '3*4', 2: '#0-#1' }, 2);
    expect(neighbour(layout, shown, 2, 'down')).toBe(0);
    expect(neighbour(layout, shown, 0, 'right')).toBe(1);
    expect(neighbour(layout, shown, 1, 'left')).toBe(0);
    expect(neighbour(layout, shown, 1, 'up')).toBe(2);
    expect(neighbour(layout, shown, 1, 'right')).toBeNull();
    expect(neighbour(layout, shown, 1, 'down')).toBeNull();
  });

  it('follows the screen where the root is at the right', () => {
    const { shown, layout } = laidOut({ 0: '1+2', 1: '3*4', 2: '#0-#1' }, 2, 'left');
    expect(neighbour(layout, shown, 2, 'left')).toBe(0);
    expect(neighbour(layout, shown, 0, 'down')).toBe(1);
    expect(neighbour(layout, shown, 0, 'right')).toBe(2);
  });
});
