// Where the tasks of a plan are drawn, and the lines between them.
//
// Pure; called by the graph on the page of one expression whenever what is shown changes (states change far
// more often and move nothing). d3-hierarchy places the tasks as a tree, each under its deepest user; lines to
// further users come on top. Numbers hang beside the task that takes them.
import { hierarchy, tree } from 'd3-hierarchy';
import type { Fold, Shown, ShownTask } from './graph';
import { cutValue } from './graphFormat';

/** `down`: the root on top. `left`: the root at the right, operands to its left. */
export type Direction = 'down' | 'left';

export const TASK = { width: 64, height: 38 };
const LEAF_HEIGHT = 22;
const LEAF_TEXT_MAX = 9;
const FOLD = { width: 76, height: 26 };
const LEVEL = { down: 104, left: 142 };
const LEAF_AT = { down: 46, left: 62 };
const GAP = 12;

export interface PlacedTask {
  task: number;
  x: number;
  y: number;
  level: number;
}

export interface PlacedLeaf {
  key: string;
  task: number;
  text: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface PlacedFold extends Fold {
  task: number;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Line {
  key: string;
  /** The task that uses the value. */
  user: number;
  /** The task the value comes from, null for a number. */
  operand: number | null;
  path: string;
  /** Leads to a user besides the one the task is drawn under. */
  isExtra: boolean;
  /** Where the minus of a negated operand stands. */
  minus: { x: number; y: number } | null;
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  direction: Direction;
  tasks: Map<number, PlacedTask>;
  leaves: PlacedLeaf[];
  folds: PlacedFold[];
  lines: Line[];
  box: Box;
}

/** A number as it stands in a leaf. */
export function cutLeaf(text: string): string {
  return cutValue(text, LEAF_TEXT_MAX);
}

function leafWidth(text: string): number {
  return 14 + 7.2 * cutLeaf(text).length;
}

interface Branch {
  shown: ShownTask;
  children: Branch[];
}

/** The layout in the direction in which more of it fits a view of this shape. */
export function layOutToFit(shown: Shown, root: number, width: number, height: number): Layout {
  const down = layOut(shown, root, 'down');
  const left = layOut(shown, root, 'left');
  return scaleToFit(down.box, width, height) >= scaleToFit(left.box, width, height) ? down : left;
}

export function scaleToFit(box: Box, width: number, height: number): number {
  return Math.min(width / Math.max(box.width, 1), height / Math.max(box.height, 1));
}

export function layOut(shown: Shown, root: number, direction: Direction): Layout {
  const layout: Layout = {
    direction,
    tasks: new Map(),
    leaves: [],
    folds: [],
    lines: [],
    box: { x: 0, y: 0, width: 0, height: 0 },
  };
  if (!shown.has(root)) return layout;
  place(layout, branches(shown, root));
  for (const task of shown.values()) {
    hang(layout, task);
    connect(layout, shown, task);
  }
  layout.box = around(layout);
  return layout;
}

function branches(shown: Shown, root: number): Branch {
  const found = new Map<number, Branch>();
  for (const task of shown.values()) found.set(task.task, { shown: task, children: [] });
  for (const branch of found.values()) {
    for (const operand of branch.shown.operands) {
      if (operand.kind !== 'task' || shown.get(operand.task)?.parent !== branch.shown.task) continue;
      const child = found.get(operand.task) as Branch;
      if (!branch.children.includes(child)) branch.children.push(child);
    }
  }
  return found.get(root) as Branch;
}

function place(layout: Layout, top: Branch): void {
  const isDown = layout.direction === 'down';
  const root = tree<Branch>()
    .nodeSize([1, LEVEL[layout.direction]])
    .separation((a, b) => (breadth(a.data.shown, isDown) + breadth(b.data.shown, isDown)) / 2 + GAP)(
    hierarchy(top),
  );
  root.each((node) => {
    const { task, level } = node.data.shown;
    // Drawn by its longest way from the root, so that every line leads the same way.
    const along = level * LEVEL[layout.direction];
    layout.tasks.set(
      task,
      isDown ? { task, level, x: node.x, y: along } : { task, level, x: -along, y: node.x },
    );
  });
}

/** How much room a task takes across the direction, with what hangs on it. */
function breadth(task: ShownTask, isDown: boolean): number {
  const numbers = task.operands.filter((operand) => operand.kind === 'number');
  if (!isDown) {
    if (numbers.length === 2) return Math.max(TASK.height, 2 * LEAF_HEIGHT + 4);
    return numbers.length === 1 && task.operands.length === 2 ? 2 * (LEAF_HEIGHT + 20) : TASK.height;
  }
  if (numbers.length === 2) {
    return Math.max(TASK.width, ...[numbers.reduce((sum, one) => sum + leafWidth(one.text), 4)]);
  }
  if (numbers.length === 1) return Math.max(TASK.width, 2 * (leafWidth(numbers[0]?.text ?? '') + 10));
  return task.fold ? Math.max(TASK.width, FOLD.width) : TASK.width;
}

/** Numbers and what stands for hidden tasks. */
function hang(layout: Layout, task: ShownTask): void {
  const at = layout.tasks.get(task.task) as PlacedTask;
  const isDown = layout.direction === 'down';
  const numbers = task.operands.filter((operand) => operand.kind === 'number');
  const both = numbers.reduce((sum, one) => sum + leafWidth(one.text), 4);
  let used = -both / 2;
  for (const [index, operand] of task.operands.entries()) {
    if (operand.kind !== 'number') continue;
    const width = leafWidth(operand.text);
    const side = index === 0 ? -1 : 1;
    let across: number;
    if (numbers.length === 2) {
      across = isDown ? used + width / 2 : side * (LEAF_HEIGHT / 2 + 2);
      used += width + 4;
    } else across = isDown ? side * (width / 2 + 8) : side * (LEAF_HEIGHT / 2 + 20);
    const x = isDown ? at.x + across : at.x - LEAF_AT.left - width / 2 + 6;
    const y = isDown ? at.y + LEAF_AT.down : at.y + across;
    const key = `${task.task}:${index}`;
    layout.leaves.push({ key, task: task.task, text: operand.text, x, y, width, height: LEAF_HEIGHT });
    const path = isDown
      ? curve(layout.direction, x, y - LEAF_HEIGHT / 2, at.x + side * 10, at.y + TASK.height / 2)
      : curve(layout.direction, x + width / 2, y, at.x - TASK.width / 2, at.y + side * 6);
    layout.lines.push({ key, user: task.task, operand: null, path, isExtra: false, minus: null });
  }
  if (task.fold) {
    const side = numbers.length ? (task.operands[0]?.kind === 'number' ? 1 : -1) : 0;
    const x = isDown ? at.x + side * (FOLD.width / 2 + 4) : at.x - TASK.width / 2 - FOLD.width / 2 - 18;
    const y = isDown ? at.y + LEAF_AT.down + 2 : at.y + side * (FOLD.height / 2 + 4);
    layout.folds.push({ ...task.fold, task: task.task, x, y, ...FOLD });
    const path = isDown
      ? curve(layout.direction, x, y - FOLD.height / 2, at.x + side * 10, at.y + TASK.height / 2)
      : curve(layout.direction, x + FOLD.width / 2, y, at.x - TASK.width / 2, at.y + side * 6);
    layout.lines.push({
      key: `${task.task}:fold`,
      user: task.task,
      operand: null,
      path,
      isExtra: false,
      minus: null,
    });
  }
}

/** The lines from a task to the tasks it takes its operands from. */
function connect(layout: Layout, shown: Shown, task: ShownTask): void {
  const user = layout.tasks.get(task.task) as PlacedTask;
  const isDown = layout.direction === 'down';
  const isTwice =
    task.operands.length === 2 &&
    new Set(task.operands.map((one) => one.kind === 'task' && one.task)).size === 1;
  for (const [index, operand] of task.operands.entries()) {
    if (operand.kind !== 'task' || !operand.isShown) continue;
    const used = layout.tasks.get(operand.task) as PlacedTask;
    const side = index === 0 ? -1 : 1;
    // The same task twice: two lines side by side.
    const bow = isTwice ? side * 16 : 0;
    const [x1, y1] = isDown
      ? [used.x + bow, used.y - TASK.height / 2]
      : [used.x + TASK.width / 2, used.y + bow / 2];
    const [x2, y2] = isDown
      ? [user.x + side * (isTwice ? 16 : 10), user.y + TASK.height / 2]
      : [user.x - TASK.width / 2, user.y + side * (isTwice ? 8 : 6)];
    layout.lines.push({
      key: `${task.task}:${index}`,
      user: task.task,
      operand: operand.task,
      path: curve(layout.direction, x1, y1, x2, y2),
      isExtra: shown.get(operand.task)?.parent !== task.task || (isTwice && index === 1),
      minus: operand.negated ? { x: x2 + (x1 - x2) * 0.24, y: y2 + (y1 - y2) * 0.24 } : null,
    });
  }
}

function curve(direction: Direction, x1: number, y1: number, x2: number, y2: number): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => Math.round(value * 10) / 10);
  if (direction === 'down') {
    const middle = Math.round(((y1 + y2) / 2) * 10) / 10;
    return `M${a} ${b}C${a} ${middle} ${c} ${middle} ${c} ${d}`;
  }
  const middle = Math.round(((x1 + x2) / 2) * 10) / 10;
  return `M${a} ${b}C${middle} ${b} ${middle} ${d} ${c} ${d}`;
}

function around(layout: Layout): Box {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  const take = (x: number, y: number, width: number, height: number) => {
    left = Math.min(left, x - width / 2);
    right = Math.max(right, x + width / 2);
    top = Math.min(top, y - height / 2);
    bottom = Math.max(bottom, y + height / 2);
  };
  for (const task of layout.tasks.values()) take(task.x, task.y, TASK.width, TASK.height + 28);
  for (const leaf of layout.leaves) take(leaf.x, leaf.y, leaf.width, leaf.height);
  for (const fold of layout.folds) take(fold.x, fold.y, fold.width, fold.height);
  const margin = 16;
  return {
    x: left - margin,
    y: top - margin,
    width: right - left + 2 * margin,
    height: bottom - top + 2 * margin,
  };
}

/** The task next to one in a direction on the screen, null where there is none. */
export function neighbour(
  layout: Layout,
  shown: Shown,
  task: number,
  way: 'up' | 'down' | 'left' | 'right',
): number | null {
  const here = shown.get(task);
  const at = layout.tasks.get(task);
  if (!here || !at) return null;
  const isDown = layout.direction === 'down';
  if (way === (isDown ? 'up' : 'right')) return here.parent;
  if (way === (isDown ? 'down' : 'left')) {
    const operand = here.operands.find((one) => one.kind === 'task' && one.isShown);
    return operand?.kind === 'task' ? operand.task : null;
  }
  const sign = way === 'up' || way === 'left' ? -1 : 1;
  let best: number | null = null;
  let nearest = Infinity;
  for (const other of layout.tasks.values()) {
    if (other.level !== at.level || other.task === task) continue;
    const distance = (isDown ? other.x - at.x : other.y - at.y) * sign;
    if (distance > 0 && distance < nearest) {
      nearest = distance;
      best = other.task;
    }
  }
  return best;
}
