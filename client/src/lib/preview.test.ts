import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BY_ITSELF_MAX, PAUSE_MS, Preview } from './preview.svelte';

interface Question {
  text: string;
  answer(status: number, body: unknown): void;
  isAborted(): boolean;
}

// The client takes hold of `fetch` when it is loaded.
const network = vi.hoisted(() => {
  const answering = { fetch: (_: Request): Promise<Response> => Promise.reject(new Error('not set up')) };
  vi.stubGlobal('fetch', (request: Request) => answering.fetch(request));
  return answering;
});

let questions: Question[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  questions = [];
  network.fetch = (request) => {
    return new Promise<Response>((resolve, reject) => {
      const { signal } = request;
      signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
      void request
        .clone()
        .json()
        .then((body: { expression: string }) => {
          questions.push({
            text: body.expression,
            answer: (status, answer) =>
              resolve(
                new Response(JSON.stringify(answer), {
                  status,
                  headers: { 'Content-Type': 'application/json' },
                }),
              ),
            isAborted: () => signal.aborted,
          });
        });
    });
  };
});
afterEach(() => vi.useRealTimers());
afterAll(() => vi.unstubAllGlobals());

const plan = (tasks: number) => ({
  tasks,
  sequential_ms: 1,
  critical_path_ms: 1,
  critical_path_as_written_ms: 1,
  width: 1,
});
const wrong = {
  type: '/problems/invalid_expression',
  title: '',
  status: 400,
  detail: '',
  position: 2,
  expected: [],
};

async function pause(): Promise<void> {
  await vi.advanceTimersByTimeAsync(PAUSE_MS);
  await vi.waitFor(() => expect(questions.length).toBeGreaterThan(0));
}

describe('the preview', () => {
  it('asks once for what is typed in one go', async () => {
    const preview = new Preview();
    for (const text of ['1', '1+', '1+1']) preview.change(text, true);
    await pause();
    expect(questions.map((question) => question.text)).toEqual(['1+1']);
    questions[0]?.answer(200, plan(1));
    await vi.waitFor(() => expect(preview.plan?.tasks).toBe(1));
    expect(preview.isCurrent).toBe(true);
  });

  it('takes no answer to a text that is no more', async () => {
    const preview = new Preview();
    preview.change('1+', true);
    await pause();
    preview.change('1+1', true);
    await vi.advanceTimersByTimeAsync(PAUSE_MS);
    await vi.waitFor(() => expect(questions.length).toBe(2));
    expect(questions[0]?.isAborted()).toBe(true);
    questions[1]?.answer(200, plan(1));
    questions[0]?.answer(400, wrong);
    await vi.waitFor(() => expect(preview.plan?.tasks).toBe(1));
    expect(preview.wrong).toBeNull();
  });

  it('says where a text is wrong, and no more once it changes', async () => {
    const preview = new Preview();
    preview.change('1+', true);
    await pause();
    questions[0]?.answer(400, wrong);
    await vi.waitFor(() => expect(preview.wrong?.position).toBe(2));
    preview.change('1+1', true);
    expect(preview.wrong).toBeNull();
  });

  it('asks nothing by itself for an empty or a long text', async () => {
    const preview = new Preview();
    preview.change('  ', true);
    preview.change('1'.repeat(BY_ITSELF_MAX + 1), true);
    await vi.advanceTimersByTimeAsync(10 * PAUSE_MS);
    expect(questions).toEqual([]);
  });

  it('keeps what went wrong apart from what is wrong with the text', async () => {
    const preview = new Preview();
    preview.change('1+1', true);
    await pause();
    questions[0]?.answer(503, { type: '/problems/unavailable', title: '', status: 503, detail: 'away' });
    await vi.waitFor(() => expect(preview.failure?.code).toBe('unavailable'));
    expect(preview.wrong).toBeNull();
    expect(preview.failure?.isPassing).toBe(true);
  });
});
