import { describe, expect, it } from 'vitest';
import { fractionOf, momentOf } from './progress';

describe('momentOf', () => {
  it('keeps microseconds', () => {
    const whole = Date.parse('2026-01-01T00:00:00.123Z');
    expect(momentOf('2026-01-01T00:00:00.123456Z') - whole).toBeCloseTo(0.456, 2);
    expect(momentOf('2026-01-01T00:00:00.123Z')).toBe(whole);
    expect(momentOf('2026-01-01T00:00:00Z')).toBe(Date.parse('2026-01-01T00:00:00Z'));
  });
});

describe('fractionOf', () => {
  it('grows with time and stays between 0 and 1', () => {
    expect(fractionOf(1000, 2000, 2000)).toBe(0.5);
    expect(fractionOf(1000, 2000, 500)).toBe(0);
    expect(fractionOf(1000, 2000, 9000)).toBe(1);
    expect(fractionOf(1000, 0, 1000)).toBe(1);
  });
});
