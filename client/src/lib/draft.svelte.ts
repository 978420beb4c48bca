/**
 * The expression being written, with the unique id it will be sent under.
 *
 * The id lives until the text or the option changes, in this tab, over reloads: however often the same draft
 * is sent (a double click, a lost answer, a reload in between), the server makes one expression of it.
 */
import type { Shelf } from './kept';
import { randomId } from './randomId';

const KEY = 'draft';

interface Kept {
  text: string;
  optimize: boolean;
  id: string;
  wasSent: boolean;
}

export class Draft {
  #shelf: Shelf;
  #text = $state.raw('');
  #optimize = $state(true);
  #id = $state('');
  #wasSent = $state(false);

  constructor(shelf: Shelf) {
    this.#shelf = shelf;
    const kept = shelf.get(KEY) as Partial<Kept> | null;
    this.#text = typeof kept?.text === 'string' ? kept.text : '';
    this.#optimize = kept?.optimize !== false;
    this.#wasSent = kept?.wasSent === true;
    this.#id = typeof kept?.id === 'string' && kept.id !== '' ? kept.id : randomId();
  }

  get text(): string {
    return this.#text;
  }
  set text(text: string) {
    if (text === this.#text) return;
    this.#text = text;
    this.renew();
  }

  /** Whether the plan may be regrouped and share what is equal. */
  get optimize(): boolean {
    return this.#optimize;
  }
  set optimize(optimize: boolean) {
    if (optimize === this.#optimize) return;
    this.#optimize = optimize;
    this.renew();
  }

  get id(): string {
    return this.#id;
  }

  /** Whether this very draft has become an expression: sending it again finds that one. */
  get wasSent(): boolean {
    return this.#wasSent;
  }

  sent(): void {
    this.#wasSent = true;
    this.#keep();
  }

  /** Another expression from now on, even with the same text. */
  renew(): void {
    this.#id = randomId();
    this.#wasSent = false;
    this.#keep();
  }

  #keep(): void {
    const kept: Kept = { text: this.#text, optimize: this.#optimize, id: this.#id, wasSent: this.#wasSent };
    // A text too long to be kept is not half kept: after a reload it would be another text with the same id.
    this.#shelf.set(KEY, kept);
  }
}
