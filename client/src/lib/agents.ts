// What the page of computing resources makes of an agent: how fresh it is, which slot computes what and how
// far, what became of a lost one's tasks. No markup here, and no clock of its own.
import { numberOf, type PlanTask } from './graph';
import { cutValue, SYMBOLS, taskName } from './graphFormat';
import { fractionOf, momentOf } from './progress';
import type { components } from './protocol';

export type Agent = components['schemas']['Agent'];
export type AgentTask = components['schemas']['AgentTask'];

/** An agent that holds tasks says so every 2 s, an idle one every 5 s; silent for the lease it is lost. */
export const BEAT_S = 2;
export const IDLE_BEAT_S = 5;
export const LEASE_S = 10;
/** What the way to the page takes: figures come at most once a second. */
const LATE_S = 1.5;
const NEAR_S = 2;
const FAR = '9999-12-31T00:00:00Z';

export type Pulse = 'fresh' | 'overdue' | 'near' | 'gone';

/** How an agent is that was heard so many seconds ago, `now` by the server's clock. */
export function pulse(agent: Pick<Agent, 'status' | 'tasks'>, silent_s: number, now: number): Pulse {
  if (agent.status === 'lost') return 'gone';
  if (silent_s >= LEASE_S - NEAR_S) return 'near';
  if (silent_s >= IDLE_BEAT_S + LATE_S) return 'overdue';
  // An idle one that gets a task says so a beat later; when somebody else's began is not told.
  const began = Math.min(...agent.tasks.map((task) => momentOf(task.started_at ?? FAR)));
  return Math.min(silent_s, (now - began) / 1000) >= BEAT_S + LATE_S ? 'overdue' : 'fresh';
}

/** What stands in a slot: null where it is free; `task` is null where it is busy and nothing is told. */
export type Slot = { key: string; task: AgentTask | null } | null;

/** The agent's slots, each task in the one where it stood `before`, new ones in the first that are free. */
export function place(before: readonly Slot[], agent: Agent): Slot[] {
  const waiting = new Map<string, AgentTask[]>();
  for (const task of agent.tasks) {
    // An attempt of a task begins but once at a moment; somebody else's is known by its operation alone.
    const key = task.task === null ? `~${task.operation}` : `${task.task}@${task.started_at}`;
    const same = waiting.get(key);
    if (same) same.push(task);
    else waiting.set(key, [task]);
  }
  const untold = Math.max(0, agent.running - agent.tasks.length);
  const slots: Slot[] = new Array(Math.max(agent.slots, agent.tasks.length + untold)).fill(null);
  for (const [at, slot] of before.entries()) {
    const task = slot && at < slots.length ? waiting.get(slot.key)?.shift() : undefined;
    if (slot && task) slots[at] = { key: slot.key, task };
  }
  let free = 0;
  const settle = (slot: Slot) => {
    while (slots[free]) free += 1;
    slots[free] = slot;
  };
  for (const [key, tasks] of waiting) for (const task of tasks) settle({ key, task });
  for (let each = 0; each < untold; each += 1) settle({ key: '~', task: null });
  return slots;
}

/** How far a task is, 0 to 1; null where that is not told. `now` by the server's clock. */
export function done(task: AgentTask | null, now: number): number | null {
  if (task?.started_at == null || task.duration_ms == null) return null;
  return fractionOf(momentOf(task.started_at), task.duration_ms, now);
}

/** Three outlines for one drawing of many slots: the free ones, the busy ones, and how far these are. */
export type Cells = { width: number; height: number; free: string; busy: string; filled: string };

const CELL = 10;
const PITCH = 12;

/** Slots as squares, row by row, which fill from below. Busy ones of which nothing is told are full. */
export function cells(slots: readonly Slot[], columns: number, now: number): Cells {
  let free = '';
  let busy = '';
  let filled = '';
  for (const [at, slot] of slots.entries()) {
    const x = (at % columns) * PITCH;
    const y = Math.floor(at / columns) * PITCH;
    const square = `M${x} ${y}h${CELL}v${CELL}h-${CELL}z`;
    if (slot === null) {
      free += square;
      continue;
    }
    busy += square;
    const height = Math.round(CELL * (done(slot.task, now) ?? 1) * 10) / 10;
    if (height > 0) filled += `M${x} ${y + CELL}h${CELL}v-${height}h-${CELL}z`;
  }
  const width = Math.max(CELL, Math.min(columns, slots.length) * PITCH - (PITCH - CELL));
  const height = Math.max(CELL, Math.ceil(slots.length / columns) * PITCH - (PITCH - CELL));
  return { width, height, free, busy, filled };
}

/** What became of a task that a lost agent had, in the words of the page: its arithmetic, and who has it. */
export type Fate = {
  text: string;
  state: 'waiting' | 'running' | 'done' | 'dropped';
  by: string | null;
};

/** Told by a window of the plan: the task first, and the tasks that it takes its operands from. */
export function fateOf(items: readonly PlanTask[]): Fate | null {
  const [task] = items;
  if (!task) return null;
  const operands = task.operands.map((operand) => {
    if (typeof operand === 'string') return cutValue(operand, OPERAND);
    const value = items.find((one) => one.task === operand.task)?.value;
    const text = value ?? taskName(numberOf(operand.task));
    const turned = text.startsWith('-') ? text.slice(1) : `-${text}`;
    return cutValue(operand.negated ? turned : text, OPERAND);
  });
  const text = operands.join(` ${SYMBOLS[task.operation]} `);
  const by = task.agent?.name || null;
  if (task.state === 'done' || task.state === 'failed') return { text, state: 'done', by };
  if (task.state === 'running') return { text, state: 'running', by };
  return { text, state: task.state === 'cancelled' ? 'dropped' : 'waiting', by: null };
}

const OPERAND = 14;

export type Totals = { agents: number; draining: number; lost: number; slots: number; running: number };

/** What all of them are together; lost ones count for nothing else. */
export function totals(agents: Iterable<Agent>): Totals {
  const sum: Totals = { agents: 0, draining: 0, lost: 0, slots: 0, running: 0 };
  for (const agent of agents) {
    if (agent.status === 'lost') {
      sum.lost += 1;
      continue;
    }
    sum.agents += 1;
    if (agent.status === 'draining') sum.draining += 1;
    sum.slots += agent.slots;
    sum.running += agent.running;
  }
  return sum;
}

/** By name as people count (`agent 2` before `agent 10`), the lost ones last. */
export function inOrder(agents: Iterable<Agent>): Agent[] {
  return [...agents].sort(
    (one, other) =>
      Number(one.status === 'lost') - Number(other.status === 'lost') ||
      NAMES.compare(one.name, other.name) ||
      (one.id < other.id ? -1 : 1),
  );
}

const NAMES = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
