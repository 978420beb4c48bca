import type { expressions as en } from '../en/expressions';
import { plural } from '../language.svelte';

const OFFERS: Record<string, string> = {
  addition: 'сложение',
  subtraction: 'вычитание',
  multiplication: 'умножение',
  division: 'деление',
};

const WAITING_FOR: Record<string, string> = {
  'no agent is connected': 'нет подключённых агентов',
  'others are first': 'сначала другие',
  'every connected agent is draining': 'все подключённые агенты завершают работу',
  'results wait to be stored': 'результаты ждут записи',
  'the agents of before the restart are given time to come back':
    'агенты, работавшие до перезапуска, ещё могут вернуться',
};

export const expressions: typeof en = {
  title: 'Выражения',
  leadAll: 'Все отправленные выражения, новые сверху.',
  leadOwn: 'Отправленные вами выражения, новые сверху.',
  create: 'Новое выражение',
  table: 'Выражения, новые сверху',
  columns: {
    status: 'Состояние',
    expression: 'Выражение',
    result: 'Результат',
    progress: 'Готово',
    created: 'Создано',
    finished: 'Завершено',
    owner: 'Владелец',
    actions: 'Действия',
  },
  filter: {
    status: 'Состояние',
    any: 'Все',
    text: 'Поиск',
    placeholder: 'Содержит…',
    hint: 'Ищет в первых 200 символах.',
  },
  newer: (n, text, isMore) =>
    isMore
      ? `Больше ${text} новых`
      : `${text} ${plural(n, { one: 'новое выражение', few: 'новых выражения', many: 'новых выражений', other: 'новых' })}`,
  progressOf: 'Сколько операций выражения готово',
  waitingFor: (sentence) => {
    const known = WAITING_FOR[sentence];
    if (known !== undefined) return known;
    const operation = OFFERS[/^no agent offers (\w+)$/.exec(sentence)?.[1] ?? ''];
    return operation === undefined ? sentence : `ни один агент не выполняет ${operation}`;
  },
  rest: (text) => `осталось ${text}`,
  rounded: 'Округлено; точное значение — на странице выражения',
  none: 'Пока ничего не отправлено',
  noneText:
    'Выражения появятся здесь, как только кто-нибудь их отправит, и будут меняться по ходу вычисления.',
  noneLink: 'Отправить первое',
  noFit: 'Под фильтр ничего не подходит',
  noFitText: 'Выберите другие состояния, сократите запрос или',
  noFitLink: 'покажите все',
  cancel: 'Отменить',
  cancelOf: (expression) => `Отменить ${expression}`,
  cancelAsk: 'Отменить это выражение?',
  cancelText: (done, total, time) =>
    `Оно вычисляется уже ${time}; готово ${done} из ${total} операций. Отмену нельзя вернуть.`,
  cancelKeep: 'Пусть вычисляется',
  cancelYes: 'Отменить выражение',
  cancelled: (expression) => `Выражение ${expression} отменено.`,
};
