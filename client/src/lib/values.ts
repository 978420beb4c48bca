// How values are written for people. What is copied stays as programs read it.

/** −3, 1e−31: with the minus that stands beside digits. */
export function withMinus(value: string): string {
  return value.replaceAll('-', '−');
}
