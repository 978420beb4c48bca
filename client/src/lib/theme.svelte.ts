/** The colour scheme: as the system says, or as chosen, which this browser remembers. */

export type Scheme = 'system' | 'light' | 'dark';

const KEY = 'curta.scheme';
const SCHEMES: readonly Scheme[] = ['system', 'light', 'dark'];

function remembered(): Scheme {
  try {
    const found = localStorage.getItem(KEY);
    return SCHEMES.find((scheme) => scheme === found) ?? 'system';
  } catch {
    return 'system'; // storage is switched off
  }
}

let current = $state<Scheme>(remembered());

export const scheme = {
  get current(): Scheme {
    return current;
  },
  set current(chosen: Scheme) {
    current = chosen;
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // Then the choice lasts as long as the page.
    }
    applyScheme();
  },
  /** Whether the page is dark now, whoever decided it. */
  get isDark(): boolean {
    return current === 'dark' || (current === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
  },
};

/** Tells the sheet; everything else follows from `color-scheme`. */
export function applyScheme(): void {
  if (current === 'system') delete document.documentElement.dataset.scheme;
  else document.documentElement.dataset.scheme = current;
}
