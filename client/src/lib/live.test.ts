import { beforeEach, describe, expect, it } from 'vitest';
import { backoffMs, Live, type SocketEvents, type State, type Take } from './live';

/** Time that only moves when told to. */
class Time {
  ms = 0;
  #timers: { at: number; run: () => void }[] = [];

  readonly clock = {
    now: () => this.ms,
    random: () => 1,
    after: (ms: number, run: () => void) => {
      const timer = { at: this.ms + ms, run };
      this.#timers.push(timer);
      return () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      };
    },
  };

  async pass(ms: number) {
    const end = this.ms + ms;
    for (;;) {
      for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
      const next = this.#timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.ms = next.at;
      next.run();
    }
    this.ms = end;
  }

  get pending() {
    return this.#timers.length;
  }
}

class FakeSocket {
  readonly sent: Record<string, unknown>[] = [];
  isClosed = false;

  constructor(readonly events: SocketEvents) {}

  send(text: string) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.isClosed = true;
  }

  say(message: Record<string, unknown>) {
    this.events.received(JSON.stringify(message));
  }

  snapshot(topic: string, seq: number, items: unknown[] = []) {
    this.say({ type: 'snapshot', topic, seq, items, next: null });
  }

  delta(topic: string, seq: number, items: unknown[] = [], removed: string[] = []) {
    this.say({ type: 'delta', topic, seq, items, removed });
  }
}

let time: Time;
let sockets: FakeSocket[];
let states: State[];
let sessionsEnded: number;
let live: Live;

function socket(): FakeSocket {
  const last = sockets.at(-1);
  if (last === undefined) throw new Error('no socket was opened');
  return last;
}

/** Keeps what it was told. */
function taker(poll?: () => Promise<void>): Take<unknown> & { heard: unknown[] } {
  const heard: unknown[] = [];
  const take: Take<unknown> & { heard: unknown[] } = {
    heard,
    snapshot: (items) => heard.push(['snapshot', items]),
    delta: (items, removed) => heard.push(['delta', items, removed]),
    refused: (error) => heard.push(['refused', error.code]),
  };
  if (poll !== undefined) take.poll = poll;
  return take;
}

beforeEach(() => {
  time = new Time();
  sockets = [];
  states = [];
  sessionsEnded = 0;
  live = new Live({
    clock: time.clock,
    open: (events) => {
      const opened = new FakeSocket(events);
      sockets.push(opened);
      return opened;
    },
    changed: (state) => states.push(state),
    sessionEnded: () => {
      sessionsEnded += 1;
    },
  });
});

describe('a subscription', () => {
  it('opens the connection, asks, and takes the snapshot and what follows it', () => {
    const take = taker();
    live.subscribe('agents', { limit: 5 }, take);
    expect(socket().sent).toEqual([]);
    socket().events.opened();
    expect(socket().sent).toEqual([{ type: 'subscribe', topic: 'agents', limit: 5 }]);
    socket().snapshot('agents', 7, [1]);
    socket().delta('agents', 8, [2], ['1']);
    expect(take.heard).toEqual([
      ['snapshot', [1]],
      ['delta', [2], ['1']],
    ]);
    expect(states).toEqual(['live']);
  });

  it('asks anew after a gap, and takes nothing until the snapshot is there', () => {
    const take = taker();
    live.subscribe('agents', {}, take);
    socket().events.opened();
    socket().snapshot('agents', 1);
    socket().delta('agents', 3, ['lost one before']);
    socket().delta('agents', 4, ['too']);
    expect(socket().sent).toHaveLength(2);
    socket().snapshot('agents', 9, ['fresh']);
    socket().delta('agents', 10, ['next']);
    expect(take.heard).toEqual([
      ['snapshot', []],
      ['snapshot', ['fresh']],
      ['delta', ['next'], []],
    ]);
  });

  it('takes an unasked snapshot as a new beginning', () => {
    const take = taker();
    live.subscribe('agents', {}, take);
    socket().events.opened();
    socket().snapshot('agents', 1);
    socket().snapshot('agents', 50, ['after slowness']);
    socket().delta('agents', 51);
    expect(take.heard).toHaveLength(3);
    expect(socket().sent).toHaveLength(1);
  });

  it('asks for a changed window once the old one is answered, and drops the old answer', () => {
    const first = taker();
    const second = taker();
    const leave = live.subscribe('expressions', { q: 'a' }, first);
    socket().events.opened();
    leave();
    live.subscribe('expressions', { q: 'b' }, second);
    expect(socket().sent).toEqual([{ type: 'subscribe', topic: 'expressions', q: 'a' }]);
    socket().snapshot('expressions', 1, ['of a']);
    expect(socket().sent.at(-1)).toEqual({ type: 'subscribe', topic: 'expressions', q: 'b' });
    socket().delta('expressions', 2, ['of a']);
    socket().snapshot('expressions', 1, ['of b']);
    expect(first.heard).toEqual([]);
    expect(second.heard).toEqual([['snapshot', ['of b']]]);
  });

  it('shares a window with others that want the same', () => {
    const first = taker();
    const second = taker();
    live.subscribe('agents', {}, first);
    socket().events.opened();
    socket().snapshot('agents', 1, ['one']);
    const leave = live.subscribe('agents', {}, second);
    socket().snapshot('agents', 2, ['two']);
    leave();
    socket().delta('agents', 3, ['three']);
    expect(second.heard).toEqual([['snapshot', ['two']]]);
    expect(first.heard).toHaveLength(3);
    expect(socket().sent).toHaveLength(2);
  });

  it('is ended on the server when the last one leaves', async () => {
    const leave = live.subscribe('agents', {}, taker());
    socket().events.opened();
    leave();
    await Promise.resolve();
    expect(socket().sent.at(-1)).toEqual({ type: 'unsubscribe', topic: 'agents' });
  });

  it('hears of a refusal, and asks again where it may pass', async () => {
    const take = taker();
    live.subscribe('stats', {}, take);
    socket().events.opened();
    socket().say({ type: 'error', topic: 'stats', code: 'forbidden', message: '' });
    await time.pass(6_000);
    expect(socket().sent).toHaveLength(1);
    socket().say({ type: 'error', topic: 'stats', code: 'unavailable', message: '' });
    await time.pass(6_000);
    expect(socket().sent).toHaveLength(2);
    expect(take.heard).toEqual([
      ['refused', 'forbidden'],
      ['refused', 'unavailable'],
    ]);
  });
});

describe('a lost connection', () => {
  it('is opened again with growing pauses, and everything is asked for anew', async () => {
    live.subscribe('agents', {}, taker());
    live.subscribe('stats', {}, taker());
    socket().events.opened();
    expect(states).toEqual([]);
    socket().snapshot('agents', 1);
    socket().events.closed(1006);
    expect(states).toEqual(['live', 'connecting']);
    await time.pass(199);
    expect(sockets).toHaveLength(1);
    await time.pass(1);
    expect(sockets).toHaveLength(2);
    socket().events.closed(1006);
    await time.pass(399);
    expect(sockets).toHaveLength(2);
    await time.pass(1);
    socket().events.opened();
    expect(socket().sent.map((message) => message.topic)).toEqual(['agents', 'stats']);
  });

  it('is noticed by its silence', async () => {
    live.subscribe('agents', {}, taker());
    socket().events.opened();
    socket().snapshot('agents', 1);
    await time.pass(30_000);
    socket().say({ type: 'beat' });
    await time.pass(34_000);
    expect(sockets).toHaveLength(1);
    await time.pass(10_000);
    expect(sockets.length).toBeGreaterThan(1);
    expect(sockets[0]?.isClosed).toBe(true);
  });

  it('is noticed by a question without an answer', async () => {
    live.subscribe('agents', {}, taker());
    socket().events.opened();
    for (let beats = 0; beats < 3; beats += 1) {
      await time.pass(10_000);
      sockets[0]?.say({ type: 'beat' });
    }
    expect(sockets.length).toBeGreaterThan(1);
  });

  it('backs off by chance, from 0.2 to 5 s', () => {
    expect(backoffMs(0, 1)).toBe(200);
    expect(backoffMs(3, 1)).toBe(1_600);
    expect(backoffMs(40, 1)).toBe(5_000);
    expect(backoffMs(40, 0)).toBe(0);
  });
});

describe('where no socket can be opened', () => {
  it('polls every 2 s until one opens', async () => {
    let polls = 0;
    live.subscribe(
      'agents',
      {},
      taker(async () => {
        polls += 1;
      }),
    );
    socket().events.closed(1006);
    expect(polls).toBe(0);
    await time.pass(200);
    socket().events.closed(1006);
    expect(states).toEqual(['polling']);
    await time.pass(0);
    expect(polls).toBe(1);
    await time.pass(4_000);
    expect(polls).toBe(3);
    socket().events.opened();
    socket().snapshot('agents', 1);
    await time.pass(10_000);
    expect(polls).toBe(3);
    expect(states).toEqual(['polling', 'live']);
  });

  it('says so when nobody answers the polls either, and when somebody does again', async () => {
    let isThere = false;
    live.subscribe(
      'agents',
      {},
      taker(() => (isThere ? Promise.resolve() : Promise.reject(new Error('away')))),
    );
    socket().events.closed(1006);
    await time.pass(200);
    socket().events.closed(1006);
    await time.pass(2_000);
    expect(live.state).toBe('away');
    isThere = true;
    await time.pass(2_000);
    expect(live.state).toBe('polling');
  });

  it('polls where each one opens and is closed at once, with growing pauses', async () => {
    let polls = 0;
    live.subscribe(
      'agents',
      {},
      taker(async () => {
        polls += 1;
      }),
    );
    for (const pause of [200, 400, 800]) {
      socket().events.opened();
      socket().events.closed(1011);
      const before = sockets.length;
      await time.pass(pause - 1);
      expect(sockets).toHaveLength(before);
      await time.pass(1);
      expect(sockets).toHaveLength(before + 1);
    }
    expect(states).toEqual(['polling']);
    expect(polls).toBeGreaterThan(0);
  });

  it('polls where one opens and never answers, and tries another', async () => {
    let polls = 0;
    live.subscribe(
      'agents',
      {},
      taker(async () => {
        polls += 1;
      }),
    );
    socket().events.opened();
    await time.pass(5_000);
    expect(states).toEqual(['polling']);
    expect(polls).toBe(1);
    for (let beats = 0; beats < 3; beats += 1) {
      socket().say({ type: 'beat' });
      await time.pass(7_000);
    }
    expect(sockets.length).toBeGreaterThan(1);
    expect(states).toEqual(['polling']);
    expect(polls).toBeGreaterThan(8);
    socket().events.opened();
    socket().snapshot('agents', 1);
    expect(states).toEqual(['polling', 'live']);
  });

  it('counts an answer that never comes against a socket that brought others', async () => {
    live.subscribe('agents', {}, taker());
    live.subscribe('stats', {}, taker());
    socket().events.opened();
    socket().snapshot('agents', 1);
    for (let beats = 0; beats < 3; beats += 1) {
      await time.pass(9_000);
      sockets[0]?.say({ type: 'beat' });
    }
    expect(sockets.length).toBeGreaterThan(1);
    socket().events.closed(1006);
    expect(states).toEqual(['live', 'connecting', 'polling']);
  });

  it('polls at once for one that subscribes meanwhile', async () => {
    live.subscribe('agents', {}, taker());
    socket().events.closed(1006);
    await time.pass(200);
    socket().events.closed(1006);
    let polls = 0;
    live.subscribe(
      'stats',
      {},
      taker(async () => {
        polls += 1;
      }),
    );
    expect(polls).toBe(1);
  });
});

describe('a hidden tab', () => {
  it('closes after a while and costs nothing', async () => {
    live.subscribe('agents', {}, taker());
    socket().events.opened();
    live.hide(true);
    await time.pass(4_900);
    expect(socket().isClosed).toBe(false);
    await time.pass(100);
    expect(socket().isClosed).toBe(true);
    expect(time.pending).toBe(0);
    await time.pass(600_000);
    expect(sockets).toHaveLength(1);
    live.hide(false);
    expect(sockets).toHaveLength(2);
    socket().events.opened();
    expect(socket().sent).toHaveLength(1);
  });

  it('keeps its connection when it is back soon', async () => {
    live.subscribe('agents', {}, taker());
    socket().events.opened();
    live.hide(true);
    await time.pass(3_000);
    live.hide(false);
    await time.pass(10_000);
    expect(sockets).toHaveLength(1);
    expect(socket().isClosed).toBe(false);
  });
});

describe('the end of a session', () => {
  it('is told once and nothing is opened until somebody signs in', async () => {
    live.subscribe('agents', {}, taker());
    socket().events.opened();
    socket().events.closed(4001);
    expect(sessionsEnded).toBe(1);
    live.hide(true);
    live.hide(false);
    await time.pass(60_000);
    expect(sockets).toHaveLength(1);
    live.start();
    expect(sockets).toHaveLength(2);
  });

  it('takes nothing more from a connection that was given up', () => {
    const take = taker();
    live.subscribe('agents', {}, take);
    socket().events.opened();
    live.stop();
    socket().snapshot('agents', 1);
    socket().events.closed(1006);
    expect(take.heard).toEqual([]);
    expect(sockets).toHaveLength(1);
  });
});
