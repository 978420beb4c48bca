/**
 * Who is signed in. The cookie itself is out of a script's reach; what is known here comes from
 * `GET /session`. A session that ends while a page is open leaves the page as it is (`expired`), so that
 * nothing typed is lost; signing out empties it, in every tab of this browser.
 */
import { api, ask, ProblemError, type Schemas, whenUnauthorized } from './api';
import { live } from './live.svelte';

export type Role = Schemas['Session']['role'];
export type Right = 'submit' | 'cancel' | 'edit_operations' | 'drain' | 'tokens';

const RIGHTS: Record<Right, readonly Role[]> = {
  submit: ['user', 'admin'],
  cancel: ['user', 'admin'],
  edit_operations: ['user', 'admin'],
  drain: ['admin'],
  tokens: ['admin'],
};

type State = 'asking' | 'in' | 'out' | 'unreachable';

let state = $state<State>('asking');
let name = $state('');
let role = $state<Role>('viewer');
let expired = $state(false);
let refused = $state<ProblemError | null>(null);

const tabs = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('curta.session');

function enter(found: Schemas['Session']): void {
  // Somebody else over the page: what the one before left there is not theirs to see.
  if (expired && name !== '' && name !== found.name) forget();
  name = found.name;
  role = found.role;
  state = 'in';
  expired = false;
  refused = null;
  live.retry();
}

function lapse(): void {
  expired = true;
  // Asking on would be refused every time.
  live.stop();
}

function leave(): void {
  state = 'out';
  name = '';
  expired = false;
  forget();
  live.stop();
}

/** Drops what this tab keeps for the one who was signed in. */
function forget(): void {
  try {
    for (const key of Object.keys(sessionStorage))
      if (key.startsWith('curta.')) sessionStorage.removeItem(key);
  } catch {
    // Without storage nothing was kept.
  }
}

/** The token in the address, which leaves it and the history at once. */
function tokenOfLink(): string | null {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (found === null) return null;
  history.replaceState(null, '', location.pathname + location.search);
  const token = found[1] ?? '';
  try {
    return decodeURIComponent(token);
  } catch {
    return token; // cut off or mistyped: the server says that it is none
  }
}

async function look(): Promise<void> {
  try {
    enter(await ask(api.GET('/session')));
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    if (error.status !== 401) {
      if (state !== 'in') state = 'unreachable';
    } else if (state === 'in') lapse();
    else state = 'out';
  }
}

export const session = {
  get state(): State {
    return state;
  },
  get name(): string {
    return name;
  },
  get role(): Role {
    return role;
  },
  /** Signed in before, and no more: sign-in is asked for over the page. */
  get expired(): boolean {
    return expired;
  },
  set expired(ended: boolean) {
    if (state === 'in') expired = ended;
  },
  /** Why the link's token was refused. */
  get refused(): ProblemError | null {
    return refused;
  },

  /** At the page's start: with the link's token, else with the cookie. */
  async begin(): Promise<void> {
    const token = tokenOfLink();
    if (token !== null) {
      try {
        await this.signIn(token);
        return;
      } catch (error) {
        if (!(error instanceof ProblemError)) throw error;
        refused = error;
      }
    }
    await look();
  },

  /** After a connection was ended, or an answer was missing: is the session still good? */
  check: look,

  /** Raises: ProblemError 401 for a wrong token, 403 for an agent's. */
  async signIn(token: string): Promise<void> {
    enter(await ask(api.POST('/session', { body: { token: token.trim() } })));
    tabs?.postMessage('in');
  },

  /** Ends the session and every tab that shares it. Raises: ProblemError where the server cannot be told. */
  async signOut(): Promise<void> {
    try {
      await ask(api.DELETE('/session'));
    } catch (error) {
      if (!(error instanceof ProblemError) || error.status !== 401) throw error;
    }
    leave();
    tabs?.postMessage('out');
  },
};

/** Whether the role of the one who is signed in allows it; what it does not allow is not offered. */
export function may(right: Right): boolean {
  return state === 'in' && RIGHTS[right].includes(role);
}

whenUnauthorized(() => {
  if (state === 'in') lapse();
});

live.onSessionEnd = () => void look();

tabs?.addEventListener('message', (event: MessageEvent<unknown>) => {
  if (event.data === 'out') leave();
  else void look();
});

if (typeof addEventListener !== 'undefined') {
  // A link with a token pasted into a tab that is open already.
  addEventListener('hashchange', () => {
    if (/^#token=/.test(location.hash)) void session.begin();
  });
}
