/** The forms that a word has beside a number; a language uses those it has. */
export interface PluralForms {
  one: string;
  few?: string;
  many?: string;
  other: string;
}

/** How a language chooses the word that goes with `n`: `plural(2, { one: 'task', other: 'tasks' })`. */
export function pluralsOf(language: string): (n: number, forms: PluralForms) => string {
  const rules = new Intl.PluralRules(language);
  return (n, forms) => {
    const form = rules.select(n);
    return (form === 'zero' || form === 'two' ? undefined : forms[form]) ?? forms.other;
  };
}
