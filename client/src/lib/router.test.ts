import { expect, it } from 'vitest';
import { parse, pathOf } from './router.svelte';

it('every page has a path that leads back to it', () => {
  for (const page of ['calculate', 'expressions', 'operations', 'agents', 'monitoring', 'tokens'] as const) {
    expect(parse(pathOf(page))).toEqual({ page, id: '' });
  }
  expect(parse(pathOf('expression', 'a b/c'))).toEqual({ page: 'expression', id: 'a b/c' });
});

it('a path may end with a slash, and the root may lack it', () => {
  expect(parse('/ui')).toEqual({ page: 'calculate', id: '' });
  expect(parse('/ui/agents/')).toEqual({ page: 'agents', id: '' });
  expect(parse('/ui/expressions/7/')).toEqual({ page: 'expression', id: '7' });
});

it('what is no page is missing, whatever it is called', () => {
  for (const path of [
    '/ui/nowhere',
    '/ui/agents/7',
    '/ui/expressions/7/tasks',
    '/ui/calculate',
    '/ui/missing',
  ]) {
    expect(parse(path).page, path).toBe('missing');
  }
  expect(parse('/ui/expressions/%E0%A4%A')).toEqual({ page: 'expression', id: '%E0%A4%A' });
});
