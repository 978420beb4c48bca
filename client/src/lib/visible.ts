/** What is worth doing only while somebody looks: a hidden tab costs nothing. */

/** Runs every so many milliseconds while the tab is visible, and at once when it becomes so again; until the
 * answer is called. */
export function whileVisible(everyMs: number, run: () => void): () => void {
  let timer: ReturnType<typeof setInterval> | undefined;
  const look = (event?: Event) => {
    clearInterval(timer);
    if (document.visibilityState === 'hidden') return;
    if (event) run();
    timer = setInterval(run, everyMs);
  };
  look();
  document.addEventListener('visibilitychange', look);
  return () => {
    clearInterval(timer);
    document.removeEventListener('visibilitychange', look);
  };
}
