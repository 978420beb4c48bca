/**
 * Why an expression failed or a request was refused, in words of the language. The server says it in English
 * sentences; of those that are known here the figures and terms are taken over, others are shown as they are.
 */
import type { ProblemError, Schemas } from './api';
import { number } from './format';
import type { Dictionary } from './i18n/index.svelte';

export interface Why {
  text: string;
  /** Whether it is the server's own sentence, which is English whatever the language is. */
  isForeign: boolean;
}

type Words = Dictionary['shell']['why'];
type Known = [pattern: RegExp, say: (words: Words, found: string[]) => string];

const figure = (text = '') => number(Number(text.replaceAll(',', '')));
const count = (text = '') => Number(text.replaceAll(',', ''));

const FAILURES: Record<string, Known[]> = {
  division_by_zero: [[/^(.+) divides by zero$/s, (words, [what = '']) => words.at(what)]],
  too_large: [
    [
      /^(.+) is too large: the value has more than ([\d,]+) digits$/s,
      (words, [what = '', most]) => words.digits(what, count(most), figure(most)),
    ],
    [/^(.+) is too large$/s, (words, [what = '']) => words.at(what)],
    [
      /^the values of one expression may have ([\d,]+) bytes together, and (.+) exceeds that$/s,
      (words, [most, what = '']) => words.bytes(what, count(most), figure(most)),
    ],
  ],
  agents_failed: [
    [
      /^(.+) failed on agents ([\d,]+) times, at last with (.+)$/s,
      (words, [what = '', times, why = '']) => words.agents(what, count(times), figure(times), why),
    ],
  ],
  plan_lost: [[/^The stored plan cannot be read any more/, (words) => words.planLost]],
};

const REFUSALS: Record<string, Known[]> = {
  too_long: [
    [
      /^The expression has ([\d,]+) bytes; at most ([\d,]+) are allowed/,
      (words, [has, most]) => words.tooLong(count(has), figure(has), figure(most)),
    ],
  ],
  too_many_tasks: [
    [
      /^The expression has ([\d,]+) operations; at most ([\d,]+) tasks are allowed/,
      (words, [has, most]) => words.tooMany(count(has), figure(has), figure(most)),
    ],
  ],
  too_many_requests: [
    [
      /^You have about ([\d,]+) open expressions; at most ([\d,]+) are allowed/,
      (words, [has, most]) => words.tooOpen(count(has), figure(has), figure(most)),
    ],
    [/^Expressions come faster/, (words) => words.tooFast],
  ],
};

/** Of these the general sentence tells everything. */
const TOLD = new Set([
  'unreachable',
  'unauthorized',
  'forbidden',
  'not_found',
  'conflict',
  'last_admin',
  'unavailable',
  'cross_origin',
  'id_reused',
]);

function said(words: Words, known: Known[] | undefined, sentence: string): Why {
  for (const [pattern, say] of known ?? []) {
    const found = pattern.exec(sentence);
    if (found !== null) return { text: say(words, found.slice(1)), isForeign: false };
  }
  return { text: sentence, isForeign: true };
}

/** What stands below the name of an expression's error; null where there is nothing to add. */
export function whyFailed(words: Words, error: Schemas['Expression']['error']): Why | null {
  return error?.message ? said(words, FAILURES[error.code], error.message) : null;
}

/** What stands below the general sentence on a problem; null where there is nothing to add. */
export function whyRefused(words: Words, { code, problem }: ProblemError): Why | null {
  return problem?.detail && !TOLD.has(code) ? said(words, REFUSALS[code], problem.detail) : null;
}
