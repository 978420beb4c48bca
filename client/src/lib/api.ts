/**
 * The REST interface, typed by the server's own document. `ask` turns what an answer can be into two:
 * the data, or a `ProblemError` that `parts/Problem.svelte` can show.
 *
 * The calls have the types of openapi-fetch; of its code only these few lines would be used.
 */
import type { Client } from 'openapi-fetch';
import type { components, paths } from './protocol';

export type Schemas = components['schemas'];
export type ProblemDocument = Schemas['ProblemDocument'];

const BASE = typeof location === 'undefined' ? 'http://localhost' : location.origin;

interface Call {
  params?: { path?: Record<string, unknown>; query?: Record<string, unknown> };
  body?: unknown;
  signal?: AbortSignal;
}

type Answer = { data?: unknown; error?: unknown; response: Response };

let answered: (response: Response, askedAt: number) => void = () => {};

/** Has `run` called with every answer, and with when it was asked for. */
export function whenAnswered(run: typeof answered): void {
  answered = run;
}

function urlOf(path: string, { path: names = {}, query = {} }: NonNullable<Call['params']>): URL {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(names[name])));
  const url = new URL(filled, BASE);
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null) url.searchParams.append(name, String(one));
    }
  }
  return url;
}

async function send(method: string, path: string, call: Call = {}): Promise<Answer> {
  const request = new Request(urlOf(path, call.params ?? {}), {
    method,
    credentials: 'same-origin',
    signal: call.signal ?? null,
    ...(call.body === undefined
      ? {}
      : { body: JSON.stringify(call.body), headers: { 'Content-Type': 'application/json' } }),
  });
  const askedAt = Date.now();
  const response = await fetch(request);
  answered(response, askedAt);
  const text = await response.text();
  if (response.ok) return { data: text === '' ? undefined : JSON.parse(text), response };
  let error: unknown = text;
  try {
    error = JSON.parse(text);
  } catch {
    // Not ours: a proxy's page, say.
  }
  return { error, response };
}

const of = (method: string) => (path: string, call?: Call) => send(method, path, call);

export const api = {
  GET: of('GET'),
  POST: of('POST'),
  PUT: of('PUT'),
  DELETE: of('DELETE'),
} as unknown as Pick<Client<paths>, 'GET' | 'POST' | 'PUT' | 'DELETE'>;

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
