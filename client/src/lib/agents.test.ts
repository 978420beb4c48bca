import { describe, expect, test } from 'vitest';
import { type Agent, type AgentTask, cells, done, fateOf, inOrder, place, pulse, totals } from './agents';
import type { PlanTask } from './graph';
import { planTask } from './graphPlans';

const START = '2031-07-01T12:00:00Z';

function task(name: string | null, more: Partial<AgentTask> = {}): AgentTask {
  const told = name !== null;
  return {
    task: name,
    expression_id: told ? name : null,
    operation: 'addition',
    operands: told ? ['1', '2'] : null,
    started_at: told ? START : null,
    duration_ms: told ? 2000 : null,
    truncated: [],
    ...more,
  };
}

function agent(more: Partial<Agent> = {}): Agent {
  const tasks = more.tasks ?? [];
  return {
    id: more.name ?? 'a',
    name: 'a',
    slots: 4,
    operations: ['addition'],
    status: 'connected',
    connected_at: START,
    last_seen_s: 0,
    running: tasks.length,
    ...more,
    tasks,
    passed_on: more.passed_on ?? null,
  };
}

/** So many seconds after the start. */
const at = (seconds: number) => Date.parse(START) + 1000 * seconds;
const names = (slots: ReturnType<typeof place>) => slots.map((slot) => slot && (slot.task?.task ?? slot.key));

describe('an agent’s pulse', () => {
  test('is overdue when its heartbeat should have come', () => {
    const busy = agent({ tasks: [task('t')] });
    expect(pulse(busy, 2.1, at(60))).toBe('fresh');
    expect(pulse(busy, 3.6, at(60))).toBe('overdue');
    expect(pulse(agent(), 3.6, at(60))).toBe('fresh');
    expect(pulse(agent(), 6.6, at(60))).toBe('overdue');
  });

  test('is fresh while a task is younger than the heartbeat that tells of it', () => {
    const busy = agent({ tasks: [task('t'), task(null)] });
    expect(pulse(busy, 4.2, at(0.2))).toBe('fresh');
    expect(pulse(busy, 4.2, at(3.4))).toBe('fresh');
    expect(pulse(busy, 4.2, at(3.6))).toBe('overdue');
    expect(pulse(agent({ tasks: [task(null)] }), 4.2, at(60))).toBe('fresh');
  });

  test('warns before the lease ends', () => {
    expect(pulse(agent(), 8, at(60))).toBe('near');
    expect(pulse(agent({ status: 'draining' }), 9, at(60))).toBe('near');
    expect(pulse(agent({ status: 'lost' }), 1, at(60))).toBe('gone');
  });
});

describe('tasks stand in slots', () => {
  test('and keep theirs when others finish', () => {
    const first = place([], agent({ tasks: [task('x'), task('y'), task('z')] }));
    expect(names(first)).toEqual(['x', 'y', 'z', null]);
    const second = place(first, agent({ tasks: [task('y'), task('z'), task('w')] }));
    expect(names(second)).toEqual(['w', 'y', 'z', null]);
  });

  test('a task that begins anew is another one', () => {
    const first = place([], agent({ tasks: [task('x'), task('y')] }));
    const again = task('y', { started_at: '2031-07-01T12:00:09Z' });
    expect(names(place(first, agent({ tasks: [again] })))).toEqual(['y', null, null, null]);
  });

  test('somebody else’s are told apart by their operation only', () => {
    const first = place(
      [],
      agent({ tasks: [task(null), task(null), task(null, { operation: 'division' })] }),
    );
    expect(names(first)).toEqual(['~addition', '~addition', '~division', null]);
    const second = place(first, agent({ tasks: [task(null, { operation: 'division' })] }));
    expect(names(second)).toEqual([null, null, '~division', null]);
  });

  test('those beyond the list are busy all the same, and no task is left without a slot', () => {
    expect(names(place([], agent({ tasks: [task('x')], running: 3 })))).toEqual(['x', '~', '~', null]);
    expect(place([], agent({ slots: 1, tasks: [task('x'), task('y')] }))).toHaveLength(2);
  });

  test('an agent that came back with fewer slots shows those', () => {
    const first = place([], agent({ tasks: [task('x'), task('y'), task('z')] }));
    expect(names(place(first, agent({ slots: 2, tasks: [task('z')] })))).toEqual(['z', null]);
  });
});

describe('how far a task is', () => {
  const begin = Date.parse(START);

  test('goes by its start and its duration', () => {
    expect(done(task('x'), begin - 500)).toBe(0);
    expect(done(task('x'), begin + 500)).toBe(0.25);
    expect(done(task('x'), begin + 9000)).toBe(1);
    expect(done(task('x', { duration_ms: 0 }), begin)).toBe(1);
  });

  test('is not told of somebody else’s', () => {
    expect(done(task(null), begin)).toBeNull();
    expect(done(null, begin)).toBeNull();
  });

  test('fills its square from below', () => {
    const slots = place([], agent({ slots: 3, tasks: [task('x'), task(null)] }));
    expect(cells(slots, 2, begin + 1000)).toEqual({
      width: 22,
      height: 22,
      busy: 'M0 0h10v10h-10zM12 0h10v10h-10z',
      filled: 'M0 10h10v-5h-10zM12 10h10v-10h-10z',
      free: 'M0 12h10v10h-10z',
    });
  });
});

describe('what became of a lost agent’s task', () => {
  const fate = (written: string, more: Partial<PlanTask>, ...others: PlanTask[]) =>
    fateOf([planTask(2, written, more), ...others]);
  const by = { id: 'b', name: 'vm-2' };

  test('is done since, by whom', () => {
    expect(fate('0*3', { state: 'done', agent: by })).toEqual({ text: '0 × 3', state: 'done', by: 'vm-2' });
    expect(fate('1/0', { state: 'failed', agent: by })?.state).toBe('done');
    expect(fate('1+2', { state: 'done' })?.by).toBeNull();
  });

  test('is at another, in line again, or needed no more', () => {
    expect(fate('1-3', { state: 'running', agent: by })).toEqual({
      text: '1 − 3',
      state: 'running',
      by: 'vm-2',
    });
    expect(fate('1+2', { state: 'ready' })?.state).toBe('waiting');
    expect(fate('1+2', { state: 'waiting' })?.state).toBe('waiting');
    expect(fate('1+2', { state: 'cancelled' })?.state).toBe('dropped');
    expect(fateOf([])).toBeNull();
  });

  test('is told with the values that it takes', () => {
    const sum = planTask(0, '1+2', { value: '-3' });
    expect(fate('#0*-#0', {}, sum)?.text).toBe('−3 × 3');
    expect(fate('#0*4', {})?.text).toBe('#1 × 4');
  });
});

test('the totals leave lost agents out', () => {
  const all = [
    agent({ tasks: [task('x')] }),
    agent({ name: 'b', status: 'draining' }),
    agent({ name: 'c', status: 'lost', slots: 100 }),
  ];
  expect(totals(all)).toEqual({ agents: 2, draining: 1, lost: 1, slots: 8, running: 1 });
});

test('agents stand by name as people count, lost ones last', () => {
  const all = ['agent 10', 'agent 9', 'Agent 1'].map((name) => agent({ name }));
  all.push(agent({ name: 'aardvark', status: 'lost' }));
  expect(inOrder(all).map(({ name }) => name)).toEqual(['Agent 1', 'agent 9', 'agent 10', 'aardvark']);
});
