/** Numbers, durations and times as people of the language in use write them. */
import { type Language, language, t } from './i18n/index.svelte';

const numbers = new Map<string, Intl.NumberFormat>();
const times = new Map<string, Intl.DateTimeFormat>();

function numberFormat(digits: number): Intl.NumberFormat {
  const key = `${language.current}${digits}`;
  let found = numbers.get(key);
  if (found === undefined) {
    found = new Intl.NumberFormat(language.current, { maximumFractionDigits: digits });
    numbers.set(key, found);
  }
  return found;
}

function timeFormat(name: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${language.current}${name}`;
  let found = times.get(key);
  if (found === undefined) {
    const locales: Record<Language, string> = { en: 'en-GB', ru: 'ru' }; // both with 24 hours
    found = new Intl.DateTimeFormat(locales[language.current], options);
    times.set(key, found);
  }
  return found;
}

/** `1,234.5`, with at most `digits` after the point. */
export function number(value: number, digits = 0): string {
  return numberFormat(digits).format(value);
}

/** `42%` of a share between 0 and 1; 100% only for all of it. */
export function percent(share: number): string {
  const whole = share >= 1 ? 100 : Math.min(99, Math.floor(Math.max(0, share) * 100));
  return `${whole}%`;
}

/** `350 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`: two units at most. */
export function duration(ms: number): string {
  const units = t().shell.units;
  const space = ' ';
  const pair = (large: number, largeUnit: string, small: number, smallUnit: string) =>
    `${number(large)}${space}${largeUnit}${small > 0 ? `${space}${number(small)}${space}${smallUnit}` : ''}`;
  if (ms < 999.5) return `${number(Math.round(ms))}${space}${units.ms}`;
  if (ms < 59_950) return `${number(ms / 1000, ms < 9_950 ? 2 : 1)}${space}${units.s}`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return pair(Math.floor(seconds / 60), units.min, seconds % 60, units.s);
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return pair(Math.floor(minutes / 60), units.h, minutes % 60, units.min);
  const hours = Math.round(minutes / 60);
  return pair(Math.floor(hours / 24), units.d, hours % 24, units.h);
}

/** `14:03:27` today, `23 Nov, 14:03` this year, else with the year. */
export function time(when: string | number | Date): string {
  const date = new Date(when);
  const today = new Date();
  if (date.toDateString() === today.toDateString()) return clock(date);
  const sameYear = date.getFullYear() === today.getFullYear();
  return timeFormat(sameYear ? 'day' : 'year', {
    day: 'numeric',
    month: 'short',
    ...(sameYear ? {} : { year: 'numeric' }),
    hour: '2-digit',
    minute: '2-digit',
  }).format(date);
}

/** `14:03:27`. */
export function clock(when: string | Date): string {
  return timeFormat('clock', { hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(
    new Date(when),
  );
}

/** Date and time to the second, for tooltips. */
export function fullTime(when: string | Date): string {
  return timeFormat('full', { dateStyle: 'long', timeStyle: 'medium' }).format(new Date(when));
}

/** `5 s ago`, `3 min ago`, beyond an hour the time itself. */
export function ago(when: string | number | Date, now: number): string {
  const seconds = Math.max(0, Math.floor((now - new Date(when).getTime()) / 1000));
  if (seconds < 2) return t().shell.ago.now;
  if (seconds < 60) return t().shell.ago.seconds(seconds);
  if (seconds < 3600) return t().shell.ago.minutes(Math.floor(seconds / 60));
  return time(when);
}
