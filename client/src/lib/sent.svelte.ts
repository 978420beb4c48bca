/**
 * The expressions sent from this tab, newest first, kept over a reload and followed until they are final.
 *
 * The newest few are followed live, each by its own topic; the others are asked for now and then, so that
 * a long list costs no more than a short one.
 */
import { api, ask, ProblemError, type Schemas } from './api';
import type { Shelf } from './kept';
import { subscribe } from './live.svelte';

export type Expression = Schemas['Expression'];

const KEY = 'sent';
const KEPT = 30;
/** A connection has room for 16 subscriptions. */
const LIVE = 8;
const ASK_MS = 3_000;

const FINAL: readonly string[] = ['done', 'failed', 'cancelled'];
export const isFinal = (expression: Expression): boolean => FINAL.includes(expression.status);

function cut(text: string): string {
  return text.length > 200 ? text.slice(0, 200) : text;
}

/** As lists show it: a long text is not kept twice. */
function short(expression: Expression): Expression {
  const truncated = new Set(expression.truncated);
  const shortened = { ...expression };
  for (const field of ['expression', 'result', 'exact'] as const) {
    const text = expression[field];
    if (text === null || text.length <= 200) continue;
    shortened[field] = cut(text);
    truncated.add(field);
  }
  return { ...shortened, truncated: [...truncated] };
}

export class Sent {
  items = $state.raw<Expression[]>([]);
  /** The one that became final last: for those who hear the page instead of seeing it. */
  finished = $state.raw<Expression | null>(null);
  readonly #shelf: Shelf;

  constructor(shelf: Shelf) {
    this.#shelf = shelf;
    const kept = shelf.get(KEY);
    if (Array.isArray(kept)) this.items = kept as Expression[];
  }

  /** Which to follow live, as one value that changes only when they do. */
  get followed(): string {
    return this.items
      .filter((one) => !isFinal(one))
      .slice(0, LIVE)
      .map((one) => one.id)
      .join(' ');
  }

  /** At the top, also where it is there already. */
  add(expression: Expression): void {
    const others = this.items.filter((one) => one.id !== expression.id);
    this.items = [short(expression), ...others].slice(0, KEPT);
    if (isFinal(expression)) this.finished = expression;
    this.#keep();
  }

  remove(id: string): void {
    this.items = this.items.filter((one) => one.id !== id);
    this.#keep();
  }

  /** Drops what is final. */
  clear(): void {
    this.items = this.items.filter((one) => !isFinal(one));
    this.#keep();
  }

  /** Follows one expression until the answer is called. */
  follow(id: string): () => void {
    return subscribe<Partial<Expression>>(
      `expression/${id}`,
      { depth: 0 },
      {
        snapshot: (items) => this.#take(items),
        delta: (items) => this.#take(items),
        poll: () => this.refresh(id),
        refused: (error) => {
          if (error.code === 'not_found') this.remove(id);
        },
      },
    );
  }

  /** Asks for the unfinished ones that are not followed, until the answer is called. */
  sweep(): () => void {
    let isOver = false;
    let timer: ReturnType<typeof setTimeout>;
    const again = async () => {
      const waiting = document.visibilityState === 'visible' ? this.items.filter((one) => !isFinal(one)) : [];
      for (const one of waiting.slice(LIVE)) {
        if (isOver) return;
        await this.refresh(one.id).catch(() => undefined); // the next round tries again
      }
      if (!isOver) timer = setTimeout(() => void again(), ASK_MS);
    };
    timer = setTimeout(() => void again(), ASK_MS);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }

  /** Raises: ProblemError. */
  async refresh(id: string): Promise<void> {
    try {
      const path = { id };
      this.#take([await ask(api.GET('/expressions/{id}', { params: { path, query: { full: false } } }))]);
    } catch (error) {
      if (!(error instanceof ProblemError) || error.status !== 404) throw error;
      this.remove(id);
    }
  }

  /** A topic's items are the expression and tasks of its plan: only the first is of use here. */
  #take(items: Partial<Expression>[]): void {
    for (const item of items) {
      const at = this.items.findIndex((one) => one.id === item.id);
      const before = this.items[at];
      if (before === undefined || item.status === undefined || isFinal(before)) continue;
      const now = item as Expression;
      this.items = this.items.with(at, now);
      if (isFinal(now)) this.finished = now;
      this.#keep();
    }
  }

  #keep(): void {
    this.#shelf.set(KEY, this.items);
  }
}
