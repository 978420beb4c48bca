import { expect, test } from 'vitest';
import { expiryOf } from './expiry';

const NOW = new Date('2031-07-01T12:00:00Z');

test.each([
  ['never', '', null],
  ['day', '', '2031-07-02T12:00:00.000Z'],
  ['month', '', '2031-07-31T12:00:00.000Z'],
  ['year', '', '2032-06-30T12:00:00.000Z'],
  ['date', '2031-07-01', '2031-07-02T00:00:00.000Z'],
  ['date', '2031-12-31', '2032-01-01T00:00:00.000Z'],
] as const)('a token that ends: %s %s', (expiry, day, at) => {
  expect(expiryOf(expiry, day, NOW)).toEqual({ at: at === null ? null : new Date(at) });
});

test('a day is asked for, and one that is over is refused', () => {
  expect(expiryOf('date', '', NOW)).toEqual({ fault: 'untilMissing' });
  expect(expiryOf('date', '2031-06-30', NOW)).toEqual({ fault: 'untilPast' });
});
