/** Clocks for what says how long ago something was, or how far it is; they stand while the tab is hidden. */
import { createSubscriber } from 'svelte/reactivity';
import { whileVisible } from './visible';

const TENTH_MS = 100;

let current = $state(Date.now());

if (typeof document !== 'undefined') {
  whileVisible(1000, () => {
    current = Date.now();
  });
}

/** Milliseconds since the epoch by this browser's clock, to the second. */
export function now(): number {
  return current;
}

const tick = createSubscriber((update) => whileVisible(TENTH_MS, update));

/** The same to the tenth of a second; ticks while somebody reads it. */
export function tenths(): number {
  tick();
  return Date.now();
}
