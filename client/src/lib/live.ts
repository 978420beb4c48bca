/**
 * The one connection to `GET /live`: what the page asked to see is asked of the server, and comes back.
 *
 * Knows no browser: the socket and the clock are given, so that tests drive both. `live.svelte.ts` makes the
 * tab's one. Whoever subscribes gets a snapshot, then deltas without a gap; after any trouble a snapshot
 * again. While no socket works, the subscribers' own `poll` stands in: one that opens is not yet one that works.
 */
import type { components } from './protocol';

type Schemas = components['schemas'];
export type Subscribe = Schemas['Subscribe'];
export type Snapshot = Schemas['Snapshot'];
export type Delta = Schemas['Delta'];
export type LiveError = Schemas['LiveError'];
type ServerMessage = Snapshot | Delta | LiveError | Schemas['Beat'];

/** What of a topic is wanted: a page of expressions, a part of a plan. */
export type Window = Partial<Omit<Subscribe, 'type' | 'topic'>>;

/** Who takes a topic's messages. Items have the shape that the topic says; the subscriber knows which. */
export interface Take<Item = unknown> {
  /** Replaces everything before. */
  snapshot(items: Item[], message: Snapshot): void;
  delta(items: Item[], removed: string[], message: Delta): void;
  /** Where there is no socket: fetch once what the snapshot would say. May fail. */
  poll?(): Promise<void>;
  /** The server does not serve the topic: forbidden, gone. */
  refused?(error: LiveError): void;
}

/**
 * connecting: a socket is being opened · live: it has brought a snapshot · polling: none does, the pages ask
 * again and again · away: nobody answers at all.
 */
export type State = 'connecting' | 'live' | 'polling' | 'away';

/** The part of a WebSocket that is used. */
export interface Socket {
  send(text: string): void;
  close(): void;
}

export interface SocketEvents {
  opened(): void;
  received(text: string): void;
  /** Once, also where it never opened. */
  closed(code: number): void;
}

export interface Clock {
  now(): number;
  /** Calls once; the answer calls it off. */
  after(ms: number, run: () => void): () => void;
  random(): number;
}

export interface Surroundings {
  open(events: SocketEvents): Socket;
  clock: Clock;
  changed(state: State): void;
  /** The session is over on the server. */
  sessionEnded(): void;
}

const SESSION_ENDED = 4001;
const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 5_000;
/** The server says something every 15 s. */
const SILENCE_MS = 35_000;
/** So often it is looked at; whatever has brought nothing by the first time may still, but the pages ask meanwhile. */
const CHECK_MS = 5_000;
const ANSWER_MS = 20_000;
const POLL_MS = 2_000;
const HIDDEN_MS = 5_000;
/** What the server may say now and not in a moment. */
const PASSING: LiveError['code'][] = ['too_many_requests', 'unavailable'];
/** So many sockets in a row that brought nothing are not bad luck but a wall. */
const REFUSALS = 2;

interface Subscription {
  window: string;
  take: Take<never>;
}

/** One topic: who wants it, and how far its messages have come. */
class Topic {
  /** The last one's window counts; those who want the same share it. */
  subscriptions: Subscription[] = [];
  /** The window that the server was last asked for on this connection. */
  asked: string | null = null;
  /** When, while its snapshot has not come. */
  unanswered: number | null = null;
  seq = 0;

  get window(): string | undefined {
    return this.subscriptions.at(-1)?.window;
  }

  get takers(): Take<unknown>[] {
    const window = this.window;
    return this.subscriptions
      .filter((subscription) => subscription.window === window)
      .map((subscription) => subscription.take as Take<unknown>);
  }
}

/** How long to wait before the `attempt`th try after a failure, counted from 0: full jitter. */
export function backoffMs(attempt: number, random: number): number {
  return random * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 16));
}

export class Live {
  readonly #around: Surroundings;
  readonly #topics = new Map<string, Topic>();
  #state: State = 'connecting';
  #socket: Socket | null = null;
  /** Closes the socket there is without a further word from it. */
  #drop: () => void = () => {};
  #isOpen = false;
  /** Whether this socket has brought a snapshot. */
  #isProven = false;
  #heard = 0;
  #failures = 0;
  #refusals = 0;
  #isHidden = false;
  #isStopped = false;
  #retry: (() => void) | null = null;
  #check: (() => void) | null = null;
  #hiding: (() => void) | null = null;
  #polling: (() => void) | null = null;
  /** Numbers the runs of polling, so that an answer to an ended one is not taken for a sign of life. */
  #pollRun = 0;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  get state(): State {
    return this.#state;
  }

  /** Shows a topic until the answer is called. A topic has one window: the one asked for last. */
  subscribe<Item>(name: string, window: Window, take: Take<Item>): () => void {
    let topic = this.#topics.get(name);
    if (topic === undefined) {
      topic = new Topic();
      this.#topics.set(name, topic);
    }
    const subscription: Subscription = { window: JSON.stringify(window), take: take as Take<never> };
    topic.subscriptions.push(subscription);
    // A second one for the same window has missed the snapshot: all of them get a new one.
    this.#ask(name, topic, true);
    this.#connect();
    if (this.#polling !== null) this.#pollOnce([take as Take<unknown>]);
    return () => this.#forget(name, topic, subscription);
  }

  /** The tab came to the front, or went behind another. A hidden one costs nothing after a while. */
  hide(isHidden: boolean): void {
    if (isHidden === this.#isHidden) return;
    this.#isHidden = isHidden;
    this.#hiding?.();
    this.#hiding = null;
    if (isHidden) {
      this.#hiding = this.#around.clock.after(HIDDEN_MS, () => {
        this.#hiding = null;
        this.#rest();
      });
    } else {
      this.resume();
    }
  }

  /** Somebody signed in. */
  start(): void {
    this.#isStopped = false;
    this.resume();
  }

  /** Nothing more until `start`: nobody is signed in. */
  stop(): void {
    this.#isStopped = true;
    this.#rest();
  }

  /** There is reason to believe that it works now: the network is back. */
  resume(): void {
    this.#retry?.();
    this.#retry = null;
    this.#connect();
  }

  #forget(name: string, topic: Topic, subscription: Subscription): void {
    const at = topic.subscriptions.indexOf(subscription);
    if (at < 0) return;
    topic.subscriptions.splice(at, 1);
    if (topic.subscriptions.length > 0) {
      this.#ask(name, topic, false);
      return;
    }
    // Not at once: a page that only changes its window lets the old one go before it asks for the new.
    queueMicrotask(() => {
      if (topic.subscriptions.length > 0 || this.#topics.get(name) !== topic) return;
      this.#topics.delete(name);
      if (topic.asked !== null) this.#send({ type: 'unsubscribe', topic: name });
    });
  }

  /** Asks for the topic's window, unless an answer is on its way: which question it answers is not said. */
  #ask(name: string, topic: Topic, isFresh: boolean): void {
    const window = topic.window;
    if (!this.#isOpen || window === undefined) return;
    if (topic.unanswered !== null) {
      if (isFresh) topic.asked = null;
      return;
    }
    if (window === topic.asked && !isFresh) return;
    topic.asked = window;
    topic.unanswered = this.#around.clock.now();
    const question = { type: 'subscribe' as const, topic: name, ...(JSON.parse(window) as Window) };
    this.#send(question);
  }

  #connect(): void {
    if (this.#socket !== null || this.#retry !== null || this.#topics.size === 0) return;
    if (this.#isStopped || (this.#isHidden && this.#hiding === null)) return;
    let isMine = true;
    const lost = (code: number) => {
      if (!isMine) return;
      isMine = false;
      this.#lost(code);
    };
    this.#socket = this.#around.open({
      opened: () => isMine && this.#opened(),
      received: (text) => isMine && this.#received(text),
      closed: lost,
    });
    this.#heard = this.#around.clock.now();
    this.#watch();
    const socket = this.#socket;
    this.#drop = () => {
      isMine = false;
      socket.close();
    };
  }

  #opened(): void {
    this.#isOpen = true;
    this.#heard = this.#around.clock.now();
    for (const [name, topic] of this.#topics) this.#ask(name, topic, true);
  }

  /** What was asked is answered: only now it is known that something behind the socket listens. */
  #proven(): void {
    if (this.#isProven) return;
    this.#isProven = true;
    this.#failures = 0;
    this.#refusals = 0;
    this.#stopPolling();
    this.#become('live');
  }

  #lost(code: number, isOverdue = false): void {
    const isRefusal = isOverdue || !this.#isProven;
    this.#close();
    if (code === SESSION_ENDED) {
      this.#isStopped = true;
      this.#stopPolling();
      this.#become('connecting');
      this.#around.sessionEnded();
      return;
    }
    if (isRefusal) this.#refusals += 1;
    if (this.#refusals >= REFUSALS) this.#startPolling();
    else if (this.#polling === null) this.#become('connecting');
    const wait = backoffMs(this.#failures, this.#around.clock.random());
    this.#failures += 1;
    this.#retry = this.#around.clock.after(wait, () => {
      this.#retry = null;
      this.#connect();
    });
  }

  #close(): void {
    this.#socket = null;
    this.#isOpen = false;
    this.#isProven = false;
    this.#drop = () => {};
    this.#check?.();
    this.#check = null;
    for (const topic of this.#topics.values()) {
      topic.asked = null;
      topic.unanswered = null;
    }
  }

  #rest(): void {
    this.#drop();
    this.#close();
    this.#retry?.();
    this.#retry = null;
    this.#stopPolling();
    this.#failures = 0;
    this.#refusals = 0;
    this.#become('connecting');
  }

  /** A connection that says nothing, or does not answer, is none. */
  #watch(): void {
    this.#check = this.#around.clock.after(CHECK_MS, () => {
      const now = this.#around.clock.now();
      const isOverdue = [...this.#topics.values()].some(
        (topic) => topic.unanswered !== null && now - topic.unanswered > ANSWER_MS,
      );
      if (now - this.#heard > SILENCE_MS || isOverdue || (!this.#isOpen && now - this.#heard > ANSWER_MS)) {
        this.#drop();
        this.#lost(0, isOverdue);
      } else {
        if (!this.#isProven) this.#startPolling();
        this.#watch();
      }
    });
  }

  #received(text: string): void {
    this.#heard = this.#around.clock.now();
    const message = JSON.parse(text) as ServerMessage;
    if (message.type === 'beat') return;
    const topic = this.#topics.get(message.topic);
    if (topic === undefined) return;
    switch (message.type) {
      case 'snapshot':
        topic.unanswered = null;
        this.#proven();
        if (topic.asked !== topic.window) {
          // Of a window that is not wanted any more.
          this.#ask(message.topic, topic, true);
          return;
        }
        topic.seq = message.seq;
        for (const take of topic.takers) take.snapshot(message.items, message);
        return;
      case 'delta':
        if (topic.unanswered !== null) return;
        if (message.seq !== topic.seq + 1) {
          this.#ask(message.topic, topic, true);
          return;
        }
        topic.seq = message.seq;
        for (const take of topic.takers) take.delta(message.items, message.removed, message);
        return;
      case 'error':
        topic.unanswered = null;
        if (topic.asked !== topic.window) {
          this.#ask(message.topic, topic, true);
          return;
        }
        for (const take of topic.takers) take.refused?.(message);
        if (PASSING.includes(message.code)) this.#askLater(message.topic, topic);
        return;
    }
  }

  #askLater(name: string, topic: Topic): void {
    this.#around.clock.after(BACKOFF_MAX_MS, () => {
      if (this.#topics.get(name) === topic && topic.unanswered === null) this.#ask(name, topic, true);
    });
  }

  #send(message: Pick<Subscribe | Schemas['Unsubscribe'], 'type' | 'topic'>): void {
    if (this.#isOpen) this.#socket?.send(JSON.stringify(message));
  }

  #startPolling(): void {
    if (this.#polling !== null) return;
    if (this.#state !== 'away') this.#become('polling');
    this.#pollRun += 1;
    const run = this.#pollRun;
    const again = async () => {
      const isReached = await this.#pollOnce([...this.#topics.values()].flatMap((topic) => topic.takers));
      if (run !== this.#pollRun || this.#polling === null) return;
      this.#become(isReached ? 'polling' : 'away');
      this.#polling = this.#around.clock.after(POLL_MS, again);
    };
    this.#polling = () => {};
    void again();
  }

  /** Whether anybody answered: one of them got through, or there was nobody to ask. */
  async #pollOnce(takers: Take<unknown>[]): Promise<boolean> {
    const polls = takers.flatMap((take) => (take.poll === undefined ? [] : [take.poll()]));
    const outcomes = await Promise.allSettled(polls);
    return outcomes.length === 0 || outcomes.some((outcome) => outcome.status === 'fulfilled');
  }

  #stopPolling(): void {
    this.#pollRun += 1;
    this.#polling?.();
    this.#polling = null;
  }

  #become(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#around.changed(state);
  }
}
