import type { expressions as en } from '../en/expressions';
import { plural } from './plural';

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
  cancelText: (done, total, n, time) =>
    `Оно вычисляется уже ${time}; готово ${done} из ${total} ${plural(n, { one: 'операции', other: 'операций' })}. Отмену нельзя вернуть.`,
  cancelKeep: 'Пусть вычисляется',
  cancelYes: 'Отменить выражение',
  cancelled: (expression) => `Выражение ${expression} отменено.`,
};
