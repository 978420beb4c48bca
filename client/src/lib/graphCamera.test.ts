import { describe, expect, it } from 'vitest';
import { moved, opening, SCALE_MAX, showing, whole, zoomed } from './graphCamera';

const SIZE = { width: 800, height: 400 };

describe('the camera', () => {
  it('shows the whole in the middle', () => {
    const camera = whole({ x: -100, y: 0, width: 1600, height: 400 }, SIZE);
    expect(camera).toEqual({ x: -100, y: -200, scale: 0.5 });
  });

  it('does not blow a small graph up', () => {
    expect(whole({ x: 0, y: 0, width: 10, height: 10 }, SIZE).scale).toBe(1.25);
  });

  it('opens a long graph at its root', () => {
    const box = { x: -10_000, y: -50, width: 10_000, height: 100 };
    const camera = opening(box, SIZE, { x: 0, y: 0 }, false);
    expect(camera.scale).toBe(0.7);
    expect(camera.x).toBeLessThan(0);
    expect(camera.x + SIZE.width / camera.scale).toBeGreaterThan(0);
  });

  it('opens where something runs, moved no further from the root than it takes', () => {
    const box = { x: -10_000, y: -50, width: 10_000, height: 100 };
    const root = { x: 0, y: 0 };
    expect(opening(box, SIZE, root, false, { x: -100, y: 0 })).toEqual(opening(box, SIZE, root, false));
    const camera = opening(box, SIZE, root, false, { x: -5_000, y: 0 });
    expect(camera.x).toBeLessThan(-5_000);
    expect(camera.x + SIZE.width / camera.scale).toBeGreaterThan(-5_000);
  });

  it('opens on a phone so that it can be read', () => {
    const box = { x: -500, y: 0, width: 1_000, height: 400 };
    const root = { x: 0, y: 20 };
    expect(opening(box, { width: 1_000, height: 400 }, root, true).scale).toBe(1);
    expect(opening(box, { width: 358, height: 520 }, root, true).scale).toBe(0.7);
    expect(opening({ ...box, width: 400 }, { width: 358, height: 520 }, root, true).scale).toBeCloseTo(0.895);
  });

  it('keeps the point under the pointer while zooming', () => {
    const before = { x: 10, y: 20, scale: 0.5 };
    const after = zoomed(before, 2, { x: 300, y: 100 });
    expect(after.x + 300 / after.scale).toBeCloseTo(before.x + 300 / before.scale);
    expect(after.y + 100 / after.scale).toBeCloseTo(before.y + 100 / before.scale);
    expect(zoomed(before, 1000, { x: 0, y: 0 }).scale).toBe(SCALE_MAX);
  });

  it('never loses the graph', () => {
    const box = { x: 0, y: 0, width: 500, height: 200 };
    const camera = moved({ x: 0, y: 0, scale: 1 }, 100_000, -100_000, box, SIZE);
    expect(camera.x).toBe(-740);
    expect(camera.y).toBe(140);
  });

  it('follows a point only when it leaves the screen', () => {
    const camera = { x: 0, y: 0, scale: 1 };
    expect(showing(camera, { x: 400, y: 200 }, SIZE)).toEqual(camera);
    expect(showing(camera, { x: 900, y: 200 }, SIZE)).toEqual({ x: 190, y: 0, scale: 1 });
  });
});
