// How operations and values are written in the graph, the timeline and beside them.
import type { PlanTask } from './graph';

export const SYMBOLS: Record<PlanTask['operation'], string> = {
  addition: '+',
  subtraction: '−',
  multiplication: '×',
  division: '÷',
};

/** The beginning of a value, as much as has room. */
export function cutValue(text: string, most = 8): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** A task's number as people see it: the first is 1. */
export function taskName(task: number): string {
  return `#${task + 1}`;
}
