/**
 * The pages' components. What most people open first comes with the first file; the others are files of their
 * own, fetched when somebody is about to open them. The page of one expression is where most go next: it comes
 * when there is nothing else to do.
 */
import type { Component } from 'svelte';
import Calculate from '../pages/Calculate.svelte';
import Expressions from '../pages/Expressions.svelte';
import { type PageName, pageOf } from './router.svelte';

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

/** Fetches what is likely to be opened next, so that it opens at once; until the answer is called. */
export function fetchAhead(): () => void {
  // Whoever opens the page is told what went wrong.
  const ahead = (name: PageName) => void fetchPage(name).catch(() => undefined);
  const meant = (event: Event) => {
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    const page = link === null ? null : pageOf(link.href);
    if (page !== null) ahead(page);
  };
  const later = globalThis.requestIdleCallback ?? ((task: () => void) => setTimeout(task, 2000));
  later(() => ahead('expression'));
  const signs = ['pointerover', 'pointerdown', 'focusin'] as const;
  for (const sign of signs) document.addEventListener(sign, meant, { passive: true });
  return () => {
    for (const sign of signs) document.removeEventListener(sign, meant);
  };
}
