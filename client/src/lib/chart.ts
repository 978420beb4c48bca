/** What a chart of the last minutes is made of: its scales with their labels, and lines as SVG paths. Pure. */

export interface Scale {
  top: number;
  /** Where it is labelled, from 0 on, and how many digits after the point tell the labels apart. */
  labels: number[];
  digits: number;
}

/** From 0 to a little above `high`. Nothing at all is not blown up: it reaches to 1 at least, or to 4. */
export function scaleOf(high: number, isWhole: boolean): Scale {
  const top = Math.max(high, isWhole ? 4 : 1) * 1.08;
  const power = 10 ** Math.floor(Math.log10(top / 4));
  const times = [1, 2, 5, 10].find((each) => each * power >= top / 4) ?? 10;
  const step = Math.max(times * power, isWhole ? 1 : 0);
  const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  const labels = Array.from({ length: Math.floor(top / step) + 1 }, (_, index) =>
    Number((index * step).toFixed(digits)),
  );
  return { top, labels, digits };
}

const STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600];

/** Round seconds between `from` and `to` to write a time at, no closer than `space_s`. */
export function timesToLabel(from: number, to: number, space_s: number): number[] {
  const step = STEPS_S.find((each) => each >= space_s) ?? 600;
  const labels: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) labels.push(at);
  return labels;
}

export interface Picture {
  line: string;
  /** The line's pieces, each closed along the bottom. */
  area: string;
}

/** `values` over `times` as paths, broken where there is null; `x` and `y` say where in pixels. */
export function pictureOf(
  times: readonly number[],
  values: readonly (number | null)[],
  x: (time: number) => number,
  y: (value: number) => number,
): Picture {
  let line = '';
  let area = '';
  const bottom = y(0).toFixed(1);
  /** Where the piece that is being drawn began, and where it is. */
  let began = '';
  let here = '';
  const close = () => {
    if (began !== '') area += `L${here} ${bottom}L${began} ${bottom}Z`;
    began = '';
  };
  for (const [index, time] of times.entries()) {
    const value = values[index] ?? null;
    if (value === null) {
      close();
      continue;
    }
    here = x(time).toFixed(1);
    const point = `${here} ${y(value).toFixed(1)}`;
    // Without a length a point that stands alone would not be seen.
    line += began === '' ? `M${point}h0` : `L${point}`;
    area += began === '' ? `M${point}` : `L${point}`;
    if (began === '') began = here;
  }
  close();
  return { line, area };
}

/** The index of the time nearest to `at`; null where there is none. `times` ascend. */
export function nearest(times: readonly number[], at: number): number | null {
  let found: number | null = null;
  let distance = Number.POSITIVE_INFINITY;
  for (const [index, time] of times.entries()) {
    if (Math.abs(time - at) >= distance) break;
    distance = Math.abs(time - at);
    found = index;
  }
  return found;
}
