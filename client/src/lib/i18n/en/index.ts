import { agents } from './agents';
import { calculate } from './calculate';
import { expression } from './expression';
import { expressions } from './expressions';
import { monitoring } from './monitoring';
import { operations } from './operations';
import { shell } from './shell';
import { tokens } from './tokens';

export const en = {
  agents,
  calculate,
  expression,
  expressions,
  monitoring,
  operations,
  shell,
  tokens,
};
