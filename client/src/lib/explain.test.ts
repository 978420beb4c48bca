import { describe, expect, it } from 'vitest';
import type { ProblemDocument } from './api';
import { characterAt, explain, indexOfCodePoint, placeOf } from './explain';
import { en } from './i18n/en';
import { ru } from './i18n/ru';

const OPERAND = ['number', '(', '-'];

function problem(position: number, expected: string[]): ProblemDocument {
  return {
    type: '/problems/invalid_expression',
    title: 'The expression is not valid',
    status: 400,
    detail: '',
    position,
    expected,
  };
}

describe('where an error is', () => {
  it('counts a character beyond U+FFFF once, as the server does', () => {
    expect(indexOfCodePoint('😀😀x', 2)).toBe(4);
    expect(indexOfCodePoint('12x', 2)).toBe(2);
  });

  it('is the end for a position at the end, and never beyond it', () => {
    expect(indexOfCodePoint('1+', 2)).toBe(2);
    expect(indexOfCodePoint('1+', 9)).toBe(2);
  });

  it('marks a whole character with its joiners', () => {
    expect(characterAt('2 * 👩‍👩‍👧 + 1', 4)).toBe('👩‍👩‍👧');
    expect(characterAt('1+', 2)).toBe('');
  });

  it('has a line and a column, both from 1', () => {
    expect(placeOf('1 +\n2 *', 7)).toEqual({ line: 2, column: 4 });
    expect(placeOf('😀x', 2)).toEqual({ line: 1, column: 2 });
  });
});

describe('what an error is called', () => {
  const words = en.calculate.errors;
  const cases: [string, number, string[], string][] = [
    ['', 0, OPERAND, words.empty],
    ['1+', 2, OPERAND, words.endsEarly],
    ['(1', 2, ['operator', ')'], words.unclosed],
    ['1)', 1, ['operator', 'end'], words.unopened],
    ['()', 1, OPERAND, words.emptyParentheses],
    ['2(3)', 1, ['operator', 'end'], words.implicit],
    ['2++3', 2, OPERAND, words.unaryPlus],
    ['2**3', 2, OPERAND, words.power],
    ['2*/3', 2, OPERAND, words.twoOperators],
    ['2 2', 2, ['operator', 'end'], words.twoNumbers],
    ['1.2.3', 3, ['operator', 'end'], words.lonePoint],
    ['2,5', 1, ['operator', 'end'], words.characters[','] ?? ''],
    ['2 – 1', 2, ['operator', 'end'], words.characters['–'] ?? ''],
    ['x', 0, OPERAND, words.names],
    ['٣', 0, OPERAND, words.digits],
    ['1e9999', 2, [], words.exponent],
  ];
  for (const [text, position, expected, sentence] of cases) {
    it(`${JSON.stringify(text)}: ${sentence}`, () => {
      expect(explain(words, text, problem(position, expected))).toBe(sentence);
    });
  }

  it('names what could stand there where nothing better is known', () => {
    expect(explain(words, '1 # 2', problem(2, ['operator', 'end']))).toBe(
      'Not “#” here but an operator or the end.',
    );
    expect(explain(ru.calculate.errors, '#', problem(0, OPERAND))).toBe(
      'Здесь не «#», а число, «(» или минус.',
    );
  });

  it('shows a character that nobody can see by its number', () => {
    expect(explain(words, '1\u0000', problem(1, ['operator', 'end']))).toContain('U+0000');
  });
});
