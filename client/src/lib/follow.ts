// A topic on a page: what there is by GET at once, then live; where nothing is live, by GET again and again.
//
// Used by the pages whose whole content is one topic. Numbers and windows are `live`'s.
import { ProblemError } from './api';
import { subscribe, type Window } from './live.svelte';

export interface Followed<Item> {
  topic: string;
  window?: Window;
  /** The same by REST. Raises: ProblemError. */
  load(): Promise<{ items: Item[]; next?: string | null }>;
  /** Everything there is; `next` is the cursor of the page after it. */
  replace(items: Item[], next: string | null): void;
  apply(items: Item[], removed: string[]): void;
  /** Why there is nothing newer; null as soon as there is. */
  failed(error: ProblemError | null): void;
}

/** Keeps the page up to date until the answer is called. */
export function follow<Item>(followed: Followed<Item>): () => void {
  let isOver = false;
  let isLive = false;
  const load = async () => {
    try {
      const { items, next } = await followed.load();
      // A snapshot that came meanwhile is newer.
      if (isOver || isLive) return;
      followed.failed(null);
      followed.replace(items, next ?? null);
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      if (!isOver && !isLive) followed.failed(error);
      throw error;
    }
  };
  const leave = subscribe<Item>(followed.topic, followed.window ?? {}, {
    snapshot(items, message) {
      isLive = true;
      followed.failed(null);
      followed.replace(items, message.next ?? null);
    },
    delta: (items, removed) => followed.apply(items, removed),
    refused({ code, message }) {
      // It goes on by itself once that is over, with a snapshot.
      const nowhere = { position: null, expected: null };
      const problem = { type: `/problems/${code}`, title: message, status: 503, detail: message, ...nowhere };
      if (!isOver) followed.failed(new ProblemError(problem.status, problem));
    },
    poll() {
      isLive = false;
      return load();
    },
  });
  load().catch((error: unknown) => {
    if (!(error instanceof ProblemError)) throw error;
  });
  return () => {
    isOver = true;
    leave();
  };
}
