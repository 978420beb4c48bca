/** What a tab keeps over a reload, per person: gone with the tab, and at sign-out (`session.svelte.ts`). */

export interface Shelf {
  get(key: string): unknown;
  /** Whether there was room for it; what was kept before is gone in either case. */
  set(key: string, value: unknown): boolean;
}

/** `name` is who is signed in: another person on the same tab finds nothing. */
export function shelf(name: string): Shelf {
  const full = (key: string) => `curta.${key}.${name}`;
  return {
    get(key) {
      try {
        return JSON.parse(sessionStorage.getItem(full(key)) ?? 'null');
      } catch {
        return null;
      }
    },
    set(key, value) {
      try {
        sessionStorage.removeItem(full(key));
        sessionStorage.setItem(full(key), JSON.stringify(value));
        return true;
      } catch {
        return false;
      }
    },
  };
}
