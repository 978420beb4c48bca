import { describe, expect, test } from 'vitest';
import { Clock } from './clock';

const NOON = Date.parse('2031-07-01T12:00:00Z');

describe('the server’s clock', () => {
  test('is the browser’s own until something is known', () => {
    expect(new Clock().at(NOON)).toBe(NOON);
  });

  test('stays the browser’s own where answers agree with it', () => {
    const clock = new Clock();
    clock.heard('Tue, 01 Jul 2031 12:00:00 GMT', NOON + 300, NOON + 340);
    expect(clock.at(NOON)).toBe(NOON);
  });

  test('is corrected where the browser’s is minutes behind, and each answer narrows it', () => {
    const clock = new Clock();
    const behind = 180_000;
    // Really 12:03:00.100 and 12:03:01.950.
    clock.heard('Tue, 01 Jul 2031 12:03:00 GMT', NOON + 80, NOON + 120);
    expect(clock.at(NOON) - NOON).toBeGreaterThanOrEqual(behind - 120);
    clock.heard('Tue, 01 Jul 2031 12:03:01 GMT', NOON + 1940, NOON + 1960);
    const found = clock.at(NOON) - NOON - behind;
    expect(Math.abs(found)).toBeLessThanOrEqual(120);
  });

  test('is corrected where the browser’s is ahead', () => {
    const clock = new Clock();
    clock.heard('Tue, 01 Jul 2031 11:00:00 GMT', NOON + 500, NOON + 520);
    expect(Math.abs(clock.at(NOON) - (NOON - 3_600_000))).toBeLessThanOrEqual(1000);
  });

  test('is at least the moments in messages', () => {
    const clock = new Clock();
    clock.reached('2031-07-01T12:00:02.500Z', NOON);
    expect(clock.at(NOON)).toBe(NOON + 2500);
    clock.reached('2031-07-01T11:59:00Z', NOON + 100);
    expect(clock.at(NOON)).toBe(NOON + 2500);
    clock.reached(null, NOON);
    expect(clock.at(NOON)).toBe(NOON + 2500);
  });

  test('follows where somebody set the browser’s clock', () => {
    const clock = new Clock();
    clock.heard('Tue, 01 Jul 2031 12:00:00 GMT', NOON + 300, NOON + 340);
    clock.heard('Tue, 01 Jul 2031 12:00:05 GMT', NOON + 600_005, NOON + 600_040);
    expect(Math.abs(clock.at(NOON + 600_040) - (NOON + 5000))).toBeLessThanOrEqual(1000);
  });

  test('ignores a header that is none', () => {
    const clock = new Clock();
    clock.heard(null, NOON);
    clock.heard('soon', NOON);
    expect(clock.at(NOON)).toBe(NOON);
  });
});
