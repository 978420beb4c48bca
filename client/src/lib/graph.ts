// The plan of an expression as a graph: what is shown of it, how it hangs together, where it is cut off.
//
// Pure; the page of one expression calls it whenever tasks arrive or a subtree opens or folds. Tasks are known
// by their number, the part of their name after the point; a plan numbers operands before those who use them.
import type { components } from './protocol';

export type PlanTask = components['schemas']['PlanTask'];
export type Plan = ReadonlyMap<number, PlanTask>;

/** More tasks than this are not drawn at once: an SVG stays smooth up to about here. */
export const SHOWN_MAX = 1500;

/** The server counts what is cut off up to here. */
export const BELOW_MAX = 10_000;

export type Operand =
  | { kind: 'number'; text: string }
  | { kind: 'task'; task: number; negated: boolean; isShown: boolean };

/** Tasks that hang under one that is shown, but are not. `count` is null where nobody counted them. */
export interface Fold {
  count: number | null;
  isAtLeast: boolean;
  /** Whether opening it needs tasks from the server. */
  isAway: boolean;
}

export interface ShownTask {
  task: number;
  operands: Operand[];
  /** The user under which it is drawn, null for the root. */
  parent: number | null;
  /** All its users that are shown. */
  users: number[];
  /** The longest way from the root, in operations. */
  level: number;
  fold: Fold | null;
}

/** Users before their operands. */
export type Shown = ReadonlyMap<number, ShownTask>;

export function numberOf(task: string): number {
  return Number(task.slice(task.lastIndexOf('.') + 1));
}

/** The tasks that a task takes its operands from: none, one or two (the same twice is named once). */
export function operandsOf(task: PlanTask): number[] {
  const found: number[] = [];
  for (const operand of task.operands) {
    if (typeof operand === 'string') continue;
    const number = numberOf(operand.task);
    if (!found.includes(number)) found.push(number);
  }
  return found;
}

/** What is drawn when the `folded` tasks hide what is under them. A task used twice is shown once. */
export function show(plan: Plan, root: number, folded: ReadonlySet<number>): Shown {
  const reached = reach(plan, [root], folded);
  const order = [...reached].sort((a, b) => b - a);
  const shown = new Map<number, ShownTask>();
  for (const number of order) {
    shown.set(number, { task: number, operands: [], parent: null, users: [], level: 0, fold: null });
  }
  for (const number of order) {
    const task = plan.get(number) as PlanTask;
    const here = shown.get(number) as ShownTask;
    here.operands = task.operands.map((operand): Operand => {
      if (typeof operand === 'string') return { kind: 'number', text: operand };
      const used = numberOf(operand.task);
      return { kind: 'task', task: used, negated: operand.negated, isShown: reached.has(used) };
    });
    for (const used of operandsOf(task)) {
      const under = shown.get(used);
      if (!under) continue;
      under.users.push(number);
      // Under its deepest user, so that every other edge leads upwards too.
      if (under.parent === null || here.level + 1 > under.level) {
        under.parent = number;
        under.level = here.level + 1;
      }
    }
    here.fold = foldOf(plan, task, reached);
  }
  return shown;
}

/** All tasks under `from`, they too, as far as they are here and not behind a folded one. */
function reach(plan: Plan, from: readonly number[], folded: ReadonlySet<number>): Set<number> {
  const reached = new Set<number>();
  const stack = from.filter((number) => plan.has(number));
  for (const number of stack) reached.add(number);
  while (stack.length) {
    const number = stack.pop() as number;
    if (folded.has(number)) continue;
    for (const used of operandsOf(plan.get(number) as PlanTask)) {
      if (!reached.has(used) && plan.has(used)) {
        reached.add(used);
        stack.push(used);
      }
    }
  }
  return reached;
}

function foldOf(plan: Plan, task: PlanTask, shown: ReadonlySet<number>): Fold | null {
  const hidden = operandsOf(task).filter((used) => !shown.has(used));
  if (!hidden.length) return null;
  if (hidden.some((used) => !plan.has(used))) {
    const count = task.below;
    return { count, isAtLeast: count !== null && count >= BELOW_MAX, isAway: true };
  }
  let count = 0;
  let isAtLeast = false;
  let isKnown = true;
  for (const number of reach(plan, hidden, shown)) {
    if (shown.has(number)) continue;
    count += 1;
    const under = plan.get(number) as PlanTask;
    if (operandsOf(under).every((used) => plan.has(used))) continue;
    if (under.below === null) isKnown = false;
    else {
      count += under.below;
      isAtLeast ||= under.below >= BELOW_MAX;
    }
  }
  return { count: isKnown ? count : null, isAtLeast, isAway: false };
}

/**
 * The folded tasks and as many more as it takes to show at most `most`: those furthest from the root, level by
 * level. `kept` leads to the subtree somebody opened just now; what is on the way to it and in it goes last.
 */
export function foldToFit(
  plan: Plan,
  root: number,
  folded: ReadonlySet<number>,
  most: number = SHOWN_MAX,
  opened: readonly number[] = [],
): Set<number> {
  const all = new Set(folded);
  // Subtrees opened before the last one close first, the oldest before the others.
  const last = opened.at(-1);
  const needed = last === undefined ? new Set<number>() : above(plan, root, last);
  for (const number of opened.slice(0, -1)) {
    if (reach(plan, [root], all).size <= most) return all;
    if (!needed.has(number)) all.add(number);
  }
  const levels = levelsFrom(plan, root, all);
  let count = 0;
  for (const [level, tasks] of levels.entries()) {
    count += tasks.length;
    if (count <= most) continue;
    for (const number of levels[level - 1] ?? []) {
      if (operandsOf(plan.get(number) as PlanTask).some((used) => plan.has(used))) all.add(number);
    }
    break;
  }
  return all;
}

/** The tasks on all ways from the root to one of them, it too. */
function above(plan: Plan, root: number, task: number): Set<number> {
  const found = new Set([task]);
  // Operands have smaller numbers than those who use them.
  for (const number of [...reach(plan, [root], new Set())].sort((a, b) => a - b)) {
    if (operandsOf(plan.get(number) as PlanTask).some((used) => found.has(used))) found.add(number);
  }
  return found;
}

function levelsFrom(plan: Plan, root: number, folded: ReadonlySet<number>): number[][] {
  const levels: number[][] = [];
  const known = new Set([root]);
  let level = plan.has(root) ? [root] : [];
  while (level.length) {
    levels.push(level);
    const next: number[] = [];
    for (const number of level) {
      if (folded.has(number)) continue;
      for (const used of operandsOf(plan.get(number) as PlanTask)) {
        if (!known.has(used) && plan.has(used)) {
          known.add(used);
          next.push(used);
        }
      }
    }
    level = next;
  }
  return levels;
}

/** Whether every task of the plan is here. */
export function isWhole(plan: Plan, root: number, total: number): boolean {
  return plan.size >= total && reach(plan, [root], new Set()).size >= total;
}
