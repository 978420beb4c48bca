// An operation's duration as people write and read it: `1.5 s`, `200 ms`, `1 min 30 s`, `2 ч`, `1,5 с`.
//
// Owned by the Operations page. What `showDuration` shows, `readDuration` reads back to the same
// milliseconds, in either language whatever the page's is.

export type Unit = 'ms' | 's' | 'min' | 'h' | 'd';
export type Language = 'en' | 'ru';

/** What is wrong with a text that should be a duration; the dictionaries have a sentence for each. */
export type DurationFault = 'empty' | 'number' | 'unit' | 'finer' | 'too_long';

export type DurationRead = { ms: number } | { fault: DurationFault };

/** A week: the most that the server takes. */
export const DURATION_MS_MAX = 604_800_000;

const MS: Record<Unit, number> = { d: 86_400_000, h: 3_600_000, min: 60_000, s: 1000, ms: 1 };

const NAMES: Record<Language, Record<Unit, string>> = {
  en: { d: 'd', h: 'h', min: 'min', s: 's', ms: 'ms' },
  ru: { d: 'д', h: 'ч', min: 'мин', s: 'с', ms: 'мс' },
};

const WRITTEN: Record<Unit, string[]> = {
  ms: ['ms', 'msec', 'msecs', 'millisecond', 'milliseconds', 'мс', 'мсек'],
  s: ['s', 'sec', 'secs', 'second', 'seconds', 'с', 'сек'],
  min: ['m', 'min', 'mins', 'minute', 'minutes', 'м', 'мин'],
  h: ['h', 'hr', 'hrs', 'hour', 'hours', 'ч', 'час', 'часа', 'часов'],
  d: ['d', 'day', 'days', 'д', 'дн', 'день', 'дня', 'дней', 'сут', 'сутки', 'суток'],
};

const UNITS = new Map(
  (Object.keys(WRITTEN) as Unit[]).flatMap((unit) => WRITTEN[unit].map((name) => [name, unit] as const)),
);

// A number, with spaces between its thousands or without, and the letters behind it.
const PART = /^(\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\d)|\d*)(?:[.,](\d+))?\s*(\p{L}*)\.?\s*/u;

/**
 * The milliseconds that a text means. A number alone has `unit`, which is that of the duration shown before:
 * who replaces `1.5 s` by `2` means two seconds.
 */
export function readDuration(text: string, unit: Unit): DurationRead {
  let rest = text.trim().toLowerCase();
  if (rest === '') return { fault: 'empty' };
  let ms = 0;
  for (let isFirst = true; rest !== ''; isFirst = false) {
    const [whole = '', integer = '', fraction = '', name = ''] = PART.exec(rest) ?? [];
    if (integer === '' && fraction === '') return { fault: 'number' };
    rest = rest.slice(whole.length);
    const found = name === '' && isFirst && rest === '' ? unit : UNITS.get(name);
    if (found === undefined) return { fault: name === '' && rest !== '' ? 'number' : 'unit' };
    const exact = Number(`${integer.replace(/\s/g, '')}.${fraction}0`) * MS[found];
    const part = Math.round(exact);
    // Doubles miss decimal fractions by far less than this.
    if (Math.abs(exact - part) > 1e-6 || (part === 0 && exact > 0)) return { fault: 'finer' };
    ms += part;
  }
  return ms > DURATION_MS_MAX ? { fault: 'too_long' } : { ms };
}

/** A duration to be read, and to be edited: exact, in the fewest units, a no-break space before each. */
export function showDuration(ms: number, language: Language): string {
  const names = NAMES[language];
  if (ms < 1000) return `${ms}\u00a0${names.ms}`;
  const parts: string[] = [];
  let rest = ms;
  for (const unit of ['d', 'h', 'min'] as const) {
    const count = Math.floor(rest / MS[unit]);
    if (count > 0) parts.push(`${count}\u00a0${names[unit]}`);
    rest -= count * MS[unit];
  }
  if (rest > 0) {
    const seconds = String(rest / 1000);
    parts.push(`${language === 'ru' ? seconds.replace('.', ',') : seconds}\u00a0${names.s}`);
  }
  return parts.join(' ');
}

/** The unit that a number without one is read in after this duration was shown: its smallest. */
export function unitOf(ms: number): Unit {
  if (ms === 0) return 's';
  if (ms < 1000) return 'ms';
  if (ms % MS.min !== 0) return 's';
  if (ms % MS.h !== 0) return 'min';
  return ms % MS.d !== 0 ? 'h' : 'd';
}
