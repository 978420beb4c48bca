import { plural } from '../language.svelte';

export const expressions = {
  title: 'Expressions',
  leadAll: 'What everybody sent, newest first.',
  leadOwn: 'What you sent, newest first.',
  create: 'New expression',
  table: 'Expressions, newest first',
  columns: {
    status: 'Status',
    expression: 'Expression',
    result: 'Result',
    progress: 'Progress',
    created: 'Created',
    finished: 'Finished',
    owner: 'Owner',
    actions: 'Actions',
  },
  filter: {
    status: 'Status',
    any: 'All',
    text: 'Search',
    placeholder: 'Contains…',
    hint: 'Looks at the first 200 characters.',
  },
  newer: (n: number, text: string, isMore: boolean) =>
    `${text}${isMore ? '+' : ''} new ${plural(n, { one: 'expression', other: 'expressions' })}`,
  progressOf: 'Progress of the expression',
  /** The server's sentence. */
  waitingFor: (sentence: string) => sentence,
  rest: (text: string) => `${text} left`,
  rounded: 'Rounded; the expression’s page has the exact value',
  none: 'Nothing was sent yet',
  noneText: 'Expressions appear here as soon as somebody sends one, and change while they are computed.',
  noneLink: 'Send the first one',
  noFit: 'No expression fits the filter',
  noFitText: 'Choose other statuses, search for less, or',
  noFitLink: 'show all',
  cancel: 'Cancel',
  cancelOf: (expression: string) => `Cancel ${expression}`,
  cancelAsk: 'Cancel this expression?',
  cancelText: (done: string, total: string, time: string) =>
    `It has been computing for ${time}; ${done} of ${total} operations are done. This cannot be undone.`,
  cancelKeep: 'Let it go on',
  cancelYes: 'Cancel the expression',
  cancelled: (expression: string) => `${expression} is cancelled.`,
};
