import { expect, it } from 'vitest';
import { ago, duration, number, percent } from './format';
import { speak } from './i18n/index.svelte';

const plain = (text: string) => text.replace(/\s/g, ' ');

it.each([
  [0, '0 ms'],
  [350, '350 ms'],
  [999.6, '1 s'],
  [1234, '1.23 s'],
  [12_345, '12.3 s'],
  [59_960, '1 min'],
  [200_000, '3 min 20 s'],
  [3_599_600, '1 h'],
  [7_500_000, '2 h 5 min'],
  [86_400_000, '1 d'],
  [604_800_000, '7 d'],
])('%d ms is written %s', (ms, text) => {
  expect(plain(duration(ms))).toBe(text);
});

it('a share is 100% only when all of it is there', () => {
  expect([0, 0.999, 1, 1.2, -1].map(percent)).toEqual(['0%', '99%', '100%', '100%', '0%']);
});

it('moments are told by their distance, far ones by their time', () => {
  const now = Date.parse('2031-01-02T12:00:00Z');
  expect(ago('2031-01-02T12:00:01Z', now)).toBe('just now');
  expect(ago('2031-01-02T11:59:30Z', now)).toBe('30 s ago');
  expect(ago('2031-01-02T11:30:00Z', now)).toBe('30 min ago');
  expect(ago('2031-01-02T10:00:00Z', now)).toContain('10:00');
});

it('numbers follow the language', async () => {
  expect(number(1234.5, 1)).toBe('1,234.5');
  await speak('ru');
  expect(plain(number(1234.5, 1))).toBe('1 234,5');
  expect(plain(duration(1500))).toBe('1,5 с');
  await speak('en');
});
