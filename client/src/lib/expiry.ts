// When a new token ends: after a time that people choose, or at the end of a day of the browser's calendar.

export type Expiry = 'never' | 'day' | 'month' | 'year' | 'date';

/** `at` is null for a token without an end. */
export type ExpiryRead = { at: Date | null } | { fault: 'untilMissing' | 'untilPast' };

const DAYS: Partial<Record<Expiry, number>> = { day: 1, month: 30, year: 365 };

/** `day` is that of a date field, `2031-07-01`, and counts for `date` alone. */
export function expiryOf(expiry: Expiry, day: string, now: Date): ExpiryRead {
  if (expiry === 'never') return { at: null };
  const days = DAYS[expiry];
  if (days !== undefined) return { at: new Date(now.getTime() + days * 86_400_000) };
  const [year, month, date] = day.split('-').map(Number);
  if (!year || !month || !date) return { fault: 'untilMissing' };
  // The day's end: the next day's beginning, wherever the browser is.
  const at = new Date(year, month - 1, date + 1);
  return at > now ? { at } : { fault: 'untilPast' };
}
