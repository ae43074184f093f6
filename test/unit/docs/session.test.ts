import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { SESSION } from '../../../scripts/record-session.ts';

it('docs/session.svg shows every command of the script that records it, in order, with the answer', () => {
  const svg = readFileSync(join(import.meta.dirname, '../../../docs/session.svg'), 'utf8');
  const lines = [...svg.matchAll(/<text[^>]*>(.*?)<\/text>/g)].map(([, line = '']) =>
    line
      .replaceAll(/<[^>]*>/g, '')
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
      .replaceAll('&amp;', '&'),
  );
  expect(lines.filter((line) => line.startsWith('$ '))).toEqual(SESSION.map((command) => `$ ${command}`));
  for (const shown of ['42', 'Postgres asks for user and password.', 'podgate explain mypg --id']) {
    expect(lines.filter((line) => line.includes(shown))).not.toEqual([]);
  }
  // Nothing of the machine that it was recorded on.
  expect(lines.filter((line) => /\/(?:work|tmp|root|home)\//.test(line))).toEqual([]);
});
