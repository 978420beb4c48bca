/**
 * The tab's one live connection. Pages: `$effect(() => subscribe('agents', { limit: 200 }, { … }))`.
 *
 * Opens with the first subscription, closes when the tab has been hidden for a while or nobody is signed in.
 */
import { Live, type Socket, type SocketEvents, type State, type Take, type Window } from './live';

export type { Delta, LiveError, Snapshot, State, Take, Window } from './live';

const SUBPROTOCOL = 'curta.live.v1';

let state = $state<State>('connecting');
let onSessionEnd: () => void = () => {};

function open(events: SocketEvents): Socket {
  const url = new URL('/live', location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(url, SUBPROTOCOL);
  socket.onopen = () => events.opened();
  socket.onmessage = (event) => events.received(event.data);
  socket.onclose = (event) => events.closed(event.code);
  return { send: (text) => socket.send(text), close: () => socket.close() };
}

const connection = new Live({
  open,
  clock: {
    now: () => performance.now(),
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    random: Math.random,
  },
  changed: (now) => {
    state = now;
  },
  sessionEnded: () => onSessionEnd(),
});

if (typeof document !== 'undefined') {
  const look = () => connection.hide(document.visibilityState === 'hidden');
  look();
  document.addEventListener('visibilitychange', look);
  // A network that is back need not wait for the backoff.
  addEventListener('online', () => connection.resume());
}

export const live = {
  get state(): State {
    return state;
  },
  /** After signing in: connect without waiting. */
  retry: () => connection.start(),
  /** After signing out: nothing more. */
  stop: () => connection.stop(),
  /** What to do when the server ends the session of the open connection. */
  set onSessionEnd(run: () => void) {
    onSessionEnd = run;
  },
};

/**
 * Shows `topic` until the answer is called: a snapshot first, deltas after it, a snapshot again after any
 * trouble. Subscribing with another window replaces the topic's window.
 */
export function subscribe<Item>(topic: string, window: Window, take: Take<Item>): () => void {
  return connection.subscribe(topic, window, take);
}
