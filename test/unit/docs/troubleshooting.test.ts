import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ERRORS, type RefusalCode } from '../../../core/errors.ts';
import type { Route } from '../../../core/route.ts';
import { describeRefusal } from '../../../proxy/connection/refusal.ts';
import { GOODBYE_SENTENCES } from '../../../proxy/goodbye/goodbye.ts';

const ROOT = join(import.meta.dirname, '../../..');
const page = readFileSync(join(ROOT, 'docs/troubleshooting.md'), 'utf8');

/** First cells of the tables whose first column is `message`: code spans, each a text that Podgate says. */
function quotedMessages(): readonly string[] {
  const tables = page.split(/\n\n/).filter((block) => block.startsWith('| message |'));
  const cells = tables.flatMap((table) => table.split('\n').slice(2)).map((row) => row.split(' | ')[0] ?? '');
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text));
}

/** What the sources say, with line breaks and quotes of literals taken out. */
function sources(): string {
  return ['core', 'proxy', 'control', 'spawner', 'cli']
    .flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
        .filter((path) => path.endsWith('.ts'))
        .map((path) => readFileSync(join(ROOT, folder, path), 'utf8')),
    )
    .join('\n');
}

/** Stands for what varies. */
const ANY = '…';

describe('docs/troubleshooting.md', () => {
  const quoted = quotedMessages();

  it('quotes only texts that the sources still have', () => {
    const text = sources();
    expect(quoted.length).toBeGreaterThan(60);
    const lost = quoted.filter((message) =>
      message
        .split(ANY)
        // Too short to prove anything: the rest of the message does.
        .filter((part) => part.length > 3)
        .some((part) => !text.includes(part.replace(/^Pod $/, ''))),
    );
    expect(lost).toEqual([]);
    // A part that varies must not be all that is compared.
    expect(quoted.filter((message) => message.split(ANY).every((part) => part.length <= 3))).toEqual([]);
  });

  it('has every sentence of the error catalogue', () => {
    expect(Object.values(ERRORS).filter(({ message }) => !quoted.includes(message))).toEqual([]);
  });

  it('has what the gateway says for every refusal, and at the end of a session', () => {
    const codes = Object.keys(ERRORS).filter(
      (code): code is RefusalCode => code.startsWith('route.') || code === 'tls.required',
    );
    const route = {
      ...{ host: ANY, tenant: 'dev', podId: ANY, uid: 'uid', stanza: 'default', protocol: 'http' },
      ...{ status: ANY, backend: null, ipAllowList: [] },
    } as unknown as Route;
    const options = { requestId: 'id', apiUrl: 'https://localhost' };
    const said = codes.flatMap((code) => [
      describeRefusal(code, { ...options, host: ANY, route }).message,
      describeRefusal(code, { ...options, host: null, route: null }).message,
      describeRefusal(code, { ...options, host: ANY, route: { ...route, tls: 'passthrough' } }).message,
      describeRefusal(code, {
        ...{ ...options, host: ANY, route },
        proof: { kind: 'refused', reason: ANY, authorities: '' },
      }).message,
      describeRefusal(code, { ...options, host: ANY, route: null }).message,
    ]);
    // Without a route there is no pod to name: these are for codes that always have one.
    const nameless = /^The pod (?:is not running|is starting: |requires a client certificate, )/;
    const words = [...said, ...Object.values(GOODBYE_SENTENCES).map(({ message }) => message)];
    expect([...new Set(words)].filter((message) => !quoted.includes(message) && !nameless.test(message))).toEqual([]);
  });
});

it('docs/README.md leads to every page of docs/, and to nothing that is not there', () => {
  const index = readFileSync(join(ROOT, 'docs/README.md'), 'utf8');
  const linked = [...index.matchAll(/\]\(([^)#]+)/g)].map(([, to = '']) => to);
  const pages = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md') && name !== 'README.md');
  expect(pages.filter((name) => !linked.includes(name))).toEqual([]);
  for (const to of linked) expect(() => readFileSync(join(ROOT, 'docs', to)), to).not.toThrow();
});
