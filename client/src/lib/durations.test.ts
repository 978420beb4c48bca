import { describe, expect, test } from 'vitest';
import { DURATION_MS_MAX, readDuration, showDuration, unitOf } from './durations';

describe('a duration is read', () => {
  test.each([
    ['1.5 s', 1500],
    ['1,5 s', 1500],
    ['1,5 с', 1500],
    ['.5s', 500],
    ['200 ms', 200],
    ['200мс', 200],
    ['2 min', 120_000],
    ['2 мин.', 120_000],
    ['1 min 30 s', 90_000],
    ['1 мин 30,25 с', 90_250],
    ['1 h', 3_600_000],
    ['2 часа', 7_200_000],
    ['7 d', DURATION_MS_MAX],
    ['7 суток', DURATION_MS_MAX],
    ['0', 0],
    ['0 s', 0],
    ['1 500 ms', 1500],
    ['1\u00a0500\u00a0ms', 1500],
    ['  3 SEC  ', 3000],
    ['0.001 s', 1],
    ['1.000 ms', 1],
    ['0.1 h', 360_000],
  ])('%s', (text, ms) => {
    expect(readDuration(text, 's')).toEqual({ ms });
  });

  test('without a unit it has that of the duration shown before', () => {
    expect(readDuration('2', 's')).toEqual({ ms: 2000 });
    expect(readDuration('300', 'ms')).toEqual({ ms: 300 });
    expect(readDuration('1,5', 'min')).toEqual({ ms: 90_000 });
  });

  test.each([
    ['', 'empty'],
    ['   ', 'empty'],
    ['fast', 'number'],
    ['-1 s', 'number'],
    ['s', 'number'],
    ['1..5 s', 'number'],
    ['1 s 5', 'unit'],
    ['2 weeks', 'unit'],
    ['1 parsec', 'unit'],
    ['0.5 ms', 'finer'],
    ['1.0005 s', 'finer'],
    ['0.00000000000001 h', 'finer'],
    ['8 d', 'too_long'],
    ['7 d 1 ms', 'too_long'],
    ['999999999999999999999999999 s', 'too_long'],
  ])('%j is refused: %s', (text, fault) => {
    expect(readDuration(text, 's')).toEqual({ fault });
  });
});

describe('a duration is shown', () => {
  test.each([
    [0, '0 ms', '0 мс'],
    [200, '200 ms', '200 мс'],
    [1000, '1 s', '1 с'],
    [1500, '1.5 s', '1,5 с'],
    [1001, '1.001 s', '1,001 с'],
    [90_000, '1 min 30 s', '1 мин 30 с'],
    [120_000, '2 min', '2 мин'],
    [3_600_000, '1 h', '1 ч'],
    [DURATION_MS_MAX, '7 d', '7 д'],
    [93_784_005, '1 d 2 h 3 min 4.005 s', '1 д 2 ч 3 мин 4,005 с'],
  ])('%i ms', (ms, en, ru) => {
    expect(showDuration(ms, 'en').replaceAll('\u00a0', ' ')).toBe(en);
    expect(showDuration(ms, 'ru').replaceAll('\u00a0', ' ')).toBe(ru);
  });

  test('and read back as it was, in both languages', () => {
    for (let ms = 0; ms <= DURATION_MS_MAX; ms = Math.floor(ms * 1.37) + 7) {
      for (const language of ['en', 'ru'] as const) {
        expect(readDuration(showDuration(ms, language), 'ms')).toEqual({ ms });
      }
    }
  });

  test.each([
    [0, 's'],
    [200, 'ms'],
    [1500, 's'],
    [90_000, 's'],
    [120_000, 'min'],
    [7_200_000, 'h'],
    [172_800_000, 'd'],
  ] as const)('%i ms goes on in %s', (ms, unit) => {
    expect(unitOf(ms)).toBe(unit);
  });
});
