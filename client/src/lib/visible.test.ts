import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { whileVisible } from './visible';

const tab = Object.assign(new EventTarget(), { visibilityState: 'visible' });

function turn(state: string): void {
  tab.visibilityState = state;
  tab.dispatchEvent(new Event('visibilitychange'));
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('document', tab);
  tab.visibilityState = 'visible';
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a hidden tab costs nothing, and one that comes back is served at once', () => {
  const run = vi.fn();
  const stop = whileVisible(2_000, run);
  vi.advanceTimersByTime(4_000);
  expect(run).toHaveBeenCalledTimes(2);
  turn('hidden');
  expect(vi.getTimerCount()).toBe(0);
  vi.advanceTimersByTime(60_000);
  expect(run).toHaveBeenCalledTimes(2);
  turn('visible');
  expect(run).toHaveBeenCalledTimes(3);
  vi.advanceTimersByTime(2_000);
  expect(run).toHaveBeenCalledTimes(4);
  stop();
  turn('visible');
  vi.advanceTimersByTime(60_000);
  expect(run).toHaveBeenCalledTimes(4);
});

test('what begins in a hidden tab waits for it to be seen', () => {
  tab.visibilityState = 'hidden';
  const run = vi.fn();
  const stop = whileVisible(2_000, run);
  vi.advanceTimersByTime(60_000);
  expect(run).not.toHaveBeenCalled();
  turn('visible');
  expect(run).toHaveBeenCalledTimes(1);
  stop();
});
