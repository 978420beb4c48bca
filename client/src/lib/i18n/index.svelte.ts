/**
 * Every text a person reads: `t().calculate.title`. One dictionary per language, one file per page. Only the
 * dictionary of the language in use is fetched.
 */
import type { en } from './en';
import { type Language, language } from './language.svelte';

export { LANGUAGES, type Language, language } from './language.svelte';
export type Dictionary = typeof en;

const FILES: Record<Language, () => Promise<Dictionary>> = {
  en: async () => (await import('./en')).en,
  ru: async () => (await import('./ru')).ru,
};

const fetched: Partial<Record<Language, Dictionary>> = {};
let wanted = language.current;

/** Fetches the dictionary and uses it from now on. Rejects, and changes nothing, where it cannot be had. */
export async function speak(chosen: Language): Promise<void> {
  wanted = chosen;
  fetched[chosen] ??= await FILES[chosen]();
  // Whoever chose again meanwhile means the later one.
  if (wanted === chosen) language.current = chosen;
}

/** The dictionary of the language in use; read it where it is shown, so that a switch is followed. */
export function t(): Dictionary {
  const found = fetched[language.current];
  if (found === undefined) throw new Error('no dictionary was fetched yet: speak() comes first');
  return found;
}
