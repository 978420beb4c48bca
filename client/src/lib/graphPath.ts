// What a plan costs in time: how long each task took or takes, the critical path, the ideal with unlimited agents.
//
// Pure. A task that is done counts with the time it took; every other one, and those whose journal has been
// pruned, with its operation's duration now.
import type { Plan, PlanTask } from './graph';
import { operandsOf } from './graph';
import { momentOf } from './progress';

export type Durations = Readonly<Partial<Record<string, number>>>;

/** Milliseconds; null where neither times nor the operation's duration are known. */
export function lengthOf(task: PlanTask, durations: Durations): number | null {
  if (task.started_at && task.finished_at) {
    return Math.max(0, momentOf(task.finished_at) - momentOf(task.started_at));
  }
  return durations[task.operation] ?? null;
}

export interface PlanCost {
  /** One task after another. */
  sequentialMs: number;
  /** With an agent for every task that could run. */
  idealMs: number;
}

/** Of a plan that is here as a whole; null where some length is not known. */
export function costOf(plan: Plan, durations: Durations): PlanCost | null {
  let sequentialMs = 0;
  let idealMs = 0;
  const ends = new Map<number, number>();
  for (const number of [...plan.keys()].sort((a, b) => a - b)) {
    const task = plan.get(number) as PlanTask;
    const length = lengthOf(task, durations);
    if (length === null) return null;
    const end = Math.max(0, ...operandsOf(task).map((used) => ends.get(used) ?? 0)) + length;
    ends.set(number, end);
    sequentialMs += length;
    idealMs = Math.max(idealMs, end);
  }
  return { sequentialMs, idealMs };
}

/**
 * The chain of tasks that decides when the plan is done, from its first task on: from the root, or the task that
 * failed, through the operand that finished last or, while it runs, the one expected last. Empty where nothing
 * is known: of a cancelled plan, and where the journal has been pruned.
 */
export function criticalPath(plan: Plan, root: number, durations: Durations, now: number): number[] {
  let from = root;
  if (plan.get(root)?.state === 'cancelled') {
    const failed = [...plan].find(([, task]) => task.state === 'failed');
    if (!failed) return [];
    from = failed[0];
  }
  const ends = expectedEnds(plan, durations, now);
  const path: number[] = [];
  for (let at: number | null = from; at !== null; ) {
    const task = plan.get(at);
    if (!task || !Number.isFinite(ends.get(at) ?? Number.NaN)) break;
    path.push(at);
    let last: number | null = null;
    let end = -Infinity;
    for (const used of operandsOf(task)) {
      const known = ends.get(used) ?? -Infinity;
      if (known > end) [last, end] = [used, known];
    }
    at = last;
  }
  return path.reverse();
}

/** When each task was or will be done if there are agents enough; done tasks without times are left out. */
function expectedEnds(plan: Plan, durations: Durations, now: number): Map<number, number> {
  const ends = new Map<number, number>();
  for (const number of [...plan.keys()].sort((a, b) => a - b)) {
    const task = plan.get(number) as PlanTask;
    if (task.finished_at) ends.set(number, momentOf(task.finished_at));
    else if (task.state === 'waiting' || task.state === 'ready' || task.state === 'running') {
      const length = durations[task.operation] ?? 0;
      const begin = task.started_at
        ? momentOf(task.started_at)
        : Math.max(now, ...operandsOf(task).map((used) => ends.get(used) ?? now));
      ends.set(number, Math.max(now, begin + length));
    }
  }
  return ends;
}
