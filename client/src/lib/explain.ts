/** What is wrong with an expression and where, in words of the language; from a problem's position and codes. */
import type { ProblemDocument } from './api';
import type { Dictionary } from './i18n/index.svelte';

/** Where in a JavaScript string the code point number `position` begins: characters beyond U+FFFF count twice. */
export function indexOfCodePoint(text: string, position: number): number {
  let index = 0;
  for (let passed = 0; passed < position && index < text.length; passed += 1) {
    index += (text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1;
  }
  return index;
}

/** One character as a reader sees it, with its accents and joiners. */
export function characterAt(text: string, index: number): string {
  const [first] = new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(
    text.slice(index, index + 64),
  );
  return first?.segment ?? '';
}

/** Line and column of an index, both from 1; columns count code points. */
export function placeOf(text: string, index: number): { line: number; column: number } {
  const before = text.slice(0, index);
  const start = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: [...before.slice(start)].length + 1 };
}

type Words = Dictionary['calculate']['errors'];

/** A sentence on what stands at the error and what should. `problem` is a 400 of `/plan` or `/expressions`. */
export function explain(words: Words, text: string, problem: ProblemDocument): string {
  if (problem.position === undefined || problem.position === null) return words.other;
  if (problem.type.endsWith('/literal_too_long')) return words.literalTooLong;
  const index = indexOfCodePoint(text, problem.position);
  const character = characterAt(text, index);
  const before = text.slice(0, index).trimEnd();
  const expected = problem.expected ?? [];
  if (expected.length === 0) return words.exponent;
  return hint(words, character, before.at(-1) ?? '', expected) ?? generally(words, character, expected);
}

function hint(words: Words, character: string, before: string, expected: readonly string[]): string | null {
  const wantsNumber = expected.includes('number');
  if (character === '') return wantsNumber ? (before === '' ? words.empty : words.endsEarly) : words.unclosed;
  if (character === ')') {
    if (!wantsNumber) return words.unopened;
    return before === '(' ? words.emptyParentheses : null;
  }
  if (character === '(') return words.implicit;
  if (character === '+' && wantsNumber) return words.unaryPlus;
  if (character === '*' && wantsNumber && before === '*') return words.power;
  if (wantsNumber && '*/×·÷-−'.includes(character)) return words.twoOperators;
  if (!wantsNumber && /^[0-9.]/.test(character))
    return character === '.' ? words.lonePoint : words.twoNumbers;
  const known = words.characters[character];
  if (known !== undefined) return known;
  if (/^[\p{L}_]/u.test(character)) return words.names;
  return /^\p{Nd}/u.test(character) ? words.digits : null;
}

function generally(words: Words, character: string, expected: readonly string[]): string {
  const list = expected.map((code) => words.expected[code] ?? code);
  const joined =
    list.length > 1 ? `${list.slice(0, -1).join(', ')} ${words.or} ${list.at(-1)}` : (list[0] ?? '');
  return words.instead(/^[\p{C}\p{Z}]$/u.test(character) ? codeOf(character) : character, joined);
}

function codeOf(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}
