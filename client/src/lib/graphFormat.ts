// How operations and values are written in the graph, the timeline and beside them.
import type { PlanTask } from './graph';
import { withMinus } from './values';

export const SYMBOLS: Record<PlanTask['operation'], string> = {
  addition: '+',
  subtraction: '−',
  multiplication: '×',
  division: '÷',
};

/** The beginning of a text, as much as has room. */
export function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** The same of a value. */
export function cutValue(text: string, most = 8): string {
  return withMinus(cut(text, most));
}

/** Which try at a task it is, from 1: an attempt's number holds the leader's term, too. */
export function tryOf(attempt: number): number {
  return attempt % 2 ** 20;
}

/** A task's number as people see it: the first is 1. */
export function taskName(task: number): string {
  return `#${task + 1}`;
}
