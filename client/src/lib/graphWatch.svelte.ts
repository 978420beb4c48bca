/**
 * One expression and as much of its plan as is looked at: fetched first, then live.
 *
 * The page of one expression owns an instance. A plan never changes, so that what arrives, by whichever way, is
 * merged into what is here: `structure` counts changes of which tasks are here, `version` changes of any of them,
 * at most one of each per animation frame. A small plan is here as a whole; of a large one the live window holds
 * the levels below the root, and subtrees that are opened further are asked for once a second while it runs.
 */
import { untrack } from 'svelte';
import { api, ask, ProblemError, type Schemas } from './api';
import { clock } from './clock';
import { foldToFit, isWhole, numberOf, type PlanTask, SHOWN_MAX } from './graph';
import type { Durations, PlanCost } from './graphPath';
import { subscribe, type Window } from './live.svelte';

export type Expression = Schemas['Expression'];
type PlanTasks = Schemas['PlanTasks'];

/** The server shows so many tasks at once. */
const WHOLE_MAX = 2000;
/** Levels of the first look at a larger plan: 127 tasks where it is broad. */
const DEPTH_FIRST = 6;
/** Levels where it turns out to be narrow. */
const DEPTH_NARROW = 60;
const NARROW = 40;
const OPENED_MAX = 6;
const REFRESH_MS = 1000;
/** So much of what needs a task is shown with it. */
const ABOVE = 4;
const AGENTS_MAX = 1000;

const FINAL: readonly Expression['status'][] = ['done', 'failed', 'cancelled'];

/** What a plan costs by the operations' durations now; `computedMs` is what its tasks took in fact, once known. */
export interface Planned extends PlanCost {
  computedMs: number | null;
}

export class Watched {
  readonly tasks = new Map<number, PlanTask>();
  expression = $state.raw<Expression | null>(null);
  /** The task whose value the expression's is; null where none is known or needed. */
  top = $state.raw<number | null>(null);
  /** The task from which on it is looked at: the same, until somebody moves. */
  root = $state.raw<number | null>(null);
  version = $state(0);
  structure = $state(0);
  folded = $state.raw<ReadonlySet<number>>(new Set());
  /** The task whose subtree is being fetched. */
  opening = $state.raw<number | null>(null);
  error = $state.raw<unknown>(null);
  durations = $state.raw<Durations>({});
  /** What the server says of a plan that is not here as a whole. */
  planned = $state.raw<Planned | null>(null);
  /** Whether the tasks have arrived, be there any or not. */
  isLoaded = $state(false);
  /** Which part of the plan is followed live. */
  window = $state.raw<Window | null>(null);

  #id: string;
  /** When each task was last told, to keep an answer that was overtaken from turning time back. */
  #told = new Map<number, number>();
  #turn = 0;
  #expressionTold = 0;
  #opened: number[] = [];
  #frame = 0;
  #isNewTask = false;
  #isClosed = false;

  constructor(id: string) {
    this.#id = id;
  }

  get isFinal(): boolean {
    return this.expression !== null && FINAL.includes(this.expression.status);
  }

  /** Whether every task is here. */
  get isWhole(): boolean {
    void this.structure;
    const total = this.expression?.tasks.total ?? 0;
    return this.top !== null && isWhole(this.tasks, this.top, total);
  }

  /** From now on, until the answer is called. */
  begin(): () => void {
    void this.load();
    const timer = setInterval(() => void this.#refreshOpened(), REFRESH_MS);
    return () => {
      this.#isClosed = true;
      clearInterval(timer);
      cancelAnimationFrame(this.#frame);
    };
  }

  async load(): Promise<void> {
    this.error = null;
    try {
      await this.#readExpression();
      void this.#readDurations();
      const total = this.expression?.tasks.total ?? 0;
      if (total <= WHOLE_MAX) {
        await this.#readTasks({});
        this.window = {};
      } else {
        await this.moveTo(null);
        void this.#readFigures();
      }
      this.isLoaded = true;
    } catch (error) {
      this.error = error;
    }
  }

  /** Follows the server; for an effect, which calls the answer. */
  follow(): (() => void) | undefined {
    const { window } = this;
    if (window === null) return undefined;
    const take = (items: (Expression | PlanTask)[]) => {
      if (this.window === window) untrack(() => this.#take(items));
    };
    return subscribe<Expression | PlanTask>(`expression/${this.#id}`, window, {
      snapshot: take,
      delta: take,
      poll: () => this.#poll(window),
    });
  }

  async #poll(window: Window): Promise<void> {
    if (this.isFinal) return;
    await this.#readExpression();
    await this.#readTasks(window);
  }

  // --- what arrives ----------------------------------------------------------------------------------------

  #take(items: (Expression | PlanTask)[]): void {
    const turn = ++this.#turn;
    const tasks: PlanTask[] = [];
    for (const item of items) {
      if ('task' in item) tasks.push(item);
      else this.#tell(item, turn);
    }
    this.#merge(tasks, turn);
  }

  #tell(expression: Expression, turn: number): void {
    if (turn < this.#expressionTold) return;
    this.#expressionTold = turn;
    const before = this.expression;
    this.expression = expression;
    clock.reached(expression.finished_at ?? expression.started_at);
    const hasEnded = before !== null && !FINAL.includes(before.status) && this.isFinal;
    // Its last tasks may not have been told: asked for once more.
    if (hasEnded && this.window) void this.#quietly(this.#readTasks(this.window));
    if (hasEnded) void this.#refreshOpened(true);
    if (hasEnded && this.planned) void this.#readFigures();
  }

  #merge(items: PlanTask[], turn: number): void {
    let isChanged = false;
    let newest: string | null = null;
    for (const item of items) {
      const number = numberOf(item.task);
      if (turn < (this.#told.get(number) ?? 0)) continue;
      this.#told.set(number, turn);
      const before = this.tasks.get(number);
      if (before && isSame(before, item)) continue;
      isChanged = true;
      if (!before) this.#isNewTask = true;
      this.tasks.set(number, item);
      const time = item.finished_at ?? item.started_at;
      if (time && (newest === null || time > newest)) newest = time;
    }
    clock.reached(newest);
    if (isChanged && this.#frame === 0 && !this.#isClosed) {
      this.#frame = requestAnimationFrame(() => this.#flush());
    }
  }

  #flush(): void {
    this.#frame = 0;
    if (this.#isNewTask) {
      this.#isNewTask = false;
      this.#fit();
      this.structure += 1;
    }
    this.version += 1;
  }

  #fit(): void {
    if (this.root === null || this.tasks.size <= SHOWN_MAX) return;
    this.folded = foldToFit(this.tasks, this.root, this.folded, SHOWN_MAX, this.#opened);
  }

  // --- another part ----------------------------------------------------------------------------------------

  /** Looks at the plan around a task instead, or from its top again. Raises: ProblemError. */
  async moveTo(task: number | null): Promise<void> {
    const from: Window = task === null ? {} : { root: this.#name(task) };
    const above = task === null ? 0 : ABOVE;
    let window: Window = { ...from, depth: DEPTH_FIRST };
    let found = await this.#fetch(window, above);
    if (found.items.length < NARROW) {
      window = { ...from, depth: DEPTH_NARROW };
      found = await this.#fetch(window, above);
    }
    if (typeof found.root === 'string') return;
    // What is not looked at any more would not be told any more either.
    this.tasks.clear();
    this.#told.clear();
    this.#opened = [];
    this.folded = new Set();
    this.root = numberOf(found.root.task);
    if (task === null) this.top = this.root;
    this.window = task === null ? window : { ...window, root: found.root.task };
    this.#merge(found.items, ++this.#turn);
    cancelAnimationFrame(this.#frame);
    this.#flush();
  }

  /** A task that an agent computes now; null where none does. Raises: ProblemError. */
  async findRunning(): Promise<number | null> {
    const { items } = await ask(api.GET('/agents', { params: { query: { limit: AGENTS_MAX } } }));
    const own = items.flatMap((agent) => agent.tasks.filter((task) => task.expression_id === this.#id));
    const [first] = own.map((task) => numberOf(task.task ?? '')).sort((a, b) => a - b);
    return first ?? null;
  }

  // --- subtrees --------------------------------------------------------------------------------------------

  fold(task: number): void {
    this.folded = new Set([...this.folded, task]);
    this.#opened = this.#opened.filter((other) => other !== task);
    this.structure += 1;
  }

  /** Shows what hangs under a task; fetches it where it `isAway`. Raises: ProblemError. */
  async open(task: number, isAway: boolean): Promise<void> {
    if (isAway) {
      this.opening = task;
      try {
        const found = await this.#readTasks(this.#windowOf(task, DEPTH_FIRST));
        if (found.items.length < NARROW / 2) await this.#readTasks(this.#windowOf(task, DEPTH_NARROW));
      } finally {
        this.opening = null;
      }
    }
    this.#opened = [...this.#opened.filter((other) => other !== task), task];
    this.folded = new Set([...this.folded].filter((other) => other !== task));
    this.#fit();
    this.structure += 1;
  }

  #windowOf(task: number, depth: number): Window {
    return { root: this.#name(task), depth };
  }

  #name(task: number): string {
    return `${this.#id}.${task}`;
  }

  async #refreshOpened(isLast = false): Promise<void> {
    if ((this.isFinal && !isLast) || document.visibilityState === 'hidden') return;
    for (const task of this.#opened.slice(-OPENED_MAX)) {
      await this.#quietly(this.#readTasks(this.#windowOf(task, DEPTH_FIRST)));
    }
  }

  // --- requests --------------------------------------------------------------------------------------------

  /** What can be done without: the next time may succeed. */
  async #quietly(request: Promise<unknown>): Promise<void> {
    try {
      await request;
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
    }
  }

  async #readExpression(): Promise<void> {
    const turn = ++this.#turn;
    const asked = Date.now();
    const request = api.GET('/expressions/{id}', {
      params: { path: { id: this.#id }, query: { full: false } },
    });
    const found = await ask(request);
    clock.heard((await request).response.headers.get('Date'), asked);
    this.#tell(found, turn);
  }

  async #readTasks(window: Window): Promise<PlanTasks> {
    const turn = ++this.#turn;
    const part = this.window;
    const found = await this.#fetch(window);
    if (this.window !== part) return found; // somebody has moved meanwhile
    if (!window.root && typeof found.root !== 'string') this.top = this.root = numberOf(found.root.task);
    this.#merge(found.items, turn);
    return found;
  }

  async #fetch({ root, depth }: Window, above = 0): Promise<PlanTasks> {
    const query = {
      ...(root ? { root } : {}),
      ...(depth === undefined || depth === null ? {} : { depth }),
      ...(above ? { above } : {}),
    };
    return ask(api.GET('/expressions/{id}/tasks', { params: { path: { id: this.#id }, query } }));
  }

  async #readDurations(): Promise<void> {
    await this.#quietly(
      (async () => {
        const { items } = await ask(api.GET('/operations'));
        this.durations = Object.fromEntries(items.map((one) => [one.name, one.duration_ms]));
      })(),
    );
  }

  /** The whole expression, with nothing cut. Raises: ProblemError. */
  async full(): Promise<Expression> {
    return ask(api.GET('/expressions/{id}', { params: { path: { id: this.#id }, query: { full: true } } }));
  }

  /** What a plan costs that is too large to be here. */
  async #readFigures(): Promise<void> {
    await this.#quietly(
      (async () => {
        const plan = await ask(api.GET('/expressions/{id}/plan', { params: { path: { id: this.#id } } }));
        this.planned = {
          sequentialMs: plan.sequential_ms,
          idealMs: plan.critical_path_ms,
          computedMs: plan.computed_ms,
        };
      })(),
    );
  }

  /** Raises: ProblemError. */
  async cancel(): Promise<void> {
    const turn = ++this.#turn;
    this.#tell(await ask(api.DELETE('/expressions/{id}', { params: { path: { id: this.#id } } })), turn);
  }
}

function isSame(a: PlanTask, b: PlanTask): boolean {
  return (
    a.state === b.state &&
    a.value === b.value &&
    a.attempt === b.attempt &&
    a.started_at === b.started_at &&
    a.finished_at === b.finished_at &&
    a.below === b.below &&
    a.agent?.id === b.agent?.id
  );
}
