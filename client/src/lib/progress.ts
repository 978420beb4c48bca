// Times as the server says them, and how far a running task is.
//
// Pure; the graph, the timeline and the figures on the page of one expression use it.

/** Milliseconds since 1970, with the microseconds behind the point. */
export function momentOf(time: string): number {
  const ms = Date.parse(time);
  const micros = /\.\d{3}(\d{1,3})/.exec(time)?.[1];
  return micros ? ms + Number(micros.padEnd(3, '0')) / 1000 : ms;
}

/** From 0 to 1; a task that takes longer than its operation's duration stays at 1. */
export function fractionOf(startedAt: number, durationMs: number, now: number): number {
  if (durationMs <= 0) return 1;
  return Math.min(1, Math.max(0, (now - startedAt) / durationMs));
}
