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
  set current(chosen: Language) {
    current = chosen;
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // Then the choice lasts as long as the page.
    }
    applyLanguage();
  },
};

/** Tells the document, for screen readers and hyphenation. */
export function applyLanguage(): void {
  document.documentElement.lang = current;
}

export interface PluralForms {
  one: string;
  few?: string;
  many?: string;
  other: string;
}

const rules: Record<Language, Intl.PluralRules> = {
  en: new Intl.PluralRules('en'),
  ru: new Intl.PluralRules('ru'),
};

/** The word that goes with `n` in the language in use: `plural(2, { one: 'task', other: 'tasks' })`. */
export function plural(n: number, forms: PluralForms): string {
  const form = rules[current].select(n);
  return (form === 'zero' || form === 'two' ? undefined : forms[form]) ?? forms.other;
}
