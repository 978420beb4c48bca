/**
 * Which page is open: history paths under `/ui/`. `route` follows them, `go` changes them, and links to
 * them (`<a href={pathOf('agents')}>`) are followed without loading anything.
 */

export const PAGES = [
  'calculate',
  'expressions',
  'operations',
  'agents',
  'monitoring',
  'tokens',
  'expression',
  'missing',
] as const;
export type PageName = (typeof PAGES)[number];

export interface Route {
  page: PageName;
  /** The expression's, on its page. */
  id: string;
}

const BASE = '/ui/';

/** What a path shows; `missing` where there is no such page. */
export function parse(path: string): Route {
  const [page = '', id = '', ...more] = path.replace(/^\/ui\/?/, '').split('/');
  if (more.length > 0 && more.join('') !== '') return { page: 'missing', id: '' };
  if (page === '') return { page: 'calculate', id: '' };
  if (page === 'expressions' && id !== '') return { page: 'expression', id: decoded(id) };
  const found = PAGES.slice(1, 6).find((name) => name === page);
  return found !== undefined && id === '' ? { page: found, id: '' } : { page: 'missing', id: '' };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The path of a page, for `href`. */
export function pathOf(page: PageName, id = ''): string {
  if (page === 'calculate') return BASE;
  if (page === 'expression') return `${BASE}expressions/${encodeURIComponent(id)}`;
  return `${BASE}${page}`;
}

const current = $state<Route>(parse(typeof location === 'undefined' ? BASE : location.pathname));

export const route: Readonly<Route> = {
  get page() {
    return current.page;
  },
  get id() {
    return current.id;
  },
};

/** The page that an address leads to; null where it is none of these pages. */
export function pageOf(href: string): PageName | null {
  const url = new URL(href, location.href);
  return url.origin === location.origin && `${url.pathname}/`.startsWith(BASE)
    ? parse(url.pathname).page
    : null;
}

/** Shows the page at `path` (with its query, if any), as a click on a link would. */
export function go(path: string, how: 'push' | 'replace' = 'push'): void {
  const url = new URL(path, location.href);
  if (how === 'replace' || url.href === location.href) history.replaceState(null, '', url);
  else history.pushState(null, '', url);
  Object.assign(current, parse(url.pathname));
  if (how === 'push') scrollTo(0, 0);
}

/** Follows the browser's buttons and the page's own links, until the answer is called. */
export function listen(): () => void {
  const returned = () => Object.assign(current, parse(location.pathname));
  const clicked = (event: MouseEvent) => {
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    const isPlain =
      event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (
      link === null ||
      !isPlain ||
      event.defaultPrevented ||
      link.target !== '' ||
      link.hasAttribute('download')
    )
      return;
    if (pageOf(link.href) === null) return;
    const url = new URL(link.href);
    if (url.hash !== '' && url.pathname === location.pathname) return; // within the page
    event.preventDefault();
    go(url.href);
  };
  addEventListener('popstate', returned);
  document.addEventListener('click', clicked);
  return () => {
    removeEventListener('popstate', returned);
    document.removeEventListener('click', clicked);
  };
}
