/**
 * The REST interface, typed by the server's own document. `ask` turns what an answer can be into two:
 * the data, or a `ProblemError` that `parts/Problem.svelte` can show.
 */
import createClient from 'openapi-fetch';
import type { components, paths } from './protocol';

export type Schemas = components['schemas'];
export type ProblemDocument = Schemas['ProblemDocument'];

export const api = createClient<paths>({
  baseUrl: typeof location === 'undefined' ? 'http://localhost' : location.origin,
  credentials: 'same-origin',
});

/** An answer other than success. `status` is 0 where there was no answer at all. */
export class ProblemError extends Error {
  constructor(
    readonly status: number,
    readonly problem: ProblemDocument | null,
    /** Seconds after which it may be tried again, where the server said so. */
    readonly retryAfterS: number | null = null,
  ) {
    super(problem?.detail ?? (status === 0 ? 'no answer' : `HTTP ${status}`));
  }

  /** The problem's code, `malformed` for `/problems/malformed`; `unreachable` without an answer. */
  get code(): string {
    if (this.status === 0) return 'unreachable';
    return this.problem?.type.split('/').pop() ?? 'internal';
  }

  /** Whether the same request may succeed later. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }
}

let unauthorized: () => void = () => {};

/** Has `run` called whenever an answer says that nobody is signed in. */
export function whenUnauthorized(run: () => void): void {
  unauthorized = run;
}

/** The data of an answer, undefined for one without a body. Raises: ProblemError. */
export async function ask<T>(
  request: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<T> {
  let answer: { data?: T; error?: unknown; response: Response };
  try {
    answer = await request;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ProblemError(0, null);
  }
  const { response } = answer;
  if (response.ok) return answer.data as T;
  if (response.status === 401) unauthorized();
  const retryAfter = Number(response.headers.get('Retry-After') ?? Number.NaN);
  throw new ProblemError(
    response.status,
    isProblem(answer.error) ? answer.error : null,
    Number.isFinite(retryAfter) ? retryAfter : null,
  );
}

function isProblem(body: unknown): body is ProblemDocument {
  return typeof body === 'object' && body !== null && 'title' in body && 'detail' in body && 'type' in body;
}
