import { describe, expect, it } from 'vitest';
import { en } from './en';
import { ru } from './ru';

const FILES = import.meta.glob<string>(['../../**/*.{svelte,ts}', '!../../**/*.test.ts', '!./{en,ru}/*'], {
  query: '?raw',
  import: 'default',
  eager: true,
});

/** A file's text with every name for a part of the dictionary written out: `words.send` as `t().shell.signIn.send`. */
function writtenOut(text: string): string {
  const names = [
    ...text.matchAll(/const (\w+) = \$derived\(t\(\)\.([\w.]+)\)/g),
    ...text.matchAll(/type (Words) = Dictionary((?:\['\w+'\])+)/g),
  ];
  let written = text;
  for (const [, name = '', part = ''] of names) {
    const path = part.replace(/\['(\w+)'\]/g, '.$1').replace(/^\./, '');
    written = written.replace(new RegExp(`(?<![.\\w])${name.toLowerCase()}\\b`, 'g'), `t().${path}`);
  }
  return written;
}

const code = Object.values(FILES).map(writtenOut).join('\n');

/** Groups whose keys come from data: a status, a code, a unit, a page's part. */
const BY_DATA = [
  /^agents\.fate\./,
  /^calculate\.(examples|errors\.(characters|expected))\./,
  /^monitoring\.(spans|figures|charts|about)\./,
  /^operations\.(names|faults)\./,
  /^shell\.(short|language|scheme|account\.roles|live|status|operation|problem|error|units)\./,
  /^tokens\.(roleText\.|expiries\.|until(Past|Missing)$)/,
  /^expression\.views\./,
];

function* keys(group: object, path = ''): Generator<string> {
  for (const [name, value] of Object.entries(group)) {
    if (typeof value === 'object' && value !== null) yield* keys(value, `${path}${name}.`);
    else yield `${path}${name}`;
  }
}

describe('the dictionaries', () => {
  it('hold no text that no page shows', () => {
    const unused = [...keys(en)].filter((key) => {
      if (BY_DATA.some((group) => group.test(key))) return false;
      return !new RegExp(`t\\(\\)\\.${key.replaceAll('.', '\\.')}\\b`).test(code);
    });
    expect(unused).toEqual([]);
  });

  it('have the same keys', () => {
    expect([...keys(ru)].sort()).toEqual([...keys(en)].sort());
  });
});

const COUNTS = [0, 1, 2, 5, 11, 21, 22, 25, 111, 121];
const of = (say: (n: number, text: string) => string) => COUNTS.map((n) => say(n, String(n)));

describe('numbers agree with their words in Russian', () => {
  it('counted', () => {
    expect(of(ru.expression.graph.all)).toEqual([
      '0 задач',
      '1 задача',
      '2 задачи',
      '5 задач',
      '11 задач',
      '21 задача',
      '22 задачи',
      '25 задач',
      '111 задач',
      '121 задача',
    ]);
    expect(of((n) => ru.agents.showTasks(n))).toContain('Показать 21 задачу');
    expect(of((n) => `${n} ${ru.agents.connected(n)}`)).toEqual(
      expect.arrayContaining(['1 агент', '2 агента', '11 агентов', '21 агент', '22 агента', '25 агентов']),
    );
    expect(of((n) => `${n} ${ru.calculate.preview.operations(n)}`)).toEqual(
      expect.arrayContaining(['1 операция', '22 операции', '111 операций', '121 операция']),
    );
    expect(of((n, text) => ru.expressions.newer(n, text, false))).toEqual(
      expect.arrayContaining([
        '1 новое выражение',
        '2 новых выражения',
        '5 новых выражений',
        '21 новое выражение',
      ]),
    );
    expect(of((n, text) => ru.expression.timeline.lanes(n, text))).toEqual(
      expect.arrayContaining(['1 слот', '2 слота', '11 слотов', '21 слот']),
    );
  });

  it('with their verb', () => {
    expect(of(ru.expression.facts.running)).toEqual(
      expect.arrayContaining(['1 выполняется сейчас', '22 выполняются сейчас', '5 выполняется сейчас']),
    );
    expect(of((n) => ru.calculate.preview.machines(n))).toEqual(
      expect.arrayContaining(['машина поможет', 'машины помогут сразу', 'машин помогут сразу']),
    );
    expect(ru.calculate.preview.faster(2.1, '2,1')).toBe('быстрее в 2,1 раза');
  });

  it('of a whole', () => {
    const shown = of((n, text) => ru.calculate.sent.progress('0', text, n));
    expect(shown).toEqual([
      '0 из 0 операций',
      '0 из 1 операции',
      '0 из 2 операций',
      '0 из 5 операций',
      '0 из 11 операций',
      '0 из 21 операции',
      '0 из 22 операций',
      '0 из 25 операций',
      '0 из 111 операций',
      '0 из 121 операции',
    ]);
    expect(ru.expressions.cancelText('3', '21', 21, '12 с')).toContain('готово 3 из 21 операции.');
  });
});

it('numbers agree with their words in English', () => {
  expect(en.calculate.sent.progress('0', '1', 1)).toBe('0 of 1 operation');
  expect(en.calculate.sent.progress('0', '2', 2)).toBe('0 of 2 operations');
  expect(en.expressions.cancelText('0', '1', 1, '12 s')).toContain('0 of 1 operation is done');
  expect(en.expression.graph.all(1, '1')).toBe('1 task');
  expect(en.agents.slots(0, 1)).toBe('0 of 1 slot busy');
});
