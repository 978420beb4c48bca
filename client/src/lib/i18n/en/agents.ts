import { plural } from './plural';

const tasks = (count: number) => `${count} ${plural(count, { one: 'task', other: 'tasks' })}`;

export const agents = {
  title: 'Computing resources',
  totals: 'All together',
  connected: (count: number) => plural(count, { one: 'agent', other: 'agents' }),
  busy: 'slots busy',
  draining: 'draining',
  lost: 'lost',
  onThisPage: 'on this page',
  filter: 'Filter by name',
  filterHere: 'The filter looks at this page only.',
  none: (filter: string) => `No agent’s name contains “${filter}”.`,
  showAll: 'Show all',
  before: 'First page',
  next: 'Next page',
  list: 'Agents',
  slots: (running: number, slots: number) =>
    `${running} of ${slots} ${plural(slots, { one: 'slot', other: 'slots' })} busy`,
  slot: (number: number) => `Slot ${number}`,
  free: 'free',
  offers: (names: string) => `Offers ${names}`,
  heard: (seconds: string) => `heard ${seconds} ago`,
  silent: (seconds: string) => `silent for ${seconds}`,
  lostSince: (time: string) => `silent for ${time}`,
  overdue: 'Its heartbeat is overdue.',
  near: 'It counts as lost after 10 s of silence.',
  someone: 'somebody else’s',
  untold: 'a task',
  openExpression: 'Open the expression',
  showTasks: (count: number) => `Show its ${tasks(count)}`,
  more: (count: number) => `and ${count} more`,
  drain: 'Drain',
  drainOf: (name: string) => `Drain ${name}`,
  drainTitle: (name: string) => `Drain ${name}?`,
  drainText: (running: number) =>
    running === 0
      ? 'It gets no more tasks, also when it reconnects, until its process is started anew.'
      : `It finishes its ${tasks(running)} and gets no more, also when it reconnects, until its process is started anew.`,
  disconnect: 'Disconnect',
  disconnectOf: (name: string) => `Disconnect ${name}`,
  disconnectTitle: (name: string) => `Disconnect ${name}?`,
  disconnectText: (running: number) =>
    `${running === 0 ? 'It is disconnected now.' : `It is disconnected now, and its ${tasks(running)} go to others.`} The agent’s process stops; a new one under its id is not let in for 60 s.`,
  back: 'Leave it',
  fate: {
    nothing: 'It was computing nothing when it was lost, as far as is known.',
    some: (count: number) => `${tasks(count)} it was computing went back in line when it was lost:`,
    done: 'done since',
    doneBy: (name: string) => `done since by ${name}`,
    running: 'now at another agent',
    at: (name: string) => `now at ${name}`,
    waiting: 'in line again',
    dropped: 'needed no more',
    counts: (waiting: number, running: number, done: number) =>
      `${waiting} in line again, ${running} at other agents, ${done} done since`,
    forgotten: 'It leaves this list after an hour.',
  },
  empty: 'No agent is connected',
  emptyText:
    'Nothing is computed until one is. Start as many as you like, on this machine or on any that reaches this address:',
  emptyToken: 'The token is one of the role agent.',
  makeToken: 'Make one',
  emptyUp: 'Where everything runs by “curta up”, it lies in the data folder as agent.token.',
  command: 'The command that starts an agent',
};
