import { describe, expect, it } from 'vitest';
import { Draft } from './draft.svelte';
import type { Shelf } from './kept';
import { randomId } from './randomId';

function memory(room = Number.POSITIVE_INFINITY): Shelf {
  const kept = new Map<string, string>();
  return {
    get: (key) => JSON.parse(kept.get(key) ?? 'null'),
    set(key, value) {
      const text = JSON.stringify(value);
      kept.delete(key);
      if (text.length > room) return false;
      kept.set(key, text);
      return true;
    },
  };
}

describe('a draft', () => {
  it('keeps its id over a reload, sent or not', () => {
    const shelf = memory();
    const draft = new Draft(shelf);
    draft.text = '1+1';
    const { id } = draft;
    expect(new Draft(shelf)).toMatchObject({ text: '1+1', id, wasSent: false });
    draft.sent();
    expect(new Draft(shelf)).toMatchObject({ text: '1+1', id, wasSent: true });
  });

  it('becomes another one with its text or its option', () => {
    const draft = new Draft(memory());
    draft.text = '1+1';
    draft.sent();
    const ids = [draft.id];
    draft.text = '1+2';
    ids.push(draft.id);
    expect(draft.wasSent).toBe(false);
    draft.optimize = false;
    ids.push(draft.id);
    draft.renew();
    ids.push(draft.id);
    expect(new Set(ids).size).toBe(4);
  });

  it('stays the same one when nothing changes', () => {
    const draft = new Draft(memory());
    draft.text = '1+1';
    const { id } = draft;
    draft.text = '1+1';
    draft.optimize = true;
    expect(draft.id).toBe(id);
  });

  it('too long to be kept is gone after a reload, and never half there', () => {
    const shelf = memory(200);
    const draft = new Draft(shelf);
    draft.text = '1+1';
    draft.text = `1${'+1'.repeat(500)}`;
    const after = new Draft(shelf);
    expect(after.text).toBe('');
    expect(after.id).not.toBe(draft.id);
  });

  it('survives what others left on its shelf', () => {
    const shelf = memory();
    shelf.set('draft', { text: 7, id: '' });
    const draft = new Draft(shelf);
    expect(draft.text).toBe('');
    expect(draft.id).toMatch(/^[0-9a-f-]{36}$/);
  });
});

it('a unique id is a version 4 UUID', () => {
  expect(randomId()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(randomId()).not.toBe(randomId());
});
