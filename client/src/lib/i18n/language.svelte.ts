/** The language in use: the browser's, or as chosen, which this browser remembers. */

export type Language = 'en' | 'ru';
export const LANGUAGES: readonly Language[] = ['en', 'ru'];

const KEY = 'curta.language';

function initial(): Language {
  if (typeof navigator === 'undefined') return 'en';
  let remembered: string | null = null;
  try {
    remembered = localStorage.getItem(KEY);
  } catch {
    // Storage is switched off: the browser's languages decide.
  }
  const wanted = remembered === null ? navigator.languages : [remembered];
  for (const tag of wanted) {
    const found = LANGUAGES.find((known) => tag.toLowerCase().split('-')[0] === known);
    if (found !== undefined) return found;
  }
  return 'en';
}

let current = $state<Language>(initial());

export const language = {
  get current(): Language {
    return current;
  },
  /** `speak` sets it when the dictionary is there. */
  set current(chosen: Language) {
    current = chosen;
    // For screen readers and hyphenation.
    if (typeof document !== 'undefined') document.documentElement.lang = chosen;
  },
  /** Has the browser remember the one in use. */
  keep(): void {
    try {
      localStorage.setItem(KEY, current);
    } catch {
      // Then the choice lasts as long as the page.
    }
  },
};
