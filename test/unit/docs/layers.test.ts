import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../../..');

interface Rule {
  readonly name: string;
  readonly comment?: string;
}

it('lists the layers of proxy/ in ARCHITECTURE.md in the order that the dependency check enforces', () => {
  const { forbidden } = createRequire(import.meta.url)(join(ROOT, '.dependency-cruiser.cjs')) as {
    readonly forbidden: readonly Rule[];
  };
  const enforced = forbidden
    .filter(({ name }) => name === 'proxy-layers')
    .map(({ comment = '' }) => /^proxy\/(\S+)/.exec(comment)?.[1]);
  const page = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8');
  const [, rows = ''] = /The folders of `proxy\/` are layers[^`]*```\n(.*?)```/s.exec(page) ?? [];
  // A comment stands behind the last folder of a row, far to the right.
  const written = rows
    .split('\n')
    .flatMap((row) => row.replace(/ {3,}.*$/, '').split(/ +/))
    .filter(Boolean);
  expect(enforced.length).toBeGreaterThan(10);
  expect(written).toEqual(enforced);
});
