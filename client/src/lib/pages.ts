/**
 * The pages' components. What most people open first comes with the first file; the others, and the chart
 * library with them, are files of their own, fetched when they are opened or when there is nothing else to do.
 */
import type { Component } from 'svelte';
import Calculate from '../pages/Calculate.svelte';
import Expressions from '../pages/Expressions.svelte';
import type { PageName } from './router.svelte';

// biome-ignore lint/suspicious/noExplicitAny: one of the pages takes an id, the others nothing
export type AnyPage = Component<any>;

type Fetched = () => Promise<{ default: AnyPage }>;

const HERE: Partial<Record<PageName, AnyPage>> = { calculate: Calculate, expressions: Expressions };

const ELSEWHERE: Partial<Record<PageName, Fetched>> = {
  expression: () => import('../pages/Expression.svelte'),
  operations: () => import('../pages/Operations.svelte'),
  agents: () => import('../pages/Agents.svelte'),
  monitoring: () => import('../pages/Monitoring.svelte'),
  tokens: () => import('../pages/Tokens.svelte'),
};

/** The page's component where it is there already. */
export function pageHere(name: PageName): AnyPage | undefined {
  return HERE[name];
}

/** The page's component, fetched if need be. Rejects where the file cannot be had. */
export async function fetchPage(name: PageName): Promise<AnyPage | undefined> {
  const fetched = ELSEWHERE[name];
  if (HERE[name] === undefined && fetched !== undefined) HERE[name] = (await fetched()).default;
  return HERE[name];
}

/** Fetches the other pages when the browser has nothing else to do, so that they open at once. */
export function fetchOthers(): void {
  const later = globalThis.requestIdleCallback ?? ((task: () => void) => setTimeout(task, 2000));
  later(async () => {
    for (const name of Object.keys(ELSEWHERE) as PageName[]) {
      // Whoever opens the page is told.
      await fetchPage(name).catch(() => undefined);
    }
  });
}
