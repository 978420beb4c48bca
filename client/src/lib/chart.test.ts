import { expect, it } from 'vitest';
import { nearest, pictureOf, scaleOf, timesToLabel } from './chart';

it.each([
  [0, false, [0, 0.5, 1], 1],
  [0.02, false, [0, 0.5, 1], 1],
  [3, false, [0, 1, 2, 3], 0],
  [0, true, [0, 2, 4], 0],
  [9, true, [0, 5], 0],
  [870, true, [0, 500], 0],
  [1_900_000, false, [0, 1_000_000, 2_000_000], 0],
])('up to %d (whole: %s) is labelled %j', (high, isWhole, labels, digits) => {
  const scale = scaleOf(high, isWhole);
  expect(scale.labels).toEqual(labels);
  expect(scale.digits).toBe(digits);
  expect(scale.top).toBeGreaterThan(high);
});

it('no two labels of any scale read the same', () => {
  for (let high = 0; high < 5000; high += 0.37) {
    const { labels, digits, top } = scaleOf(high, false);
    const read = labels.map((label) => label.toFixed(digits));
    expect(new Set(read).size).toBe(labels.length);
    expect(labels.length).toBeGreaterThanOrEqual(2);
    expect(labels.at(-1)).toBeLessThanOrEqual(top);
  }
});

it('times are labelled at round seconds with room between them', () => {
  expect(timesToLabel(1003, 1123, 28)).toEqual([1020, 1050, 1080, 1110]);
  expect(timesToLabel(1003, 1603, 140)).toEqual([1200, 1500]);
});

it('a line breaks where there is nothing, its area is closed at the bottom, and a lone point is seen', () => {
  const { line, area } = pictureOf(
    [0, 1, 2, 3, 4],
    [1, 2, null, null, 3],
    (time) => time * 10,
    (value) => 10 - value,
  );
  expect(line).toBe('M0.0 9.0h0L10.0 8.0M40.0 7.0h0');
  expect(area).toBe('M0.0 9.0L10.0 8.0L10.0 10.0L0.0 10.0ZM40.0 7.0L40.0 10.0L40.0 10.0Z');
});

it('the nearest time is found, and none where there is none', () => {
  expect(nearest([1, 2, 3, 7], 4.4)).toBe(2);
  expect(nearest([1, 2, 3, 7], 5.4)).toBe(3);
  expect(nearest([], 5)).toBeNull();
});
