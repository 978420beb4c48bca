import type { agents as en } from '../en/agents';
import { plural } from './plural';

const tasks = (count: number) =>
  `${count} ${plural(count, { one: 'задача', few: 'задачи', many: 'задач', other: 'задачи' })}`;
const tasksOf = (count: number) =>
  `${count} ${plural(count, { one: 'задачу', few: 'задачи', many: 'задач', other: 'задачи' })}`;

export const agents: typeof en = {
  title: 'Вычислительные ресурсы',
  totals: 'Всего',
  connected: (count) => plural(count, { one: 'агент', few: 'агента', many: 'агентов', other: 'агента' }),
  busy: 'слотов занято',
  draining: 'в процессе вывода',
  lost: 'потеряно',
  onThisPage: 'на этой странице',
  filter: 'Поиск по имени',
  filterHere: 'Поиск идёт только по этой странице.',
  none: (filter) => `Нет агента, в имени которого есть «${filter}».`,
  showAll: 'Показать всех',
  before: 'Первая страница',
  next: 'Следующая страница',
  list: 'Агенты',
  slots: (running, slots) => `занято ${running} из ${slots}`,
  slot: (number) => `Слот ${number}`,
  free: 'свободен',
  offers: (names) => `Умеет: ${names}`,
  heard: (seconds) => `отклик ${seconds} назад`,
  silent: (seconds) => `молчит ${seconds}`,
  lostSince: (time) => `молчит ${time}`,
  overdue: 'Сигнал запаздывает.',
  near: 'После 10 с молчания агент считается потерянным.',
  someone: 'чужая задача',
  untold: 'задача',
  openExpression: 'Открыть выражение',
  showTasks: (count) => `Показать ${tasksOf(count)}`,
  more: (count) => `и ещё ${count}`,
  drain: 'Вывести',
  drainOf: (name) => `Вывести ${name} из работы`,
  drainTitle: (name) => `Вывести ${name} из работы?`,
  drainText: (running) =>
    running === 0
      ? 'Новых задач он не получит и после переподключения, пока его процесс не запустят заново.'
      : `Он закончит то, что вычисляет (${tasks(running)}), и новых задач не получит — и после переподключения, пока его процесс не запустят заново.`,
  disconnect: 'Отключить',
  disconnectOf: (name) => `Отключить ${name}`,
  disconnectTitle: (name) => `Отключить ${name}?`,
  disconnectText: (running) =>
    `${running === 0 ? 'Он будет отключён сейчас же.' : `Он будет отключён сейчас же, а то, что он вычисляет (${tasks(running)}), передадут другим.`} Процесс агента остановится; под тем же идентификатором его не пустят 60 с.`,
  back: 'Оставить',
  fate: {
    nothing: 'Насколько известно, он ничего не вычислял, когда связь пропала.',
    some: (count) => `Когда связь пропала, он вычислял ${tasksOf(count)}; всё вернулось в очередь:`,
    done: 'с тех пор вычислена',
    doneBy: (name) => `с тех пор вычислил ${name}`,
    running: 'теперь у другого агента',
    at: (name) => `теперь у ${name}`,
    waiting: 'снова в очереди',
    dropped: 'больше не нужна',
    counts: (waiting, running, done) =>
      `снова в очереди: ${waiting}, у других агентов: ${running}, вычислено: ${done}`,
    forgotten: 'Через час он исчезнет из списка.',
  },
  empty: 'Ни один агент не подключён',
  emptyText:
    'Пока их нет, ничего не вычисляется. Запустите сколько угодно — на этой машине или на любой, откуда доступен этот адрес:',
  emptyToken: 'Нужен токен с ролью agent.',
  makeToken: 'Создать',
  emptyUp: 'Если всё запущено через «curta up», он лежит в папке данных, в файле agent.token.',
  command: 'Команда, которая запускает агента',
};
