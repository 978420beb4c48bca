import type { shell as en } from '../en/shell';
import { plural } from './plural';

const OPERATIONS = {
  addition: 'сложение',
  subtraction: 'вычитание',
  multiplication: 'умножение',
  division: 'деление',
};
const OPERATION: Record<string, string> = OPERATIONS;

/** The server's sentences on why nothing of an expression runs. */
const WAITING: Record<string, string> = {
  'the agents of before the restart are given time to come back':
    'агентам дано время вернуться после перезапуска',
  'no agent is connected': 'нет ни одного агента',
  'every connected agent is draining': 'все агенты завершают работу',
  'results wait to be stored': 'результаты ждут записи',
  'others are first': 'сначала другие',
  'no orchestrator leads at the moment': 'сейчас нет ведущего сервера',
  'the leader cannot be asked at the moment': 'ведущий сервер сейчас не отвечает',
};

export const shell: typeof en = {
  name: 'Curta',
  skip: 'К содержанию',
  navigation: 'Страницы',
  menu: 'Ещё',
  short: { agents: 'Агенты' },
  missing: {
    title: 'Такой страницы нет',
    text: 'Возможно, адрес устарел или набран с ошибкой.',
    home: 'К калькулятору',
  },
  unreachable: {
    title: 'Сервер не отвечает',
    text: 'Возможно, он запускается. Страница пробует снова сама.',
    retry: 'Попробовать сейчас',
  },
  language: { label: 'Язык', en: 'English', ru: 'Русский' },
  scheme: { label: 'Оформление', system: 'Авто', light: 'Светлое', dark: 'Тёмное' },
  account: {
    signedIn: 'Вы вошли как',
    signOut: 'Выйти',
    roles: { viewer: 'наблюдатель', user: 'пользователь', admin: 'администратор', agent: 'агент' },
  },
  live: {
    connecting: 'Подключение…',
    live: 'На связи',
    polling: 'Раз в 2 с',
    away: 'Нет связи',
    connectingLong: 'Подключение к серверу',
    liveLong: 'Изменения видны сразу',
    pollingLong: 'WebSocket не проходит; страница спрашивает сервер раз в 2 секунды',
    awayLong: 'Связь потеряна, подключаемся снова',
    awayBanner: 'Связь потеряна. Данные на странице могли устареть; подключаемся снова.',
    backBanner: 'Связь восстановлена.',
  },
  signIn: {
    title: 'Вход',
    lead: 'Арифметика, которую считают сразу много машин.',
    token: 'Токен',
    hint: 'Ссылка, которую сервер напечатал при запуске, впускает сама. Другие токены даёт администратор: страница «Токены» или ',
    send: 'Войти',
    sending: 'Входим…',
    show: 'Показать',
    hide: 'Скрыть',
    wrong: 'Токен не подходит. Возможно, он отозван, истёк или скопирован не целиком.',
    agent: 'Это токен агента. Агенты считают, а люди входят с токеном другой роли.',
    link: 'Токен из ссылки больше не действует. Запустите сервер снова — он даст новую ссылку — или введите токен.',
    empty: 'Сначала вставьте токен.',
    expiredTitle: 'Сеанс закончился',
    expiredLead: 'Войдите снова, чтобы продолжить. Всё, что вы набрали, на месте.',
  },
  status: {
    queued: 'в очереди',
    running: 'считается',
    done: 'готово',
    failed: 'ошибка',
    cancelled: 'отменено',
    waiting: 'ждёт',
    ready: 'можно считать',
    connected: 'на связи',
    draining: 'завершает',
    lost: 'потерян',
  },
  operation: OPERATIONS,
  copy: { copy: 'Копировать', copied: 'Скопировано', failed: 'Выделите и скопируйте вручную' },
  close: 'Закрыть',
  retry: 'Попробовать снова',
  loading: 'Загрузка…',
  progress: (done, total) => `${done} из ${total}`,
  problem: {
    unreachable: 'Сервер не отвечает. Проверьте связь и попробуйте снова.',
    unauthorized: 'Вы не вошли.',
    forbidden: 'Ваша роль этого не позволяет.',
    not_found: 'Этого (уже) нет.',
    conflict: 'В этом состоянии это уже невозможно.',
    last_admin: 'Это последний токен администратора: без него некому управлять токенами.',
    too_many_requests: 'Слишком часто. Попробуйте чуть позже.',
    unavailable: 'База данных или ведущий сервер сейчас недоступны. Попробуйте чуть позже.',
    id_reused: 'Этот идентификатор уже занят другим выражением.',
    too_long: 'Для сервера это слишком длинно.',
    too_many_tasks: 'В выражении больше операций, чем принимает сервер.',
    literal_too_long: 'Одно из чисел в выражении слишком длинное.',
    internal: 'На сервере что-то пошло не так; подробности в его журнале.',
    cross_origin: 'Запрос пришёл не с этого сайта.',
    other: 'Сервер отказал.',
  },
  error: {
    division_by_zero: 'Деление на ноль',
    too_large: 'Значение слишком велико',
    agents_failed: 'Агенты не смогли вычислить',
    plan_lost: 'План потерян',
  },
  why: {
    at: (what) => `в операции ${what}`,
    digits: (what, n, most) =>
      `в значении ${what} больше ${most} ${plural(n, { one: 'цифры', other: 'цифр' })}`,
    bytes: (what, n, most) =>
      `вместе с ${what} значения заняли бы больше ${most} ${plural(n, { one: 'байта', other: 'байт' })}`,
    agents: (what, n, times, why) =>
      `${what}: ${times} ${plural(n, { one: 'неудача', few: 'неудачи', many: 'неудач', other: 'неудачи' })}, последняя — «${why}»`,
    planLost: 'Его уже нельзя прочесть, а работа по нему началась: отправьте выражение снова.',
    tooLong: (n, has, most) =>
      `В нём ${has} ${plural(n, { one: 'байт', few: 'байта', many: 'байт', other: 'байта' })}, а можно не больше ${most}.`,
    tooMany: (n, has, most) =>
      `В нём ${has} ${plural(n, { one: 'операция', few: 'операции', many: 'операций', other: 'операции' })}, а можно не больше ${most}.`,
    tooOpen: (n, has, most) =>
      `У вас уже около ${has} ${plural(n, { one: 'незавершённого выражения', other: 'незавершённых выражений' })}, а можно не больше ${most}. Подождите, пока какие-то завершатся, или отмените часть.`,
    tooFast: 'Выражения приходят чаще, чем разрешено.',
  },
  waitingFor: (sentence) => {
    const missing = /^no agent offers (\w+)$/.exec(sentence)?.[1];
    if (missing !== undefined) return `ни один агент не умеет: ${OPERATION[missing] ?? missing}`;
    return WAITING[sentence] ?? sentence;
  },
  units: { ms: 'мс', s: 'с', min: 'мин', h: 'ч', d: 'д' },
  ago: {
    now: 'только что',
    seconds: (n) => `${n} с назад`,
    minutes: (n) => `${n} мин назад`,
  },
};
