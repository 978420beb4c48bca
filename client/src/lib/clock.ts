// The server's clock as the browser knows it: times of tasks and agents are shown against it, so that a
// browser whose own clock is wrong shows the same seconds as all others.
//
// Every answer's `Date` header says within a second when it was made, and every time in a message is no later
// than the message. Each narrows the difference between the two clocks; what contradicts the rest (somebody set
// a clock) starts anew.

import { whenAnswered } from './api';

export class Clock {
  private least = Number.NEGATIVE_INFINITY;
  private most = Number.POSITIVE_INFINITY;

  /** Milliseconds since 1970 by the server's clock; by the browser's, as far as nothing is known. */
  at(now = Date.now()): number {
    return now + this.ahead;
  }

  /** An answer: its `Date` header, and when the browser asked and heard. */
  heard(header: string | null, asked: number, heard = Date.now()): void {
    const date = header === null ? Number.NaN : Date.parse(header);
    if (!Number.isNaN(date)) this.narrow(date - heard, date + 1000 - asked);
  }

  /** A moment in a message that came just now: the server's clock says at least that. */
  reached(time: string | null | undefined, now = Date.now()): void {
    const moment = time ? Date.parse(time) : Number.NaN;
    if (!Number.isNaN(moment)) this.narrow(moment - now, Number.POSITIVE_INFINITY);
  }

  /** How far the server's clock is ahead of the browser's, in milliseconds: not at all where that may be. */
  private get ahead(): number {
    if (this.least <= 0 && this.most >= 0) return 0;
    if (this.most === Number.POSITIVE_INFINITY) return this.least;
    return this.least === Number.NEGATIVE_INFINITY ? this.most : (this.least + this.most) / 2;
  }

  private narrow(least: number, most: number): void {
    const isSame = Math.max(this.least, least) <= Math.min(this.most, most);
    this.least = isSame ? Math.max(this.least, least) : least;
    this.most = isSame ? Math.min(this.most, most) : most;
  }
}

/** The page's one. */
export const clock = new Clock();

whenAnswered((response, askedAt) => clock.heard(response.headers.get('Date'), askedAt));
