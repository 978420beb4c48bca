/**
 * What the expression being written would cost, or where it is wrong: asks `POST /plan` while one types.
 *
 * Only the answer to the text as it is now counts: a newer text calls off the question before it.
 */
import { api, ask, type ProblemDocument, ProblemError, type Schemas } from './api';

export const PAUSE_MS = 250;
/** Longer texts are planned on request only. */
export const BY_ITSELF_MAX = 20_000;

type Plan = Schemas['PlanSummary'];

export class Preview {
  /** The plan of `text`; the one before stays until the next is there. */
  plan = $state.raw<Plan | null>(null);
  /** Why `text` is no expression. */
  wrong = $state.raw<ProblemDocument | null>(null);
  /** Why there is no answer, or what the server refuses for other reasons than the text's form. */
  failure = $state.raw<ProblemError | null>(null);
  isAsking = $state(false);
  /** Whether what is shown is about the text as it is. */
  isCurrent = $state(false);

  #timer: ReturnType<typeof setTimeout> | undefined;
  #question: AbortController | null = null;

  /** The text or an option changed. */
  change(text: string, optimize: boolean): void {
    this.stop();
    this.isCurrent = false;
    this.failure = null;
    // An error that is being mended should not be pointed at in the wrong place meanwhile.
    this.wrong = null;
    if (text.trim() === '' || text.length > BY_ITSELF_MAX) {
      this.plan = null;
      return;
    }
    this.#timer = setTimeout(() => void this.ask(text, optimize), PAUSE_MS);
  }

  async ask(text: string, optimize: boolean): Promise<void> {
    this.stop();
    const question = new AbortController();
    this.#question = question;
    this.isAsking = true;
    let plan: Plan | null = null;
    let error: ProblemError | null = null;
    try {
      plan = await ask(
        api.POST('/plan', { body: { expression: text, optimize, id: null }, signal: question.signal }),
      );
    } catch (raised) {
      if (question.signal.aborted) return;
      if (!(raised instanceof ProblemError)) throw raised;
      error = raised;
    }
    if (this.#question !== question) return;
    this.isAsking = false;
    this.isCurrent = true;
    this.plan = plan;
    this.refuse(error);
  }

  /** Shows an error of the text, whoever found it: a preview or an attempt to send. */
  refuse(error: ProblemError | null): void {
    const isOfText = error?.problem?.position !== undefined && error.problem.position !== null;
    this.wrong = isOfText ? (error?.problem ?? null) : null;
    this.failure = isOfText ? null : error;
    if (isOfText) this.plan = null;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#question?.abort();
    this.#question = null;
    this.isAsking = false;
  }
}
