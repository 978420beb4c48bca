/** Every text a person reads: `t().calculate.title`. One dictionary per language, one file per page. */
import { en } from './en';
import { type Language, language } from './language.svelte';
import { ru } from './ru';

export { applyLanguage, LANGUAGES, type Language, language, plural } from './language.svelte';
export type Dictionary = typeof en;

const dictionaries: Record<Language, Dictionary> = { en, ru };

/** The dictionary of the language in use; read it where it is shown, so that a switch is followed. */
export function t(): Dictionary {
  return dictionaries[language.current];
}
