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
import type { Durations } from './graphPath';
import { subscribe, type Window } from './live.svelte';
import { may } from './session.svelte';

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
/** Longer texts are not planned again just to say how long they would take. */
const PLANNED_MAX = 10_000;

const FINAL: readonly Expression['status'][] = ['done', 'failed', 'cancelled'];

export interface Cost {
  sequentialMs: number;
  idealMs: number;
}

export class Watched {
  readonly tasks = new Map<number, PlanTask>();
  expression = $state.raw<Expression | null>(null);
  /** The task whose value the expression's is; null where none is known or needed. */
  root = $state.raw<number | null>(null);
  version = $state(0);
  structure = $state(0);
  folded = $state.raw<ReadonlySet<number>>(new Set());
  /** The task whose subtree is being fetched. */
  opening = $state.raw<number | null>(null);
  error = $state.raw<unknown>(null);
  durations = $state.raw<Durations>({});
  /** What the server says of a plan that is not here as a whole. */
  planned = $state.raw<Cost | null>(null);
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
    return this.root !== null && isWhole(this.tasks, this.root, total);
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
      const window: Window = total <= WHOLE_MAX ? {} : { depth: DEPTH_FIRST };
      const found = await this.#readTasks(window);
      const isNarrow = window.depth !== undefined && found.items.length < NARROW;
      if (isNarrow) await this.#readTasks({ depth: DEPTH_NARROW });
      this.isLoaded = true;
      this.window = isNarrow ? { depth: DEPTH_NARROW } : window;
      if (total > WHOLE_MAX) void this.#plan(total);
    } catch (error) {
      this.error = error;
    }
  }

  /** Follows the server; for an effect, which calls the answer. */
  follow(): (() => void) | undefined {
    const { window } = this;
    if (window === null) return undefined;
    const take = (items: (Expression | PlanTask)[]) => untrack(() => this.#take(items));
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
    return { root: `${this.#id}.${task}`, depth };
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
    const query = {
      ...(window.root ? { root: window.root } : {}),
      ...(window.depth === undefined || window.depth === null ? {} : { depth: window.depth }),
    };
    const found = await ask(
      api.GET('/expressions/{id}/tasks', { params: { path: { id: this.#id }, query } }),
    );
    if (!window.root && typeof found.root !== 'string') this.root = numberOf(found.root.task);
    this.#merge(found.items, turn);
    return found;
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

  /** What a plan costs that is too large to be here, where its text is not too long. */
  async #plan(total: number): Promise<void> {
    if (!may('submit') || total > PLANNED_MAX / 2) return;
    await this.#quietly(
      (async () => {
        const { expression, optimize } = await this.full();
        if (expression.length > PLANNED_MAX * 2) return;
        const plan = await ask(api.POST('/plan', { body: { expression, id: null, optimize } }));
        this.planned = { sequentialMs: plan.sequential_ms, idealMs: plan.critical_path_ms };
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
