/** One clock for everything on a page that says how long ago something was: ticks once a second. */

let current = $state(Date.now());

if (typeof document !== 'undefined') {
  setInterval(() => {
    // Nobody reads a hidden page; it ticks again within a second of being shown.
    if (document.visibilityState === 'visible') current = Date.now();
  }, 1000);
}

/** Milliseconds since the epoch by this browser's clock, to the second. */
export function now(): number {
  return current;
}
