import { afterEach, describe, expect, it } from 'vitest';
import { ProblemError } from './api';
import { speak, t } from './i18n/index.svelte';
import { whyFailed, whyRefused } from './why';

afterEach(() => speak('en'));

const plain = (text: string | undefined) => text?.replace(/\s/g, ' ');
const failed = (code: string, message: string) =>
  whyFailed(t().shell.why, { code, message, task: null } as Parameters<typeof whyFailed>[1]);

function refused(code: string, detail: string) {
  const problem = {
    type: `/problems/${code}`,
    title: code,
    status: 400,
    detail,
    position: null,
    expected: null,
  };
  return whyRefused(t().shell.why, new ProblemError(400, problem));
}

describe('the server’s sentences are said in words of the language', () => {
  it.each([
    ['division_by_zero', '1 / 0 divides by zero', 'in 1 / 0', 'в операции 1 / 0'],
    [
      'too_large',
      '9 * 9 is too large: the value has more than 1000000 digits',
      '9 * 9 has more than 1,000,000 digits',
      'в значении 9 * 9 больше 1 000 000 цифр',
    ],
    ['too_large', '9 * 9 is too large', 'in 9 * 9', 'в операции 9 * 9'],
    [
      'agents_failed',
      '1 + 2 failed on agents 3 times, at last with broken: no memory',
      '1 + 2 failed 3 times, at last with “broken: no memory”',
      '1 + 2: 3 неудачи, последняя — «broken: no memory»',
    ],
  ])('%s: %s', async (code, message, english, russian) => {
    expect(plain(failed(code, message)?.text)).toBe(english);
    await speak('ru');
    expect(failed(code, message)).toMatchObject({ isForeign: false });
    expect(plain(failed(code, message)?.text)).toBe(russian);
  });

  it('also where something is too long or too much', async () => {
    const detail = 'The expression has 1,000,001 operations; at most 1,000,000 tasks are allowed.';
    expect(refused('too_many_tasks', detail)?.text).toBe(
      'It has 1,000,001 operations; at most 1,000,000 are allowed.',
    );
    await speak('ru');
    expect(plain(refused('too_many_tasks', detail)?.text)).toBe(
      'В нём 1 000 001 операция, а можно не больше 1 000 000.',
    );
  });
});

it('what is not known is shown as the server says it, and marked as English', async () => {
  await speak('ru');
  expect(failed('too_large', 'it is very large')).toEqual({ text: 'it is very large', isForeign: true });
  expect(refused('malformed', 'The body is not JSON.')).toEqual({
    text: 'The body is not JSON.',
    isForeign: true,
  });
});

it('nothing is added to a sentence that tells everything', () => {
  expect(refused('unavailable', 'The database is away.')).toBeNull();
  expect(whyFailed(t().shell.why, null)).toBeNull();
});
