import { describe, expect, it } from 'vitest';
import { type Expression, LIVE_WINDOW, Listing, type Page } from './expressions';

/** Row number n of a table that grows upwards: a higher number is newer. */
function id(n: number): string {
  return `0196${n.toString(16).padStart(4, '0')}-0000-7000-8000-000000000000`;
}

function row(n: number, status: Expression['status'] = 'queued'): Expression {
  return {
    id: id(n),
    client_id: null,
    owner: 'anna',
    expression: `${n}+1`,
    optimize: true,
    status,
    result: null,
    exact: null,
    error: null,
    waiting_for: null,
    created_at: '2031-07-01T00:00:00Z',
    started_at: null,
    finished_at: null,
    tasks: { total: 1, done: 0, running: 0 },
    eta_s: null,
    truncated: [],
  };
}

/** The rows below `below`, newest first, of a table with the numbers 1 to `newest`. */
function page(newest: number, limit: number, below = Number.POSITIVE_INFINITY): Page {
  const from = Math.min(newest, below - 1);
  const items = [];
  for (let n = from; n > 0 && items.length < limit; n -= 1) items.push(row(n));
  const last = from - items.length + 1;
  return { items, next: last > 1 ? `after ${last}` : null };
}

const NEWEST = { cursor: null, after: null };

function numbers(list: Listing): number[] {
  return list.slice(0, list.size).map((shown) => Number.parseInt(shown.expression, 10));
}

/** All numbers from `newest` down to `oldest`. */
function down(newest: number, oldest: number): number[] {
  return Array.from({ length: newest - oldest + 1 }, (_, index) => newest - index);
}

describe('pages', () => {
  it('follow each other down to the end', () => {
    const list = new Listing();
    expect(list.next).toBeUndefined();
    list.snapshot(NEWEST, page(500, 200));
    expect(list.next).toBe('after 301');
    list.append('after 301', page(500, 200, 301));
    list.append('after 101', page(500, 200, 101));
    expect(list.next).toBeNull();
    expect(numbers(list)).toEqual(down(500, 1));
  });

  it('are not taken where another end was asked for', () => {
    const list = new Listing();
    list.snapshot(NEWEST, page(500, 200));
    list.append('after 201', page(500, 100, 201));
    expect(numbers(list)).toEqual(down(500, 301));
  });

  it('do not overwrite what came live meanwhile', () => {
    const list = new Listing();
    list.snapshot(NEWEST, page(500, 200));
    list.delta([row(300, 'done')], []);
    list.append('after 301', page(500, 200, 301));
    expect(list.at(200)?.status).toBe('done');
    expect(list.size).toBe(400);
  });
});

describe('at the top', () => {
  it('new rows come in, and those that fall off the window stay', () => {
    const list = new Listing();
    list.snapshot(NEWEST, page(1000, LIVE_WINDOW));
    list.delta([row(1001), row(1002)], [id(701), id(702)]);
    expect(numbers(list)).toEqual(down(1002, 701));
  });

  it('a row that does not fit the filter any more goes', () => {
    const list = new Listing();
    list.snapshot(NEWEST, page(1000, LIVE_WINDOW));
    list.delta([row(700)], [id(900)]);
    expect(numbers(list)).toEqual(down(1000, 700).filter((n) => n !== 900));
  });

  it('a row that leaves a window with room to spare goes', () => {
    const list = new Listing();
    list.snapshot(NEWEST, page(3, LIVE_WINDOW));
    list.delta([], [id(1)]);
    expect(numbers(list)).toEqual([3, 2]);
  });

  it('a snapshot corrects what it covers and leaves the rest', () => {
    const list = new Listing();
    list.snapshot(NEWEST, page(1000, 200));
    list.append('after 801', page(1000, 200, 801));
    const fresh = page(1001, LIVE_WINDOW);
    fresh.items = fresh.items.filter((shown) => shown.id !== id(950));
    list.snapshot(NEWEST, fresh);
    expect(numbers(list)).toEqual(down(1001, 601).filter((n) => n !== 950));
    expect(list.next).toBe('after 601');
  });

  it('begins anew where rows were missed in between', () => {
    const list = new Listing();
    list.snapshot(NEWEST, page(1000, LIVE_WINDOW));
    list.snapshot(NEWEST, page(5000, LIVE_WINDOW));
    expect(numbers(list)).toEqual(down(5000, 4701));
    expect(list.next).toBe('after 4701');
  });

  it('asks for a snapshot where more came at once than the window holds', () => {
    const list = new Listing();
    list.snapshot(NEWEST, page(1000, LIVE_WINDOW));
    const before = page(1000, LIVE_WINDOW).items.map((shown) => shown.id);
    expect(list.delta(page(2000, LIVE_WINDOW).items, before)).toBe(false);
    expect(list.delta([row(1001)], [id(701)])).toBe(true);
  });

  it('does not keep everything that ever came', () => {
    const list = new Listing();
    list.snapshot(NEWEST, page(1000, LIVE_WINDOW));
    for (const newest of down(4000, 1001).reverse()) list.delta([row(newest)], [id(newest - LIVE_WINDOW)]);
    expect(list.isOvergrown).toBe(true);
    list.snapshot(NEWEST, page(9000, LIVE_WINDOW));
    expect(list.size).toBe(LIVE_WINDOW);
    expect(list.next).toBe('after 8701');
    expect(list.isOvergrown).toBe(false);
  });

  it('the whole list may be empty, and become so', () => {
    const list = new Listing();
    list.snapshot(NEWEST, { items: [], next: null });
    expect([list.size, list.next]).toEqual([0, null]);
    list.delta([row(1)], []);
    expect(numbers(list)).toEqual([1]);
    list.snapshot(NEWEST, { items: [], next: null });
    expect(list.size).toBe(0);
  });
});

describe('further down', () => {
  function held(): Listing {
    const list = new Listing();
    list.snapshot(NEWEST, page(1000, 200));
    list.append('after 801', page(1000, 200, 801));
    list.append('after 601', page(1000, 200, 601));
    list.hold(page(1002, 1));
    return list;
  }

  it('new rows wait and are counted', () => {
    const list = held();
    list.delta([row(1003), row(1004)], []);
    expect(numbers(list)[0]).toBe(1002);
    expect([list.waiting, list.isMoreWaiting]).toEqual([2, false]);
    list.count(page(2000, 100));
    expect([list.waiting, list.isMoreWaiting]).toEqual([100, true]);
    list.release();
    expect(list.waiting).toBe(0);
    list.delta([row(1005)], []);
    expect(numbers(list)[0]).toBe(1005);
  });

  it('the live window begins above what is on the screen', () => {
    const list = held();
    // Above the first row in view there is no cursor but the newest row's.
    expect(list.windowFor(5, 40)).toEqual({ cursor: 'after 1002', after: id(1002) });
    expect(list.windowFor(250, 290)).toEqual({ cursor: 'after 801', after: id(801) });
  });

  it('the live window stays as long as it covers the view', () => {
    const list = held();
    const window = list.windowFor(5, 40);
    list.snapshot(window, page(1002, LIVE_WINDOW, 1002));
    expect(list.windowFor(250, 290)).toBe(window);
    expect(list.windowFor(310, 350)).not.toBe(window);
  });

  it('rows that came between the last snapshot and the hold are found', () => {
    const list = held();
    expect(numbers(list).slice(0, 3)).toEqual([1002, 1000, 999]);
    list.snapshot(list.windowFor(5, 40), page(1002, LIVE_WINDOW, 1002));
    expect(numbers(list).slice(0, 3)).toEqual([1002, 1001, 1000]);
  });

  it('a live window in the midst changes nothing above and below it', () => {
    const list = held();
    const window = list.windowFor(250, 290);
    const fresh = page(1002, LIVE_WINDOW, 801);
    fresh.items = fresh.items.filter((shown) => shown.id !== id(700));
    list.snapshot(window, fresh);
    expect(numbers(list)).toEqual([1002, ...down(1000, 401).filter((n) => n !== 700)]);
    expect(list.next).toBe('after 401');
    list.delta([row(650, 'done')], [id(640)]);
    expect(list.at(list.indexOf(id(650)))?.status).toBe('done');
    expect(list.has(id(640))).toBe(false);
  });

  it('lets go of what is below where rows were missed in between', () => {
    const list = held();
    const window = list.windowFor(250, 290);
    const other = Array.from({ length: LIVE_WINDOW }, (_, n) => ({
      ...row(800),
      id: `${id(800)}${900 - n}`,
    }));
    list.snapshot(window, { items: other, next: 'further' });
    expect(numbers(list).slice(0, 201)).toEqual([1002, ...down(1000, 801)]);
    expect([list.size, list.next]).toEqual([201 + LIVE_WINDOW, 'further']);
  });

  it('a snapshot far above does not mix with what is shown', () => {
    const list = held();
    list.snapshot(NEWEST, page(9000, LIVE_WINDOW));
    expect(numbers(list)[0]).toBe(1002);
    expect([list.waiting, list.isMoreWaiting]).toEqual([LIVE_WINDOW, true]);
  });
});

it('an answer to an action is taken for a row that is shown', () => {
  const list = new Listing();
  list.snapshot(NEWEST, page(3, LIVE_WINDOW));
  list.update(row(2, 'cancelled'));
  list.update(row(50, 'cancelled'));
  expect(list.slice(0, 9).map((shown) => shown.status)).toEqual(['queued', 'cancelled', 'queued']);
});
