import type { operations as en } from '../en/operations';

export const operations: typeof en = {
  title: 'Операции',
  intro:
    'Сколько времени агент тратит на каждую. Изменение действует для всех — для задач, выданных после него.',
  hint: 'Напишите длительность: 200 мс, 1,5 с, 2 мин или 1 ч, не больше недели (7 д). Enter сохраняет, Escape возвращает.',
  looking: 'Изменения видны сразу. Вашей роли менять их нельзя.',
  symbol: 'Знак',
  operation: 'Операция',
  duration: 'Длительность',
  compared: 'В сравнении',
  names: {
    addition: 'Сложение',
    subtraction: 'Вычитание',
    multiplication: 'Умножение',
    division: 'Деление',
  },
  durationOf: (name) => `${name}: длительность`,
  save: 'Сохранить',
  saving: 'Сохраняется…',
  revert: 'Вернуть',
  saved: (name, duration) => `${name}: теперь ${duration}.`,
  means: (duration) => `Это ${duration}.`,
  meanwhile: (duration) => `Тем временем кто-то поставил ${duration}.`,
  take: 'Взять новое',
  keep: 'Оставить моё',
  faults: {
    empty: 'Укажите длительность, например 1,5 с.',
    number: 'Это не похоже на длительность. Попробуйте 200 мс, 1,5 с или 2 мин.',
    unit: 'Единицы: мс, с, мин, ч и д.',
    finer: 'Мельче миллисекунды нельзя.',
    too_long: 'Самое большее — неделя (7 д).',
  },
};
