import { describe, expect, it } from 'vitest';
import { cutValue, tryOf } from './graphFormat';

describe('what is written of a task', () => {
  it('counts its tries from 1, whatever the term', () => {
    expect(tryOf(1_048_577)).toBe(1);
    expect(tryOf(7 * 2 ** 20 + 3)).toBe(3);
    expect(tryOf(2 ** 40 + 2)).toBe(2);
  });

  it('has a minus and not a hyphen', () => {
    expect(cutValue('-43')).toBe('−43');
    expect(cutValue('-1.5e-31', 20)).toBe('−1.5e−31');
    expect(cutValue('-123456789')).toBe('−123456…');
  });
});
